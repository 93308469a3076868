"""The user's cache folder, and what is kept in it by content. Bounded, and safe to delete at any time."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import zlib
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.scan import Verdict

FORMAT = 2  # of the table; another one gets another file
KEPT_BYTES = int(os.environ.get("TELLAPART_CACHE_BYTES", 4 * 2**30))  # the oldest half goes when there is more
FLUSH_SECONDS = 2.0  # what an interruption can lose
LOCKED_SECONDS = 5.0  # how long another process may hold the file before this one goes on without it


def cache_folder() -> Path:
    """Where features and exported networks are kept: $TELLAPART_CACHE, or the system's cache folder for the user."""
    if named := os.environ.get("TELLAPART_CACHE"):
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_cache_dir("tellapart", appauthor=False))


class FeatureStore:
    """Numbers computed from a picture's content by a graph, kept in one SQLite file that many processes may share.

    A cache that cannot be read or written is left alone, and the work goes on without it.

    Args:
        folder: the cache folder.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[object, ...]] = []
        self._flushed = time.monotonic()
        self._works = True
        self._damaged = False
        self._path = folder / f"features-{FORMAT}.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = self._open()
        except (OSError, sqlite3.Error):
            self._db = sqlite3.connect(":memory:", check_same_thread=False)
            self._db.execute(_TABLE)

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=LOCKED_SECONDS, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute(_TABLE)
            db.execute("SELECT 1 FROM kept LIMIT 1").fetchall()
            columns = [row[1] for row in db.execute("PRAGMA table_info(kept)")]
            if columns != _COLUMNS:
                raise sqlite3.DatabaseError("another layout")
        except sqlite3.DatabaseError as error:
            db.close()
            if isinstance(error, sqlite3.OperationalError):  # locked or read-only: it is whole, but not for us now
                raise
            self._remove()
            return self._open()
        return db

    def _remove(self) -> None:
        """Damaged or of another layout, and only a cache."""
        for ending in ("", "-wal", "-shm"):
            Path(f"{self._path}{ending}").unlink(missing_ok=True)

    def get(self, graph: str, digest: str) -> tuple[NDArray[np.float32], Verdict] | None:
        """The kept numbers (D,) of a picture's content, and the verdict on it."""
        with self._lock:
            try:
                row = self._db.execute(_SELECT, (graph, digest)).fetchone()
            except sqlite3.Error:
                return None
        if row is None:
            return None
        values, width, height, notes, check = row
        if check != _check(graph, digest, values, width, height, notes):
            return None  # damaged on the disk: computed anew
        verdict = Verdict("ok", tuple(filter(None, notes.split(";"))), width, height, digest)
        return np.frombuffer(values, np.float32), verdict

    def put(self, graph: str, verdict: Verdict, values: NDArray[np.float32]) -> None:
        """Keep the numbers (D,) of a picture's content; they reach the disk within two seconds, or at `flush`."""
        row = (graph, verdict.digest, values.tobytes(), verdict.width, verdict.height, ";".join(verdict.notes))
        with self._lock:
            self._waiting.append((*row, _check(*row), int(time.time())))
        if self._works and time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits. A full disk or a locked file costs the cache, not the work."""
        with self._lock:
            try:
                with self._db:
                    self._db.executemany(_INSERT, self._waiting)
                self._waiting.clear()
            except sqlite3.OperationalError:  # full or locked
                self._works = False  # tried once more at the end; the work needs none of it
            except sqlite3.DatabaseError:  # damaged: the next run makes a new one
                self._works = False
                self._damaged = True
            self._flushed = time.monotonic()

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()
        self._forget_oldest()
        self._db.close()
        if self._damaged:
            self._remove()

    def _forget_oldest(self) -> None:
        try:
            (pages,) = self._db.execute("PRAGMA page_count").fetchone()
            (page_bytes,) = self._db.execute("PRAGMA page_size").fetchone()
            if pages * page_bytes > KEPT_BYTES:
                with self._db:
                    self._db.execute(_DELETE_OLDEST)
                self._db.execute("VACUUM")
        except sqlite3.Error:
            return


def _check(*row: object) -> int:
    """A checksum over a whole row: a damaged index can lead to another picture's numbers."""
    return zlib.crc32(repr(row).encode())


_TABLE = """CREATE TABLE IF NOT EXISTS kept (
    graph TEXT, digest TEXT, numbers BLOB, width INTEGER, height INTEGER, notes TEXT, sum INTEGER, kept INTEGER,
    PRIMARY KEY (graph, digest))"""
_COLUMNS = ["graph", "digest", "numbers", "width", "height", "notes", "sum", "kept"]
_SELECT = "SELECT numbers, width, height, notes, sum FROM kept WHERE graph = ? AND digest = ?"
_DELETE_OLDEST = """DELETE FROM kept WHERE rowid IN
    (SELECT rowid FROM kept ORDER BY kept LIMIT (SELECT count(*) / 2 FROM kept))"""
_INSERT = "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
