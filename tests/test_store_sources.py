"""Folders and tables of images in a store as data: read like the same files on disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars
import pytest

import tellapart
from helpers.buckets import age, buckets_in
from helpers.commands import is_one_line, run_command, run_python
from helpers.images import write_classes, write_image
from helpers.probes import train_probe
from tellapart import Run, UserError
from tellapart.cache import ScanMemory
from tellapart.catalog.scan import scan
from tellapart.catalog.table import Catalog
from tellapart.decoders.rules import DEFAULT_RULES
from tellapart.runs.data_place import data_of
from tellapart.sources.source import name_of, read_source

pytest.importorskip("fsspec")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bucket, photos, with the class folders of 24 images and a file that is none."""
    folder = tmp_path_factory.mktemp("disk")
    photos = write_classes(folder / "photos", 8)
    (photos / "leaf" / "bad.jpg").write_bytes(b"no image")
    for path in photos.rglob("*.jpg"):
        age(path, 60)
    return folder


@pytest.fixture(scope="module")
def runs(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """The run of the folder, and that of the bucket, neither with what the other remembers."""
    out = tmp_path_factory.mktemp("runs")
    with buckets_in(disk), pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELLAPART_CACHE", str(out / "cache-1"))
        plain = train_probe(disk / "photos", out)
        patch.setenv("TELLAPART_CACHE", str(out / "cache-2"))
        return plain, train_probe("s3://photos/", out)


@pytest.fixture
def store(disk: Path, tmp_path: Path) -> Iterator[Any]:
    """The store, with buckets of this test's own."""
    shutil.copytree(disk, tmp_path / "buckets")
    with buckets_in(tmp_path / "buckets") as found:
        found.read.clear()
        found.listed.clear()
        yield found


@pytest.fixture
def photos(store: Any, tmp_path: Path) -> Path:
    """The bucket as a folder."""
    return tmp_path / "buckets" / "photos"


def scanned(source: object, cache: Path) -> Catalog:
    catalog = read_source(source)
    with ScanMemory(cache, catalog.files.place, DEFAULT_RULES) as memory:
        return scan(catalog, memory=memory)


def same(one: Catalog, other: Catalog) -> bool:
    columns = ("digests", "statuses", "labels", "widths", "notes")
    return all((getattr(one, name) == getattr(other, name)).all() for name in columns)


def write_table(path: Path, rows: list[tuple[str, str]]) -> Path:
    polars.DataFrame(rows, schema=["path", "label"], orient="row").write_csv(path)
    return path


def addresses(photos: Path) -> list[tuple[str, str]]:
    paths = sorted(photos.rglob("*.jpg"))
    return [(f"s3://photos/{path.parent.name}/{path.name}", path.parent.name) for path in paths]


# ── a run ──


@pytest.mark.parametrize("file", ["model.onnx", "catalog.parquet", "splits.parquet"])
def test_the_run_of_a_bucket_is_that_of_the_folder(runs: tuple[Run, Run], file: str):
    plain, stored = runs
    assert (stored.path / file).read_bytes() == (plain.path / file).read_bytes()


def test_the_scores_are_those_of_the_folder(runs: tuple[Run, Run]):
    plain, stored = runs
    assert stored.metrics == plain.metrics


def test_a_run_knows_the_address_of_its_data_and_the_name_of_its_bucket(runs: tuple[Run, Run]):
    assert data_of(runs[1].path) == "s3://photos"
    assert runs[1].path.name.endswith("-photos")


def test_what_a_run_needs_again_is_read_from_the_store(runs: tuple[Run, Run], disk: Path, tmp_path):
    run = shutil.copytree(runs[1].path, tmp_path / "run")
    with buckets_in(disk):
        assert tellapart.write_report(run, quiet=True).no_pictures == ""


# ── a scan ──


def test_each_object_is_read_once_and_each_folder_is_listed_once(
    store: Any, photos: Path, tmp_path
):
    found = scanned("s3://photos", tmp_path / "cache")
    assert same(found, scanned(photos, tmp_path / "other"))
    assert len(store.read) == len(found) == 25
    assert len(store.listed) == 4


def test_an_object_that_has_not_changed_is_known_without_reading_it(store: Any, tmp_path: Path):
    before = scanned("s3://photos", tmp_path / "cache")
    store.read.clear()
    assert same(scanned("s3://photos", tmp_path / "cache"), before)
    assert store.read == []


def test_an_object_that_has_changed_is_read_again(store: Any, photos: Path, tmp_path: Path):
    before = scanned("s3://photos", tmp_path / "cache")
    store.read.clear()
    age(write_image(photos / "sky" / "000.jpg", 99), 30)
    after = scanned("s3://photos", tmp_path / "cache")
    assert store.read == ["000.jpg"]
    assert (after.digests != before.digests).sum() == 1


def test_a_catalog_of_a_store_is_listed_anew_when_it_is_read_again(
    store: Any, photos: Path, tmp_path
):
    before = scanned("s3://photos", tmp_path / "cache")
    age(write_image(photos / "sky" / "000.jpg", 99), 30)
    assert (scanned(before, tmp_path / "cache").digests != before.digests).sum() == 1


def test_what_the_store_does_not_give_has_a_status(store: Any, photos: Path, tmp_path: Path):
    catalog = read_source("s3://photos")
    (photos / "sky" / "000.jpg").unlink()
    (photos / "sky" / "001.jpg").write_bytes(b"")
    found = scan(catalog)
    assert found.status_counts == {"ok": 22, "missing": 1, "empty": 1, "not_an_image": 1}
    assert set(found.digests[~found.ok]) == {""}  # as of such files on disk


def test_one_object_that_fails_has_a_status(store: Any, monkeypatch):
    own = store.cat_file

    def failing(self: Any, path: str, **limits: int) -> bytes:
        if path.endswith("sky/000.jpg"):
            raise ConnectionError("reset by peer")
        return own(self, path, **limits)

    monkeypatch.setattr(store, "cat_file", failing)
    found = scan(read_source("s3://photos"))
    assert found.status_counts == {"ok": 23, "not_an_image": 1, "unreadable": 1}
    assert "The store says: reset by peer" in found.details.tolist()


def test_a_store_that_no_longer_answers_ends_the_scan_with_its_words(store: Any, monkeypatch):
    def failing(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    catalog = read_source("s3://photos")
    monkeypatch.setattr(store, "cat_file", failing)
    monkeypatch.setattr(store, "info", failing)
    with pytest.raises(UserError, match=r"s3://photos/.* does not answer \(no route to host\)"):
        scan(catalog)


# ── tables ──


def test_a_table_of_addresses_gives_what_a_table_of_paths_does(store: Any, photos: Path, tmp_path):
    rows = addresses(photos)
    plain = write_table(
        photos / "t.csv", [(path.removeprefix("s3://photos/"), c) for path, c in rows]
    )
    stored = write_table(tmp_path / "t.csv", rows)
    assert same(scanned(stored, tmp_path / "cache"), scanned(plain, tmp_path / "other"))


def test_a_table_may_lie_in_the_store_itself(store: Any, photos: Path, tmp_path: Path):
    write_table(photos / "t.csv", [("leaf/000.jpg", "a"), ("sky/000.jpg", "b")])
    found = scanned("s3://photos/t.csv", tmp_path / "cache")
    assert found.paths.tolist() == ["leaf/000.jpg", "sky/000.jpg"]
    assert found.ok.all()


def test_addresses_may_stand_in_a_frame_or_a_list_and_in_several_buckets(store: Any, photos: Path):
    shutil.copytree(photos, photos.parent / "other")
    pairs = [("s3://photos/sky/000.jpg", "a"), ("s3://other/leaf/000.jpg", "b")]
    frame = polars.DataFrame(pairs, schema=["path", "label"], orient="row")
    for_list, for_frame = scan(read_source(pairs)), scan(read_source(frame))
    assert for_list.paths.tolist() == ["other/leaf/000.jpg", "photos/sky/000.jpg"]
    assert same(for_list, for_frame) and for_list.ok.all()


def test_an_address_of_nothing_in_a_table_has_a_status(store: Any, photos: Path, tmp_path: Path):
    rows = [*addresses(photos), ("s3://photos/sky/gone.jpg", "sky")]
    found = scan(read_source(write_table(tmp_path / "t.csv", rows)))
    assert found.status_counts["missing"] == 1


def test_copies_on_disk_beside_a_table_of_addresses_are_used(store: Any, photos: Path):
    table = write_table(photos / "t.csv", addresses(photos))
    assert scan(read_source(table)).ok.sum() == 24
    assert store.read == []


# ── the command line, and what cannot work ──


def test_the_command_line_takes_an_address(store: Any, tmp_path: Path):
    found = run_command(
        "explore", "s3://photos/", "--out", tmp_path / "p.html", "--json", "-q"
    ).json
    assert (found["files"], found["usable"]) == (25, 24)
    assert name_of(Path("s3://photos/")) == "photos"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("s3://gone/", "There is nothing at s3://gone"),
        ("s3://photos/leaf/000.jpg", "s3://photos/leaf/000.jpg is no folder of images"),
        ("s3://texts/", "Found: 1 .md files"),
    ],
)
def test_what_is_no_source_is_one_line(store: Any, photos: Path, address: str, words: str):
    (photos.parent / "texts").mkdir()
    (photos.parent / "texts" / "notes.md").write_text("nothing")
    done = run_command("train", address)
    assert done.code == 2 and is_one_line(done.err) and words in done.err


