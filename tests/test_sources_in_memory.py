"""Sources that are no path: lists of paths or images, and a catalog that was scanned before."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.images import write_image
from tellapart.catalog.scan import drop_empty_classes, scan
from tellapart.catalog.table import Catalog
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import decode
from tellapart.errors import UserError
from tellapart.sources.reading import Reading
from tellapart.sources.source import name_of, read_source

RNG = np.random.default_rng(0)
RED = np.full((4, 6, 3), (200, 0, 0), np.uint8)
NOISE = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def scanned(source) -> Catalog:
    return scan(read_source(source), rules=DecodeRules(max_pixels=10**8))


def pixels_of(catalog: Catalog, row: int = 0) -> np.ndarray:
    data = catalog.files.read(catalog.paths[row])
    assert isinstance(data, bytes)
    pixels = decode(data).pixels
    assert pixels is not None
    return pixels


def as_png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def labelled(catalog: Catalog) -> dict[str, str]:
    """path → class name"""
    names = [catalog.classes[label] for label in catalog.labels]
    return dict(zip(catalog.paths, names, strict=True))


# ── (path, label) ──


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The current folder, with two images."""
    for name in ("a/1.jpg", "b/2.jpg"):
        write_image(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_paths_of_a_list_are_relative_to_the_current_folder(here):
    catalog = scanned([("b/2.jpg", "dog"), (Path("a/1.jpg"), "cat")])
    assert labelled(catalog) == {"a/1.jpg": "cat", "b/2.jpg": "dog"}
    assert list(catalog.statuses) == ["ok", "ok"]
    assert catalog.source == "a list of 2 images"


def test_absolute_paths_of_a_list_are_taken_from_their_common_folder(tmp_path):
    catalog = read_source([(tmp_path / "a" / "1.jpg", "cat"), (tmp_path / "a" / "2.jpg", "dog")])
    assert catalog.files.root == tmp_path / "a"
    assert list(catalog.paths) == ["1.jpg", "2.jpg"]


def test_a_file_of_a_list_that_is_not_there_gets_its_status(here):
    assert list(scanned([("a/1.jpg", "cat"), ("c.jpg", "dog")]).statuses) == ["ok", "missing"]


def test_a_tuple_of_pairs_and_a_list_of_lists_are_as_good(here):
    assert labelled(read_source((["a/1.jpg", "cat"], ["b/2.jpg", "dog"]))) == {
        "a/1.jpg": "cat",
        "b/2.jpg": "dog",
    }


# ── (image, label) ──


@pytest.mark.parametrize(
    "image",
    [
        NOISE,
        Image.fromarray(NOISE),
        as_png(NOISE),
        bytearray(as_png(NOISE)),
        memoryview(as_png(NOISE)),
    ],
    ids=["array", "pillow", "bytes", "bytearray", "memoryview"],
)
def test_an_image_in_memory_has_its_exact_pixels(image):
    catalog = scanned([(image, "noise")])
    assert np.array_equal(pixels_of(catalog), NOISE)
    assert (catalog.statuses[0], catalog.widths[0], catalog.heights[0]) == ("ok", 7, 5)


def test_images_in_memory_are_named_by_their_place_in_the_list():
    catalog = scanned([(RED, "red"), (NOISE, "noise")])
    assert labelled(catalog) == {"0000000": "red", "0000001": "noise"}
    assert catalog.source == "a list of 2 images in memory"


def test_the_same_pixels_have_the_same_hash_whether_in_an_array_or_an_image():
    digests = scanned([(NOISE, "a"), (Image.fromarray(NOISE), "b"), (RED, "c")]).digests
    assert digests[0] == digests[1] != digests[2]


def test_a_grey_array_becomes_a_grey_image():
    grey = NOISE[:, :, 0]
    assert np.array_equal(pixels_of(scanned([(grey, "x")])), np.repeat(grey[:, :, None], 3, axis=2))


def test_transparent_parts_of_an_array_are_laid_on_white():
    clear = np.dstack([RED, np.zeros(RED.shape[:2], np.uint8)])
    assert (pixels_of(scanned([(clear, "x")])) == 255).all()


def test_an_image_of_pillow_is_turned_as_its_exif_data_says():
    photo = Image.fromarray(NOISE)
    photo.getexif()[274] = 6
    assert pixels_of(scanned([(photo, "x")])).shape == (7, 5, 3)


def test_an_array_that_is_no_contiguous_block_is_read_as_it_looks():
    view = NOISE[::-1, ::2]
    assert np.array_equal(pixels_of(scanned([(view, "x")])), view)


def test_bytes_that_are_no_image_get_their_status():
    catalog = scanned([(b"", "a"), (b"%PDF-1.7", "a"), (as_png(NOISE)[:60], "a")])
    assert list(catalog.statuses) == ["empty", "not_an_image", "truncated"]


def test_an_image_above_the_limit_is_too_large():
    assert list(scan(read_source([(RED, "a")]), rules=DecodeRules(max_pixels=8)).statuses) == [
        "too_large"
    ]


def test_nothing_is_read_of_a_path_that_is_not_in_the_list():
    assert read_source([(RED, "a")]).files.read("7").status == "missing"


# ── labels ──


def test_whole_numbers_are_classes_in_their_own_order():
    catalog = read_source([(RED, 10), (RED, 9), (RED, np.int64(2))])
    assert catalog.classes == ("2", "9", "10")
    assert list(catalog.labels) == [2, 1, 0]


def test_names_are_classes_in_the_order_of_the_alphabet():
    assert read_source([(RED, "b"), (RED, " a "), (RED, "b")]).classes == ("a", "b")


# ── what is refused ──


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ([], "list of images is empty. Give a list of"),
        (["cat.jpg"], r"row 0 \(counted from 0\) is not a pair of an image and its label"),
        ([(RED, "a"), (RED, "a", "b")], "row 1 .*not a pair.*list\\(zip\\(images, labels\\)\\)"),
        ([(RED, 0.5)], "row 0 .*the label is of type float. Give a name or a whole number"),
        ([(RED, None)], "row 0 .*the label is of type NoneType"),
        ([(RED, " ")], "row 0 .*label is missing"),
        ([("", "a")], "row 0 .*path is missing"),
        ([(RED, "a"), ("b.jpg", "b")], "row 1 .*both paths and images in memory"),
        ([(RED, "a"), (7, "b")], "row 1 .*type int is no image"),
        ([(RED / 255, "a")], r"row 0 .*must be uint8 .*got float64 \(4, 6, 3\).*astype"),
        ([(RED.transpose(2, 0, 1), "a")], r"row 0 .*got uint8 \(3, 4, 6\).*channels to the end"),
        ([(RED[None], "a")], r"row 0 .*got uint8 \(1, 4, 6, 3\)"),
        ([(RED[:0], "a")], r"row 0 .*got uint8 \(0, 6, 3\)"),
        ([("a.jpg", "a"), ("./a.jpg", "b")], "The list gives 1 image more than one label"),
        (7, "type int is no source of images"),
        (b"abc", "type bytes is no source of images"),
        ({"a": RED}, "type dict is no source of images"),
        (RED, "type ndarray is no source of images"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused_with_where_and_why(source, words):
    with pytest.raises(UserError, match=words) as refused:
        read_source(source)
    assert refused.value.hint


@pytest.mark.parametrize("option", ["group_column", "weight_column"])
def test_a_list_has_no_columns(option):
    with pytest.raises(UserError, match="The source is no table, and so has no column 'x'"):
        read_source([(RED, "a")], Reading(**{option: "x"}))


# ── a catalog ──


def test_a_scanned_catalog_is_a_source_and_scanned_again_it_is_the_same(photos):
    catalog = scanned(photos)
    again = scanned(catalog)
    assert again.digest == catalog.digest
    assert list(again.notes) == list(catalog.notes)


def test_the_groups_copies_and_given_splits_of_a_catalog_stay(photos):
    catalog = scanned(photos)
    rows = len(catalog)
    marked = catalog.replace(
        groups=np.array(["g"] * rows, object),
        given_splits=np.array(["train"] * rows, object),
        copies=np.zeros(rows, np.int64),
        splits=np.array(["test"] * rows, object),
    )
    read = read_source(marked)
    assert set(read.groups) == {"g"}
    assert set(read.given_splits) == {"train"}
    assert set(read.copies) == {0}
    assert set(read.statuses) == set(read.splits) == {""}


def test_files_of_a_class_that_was_left_out_are_not_read_again(photos):
    (photos / "empty").mkdir()
    (photos / "empty" / "x.jpg").write_bytes(b"")
    assert "empty/x.jpg" not in read_source(drop_empty_classes(scanned(photos))).paths


def test_part_of_a_catalog_is_a_source_too(photos):
    catalog = scanned(photos)
    assert len(scanned(catalog.rows(catalog.labels == 1))) == 12


# ── names ──


def test_a_source_is_named_after_its_folder_or_file(photos):
    (photos.parent / "cats.tar.gz").touch()
    assert name_of(photos) == name_of(str(photos)) == "photos"
    assert name_of(photos.parent / "cats.tar.gz") == "cats"


def test_a_source_in_memory_is_called_data():
    assert name_of([(RED, "a")]) == name_of(read_source([(RED, "a")])) == "data"


def test_a_catalog_is_named_after_its_folder(photos):
    assert name_of(read_source(photos)) == "photos"
