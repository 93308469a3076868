"""A table that is written row by row, so that its rows need no memory and an interruption loses none.

Until it is whole it lies beside its own name, as `answers.csv.part`.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from tellapart.errors import Refused, UserError, reason_of
from tellapart.tables import Columns, Row, csv_cell, to_frame
from tellapart.writing import FULL, sync_folder

CHUNK = 20_000  # rows of a Parquet table that are in memory at a time


class TableFile:
    """A table that grows: CSV, JSON Lines or Parquet, as the ending of its path says.

    If the work within `with` fails, the rows so far stay in `part`.

    Args:
        path: of the whole table; `check_table_name` has seen it.
        columns: name → type of its cells.

    Raises:
        UserError: the folder cannot be written to.
    """

    def __init__(self, path: Path, columns: Columns) -> None:
        self.path, self.part = path, path.with_name(f"{path.name}.part")
        self.rows = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = _WRITERS[path.suffix.lower()](self.part, columns)
        except OSError as error:
            raise self._error(error) from error

    def add(self, row: Row) -> None:
        """Write a row.

        Raises:
            Refused: the disk is full. The rows so far stay in `part`.
        """
        try:
            self._writer.add(row)
        except OSError as error:
            raise self._error(error) from error
        self.rows += 1

    def __enter__(self) -> TableFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._writer.close()
            if not self.rows and kind:
                self.part.unlink()
            if not kind:
                os.replace(self.part, self.path)
                sync_folder(self.path.parent)
        except OSError as failure:
            if not kind:  # else that error is the one to tell
                raise self._error(failure) from failure

    def _error(self, error: OSError) -> UserError:
        if error.errno in FULL:
            return Refused(
                f"{self.path} could not be written: the disk is full. The first {self.rows:,} rows"
                f" are in {self.part}.",
                "Make room, or choose another folder, and run the command again.",
            )
        return UserError(
            f"{self.part} could not be written ({reason_of(error)}).",
            "Choose a folder that you may write to.",
        )


class _Writer(Protocol):
    """Writes the rows of one kind of table."""

    def add(self, row: Row) -> None:
        """Write a row, or hold it until there are more."""

    def close(self) -> None:
        """Write what is held. The file is then as whole as its rows."""


class _Lines:
    """CSV or JSON Lines."""

    def __init__(self, part: Path) -> None:
        self.file: IO[str] = part.open("w", encoding="utf-8", newline="")

    def close(self) -> None:
        """Write the rest, as safe from a power cut as can be."""
        with self.file:
            self.file.flush()
            os.fsync(self.file.fileno())


class Csv(_Lines):
    """Rows as comma-separated values."""

    def __init__(self, part: Path, columns: Columns) -> None:
        super().__init__(part)
        self._columns = columns
        self._rows = csv.writer(self.file, lineterminator="\r\n")
        self._rows.writerow([csv_cell(name) for name in columns])

    def add(self, row: Row) -> None:
        """Write a row."""
        self._rows.writerow([csv_cell(row[name]) for name in self._columns])


class _JsonLines(_Lines):
    def __init__(self, part: Path, _: Columns) -> None:
        super().__init__(part)

    def add(self, row: Row) -> None:
        self.file.write(json.dumps(dict(row), ensure_ascii=False) + "\n")


class _Parquet:
    """Chunks in a folder, which become one file at the end: a Parquet file cannot grow."""

    def __init__(self, part: Path, columns: Columns) -> None:
        self._part, self._columns = part, columns
        self._folder = part.with_name(f"{part.name}s")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._held: list[dict[str, Any]] = []
        self._chunks: list[Path] = []
        part.touch()

    def add(self, row: Row) -> None:
        self._held.append(dict(row))
        if len(self._held) == CHUNK:
            self._folder.mkdir(exist_ok=True)
            chunk = self._folder / f"{len(self._chunks):06}.parquet"
            to_frame(self._held, self._columns).write_parquet(chunk)
            self._chunks.append(chunk)
            self._held.clear()

    def close(self) -> None:
        rest = to_frame(self._held, self._columns)
        if not self._chunks:
            rest.write_parquet(self._part)
            return
        import polars

        last = self._folder / "rest.parquet"
        rest.write_parquet(last)
        polars.scan_parquet([*self._chunks, last]).sink_parquet(self._part)
        shutil.rmtree(self._folder)


_WRITERS: Mapping[str, Any] = {".csv": Csv, ".jsonl": _JsonLines, ".parquet": _Parquet}
