"""Batches of images as the network takes them: normalised as in the model file, augmented by
key.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.catalogs import scan_folder
from helpers.images import write_classes
from helpers.training import images_of
from tellapart.catalog.table import Catalog
from tellapart.images.batches import JOINED_PIXELS, Batch, Group, ImageInputs
from tellapart.images.sampling import image_keys, sample_keys
from tellapart.images.store import Images
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.options import AugmentationOptions

ALL = np.arange(6)
FLIPPED = AugmentationOptions(flip=1.0)
BY_CHANCE = AugmentationOptions(crop_area=0.3, flip=0.5, hue=0.1)


pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return scan_folder(write_classes(tmp_path_factory.mktemp("inputs") / "photos", 2))


def inputs_of(
    catalog: Catalog,
    augmentation: AugmentationOptions | None = None,
    memory_format: torch.memory_format = torch.contiguous_format,
    *,
    held_bytes: int = 10**9,
    **preprocessing: object,
) -> ImageInputs:
    how = Preprocessing(size_px=32, **preprocessing)
    images = images_of(catalog, preprocessing=how, held_bytes=held_bytes)
    return ImageInputs(
        images, how, augmentation or AugmentationOptions(), torch.device("cpu"), memory_format
    )


def batch_of(
    inputs: ImageInputs, positions: np.ndarray = ALL, *, epoch: int | None = None
) -> Batch:
    keys = (
        None if epoch is None else sample_keys(image_keys(0, map(str, positions.tolist())), epoch)
    )
    (batch,) = inputs.batches([Group(positions, keys)])
    return batch


@pytest.mark.parametrize("grey", [False, True])
def test_images_are_normalised_as_in_the_model_file(catalog: Catalog, grey: bool):
    how = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25), "grey": grey}
    batch = batch_of(inputs_of(catalog, **how))
    preprocessing = Preprocessing(size_px=32, **how)
    ((pixels, _),) = images_of(catalog, preprocessing=preprocessing).batches([ALL])
    assert batch.inputs.shape == (6, 1 if grey else 3, 32, 32)
    np.testing.assert_allclose(
        batch.inputs, [preprocessing.normalised(one) for one in pixels], atol=1e-5
    )


def test_labels_are_those_of_the_positions(catalog: Catalog):
    batch = batch_of(inputs_of(catalog), np.array([5, 0, 2, 5]))
    assert batch.labels.tolist() == batch.targets.tolist() == [2, 0, 1, 2]
    assert batch.present.tolist() == [True] * 4


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_they_come_in_the_memory_format_asked_for(
    catalog: Catalog, memory_format: torch.memory_format
):
    assert batch_of(inputs_of(catalog, FLIPPED, memory_format), epoch=0).inputs.is_contiguous(
        memory_format=memory_format
    )


def test_without_keys_nothing_is_augmented(catalog: Catalog):
    plain, flipped = batch_of(inputs_of(catalog)), batch_of(inputs_of(catalog, FLIPPED), epoch=0)
    assert torch.equal(batch_of(inputs_of(catalog, FLIPPED)).inputs, plain.inputs)
    torch.testing.assert_close(flipped.inputs, plain.inputs.flip(3), atol=1e-5, rtol=0)


def test_the_key_decides_what_becomes_of_a_image_and_no_neighbour_does(catalog: Catalog):
    inputs = inputs_of(catalog, BY_CHANCE)
    together = batch_of(inputs, epoch=0).inputs
    assert torch.equal(batch_of(inputs, np.array([4, 1]), epoch=0).inputs, together[[4, 1]])
    assert not torch.equal(batch_of(inputs, epoch=1).inputs, together)


def test_held_and_streamed_images_give_the_same_bits(catalog: Catalog):
    held, streamed = (
        batch_of(inputs_of(catalog, BY_CHANCE, held_bytes=size), epoch=0) for size in (10**9, 0)
    )
    assert torch.equal(held.inputs, streamed.inputs)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_targets_are_mixed_as_the_images_are(catalog: Catalog, kind: str):
    mixed = batch_of(inputs_of(catalog, AugmentationOptions(**{kind: 1.0})), epoch=0)
    assert mixed.targets.shape == (6, 3)
    assert mixed.labels.tolist() == [0, 0, 1, 1, 2, 2]
    torch.testing.assert_close(mixed.targets.sum(dim=1), torch.ones(6))
    torch.testing.assert_close(mixed.targets.sum(dim=0), torch.full((3,), 2.0))
    assert 0 < mixed.targets[2, 0] < 1


def test_a_lost_image_is_missing_from_its_batch_alone(tmp_path: Path):
    folder = write_classes(tmp_path / "photos", 2)
    catalog = scan_folder(folder)
    whole = batch_of(inputs_of(catalog, BY_CHANCE), epoch=0).inputs
    (folder / "leaf" / "000.jpg").unlink()
    batch = batch_of(inputs_of(catalog, BY_CHANCE, held_bytes=0), epoch=0)
    assert batch.present.tolist() == [True, True, False, True, True, True]
    assert batch.labels.tolist() == [0, 0, 1, 2, 2]
    assert torch.equal(batch.inputs, whole[[0, 1, 3, 4, 5]])


def test_a_batch_of_lost_images_is_empty(tmp_path: Path):
    folder = write_classes(tmp_path / "photos", 2)
    catalog = scan_folder(folder)
    (folder / "leaf" / "000.jpg").unlink()
    batch = batch_of(inputs_of(catalog, BY_CHANCE, held_bytes=0), np.array([2]), epoch=0)
    assert (len(batch.inputs), len(batch.labels), batch.present.tolist()) == (0, 0, [False])


@pytest.mark.parametrize("augmentation", [BY_CHANCE, AugmentationOptions(mixup=1.0, cutmix=1.0)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_batches_that_are_made_at_once_have_the_bits_of_each_alone(
    tmp_path: Path, augmentation: AugmentationOptions, memory_format: torch.memory_format
):
    folder = write_classes(tmp_path / "photos", 2)
    catalog = scan_folder(folder)
    (folder / "leaf" / "000.jpg").unlink()  # the third
    inputs = inputs_of(catalog, augmentation, memory_format, held_bytes=0)
    drawn = [
        np.random.default_rng(n).integers(0, 6, size)
        for n, size in enumerate([3, 4, 1, JOINED_PIXELS // 1024, 2])
    ]
    groups = [
        Group(positions, image_keys(n, map(str, range(len(positions)))))
        for n, positions in enumerate(drawn)
    ]
    groups = [*groups, Group(np.array([2]), image_keys(9, "a"))]
    for together, group in zip(inputs.batches(groups), groups, strict=True):
        (alone,) = inputs.batches([group])
        for name in ("inputs", "labels", "targets"):
            assert torch.equal(getattr(together, name), getattr(alone, name))
        assert (
            together.present.tolist() == alone.present.tolist() == (group.positions != 2).tolist()
        )
        assert together.inputs.is_contiguous(memory_format=memory_format)


def test_small_batches_are_made_at_once_as_far_as_they_are_small(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
):
    inputs, asked, batches = inputs_of(catalog), [], Images.batches

    def counting(images: Images, groups: Sequence[np.ndarray]) -> object:
        asked.extend(map(len, groups))
        return batches(images, groups)

    monkeypatch.setattr(Images, "batches", counting)
    list(inputs.batches([Group(ALL[:4]) for _ in range(100)]))
    assert JOINED_PIXELS == 128 * 32**2
    assert asked == [128, 128, 128, 16]
