"""The other columns of a table: which are kept with the images, and in which form."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.images import write_names
from tellapart.catalog.table import Catalog
from tellapart.sources.source import read_source

NAMES = [f"{number}.jpg" for number in range(4)]


def catalog_of(folder: Path, text: str, name: str = "table.csv") -> Catalog:
    write_names(folder, NAMES)
    (folder / name).write_text(text)
    return read_source(folder / name)


def kept(catalog: Catalog) -> dict[str, list[str]]:
    return {name: column.tolist() for name, column in catalog.extras.items()}


def test_text_that_repeats_and_numbers_are_kept(tmp_path: Path):
    lines = ["path,label,camera,price", "0.jpg,a,x,1.5", "1.jpg,b,y,2", "2.jpg,a,,3", "3.jpg,b,x,4"]
    assert kept(catalog_of(tmp_path, "\n".join(lines))) == {
        "camera": ["x", "y", "", "x"],
        "price": ["1.5", "2", "3", "4"],
    }


def test_numbers_of_rows_and_captions_are_not(tmp_path: Path):
    lines = ["id,path,label,caption", *[f"{n},{n}.jpg,{'ab'[n % 2]},text {n}" for n in range(4)]]
    assert kept(catalog_of(tmp_path, "\n".join(lines))) == {}


def test_dates_that_differ_are_kept(tmp_path: Path):
    lines = ["path,label,day", *[f"{n}.jpg,{'ab'[n % 2]},2026-01-0{n + 1}" for n in range(4)]]
    assert kept(catalog_of(tmp_path, "\n".join(lines)))["day"][3] == "2026-01-04"


def test_lists_are_not_kept_and_halves_of_characters_are_replaced(tmp_path: Path):
    rows = [
        {"path": name, "label": "ab"[n % 2], "tags": ["x"], "site": "\ud800"}
        for n, name in enumerate(NAMES)
    ]
    catalog = catalog_of(tmp_path, "\n".join(map(json.dumps, rows)), "table.jsonl")
    assert kept(catalog) == {"site": ["?"] * 4}


def test_several_tables_may_have_different_columns(tmp_path: Path):
    write_names(tmp_path, NAMES)
    (tmp_path / "train.csv").write_text("path,label,camera\n0.jpg,a,x\n1.jpg,b,x\n")
    (tmp_path / "test.csv").write_text("path,label,site\n2.jpg,a,s\n3.jpg,b,s\n")
    assert kept(read_source(tmp_path)) == {
        "camera": ["x", "x", "", ""],
        "site": ["", "", "s", "s"],
    }
