"""Edited copies: turned a little, cropped, recoloured. Embeddings propose them, pixels decide."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from helpers.images import write_classes
from tellapart.catalog.thumbnails import THUMBNAIL_BYTES, make_thumbnail
from tellapart.probe import edited
from tellapart.probe.edited import edited_copies


def photo(seed):
    """An image with structure of several sizes."""
    rng = np.random.default_rng(seed)
    layers = np.full((180, 240, 3), 128.0)
    for cells, strength in ((4, 50), (10, 45), (24, 35)):
        noise = rng.normal(128, strength, (cells, cells, 3)).clip(0, 255).astype(np.uint8)
        large = Image.fromarray(noise).resize((240, 180), Image.Resampling.BICUBIC)
        layers += np.asarray(large, float) - 128
    return Image.fromarray(layers.clip(0, 255).astype(np.uint8))


def embeddings(names):
    """What a network gives: copies of one image nearly the same, all of one class alike."""
    common = np.random.default_rng(1).normal(size=64)
    rows = [
        common
        + np.random.default_rng(100 + name).normal(size=64)
        + np.random.default_rng(1000 + place).normal(size=64) * 0.2
        for place, name in enumerate(names)
    ]
    return np.array(rows, np.float32)


def found_among(images, names, **options):
    joined = b"".join(make_thumbnail(np.asarray(img)) for img in images)
    thumbnails = np.frombuffer(joined, np.uint8).reshape(-1, THUMBNAIL_BYTES)
    known, labels = np.arange(len(images)), np.zeros(len(images), np.int64)
    return edited_copies(embeddings(names), thumbnails, labels, known, **{"block": 1000, **options})


EDITS = {
    "turned by 12 degrees": lambda img: img.rotate(12),
    "mirrored and turned": lambda img: img.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(-8),
    "a fifth cropped": lambda img: img.crop((30, 10, 222, 154)),
    "much darker": lambda img: ImageEnhance.Brightness(img).enhance(0.6),
    "much brighter": lambda img: ImageEnhance.Brightness(img).enhance(1.4),
    "without colour": lambda img: img.convert("L").convert("RGB"),
    "more contrast": lambda img: ImageEnhance.Contrast(img).enhance(1.5),
}


@pytest.fixture(scope="module")
def photos():
    return [photo(seed) for seed in range(40)]


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_edited_copies_are_found_and_nothing_else(photos, edit):
    names = [*range(40), *range(12)]
    found = found_among([*photos, *map(edit, photos[:12])], names)
    assert sorted(map(tuple, found.pairs.tolist())) == [(row, 40 + row) for row in range(12)]


def test_different_images_that_a_network_takes_for_one_are_not_paired(photos):
    found = found_among(photos, [row // 2 for row in range(40)])
    assert not len(found.pairs)


def test_a_uniform_set_has_no_edited_copies():
    """Cells of one kind: the same bars, and a little of their own."""
    frame = np.zeros((180, 240, 3)) + 150
    frame[::45] -= 60
    cells = [
        Image.fromarray((frame + 0.1 * np.asarray(photo(seed), float)).astype(np.uint8))
        for seed in range(60)
    ]
    assert not len(found_among(cells, [row // 2 for row in range(60)]).pairs)


def test_what_is_known_to_be_one_image_is_not_paired_again(photos):
    joined = b"".join(make_thumbnail(np.asarray(img)) for img in [*photos, *photos])
    thumbnails = np.frombuffer(joined, np.uint8).reshape(-1, THUMBNAIL_BYTES)
    known = np.tile(np.arange(40), 2)
    found = edited_copies(embeddings(known), thumbnails, known * 0, known, block=1000)
    assert not len(found.pairs)


def test_proposals_that_were_left_are_counted(photos, monkeypatch):
    monkeypatch.setattr(edited, "MOST_PAIRS", 5)
    turned = [img.rotate(12) for img in photos[:12]]
    found = found_among([*photos, *turned], [*range(40), *range(12)])
    assert len(found.pairs) == 5 and found.left > 5


def test_blocks_find_what_lies_within_them(photos):
    turned = [img.rotate(12) for img in photos[:12]]
    found = found_among([*photos, *turned], [*range(40), *range(12)], block=30)
    assert {right - left for left, right in found.pairs.tolist()} == {40}


def test_few_images_of_a_kind_prove_nothing(tmp_path):
    write_classes(tmp_path, 12)
    pixels = [Image.open(file) for file in sorted(tmp_path.rglob("*.jpg"))]
    found = found_among(pixels, [row // 2 for row in range(36)])
    assert not len(found.pairs)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_images_have_no_edited_copies(photos, count):
    assert not len(found_among(photos[:count], range(count)).pairs)
