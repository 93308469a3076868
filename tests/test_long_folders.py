"""The files of a folder are sorted in bounded memory, whatever their names are and their number."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest

from tellapart.catalog.files import Item
from tellapart.sources import long_folders
from tellapart.sources.inputs import expand_inputs
from tellapart.sources.long_folders import sorted_items

NAMES = ["b.jpg", "a b.jpg", "é.jpg", "Z.jpg", "日本.jpg", "🦉.jpg", "two\nlines.jpg", "\\xe9.jpg"]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_folders, "HELD", 3)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7, 200])
def test_files_come_sorted_however_many_they_are(count: int):
    items = [Item(f"{name} {number}", False) for number in range(count) for name in NAMES]
    random.Random(0).shuffle(items)
    files, folders = sorted_items(items)
    assert (list(files), folders, len(files)) == (sorted(items), [], len(items))


def test_folders_and_links_stay_what_they_are():
    items = [Item(name, name == "Z.jpg", name == "b.jpg") for name in NAMES]
    files, folders = sorted_items(items)
    assert folders == [Item("Z.jpg", True, False)]
    assert [item.name for item in files if item.link] == ["b.jpg"]


def test_two_may_go_through_them_at_once():
    files, _ = sorted_items(Item(f"{number:03}", False) for number in range(50))
    assert list(zip(files, files, strict=True)) == [(item, item) for item in files]


def test_without_room_for_a_temporary_file_the_names_stay_in_memory(monkeypatch):
    def full() -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    files, _ = sorted_items(Item(f"{number:03}", False) for number in range(50, 0, -1))
    assert [item.name for item in files] == [f"{number:03}" for number in range(1, 51)]


def test_a_walk_has_the_order_that_it_has_in_a_short_folder(tmp_path: Path, monkeypatch):
    for number in range(40):
        (tmp_path / f"{number * 7 % 40}.jpg").touch()
    long = list(expand_inputs([tmp_path], None))
    monkeypatch.setattr(long_folders, "HELD", 1000)
    assert list(expand_inputs([tmp_path], None)) == long
