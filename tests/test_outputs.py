"""A frozen part's outputs, kept: those that it would give anew, for each view, within the memory
that they may take.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from helpers.catalogs import scan_folder
from helpers.images import write_classes
from helpers.training import classifier_of, images_of, small_recipe
from tellapart.catalog.table import Catalog
from tellapart.images.batches import Group, ImageInputs
from tellapart.images.sampling import image_keys, sample_keys
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.models.cut import split_at
from tellapart.options import AugmentationOptions
from tellapart.training.outputs import KeptInputs

SOME = np.array([17, 3, 9, 3])


pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """18 images, more than are worked on at once."""
    return scan_folder(write_classes(tmp_path_factory.mktemp("kept") / "photos", 6))


class Counting(nn.Module):
    """A trunk that counts the images it was shown."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk, self.seen = trunk, 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return self.trunk(images)


def trunk_of(upto: str) -> Counting:
    trunk, _ = split_at(classifier_of(small_recipe()).embedder, upto, torch.zeros(2, 3, 32, 32))
    return Counting(trunk.eval())


def inputs_of(
    catalog: Catalog, memory_format: torch.memory_format = torch.contiguous_format, **options: int
) -> ImageInputs:
    augmentation = AugmentationOptions(flip=0.5, crop_area=0.4)
    images = images_of(catalog, **options)
    return ImageInputs(
        images, Preprocessing(size_px=32), augmentation, torch.device("cpu"), memory_format
    )


def kept_of(catalog: Catalog, trunk: nn.Module, inputs: ImageInputs) -> KeptInputs:
    return KeptInputs(inputs, trunk, image_keys(0, catalog.paths), catalog.labels)


@pytest.mark.parametrize("upto", ["blocks.0", "blocks.2", "all"])
@pytest.mark.parametrize("view", [None, 0, 1])
def test_each_view_is_what_the_frozen_part_gives_anew(
    catalog: Catalog, upto: str, view: int | None
):
    trunk, inputs = trunk_of(upto), inputs_of(catalog)
    keys = None if view is None else sample_keys(image_keys(0, catalog.paths), view)[SOME]
    (anew,) = inputs.batches([Group(SOME, keys)])
    (batch,) = kept_of(catalog, trunk, inputs).batches([Group(SOME, keys, view)])
    torch.testing.assert_close(batch.inputs, trunk(anew.inputs).detach(), atol=1e-5, rtol=1e-4)
    assert batch.labels.tolist() == batch.targets.tolist() == catalog.labels[SOME].tolist()


def test_views_differ_and_each_image_runs_once_a_view(catalog: Catalog):
    trunk = trunk_of("blocks.1")
    kept = kept_of(catalog, trunk, inputs_of(catalog))
    first, second, again = kept.batches([Group(SOME, view=view) for view in (0, 1, 0)])
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, second.inputs)
    assert trunk.seen == 2 * len(catalog)


def test_a_view_has_the_same_bits_whichever_batch_asks_first(catalog: Catalog):
    one, other = (kept_of(catalog, trunk_of("blocks.1"), inputs_of(catalog)) for _ in range(2))
    next(other.batches([Group(np.array([11]), view=1)]))
    ours, theirs = (next(kept.batches([Group(SOME, view=1)])) for kept in (one, other))
    assert torch.equal(ours.inputs, theirs.inputs)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_outputs_keep_the_memory_format_of_the_images(
    catalog: Catalog, memory_format: torch.memory_format
):
    kept = kept_of(catalog, trunk_of("blocks.0"), inputs_of(catalog, memory_format))
    (batch,) = kept.batches([Group(SOME, view=0)])
    assert batch.inputs.is_contiguous(memory_format=memory_format)
    assert not batch.inputs.requires_grad


def test_a_lost_image_is_missing_from_its_batches(tmp_path: Path):
    folder = write_classes(tmp_path / "photos", 2)
    catalog = scan_folder(folder)
    (folder / "leaf" / "000.jpg").unlink()
    kept = kept_of(catalog, trunk_of("all"), inputs_of(catalog, held_bytes=0))
    some, none = kept.batches([Group(np.array([4, 2, 0]), view=0), Group(np.array([2]), view=0)])
    assert some.present.tolist() == [True, False, True]
    assert some.labels.tolist() == [2, 0]
    assert (len(some.inputs), len(none.inputs)) == (2, 0)
