"""The images of a split: held or streamed the same; one that changed is lost, named once, not
replaced.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from helpers.catalogs import scan_folder
from helpers.images import write_classes, write_image
from helpers.training import images_of
from tellapart.catalog.table import Catalog
from tellapart.decoding import decode
from tellapart.errors import Refused
from tellapart.images import store
from tellapart.images.store import Images, memory_for_images
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.progress import Console

GROUPS = [np.array([2, 0, 5]), np.array([], np.int64), np.array([5, 5, 1])]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of two images: rows 0, 1 brick; 2, 3 leaf; 4, 5 sky."""
    return write_classes(tmp_path / "photos", 2)


@pytest.fixture
def catalog(folder: Path) -> Catalog:
    return scan_folder(folder)


def taken(images: Images, groups: list[np.ndarray]) -> list[tuple[list, list]]:
    return [(pixels.tolist(), there.tolist()) for pixels, there in images.batches(groups)]


@pytest.mark.parametrize("held_bytes", [0, 10**9])
def test_each_image_is_what_preprocessing_makes_of_its_file(
    folder: Path, catalog: Catalog, held_bytes: int
):
    images = images_of(catalog, [3, 4], held_bytes=held_bytes)
    ((pixels, there),) = images.batches([np.array([1])])
    file = folder / "sky" / "000.jpg"
    assert images.paths == ("leaf/001.jpg", "sky/000.jpg")
    assert images.labels.tolist() == [1, 2]
    assert there.tolist() == [True]
    np.testing.assert_array_equal(
        pixels[0], Preprocessing(size_px=32).resized(decode(file.read_bytes()).pixels)
    )


@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
def test_held_and_streamed_images_are_the_same(catalog: Catalog, mode: str):
    preprocessing = Preprocessing(mode=mode, size_px=40)
    held, streamed = (
        images_of(catalog, held_bytes=limit, preprocessing=preprocessing) for limit in (10**9, 0)
    )
    assert taken(held, GROUPS) == taken(streamed, GROUPS)
    assert [len(pixels) for pixels, _ in taken(held, GROUPS)] == [3, 0, 3]


def test_they_are_held_where_they_fit_to_the_byte(catalog: Catalog):
    needed = 6 * 32 * 32 * 3
    assert images_of(catalog, held_bytes=needed).held
    assert not images_of(catalog, held_bytes=needed - 1).held


@pytest.mark.parametrize("held_bytes", [0, 10**9])
@pytest.mark.parametrize("change", ["other bytes", "other image", "gone"])
def test_a_changed_image_is_lost_and_nothing_stands_in_for_it(
    folder: Path, catalog: Catalog, held_bytes: int, change: str
):
    file = folder / "sky" / "001.jpg"
    file.unlink()
    if change != "gone":
        write_image(file, 77) if change == "other image" else file.write_bytes(b"no image")
    fine = taken(images_of(catalog, range(5)), [np.array([2, 0])])[0][0]
    images = images_of(catalog, held_bytes=held_bytes)
    assert taken(images, [np.array([2, 0, 5])]) == [(fine, [True, True, False])]
    assert taken(images, [np.array([5])]) == [([], [False])]
    assert list(images.lost) == [5]


@pytest.mark.parametrize("held_bytes", [0, 10**9])
def test_a_lost_image_is_named_once_with_its_label(
    folder: Path, catalog: Catalog, held_bytes: int, monkeypatch: pytest.MonkeyPatch
):
    (folder / "leaf" / "000.jpg").write_bytes(b"no image")
    console = Console(quiet=True)
    images = images_of(catalog, held_bytes=held_bytes, console=console)
    read = type(catalog.files).read
    monkeypatch.setattr(
        type(catalog.files), "read", lambda *given: time.sleep(0.01) or read(*given)
    )
    for _ in range(2):
        taken(images, [np.array([2, 2, 2, 2])])
    notes = [line for line in console.lines if "leaf/000.jpg" in line]
    assert len(notes) == 1
    assert (
        "leaf/000.jpg (leaf) is no longer what it was when the run began, and is left out"
        in notes[0]
    )


@pytest.mark.parametrize("held_bytes", [0, 10**9])
def test_too_many_lost_images_are_refused(folder: Path, catalog: Catalog, held_bytes: int):
    for name in ("000", "001"):
        (folder / "leaf" / f"{name}.jpg").unlink()
    taken(images_of(catalog, held_bytes=held_bytes, most_lost=2 / 6), [np.arange(6)])
    with pytest.raises(
        Refused,
        match=r"2 of 6 images changed while they were used, 'leaf/00.*decoding.lost_sh",
    ):
        taken(images_of(catalog, held_bytes=held_bytes, most_lost=0.3), [np.arange(6)])


def test_memory_for_images_is_a_share_of_what_is_free():
    assert memory_for_images(0) == 0
    assert memory_for_images(0.5) == pytest.approx(5 * memory_for_images(0.1), rel=0.2)


def test_images_that_others_hold_are_not_decoded_again(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
):
    every = images_of(catalog)
    wanted = images_of(catalog, rows=[4, 1])
    monkeypatch.setattr(store, "unchanged_pixels", None)
    shared = images_of(catalog, rows=[4, 1], decoded=every)
    both = [np.arange(2)]
    assert taken(shared, both) == taken(wanted, both)
    assert shared.paths == wanted.paths


def test_what_others_have_lost_is_lost_here_too(catalog: Catalog):
    every = images_of(catalog)
    every.lost[4] = "4 is gone"
    assert images_of(catalog, rows=[1, 4], decoded=every).lost == {1: "4 is gone"}
