"""The cache: what is kept by content, and that nothing that happens to it matters."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tellapart
from tellapart import Refused, scratch
from tellapart.cache import FeatureStore, ScanMemory, blocks, cache_folder, database, records, scans
from tellapart.decoders.rules import DecodeRules

SMALL = {"preprocessing.size_px": 64}
PUT_AND_WAIT = """
import sys
from pathlib import Path
import numpy as np
from tellapart.cache import FeatureStore
with FeatureStore(Path(sys.argv[1])) as store:
    store.put("graph", "of the other", np.full(1280, 7, np.float32))
    store.flush()
    print(flush=True)
    sys.stdin.read()
"""


def digest(number: int) -> str:
    return f"{number:064x}"


def numbers(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=1280).astype(np.float32)


def keep(folder: Path, count: int, graph: str = "graph") -> None:
    with FeatureStore(folder) as store:
        for number in range(count):
            store.put(graph, digest(number), numbers(number))


def kept(folder: Path, count: int, graph: str = "graph") -> list[int]:
    """The numbers of what is kept, each checked to be what was put."""
    with FeatureStore(folder) as store:
        found = {number: store.get(graph, digest(number)) for number in range(count)}
    for number, entry in found.items():
        assert entry is None or (entry == numbers(number)).all()
    return [number for number, entry in found.items() if entry is not None]


def files_in(folder: Path) -> list[Path]:
    """The files that keep features, keys before records."""
    return sorted(folder.glob("features*/*/*"))


# ── what is kept ──


def test_what_is_put_comes_back_(tmp_path: Path):
    keep(tmp_path, 1)
    with FeatureStore(tmp_path) as store:
        assert (store.get("graph", digest(0)) == numbers(0)).all()


def other_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tellapart.decoders.rules.CONTRACT", 99)


def other_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tellapart.cache.features.pillow_version", "99.0")


def other_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tellapart.cache.features.version", lambda _: "99.0")


@pytest.mark.parametrize("change", [other_contract, other_pillow, other_runtime])
def test_features_of_other_pixels_or_another_runtime_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch], None]
):
    keep(tmp_path, 1)
    assert kept(tmp_path, 1) == [0]
    change(monkeypatch)
    assert kept(tmp_path, 1) == []


def test_when_decoding_changes_a_training_computes_its_features_anew(
    photos: Path, monkeypatch: pytest.MonkeyPatch
):
    runs = photos.parent / "runs"
    tellapart.train(photos, set=SMALL, out=runs, name="first", quiet=True)
    again = tellapart.train(photos, set=SMALL, out=runs, name="again", quiet=True)
    other_contract(monkeypatch)
    changed = tellapart.train(photos, set=SMALL, out=runs, name="changed", quiet=True)
    assert (computed(again), computed(changed)) == (0, 36)


def test_another_graph_has_numbers_of_its_own(tmp_path: Path):
    keep(tmp_path, 1)
    assert kept(tmp_path, 1, graph="another graph") == []


def test_what_is_put_is_on_the_disk_after_a_flush_though_nothing_is_closed(tmp_path: Path):
    with FeatureStore(tmp_path) as store:
        store.put("graph", digest(0), numbers(0))
        store.flush()
        assert kept(tmp_path, 1) == [0]


def put_and_fail(folder: Path) -> None:
    with FeatureStore(folder) as store:
        store.put("graph", digest(0), numbers(0))
        raise KeyboardInterrupt


def test_work_that_fails_keeps_what_it_has_done(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        put_and_fail(tmp_path)
    assert kept(tmp_path, 1) == [0]


def test_many_threads_may_put_at_once(tmp_path: Path):
    with FeatureStore(tmp_path) as store:
        threads = [
            threading.Thread(target=store.put, args=("graph", digest(number), numbers(number)))
            for number in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(kept(tmp_path, 20)) == 20


def test_two_trainings_may_share_it(tmp_path: Path):
    with FeatureStore(tmp_path) as one, FeatureStore(tmp_path) as other:
        one.put("graph", digest(0), numbers(0))
        other.put("graph", digest(1), numbers(1))
    assert kept(tmp_path, 2) == [0, 1]


def test_a_second_training_adds_to_the_files_of_the_first(tmp_path: Path):
    keep(tmp_path, 2)
    keep(tmp_path, 4)
    assert kept(tmp_path, 4) == [0, 1, 2, 3]
    assert len(files_in(tmp_path)) == 2


def test_what_another_process_adds_to_is_left_alone_and_both_are_kept(tmp_path: Path):
    command = [sys.executable, "-c", PUT_AND_WAIT, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        keep(tmp_path, 2)
        other.communicate(b"go on")
    with FeatureStore(tmp_path) as store:
        assert (store.get("graph", "of the other") == 7).all()
    assert kept(tmp_path, 2) == [0, 1]


def test_one_file_after_the_other_is_filled_and_all_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4 * 5120)
    monkeypatch.setattr(records, "WAITING_BYTES", 5120)
    monkeypatch.setattr(records, "RECENT", 8)
    keep(tmp_path, 20)
    assert len(files_in(tmp_path)) > 4
    assert kept(tmp_path, 20) == list(range(20))


def test_when_there_is_too_much_the_oldest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1)
    monkeypatch.setattr(records, "WAITING_BYTES", 0)
    keep(tmp_path, 6)
    monkeypatch.setattr(database, "KEPT_BYTES", 3 * 5200)
    keep(tmp_path, 0)
    assert kept(tmp_path, 6) == [3, 4, 5]


def test_many_features_come_in_the_order_that_is_asked_for(tmp_path: Path):
    keep(tmp_path, 5)
    with FeatureStore(tmp_path) as store:
        found = store.gather("graph", [digest(3), digest(0), digest(3)])
    assert (found == np.stack([numbers(3), numbers(0), numbers(3)])).all()


def test_very_many_features_lie_in_a_file_and_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    keep(tmp_path, 5)
    monkeypatch.setattr(scratch, "HELD_BYTES", 0)
    with FeatureStore(tmp_path) as store:
        found = store.gather("graph", [digest(number) for number in range(5)])
    assert (found == np.stack([numbers(number) for number in range(5)])).all()


def test_features_that_were_lost_meanwhile_end_the_work_with_the_way_out(tmp_path: Path):
    with FeatureStore(tmp_path) as store, pytest.raises(Refused, match="Run the command again"):
        store.gather("graph", [digest(0)])


def test_the_folder_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


def test_the_folder_is_the_systems_own_where_nobody_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("TELLAPART_CACHE")
    assert cache_folder().name == "tellapart"
    assert cache_folder().is_absolute()


# ── what can happen to it ──

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda data: b"",
    "cut in the header": lambda data: data[:50],
    "cut in half": lambda data: data[: len(data) // 2],
    "short of its last page": lambda data: data[:-4096],
    "noise": lambda data: np.random.default_rng(0).bytes(20_000),
    "noise in the middle": (
        lambda data: data[:8192] + np.random.default_rng(0).bytes(40_960) + data[49_152:]
    ),
    "another kind of file": lambda data: b"%PDF-1.7" + data,
}


@pytest.mark.parametrize("which", [0, 1], ids=["keys", "records"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_gives_nothing_wrong_and_is_good_again_after(
    tmp_path: Path, damage: Callable[[bytes], bytes], which: int
):
    keep(tmp_path, 30)
    file = files_in(tmp_path)[which]
    file.write_bytes(damage(file.read_bytes()))
    kept(tmp_path, 30)
    keep(tmp_path, 30)
    assert len(kept(tmp_path, 30)) == 30


@pytest.mark.parametrize("which", [0, 1], ids=["keys", "records"])
def test_a_flipped_byte_never_gives_other_numbers(tmp_path: Path, which: int):
    keep(tmp_path, 30)
    file = files_in(tmp_path)[which]
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 40):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :])
        kept(tmp_path, 30)  # which checks them


def test_a_part_of_a_record_that_a_crash_left_is_written_over(tmp_path: Path):
    keep(tmp_path, 3)
    for file in files_in(tmp_path):
        file.write_bytes(file.read_bytes() + b"part")
    keep(tmp_path, 6)
    assert kept(tmp_path, 6) == list(range(6))


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_the_cache_and_no_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    keep(tmp_path, 2)
    with monkeypatch.context() as patch, FeatureStore(tmp_path) as store:
        patch.setattr(blocks, "write_all", no_room)
        for number in range(5):
            store.put("graph", digest(number), numbers(number))
        store.flush()
        found = store.gather("graph", [digest(number) for number in range(5)])
        store.close()
    assert (found == np.stack([numbers(number) for number in range(5)])).all()
    assert kept(tmp_path, 5) == [0, 1]


def test_a_disk_that_has_room_again_gets_all_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with FeatureStore(tmp_path) as store:
        with monkeypatch.context() as patch:
            patch.setattr(blocks, "write_all", no_room)
            store.put("graph", digest(0), numbers(0))
            store.flush()
        store.put("graph", digest(1), numbers(1))
    assert kept(tmp_path, 2) == [0, 1]


def test_where_files_cannot_be_locked_each_training_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def without_locks(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(blocks, "lock", without_locks)
    keep(tmp_path, 2)
    keep(tmp_path, 4)
    assert kept(tmp_path, 4) == [0, 1, 2, 3]
    assert len(files_in(tmp_path)) == 4


def test_files_that_another_process_deletes_meanwhile_are_computed_anew(tmp_path: Path):
    keep(tmp_path, 3)
    with FeatureStore(tmp_path) as store:
        assert store.get("graph", digest(0)) is not None
        shutil.rmtree(tmp_path)
        assert (store.get("graph", digest(1)) == numbers(1)).all()  # it is mapped already
    keep(tmp_path, 3)
    assert kept(tmp_path, 3) == [0, 1, 2]


# ── the tables in one file ──


def remember(folder: Path, count: int) -> None:
    with ScanMemory(folder, "place", DecodeRules()) as memory:
        for number in range(count):
            memory.remember_pairs(str(number), np.full((500, 2), number))


def recalled(folder: Path, count: int) -> list[int]:
    with ScanMemory(folder, "place", DecodeRules()) as memory:
        found = {number: memory.recall_pairs(str(number)) for number in range(count)}
    return [number for number, pairs in found.items() if pairs is not None]


def table_in(folder: Path) -> Path:
    return next(folder.glob("scans*.sqlite"))


def test_when_there_is_too_much_in_a_table_the_oldest_half_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clock = iter(range(1000))
    monkeypatch.setattr(database.time, "time", lambda: next(clock))
    remember(tmp_path, 20)
    before = table_in(tmp_path).stat().st_size
    monkeypatch.setattr(database, "KEPT_BYTES", 10_000)
    remember(tmp_path, 0)
    assert recalled(tmp_path, 20)[0] >= 5
    assert table_in(tmp_path).stat().st_size < before


def test_a_damaged_file_leaves_no_old_journal_behind(tmp_path: Path):
    remember(tmp_path, 5)
    file = table_in(tmp_path)
    for name in ("-wal", "-shm"):
        Path(f"{file}{name}").write_bytes(b"of the old file" * 100)
    file.write_bytes(b"noise" * 1000)
    remember(tmp_path, 5)
    assert len(recalled(tmp_path, 5)) == 5


def test_a_file_of_an_older_layout_is_in_nobodys_way(tmp_path: Path):
    with sqlite3.connect(tmp_path / f"scans-{scans.FORMAT}.sqlite") as old:
        old.execute("CREATE TABLE sets (key TEXT PRIMARY KEY, pairs BLOB)")
    old.close()
    remember(tmp_path, 3)
    assert len(recalled(tmp_path, 3)) == 3


def test_a_locked_file_costs_little_time_and_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(database, "LOCKED_SECONDS", 0.2)
    remember(tmp_path, 2)
    other = sqlite3.connect(table_in(tmp_path))
    other.execute("BEGIN IMMEDIATE")
    assert recalled(tmp_path, 2) == [0, 1]
    remember(tmp_path, 5)
    other.close()
    assert recalled(tmp_path, 5) == [0, 1]


# ── a cache that cannot be used ──


def test_a_folder_that_cannot_be_made_is_survived(tmp_path: Path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    keep(tmp_path / "cache", 3)
    assert kept(tmp_path / "cache", 3) == []


# ── and to a training ──


def computed(run: tellapart.Run) -> int:
    """For how many images a training computed features."""
    return int(re.search(r"features computed for (\d+)", (run.path / "log.txt").read_text())[1])


def test_a_training_without_a_cache_is_as_good(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with_cache = tellapart.train(photos, set=SMALL, out=tmp_path / "runs", quiet=True)
    (tmp_path / "no folder").write_text("")
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "no folder"))
    without = tellapart.train(photos, set=SMALL, out=tmp_path / "runs", quiet=True)
    assert computed(without) == 36
    assert without.model.read_bytes() == with_cache.model.read_bytes()


@pytest.mark.skipif(
    hasattr(os, "getuid") and os.getuid() == 0, reason="nothing is read-only to root"
)
def test_a_training_with_a_read_only_cache_is_as_good(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "cache").mkdir(mode=0o500)
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    assert tellapart.train(photos, set=SMALL, out=tmp_path / "runs", quiet=True).model.exists()


def test_a_training_with_a_damaged_cache_computes_anew(
    photos: Path, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    before = tellapart.train(photos, set=SMALL, out=tmp_path / "runs", quiet=True)
    for file in files_in(own_cache):
        file.write_bytes(b"noise" * 1000)
    after = tellapart.train(photos, set=SMALL, out=tmp_path / "runs", quiet=True)
    assert computed(after) == 36
    assert after.model.read_bytes() == before.model.read_bytes()
