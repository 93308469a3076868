"""The processes that look at many files: the same verdicts as here, and a crash costs one file."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from helpers import odd_images as odd
from tellapart.cache import ScanMemory, scans
from tellapart.catalog import scan as scanning
from tellapart.catalog import workers
from tellapart.catalog.scan import scan
from tellapart.catalog.table import Catalog
from tellapart.decoders.rules import DecodeRules
from tellapart.sources.source import read_source

LIMIT = 10**6
COLUMNS = ("paths", "labels", "statuses", "notes", "widths", "heights", "digests", "taken")

# What a worker runs where its decoder is to die over some files.
MORTAL = """
import json, os, sys
from pathlib import Path
from tellapart.catalog import inspect, workers
decode = inspect.decode
inspect.decode = lambda data, **options: os.abort() if b"fatal" in data else decode(data, **options)
workers.serve(Path(sys.argv[1]), workers.DecodeRules.from_json(json.loads(sys.argv[2])))
"""


def scanned(data: Path, cache: Path) -> Catalog:
    catalog = read_source(data)
    with ScanMemory(cache, catalog.files.place, DecodeRules(max_pixels=LIMIT)) as memory:
        return scan(catalog, rules=DecodeRules(max_pixels=LIMIT), memory=memory)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Scans go to processes, however few files there are. The list counts them."""
    started: list[int] = []
    honest = workers.Worker.start

    def counting(self: workers.Worker) -> None:
        started.append(1)
        honest(self)

    monkeypatch.setattr(scanning, "WORTH_PROCESSES", 1)
    monkeypatch.setattr(workers, "usable_cores", lambda: 2)
    monkeypatch.setattr(workers.Worker, "start", counting)
    monkeypatch.setattr(scans, "SETTLED_SECONDS", -60.0)
    return started


@pytest.fixture
def salted(photos: Path) -> Path:
    (photos / "odd").mkdir()
    odd.salt(photos / "odd")
    return photos


def test_the_verdicts_are_those_of_threads(salted: Path, tmp_path: Path, apart: list[int]):
    by_processes = scanned(salted, tmp_path / "one")
    assert len(apart) == 2
    scanning.WORTH_PROCESSES = 10**9
    by_threads = scanned(salted, tmp_path / "other")
    assert len(apart) == 2
    assert all(
        np.array_equal(getattr(by_processes, name), getattr(by_threads, name)) for name in COLUMNS
    )


def test_what_they_find_is_remembered(photos: Path, tmp_path: Path, apart: list[int]):
    first = scanned(photos, tmp_path)
    catalog = read_source(photos)
    with ScanMemory(tmp_path, catalog.files.place, DecodeRules(max_pixels=LIMIT)) as memory:
        again = scan(catalog, rules=DecodeRules(max_pixels=LIMIT), memory=memory)
        assert all(memory.thumbnail_of(digest) for digest in again.digests)
    assert np.array_equal(first.digests, again.digests)
    assert len(apart) == 2


def test_names_of_every_kind_reach_them(photos: Path, tmp_path: Path, apart: list[int]):
    names = ("a\nb.jpg", "caf\udce9\\.jpg", "-x 🦊'\".jpg", "z" * 240 + ".jpg")
    for number, name in enumerate(names):
        (photos / "sky" / f"00{number}.jpg").rename(photos / "sky" / name)
    assert scanned(photos, tmp_path / "cache").ok.all()


def test_a_crash_costs_the_file_that_caused_it(
    photos: Path, tmp_path: Path, apart: list[int], monkeypatch: pytest.MonkeyPatch
):
    fatal = [photos / "leaf" / "004.jpg", photos / "sky" / "011.jpg"]
    for path in fatal:
        path.write_bytes(path.read_bytes() + b"fatal")
    start = workers.Worker.start

    def mortal(self: workers.Worker) -> None:
        self.command = [sys.executable, "-c", MORTAL, *self.command[-2:]]
        start(self)
        self.command = [*self.command[:1], "-c", "", *self.command[-2:]]

    monkeypatch.setattr(workers.Worker, "start", mortal)
    catalog = scanned(photos, tmp_path / "cache")
    rejected = dict(zip(catalog.paths[~catalog.ok], catalog.statuses[~catalog.ok], strict=True))
    assert rejected == {"leaf/004.jpg": "corrupt", "sky/011.jpg": "corrupt"}
    assert len(apart) == 4


def test_where_none_can_be_started_threads_do_it(
    photos: Path, tmp_path: Path, apart: list[int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "executable", sys.executable + "-that-is-not-there")
    assert scanned(photos, tmp_path / "cache").ok.all()


def test_they_end_with_the_scan(
    photos: Path, tmp_path: Path, apart: list[int], monkeypatch: pytest.MonkeyPatch
):
    ended = []
    close = workers.Worker.close

    def noting(self: workers.Worker) -> None:
        close(self)
        ended.append(self._process.returncode)

    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workers.Worker, "close", noting)
    catalog = read_source(photos)
    with (
        ScanMemory(tmp_path, catalog.files.place, DecodeRules(max_pixels=LIMIT)) as memory,
        pytest.raises(KeyboardInterrupt),
    ):
        scan(catalog, rules=DecodeRules(max_pixels=LIMIT), memory=memory, advance=stop)
    assert ended == [0, 0]
