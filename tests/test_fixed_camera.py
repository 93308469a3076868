"""Shots of a fixed camera are images of their own, and copies of one file are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from tellapart.catalog.reshots import differ_equally
from tellapart.jobs.explore import explore

COUNT = 16


def still(seed, size=(160, 120)):
    """A soft random scene."""
    cells = np.random.default_rng(seed).integers(40, 216, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def saved(img, quality):
    file = io.BytesIO()
    img.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def shot(img, number, *, noise=3.0):
    """An image taken anew: other noise, slightly other light."""
    rng = np.random.default_rng(number)
    pixels = np.asarray(img, float) * rng.uniform(0.97, 1.03)
    return Image.fromarray(
        (pixels + rng.normal(0, noise, pixels.shape)).clip(0, 255).astype(np.uint8)
    )


def shots(seed, *, noise=3.0, quality=90, size=(160, 120)):
    return [saved(shot(still(seed, size), number, noise=noise), quality) for number in range(COUNT)]


def copies(edit):
    """One shot, edited anew for each copy."""
    source = shot(still(5), 0)
    return [saved(edit(source, number / COUNT), 90) for number in range(COUNT)]


def write(folder, images):
    folder.mkdir(parents=True)
    for number, img in enumerate(images):
        img.save(folder / f"{number:02}.png")


def explored(data, **options):
    return explore(data, out=data.parent / "page.html", quiet=True, **options)


def classes_in(exploration, split):
    catalog = exploration.catalog
    return {catalog.classes[label] for label in catalog.labels[catalog.split(split)]}


SCENES = {
    "little noise": {"noise": 1.5, "quality": 95},
    "much noise": {"noise": 8.0},
    "strong compression": {"quality": 75},
    "a large image": {"size": (640, 480)},
    "a small image": {"size": (100, 75), "noise": 4.0},
}


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_shots_of_one_scene_differ_equally(scene):
    assert differ_equally([np.asarray(img) for img in shots(1, **scene)])


EDITS = {
    "saved again": lambda img, amount: saved(img, int(40 + 50 * amount)),
    "brighter": lambda img, amount: ImageEnhance.Brightness(img).enhance(0.9 + 0.2 * amount),
    "more contrast": lambda img, amount: ImageEnhance.Contrast(img).enhance(0.9 + 0.2 * amount),
    "blurred": lambda img, amount: img.filter(ImageFilter.GaussianBlur(amount)),
    "cropped": lambda img, amount: img.crop((0, 0, 160 - 6 * amount, 120)).resize(img.size),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_copies_of_one_file_do_not(edit):
    assert not differ_equally([np.asarray(img) for img in copies(edit)])


def test_files_with_the_same_pixels_are_copies():
    assert not differ_equally([np.asarray(still(1))] * COUNT)


def test_a_class_of_one_scene_has_images_in_test_and_a_finding_says_why(tmp_path):
    write(tmp_path / "data" / "none", shots(1))
    write(tmp_path / "data" / "part", [still(seed) for seed in range(100, 100 + COUNT)])
    exploration = explored(tmp_path / "data")
    assert classes_in(exploration, "test") == {"none", "part"}
    (finding,) = exploration.findings
    assert finding.text.startswith("16 images look alike, as shots of a fixed camera do, for")


def test_two_shots_with_one_part_in_the_same_place_are_no_copies_either(tmp_path):
    background = still(1)
    with_part = still(1)
    with_part.paste((200, 60, 40), (60, 40, 90, 65))
    others = [still(seed) for seed in range(100, 100 + COUNT)]
    write(tmp_path / "data" / "none", [saved(shot(background, n), 90) for n in range(COUNT)])
    write(tmp_path / "data" / "part", [*others, *(shot(with_part, n) for n in (50, 51))])
    (finding,) = explored(tmp_path / "data").findings
    assert finding.text.startswith("18 images look alike")


def test_two_copies_of_a_shot_with_a_part_are_copies(tmp_path):
    with_part = still(1)
    with_part.paste((200, 60, 40), (60, 40, 90, 65))
    copied = shot(with_part, 50)
    others = [still(seed) for seed in range(100, 100 + COUNT)]
    write(tmp_path / "data" / "none", shots(1))
    write(tmp_path / "data" / "part", [*others, copied, saved(copied, 92)])
    near, remark = explored(tmp_path / "data").findings
    assert (near.kind, len(near.sets)) == ("near_duplicate", 1)
    assert remark.text.startswith("16 images look alike")


def test_shots_of_one_scene_in_three_classes_are_no_label_conflict(tmp_path):
    images = shots(2)
    for number, name in enumerate(("day", "dusk", "night")):
        write(tmp_path / "data" / name, images[number::3])
    write(tmp_path / "data" / "other", [still(seed) for seed in range(100, 100 + COUNT)])
    exploration = explored(tmp_path / "data")
    assert [finding.kind for finding in exploration.findings] == ["remark"]
    assert classes_in(exploration, "test") == {"day", "dusk", "night", "other"}


def test_a_class_of_copies_of_one_file_stays_one_image(tmp_path):
    write(tmp_path / "data" / "none", copies(EDITS["saved again"]))
    write(tmp_path / "data" / "part", [still(seed) for seed in range(100, 100 + COUNT)])
    exploration = explored(tmp_path / "data")
    assert classes_in(exploration, "test") == {"part"}
    assert exploration.findings[0].kind == "large_cluster"
    assert "Use --copies exact to divide them" in exploration.findings[0].text


def test_scenes_that_leave_each_class_a_test_stay_whole(tmp_path):
    for name, seeds in (("none", range(3)), ("part", range(3, 6))):
        write(tmp_path / "data" / name, [img for seed in seeds for img in shots(seed)])
    catalog = explored(tmp_path / "data").catalog
    assert len(np.unique(catalog.copies)) == 6
