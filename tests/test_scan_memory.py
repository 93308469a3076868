"""What earlier scans found out: an unchanged file is not read again, a changed one is; nothing
wrong is recalled.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import odd_images as odd
from helpers.images import write_classes, write_image
from tellapart.cache import ScanMemory, scans
from tellapart.catalog import duplicates, inspect
from tellapart.catalog.duplicates import find_copies, link_copies
from tellapart.catalog.files import Folder
from tellapart.catalog.scan import scan
from tellapart.catalog.table import Catalog
from tellapart.decoders.rules import DecodeRules
from tellapart.sources.source import read_source

LIMIT = 10**6
RULES = DecodeRules(max_pixels=LIMIT)


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as old enough to be remembered the moment they are written."""
    monkeypatch.setattr(scans, "SETTLED_SECONDS", -60.0)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The catalog paths of the files that are read from now on."""
    paths: list[str] = []
    honest = Folder.read

    def noting(self: Folder, path: str) -> object:
        paths.append(path)
        return honest(self, path)

    monkeypatch.setattr(Folder, "read", noting)
    return paths


def scanned(data: Path, cache: Path, *, rules: DecodeRules = RULES, hook: object = None) -> Catalog:
    catalog = read_source(data)
    with ScanMemory(cache, catalog.files.place, rules) as memory:
        return link_copies(scan(catalog, rules=rules, memory=memory, hook=hook), memory)


def same(one: Catalog, other: Catalog) -> bool:
    columns = (
        "paths",
        "labels",
        "statuses",
        "notes",
        "widths",
        "heights",
        "digests",
        "taken",
        "copies",
    )
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in columns)


# ── what is read again ──


def test_an_unchanged_folder_is_not_read_again(photos: Path, tmp_path: Path, read: list[str]):
    (photos / "odd").mkdir()
    odd.salt(photos / "odd")
    first = scanned(photos, tmp_path / "cache")
    seen = len(read)
    again = scanned(photos, tmp_path / "cache")
    # only what could not be read at all has nothing to be remembered by
    unread = np.isin(first.statuses, ["missing", "unreadable", "not_a_file"])
    assert set(read[seen:]) == set(first.paths[unread])
    assert same(first, again)


def test_a_window_of_few_files_recalls_them_all(
    photos: Path, tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
):
    first = scanned(photos, tmp_path / "cache")
    monkeypatch.setattr(scans, "WINDOW", 5)
    read.clear()
    assert same(scanned(photos, tmp_path / "cache"), first)
    assert read == []


def test_files_are_recalled_in_any_order(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = scanned(photos, tmp_path / "cache")
    monkeypatch.setattr(scans, "WINDOW", 5)
    with ScanMemory(tmp_path / "cache", first.files.place, RULES) as memory:
        paths = first.paths.tolist()
        recalled = [memory.recall(path, first.files.stamp(path)[0]) for path in paths[::-1]]
    assert [verdict.digest for verdict in recalled] == first.digests.tolist()[::-1]


def test_thumbnails_that_were_lost_are_made_again_and_kept(photos: Path, tmp_path: Path):
    first = scanned(photos, tmp_path / "cache")
    shutil.rmtree(next((tmp_path / "cache").glob("thumbnails*")))
    shutil.move(photos, tmp_path / "elsewhere")
    assert same(scanned(tmp_path / "elsewhere", tmp_path / "cache"), first)
    with ScanMemory(tmp_path / "cache", first.files.place, RULES) as memory:
        assert all(memory.thumbnail_of(digest) for digest in first.digests)


def test_copies_far_apart_get_the_verdict_of_their_content(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inspect, "HELD_CONTENTS", 1)
    for path in sorted((photos / "leaf").iterdir()):
        shutil.copy(path, photos / "sky" / f"copy-{path.name}")
    catalog = scanned(photos, tmp_path / "cache")
    assert (catalog.ok.sum(), len(find_copies(catalog))) == (48, 12)


CHANGES = {
    "other bytes": lambda path: write_image(path, seed=77),
    "one byte, the old times put back": lambda path: flip_quietly(path),
    "another file in its place": lambda path: (path.unlink(), write_image(path, seed=78)),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:300]),
    "emptied": lambda path: path.write_bytes(b""),
}


def flip_quietly(path: Path) -> None:
    before, data = path.stat(), path.read_bytes()
    path.write_bytes(data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_file_alone_is_read_again(photos: Path, tmp_path: Path, read: list[str], change):
    scanned(photos, tmp_path / "cache")
    read.clear()
    change(photos / "leaf" / "003.jpg")
    again = scanned(photos, tmp_path / "cache")
    assert read == ["leaf/003.jpg"]
    assert same(again, scanned(photos, tmp_path / "fresh"))


def test_new_files_are_read_and_those_that_are_gone_are_forgotten(
    photos: Path, tmp_path: Path, read: list[str]
):
    scanned(photos, tmp_path / "cache")
    read.clear()
    write_image(photos / "sky" / "new.jpg", seed=50)
    (photos / "sky" / "000.jpg").unlink()
    again = scanned(photos, tmp_path / "cache")
    assert read == ["sky/new.jpg"]
    assert same(again, scanned(photos, tmp_path / "fresh"))


def test_a_link_that_leads_elsewhere_now_is_read_again(
    photos: Path, tmp_path: Path, read: list[str]
):
    link = photos / "sky" / "link.jpg"
    link.symlink_to(photos / "leaf" / "001.jpg")
    scanned(photos, tmp_path / "cache")
    read.clear()
    link.unlink()
    link.symlink_to(photos / "leaf" / "002.jpg")
    scanned(photos, tmp_path / "cache")
    assert read == ["sky/link.jpg"]


def test_a_moved_folder_is_read_but_not_decoded(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = scanned(photos, tmp_path / "cache")
    shutil.move(photos, tmp_path / "elsewhere")
    monkeypatch.setattr(inspect, "decode", None)
    assert same(scanned(tmp_path / "elsewhere", tmp_path / "cache"), first)


def test_a_file_that_may_still_be_written_is_read_again(
    photos: Path, tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scans, "SETTLED_SECONDS", 60.0)
    scanned(photos, tmp_path / "cache")
    read.clear()
    scanned(photos, tmp_path / "cache")
    assert len(read) == 36


def test_another_limit_is_another_question(photos: Path, tmp_path: Path):
    scanned(photos, tmp_path / "cache")
    assert set(scanned(photos, tmp_path / "cache", rules=DecodeRules(max_pixels=10)).statuses) == {
        "too_large"
    }
    assert scanned(photos, tmp_path / "cache").ok.all()


def test_the_note_of_a_name_belongs_to_the_name(tmp_path: Path):
    png = write_image(tmp_path / "one.png").read_bytes()
    for path in ("a/1.png", "b/1.jpg"):
        (tmp_path / "data" / path).parent.mkdir(parents=True)
        (tmp_path / "data" / path).write_bytes(png)
    for _ in range(2):
        assert list(scanned(tmp_path / "data", tmp_path / "cache").notes) == ["", "wrong_extension"]


def test_a_image_that_a_visitor_wants_is_read_though_it_is_remembered(photos: Path, tmp_path: Path):
    class Wanting:
        def __init__(self) -> None:
            self.shown: list[str] = []

        def known(self, digest: str, decoded_by: str) -> bool:
            return digest in self.shown

        def visit(self, digest: str, pixels: np.ndarray, decoded_by: str) -> None:
            self.shown.append(digest)

    first = scanned(photos, tmp_path / "cache")
    wanting = Wanting()
    again = scanned(photos, tmp_path / "cache", hook=wanting)
    assert sorted(wanting.shown) == sorted(set(first.digests))
    assert same(first, again)


# ── interruptions and damage ──


def test_an_interrupted_scan_keeps_what_it_has_done(
    photos: Path, tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
):
    honest, count = inspect.decode, iter(range(1000))

    def stopping(*arguments: object, **options: object) -> object:
        if next(count) == 20:
            raise KeyboardInterrupt
        return honest(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(inspect, "decode", stopping)
        with pytest.raises(KeyboardInterrupt):
            scanned(photos, tmp_path / "cache")
    read.clear()
    assert scanned(photos, tmp_path / "cache").ok.all()
    assert len(read) <= 36 - 18


def test_a_flipped_byte_never_recalls_anything_else(photos: Path, tmp_path: Path):
    cache = tmp_path / "cache"
    first = scanned(photos, cache)
    file = next(cache.glob("scans*.sqlite"))
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(4096, len(whole), 40):
        shutil.rmtree(cache)
        cache.mkdir()
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :])
        assert same(scanned(photos, cache), first)


@pytest.mark.parametrize("content", [b"", b"noise" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_a_damaged_memory_is_made_anew(
    photos: Path, tmp_path: Path, read: list[str], content: bytes
):
    first = scanned(photos, tmp_path / "cache")
    next((tmp_path / "cache").glob("scans*.sqlite")).write_bytes(content)
    assert same(scanned(photos, tmp_path / "cache"), first)
    read.clear()
    scanned(photos, tmp_path / "cache")
    assert read == []


def test_without_a_memory_on_disk_the_scan_is_as_good(photos: Path, tmp_path: Path):
    (tmp_path / "no folder").write_text("")
    assert same(scanned(photos, tmp_path / "no folder"), scanned(photos, tmp_path / "cache"))


# ── copies ──


def planted(folder: Path) -> Path:
    """Two classes of images of noise, and a re-encoded, smaller copy of one of them."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(6):
            coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
            coarse.resize((240, 180), Image.Resampling.BICUBIC).save(
                folder / name / f"{number}.png"
            )
    Image.open(folder / "a" / "2.png").resize((160, 120)).save(
        folder / "a" / "copy.jpg", quality=60
    )
    return folder


def test_a_smaller_copy_is_linked_with_its_original(tmp_path: Path):
    catalog = scanned(planted(tmp_path / "data"), tmp_path / "cache")
    (copies,) = find_copies(catalog)
    assert [catalog.paths[row] for row in copies.rows] == ["a/2.png", "a/copy.jpg"]
    assert (copies.exact, copies.conflict) == (False, False)


def test_near_duplicates_are_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = planted(tmp_path / "data")
    first = scanned(data, tmp_path / "cache")
    monkeypatch.setattr(duplicates, "near_duplicates", None)
    assert same(scanned(data, tmp_path / "cache"), first)


def test_one_image_more_and_they_are_looked_for_again(tmp_path: Path):
    data = planted(tmp_path / "data")
    scanned(data, tmp_path / "cache")
    Image.open(data / "b" / "4.png").save(data / "b" / "copy.jpg", quality=70)
    assert len(find_copies(scanned(data, tmp_path / "cache"))) == 2


def test_images_of_one_kind_are_no_copies_of_each_other(tmp_path: Path):
    assert find_copies(scanned(write_classes(tmp_path / "data", 30), tmp_path / "cache")) == []
