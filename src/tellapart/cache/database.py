"""One SQLite file that many processes may share. The work goes on if nobody can read or write it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

# The size of each file, above which the oldest half of its rows goes.
KEPT_BYTES = int(os.environ.get("TELLAPART_CACHE_BYTES", 4 * 2**30))
FLUSH_SECONDS = 2.0  # what an interruption can lose
LOCKED_SECONDS = 5.0  # of another process's lock, before this one goes on without the file

Self = TypeVar("Self", bound="Database")


class Database:
    """Tables on disk that are only a cache. Where they cannot be read or written, the work goes on
    without them.

    A damaged file, or one of another layout, is removed and made anew.

    Args:
        path: the file; its folder is made.
        tables: table → its columns as SQL. The last one must be `kept INTEGER`, the time of writing
            in seconds since 1970.
    """

    def __init__(self, path: Path, tables: Mapping[str, str]) -> None:
        self._path, self._tables = path, tables
        self._lock = threading.Lock()
        self._waiting: defaultdict[str, list[tuple[object, ...]]] = defaultdict(list)
        self._flushed = time.monotonic()
        self._works = True
        self._damaged = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = self._open()
        except (OSError, sqlite3.Error):
            self._db = sqlite3.connect(":memory:", check_same_thread=False)
            self._make_tables(self._db)

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=LOCKED_SECONDS, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            self._make_tables(db)
            for table in self._tables:
                db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall()  # noqa: S608 - a name of our own
            if not self._has_layout(db):
                raise sqlite3.DatabaseError("another layout")
        except sqlite3.DatabaseError as error:
            db.close()
            # Locked or read-only: the file is whole, but not for us now.
            if isinstance(error, sqlite3.OperationalError):
                raise
            self._remove()
            return self._open()
        return db

    def _make_tables(self, db: sqlite3.Connection) -> None:
        for table, columns in self._tables.items():
            db.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")

    def _has_layout(self, db: sqlite3.Connection) -> bool:
        """Whether the tables on disk have the columns that they would be made with."""
        with closing(sqlite3.connect(":memory:")) as fresh:
            self._make_tables(fresh)
            queries = [f"PRAGMA table_info({table})" for table in self._tables]
            return all(
                db.execute(query).fetchall() == fresh.execute(query).fetchall() for query in queries
            )

    def _remove(self) -> None:
        for ending in ("", "-wal", "-shm"):
            Path(f"{self._path}{ending}").unlink(missing_ok=True)

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What a SELECT finds on the disk. It finds nothing where it fails."""
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error:
                return []

    def _put(self, table: str, *values: object) -> None:
        """Add a row, or replace the one with its key. It reaches the disk within seconds, or at
        `flush`.
        """
        with self._lock:
            self._waiting[table].append((*values, int(time.time())))
        if self._works and time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait. A full disk or a locked file costs the cache, not the work."""
        with self._lock:
            try:
                with self._db:
                    for table, rows in self._waiting.items():
                        if rows:
                            marks = ", ".join("?" * len(rows[0]))
                            insert = f"INSERT OR REPLACE INTO {table} VALUES ({marks})"  # noqa: S608 - names of our own
                            self._db.executemany(insert, rows)
                self._waiting.clear()
            except sqlite3.OperationalError:  # full or locked
                self._works = False  # tried once more at the end; the work needs none of it
            except sqlite3.DatabaseError:  # damaged: the next run makes a new one
                self._works = False
                self._damaged = True
            self._flushed = time.monotonic()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
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
                    for table in self._tables:
                        self._db.execute(_DELETE_OLDEST.format(table=table))
                self._db.execute("VACUUM")
        except sqlite3.Error:
            return


_DELETE_OLDEST = """DELETE FROM {table} WHERE rowid IN
    (SELECT rowid FROM {table} ORDER BY kept LIMIT (SELECT count(*) / 2 FROM {table}))"""