def test_a_store_that_cannot_be_listed_is_one_line(store: Any, monkeypatch):
    monkeypatch.setattr(store, "ls", lambda *_, **__: 1 / 0)
    done = run_command("train", "s3://photos")
    assert is_one_line(done.err) and "s3://photos cannot be listed (division by zero)" in done.err


def test_a_missing_package_is_named_with_the_extra():
    code = (
        "import sys; sys.modules.update(gcsfs=None); import tellapart\n"
        "try: tellapart.explore('gs://photos', quiet=True)\n"
        "except tellapart.UserError as error: print(error)"
    )
    assert "pip install 'tellapart[cloud]'" in run_python(code).stdout


def test_a_table_of_addresses_and_paths_is_refused(store: Any, tmp_path: Path):
    table = write_table(tmp_path / "t.csv", [("s3://photos/sky/000.jpg", "a"), ("b.jpg", "b")])
    with pytest.raises(UserError, match="at different kinds of places"):
        read_source(table)


def test_a_table_of_addresses_of_nothing_is_refused(store: Any, tmp_path: Path):
    table = write_table(tmp_path / "t.csv", [("s3://gone/1.jpg", "a"), ("s3://gone/2.jpg", "b")])
    with pytest.raises(UserError, match=r"None of the 2 images .* is in its store"):
        read_source(table)
