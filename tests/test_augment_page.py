"""`explore --augment`: the page that shows what a recipe's augmentation makes of the images."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tellapart.decoding import decode_file
from tellapart.errors import UserError
from tellapart.images.augmentation import augment as augmented_batch
from tellapart.images.sampling import image_keys, sample_keys
from tellapart.jobs.augment import EPOCHS, MIXED_BATCHES, augment
from tellapart.modelfile.preprocessing import LUMINANCE
from tellapart.models.backbones import find_preprocessing
from tellapart.options import AugmentationOptions, FreezeOptions, PreprocessingOptions
from tellapart.recipe import Recipe

RECIPE = Recipe(
    name="changing",
    method="fit",
    preprocessing=PreprocessingOptions(size_px=32),
    augmentation=AugmentationOptions(flip=0.5, rotate=0.5, brightness=0.3),
)


def shown(data: Path, recipe: Recipe = RECIPE, **options: object):
    """What was shown, and the page."""
    found = augment(data, recipe=recipe, out=data.parent / "page.html", quiet=True, **options)
    return found, found.page.read_text()


def images_of(page: str) -> np.ndarray:
    """(M, 32, 32, 3) uint8: all the images on a page, in order; they are small, so they stand there
    as PNG.
    """
    sources = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return np.stack(
        [np.asarray(Image.open(io.BytesIO(base64.b64decode(source)))) for source in sources]
    )


def with_augmentation(**values: object) -> Recipe:
    return dataclasses.replace(RECIPE, augmentation=AugmentationOptions(**values))


def test_the_page_shows_the_pixels_that_a_training_sees(photos: Path):
    found, page = shown(photos)
    rows = images_of(page).reshape(8, 1 + EPOCHS, 32, 32, 3)
    preprocessing = find_preprocessing(RECIPE.backbone, RECIPE.preprocessing)
    originals = np.stack(
        [preprocessing.resized(decode_file(photos / path).pixels) for path in found.images]
    )
    assert np.array_equal(rows[:, 0], originals)
    keys = sample_keys(image_keys(RECIPE.seed, found.images), 3)
    tensors = torch.from_numpy(originals).permute(0, 3, 1, 2)
    epoch = augmented_batch(tensors, keys, RECIPE.augmentation, preprocessing.mean).permute(
        0, 2, 3, 1
    )
    assert np.array_equal(rows[:, 4], (255 * epoch.numpy()).round())


@pytest.mark.parametrize(
    ("views", "columns", "says"),
    [(1, 1, "1 view of"), (3, 3, "3 views of"), (20, EPOCHS, "20 views of")],
)
def test_views_that_are_kept_are_shown_once(photos: Path, views: int, columns: int, says: str):
    anew = shown(photos)[1]
    page = shown(
        photos, dataclasses.replace(RECIPE, freeze=FreezeOptions(upto="all", views=views))
    )[1]
    rows, kept = (images_of(one).reshape(8, -1, 32, 32, 3) for one in (anew, page))
    assert np.array_equal(kept, rows[:, : 1 + columns])
    assert f"are kept for {says} each image" in page
    assert f"epoch {views + 1} sees what epoch 1 saw" in page
    assert "anew in each epoch" in anew
    assert "anew in each epoch" not in page


def test_each_class_is_shown_in_turn(photos: Path):
    classes = [path.partition("/")[0] for path in shown(photos)[0].images]
    assert classes == ["brick", "leaf", "sky", "brick", "leaf", "sky", "brick", "leaf"]


def test_the_same_seed_shows_the_same_and_another_seed_another(photos: Path):
    first, second, other = (images_of(shown(photos, seed=seed)[1]) for seed in (0, 0, 1))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_one_image_can_be_named(photos: Path):
    found, page = shown(photos, image="sky/003.jpg")
    assert found.images == ("sky/003.jpg",)
    assert len(images_of(page)) == 1 + EPOCHS


def test_a_named_image_that_is_not_there_is_answered_with_the_nearest(photos: Path):
    with pytest.raises(UserError, match=r"Unknown image 'sky/03\.jpg'.*sky/003\.jpg"):
        shown(photos, image="sky/03.jpg")


def test_a_named_image_that_is_broken_is_told_why(photos: Path):
    (photos / "sky" / "003.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"sky/003\.jpg is empty"):
        shown(photos, image="sky/003.jpg")


def test_broken_images_are_passed_over(photos: Path):
    broken = shown(photos)[0].images[:5]
    for path in broken:
        (photos / path).write_bytes(b"")
    images = shown(photos)[0].images
    assert len(images) == 8
    assert not {*images} & {*broken}


def test_where_every_image_is_broken_it_says_so(photos: Path):
    for path in photos.rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"No train image can be used.*tellapart explore"):
        shown(photos)


def test_only_train_images_are_shown(split_photos: Path):
    assert all(path.startswith("train/") for path in shown(split_photos)[0].images)


def test_mixed_batches_say_how_much_of_which_class(photos: Path):
    page = shown(photos, with_augmentation(cutmix=1, mixup=1))[1]
    assert len(images_of(page)) == 8 * (1 + EPOCHS) + 8 * MIXED_BATCHES
    assert re.search(r'title="(\d+) % brick">\1 % brick</span><span', page.replace("\u202f", " "))


def test_a_named_image_is_mixed_with_others(photos: Path):
    page = shown(photos, with_augmentation(mixup=1), image="sky/003.jpg")[1]
    assert len(images_of(page)) == 1 + EPOCHS + 8 * MIXED_BATCHES


def test_a_recipe_that_mixes_nothing_has_no_such_section(photos: Path):
    assert "A batch of epoch" not in shown(photos)[1]


def test_a_grey_network_is_shown_its_luminance(photos: Path):
    grey = dataclasses.replace(RECIPE, preprocessing=PreprocessingOptions(size_px=32, grey=True))
    colour, seen = (images_of(shown(photos, recipe)[1]).astype(float) for recipe in (RECIPE, grey))
    assert (seen == seen[..., :1]).all()
    assert np.abs(seen[0, ..., 0] - colour[0] @ LUMINANCE).max() <= 0.5 + 1e-3


def test_of_flips_and_turns_that_a_training_measures_all_are_shown(photos: Path):
    found, page = shown(photos, "finetune", set={"preprocessing.size_px": 32})
    assert found.augmentation == {
        "invariant": True,
        "flip": 0.5,
        "flip_vertical": 0.5,
        "quarter_turn": 0.5,
    }
    assert len(images_of(page)) == 8 * (1 + 4)  # the views that the recipe keeps
    assert "Training uses only those that do not raise the loss of the probe on val." in page
    assert "the exact versions that training with this recipe and seed sees." in shown(photos)[1]


def test_larger_images_are_shown_as_jpeg(photos: Path):
    page = shown(photos, set={"preprocessing.size_px": 96})[1]
    assert page.count("data:image/jpeg") == 8 * (1 + EPOCHS)


def test_the_options_that_do_something_are_named_and_no_others(photos: Path):
    found, page = shown(photos)
    assert found.augmentation == {
        "flip": 0.5,
        "rotate": 0.5,
        "rotate_degrees": 45.0,
        "border": "reflect",
        "brightness": 0.3,
    }
    assert found.lines()[0].split() == ["flip", "0.5"]
    assert "<dt>rotate degrees</dt>" in page
    assert "dropout" not in page


def test_the_answer_for_scripts_names_page_recipe_and_images(photos: Path):
    answer = shown(photos)[0].as_json()
    assert set(answer) == {"recipe", "augmentation", "images", "page"}
    assert (answer["recipe"], len(answer["images"])) == ("changing", 8)


def test_a_recipe_without_augmentation_is_refused_before_anything_is_read(tmp_path: Path):
    with pytest.raises(UserError, match=r"'probe' changes no image.*--set augmentation\.flip"):
        augment(tmp_path / "nowhere", recipe="probe", quiet=True)


def test_the_page_is_called_after_the_data(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert augment(photos, recipe=RECIPE, quiet=True).page is None


def test_a_file_of_somebody_else_is_not_overwritten(photos: Path):
    (photos.parent / "page.html").write_text("mine")
    with pytest.raises(UserError, match="no page of ours"):
        shown(photos)


def test_names_are_text_on_the_page(photos: Path):
    (photos / "brick").rename(photos / "<b>brick")
    page = shown(photos)[1]
    assert "&lt;b&gt;brick" in page
    assert "<b>brick" not in page


def test_without_torch_the_module_can_be_imported():
    code = "import sys; import tellapart.jobs.augment; print({'torch', 'timm'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
