"""A table that is written row by row, so that its rows need no memory and an interruption loses none.

Until it is whole it lies beside its own name, as `answers.csv.part`. Work that was stopped in any way,
even by SIGKILL, goes on behind the last whole row of that file, so what tells how far it came is the
file itself. A small file beside it says of what work it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tellapart.errors import Refused, UserError, reason_of
from tellapart.table_writers import WRITERS, Writer
from tellapart.tables import Columns, Row
from tellapart.writing import FULL, sync_folder, write_whole

BEGIN_ANEW = "Leave out --resume to begin anew, or write to another name."

WHOLE = "whole"  # in the file of the origin: the table got its name, or is about to

# What a table is made by and of: words of JSON. Work goes on only where all of them are the same.
Origin = Mapping[str, Any]


class TableFile:
    """A table that grows: CSV, JSON Lines or Parquet, as the ending of its path says.

    If the work within `with` fails, the rows so far stay in `part`.

    Args:
        path: of the whole table; `check_table_name` has seen it.
        columns: name → type of its cells.
        origin: what the rows are made by. None where the work never goes on.
        resume: go on with the rows that are there. `kept` must be read to its end before a row is
            added.

    Raises:
        UserError: the folder cannot be written to, or what is there has another origin.
    """

    def __init__(
        self, path: Path, columns: Columns, *, origin: Origin | None = None, resume: bool = False
    ) -> None:
        self.path, self.part = path, path.with_name(f"{path.name}.part")
        self.rows = 0
        self.is_whole = False  # all of it was written before, by work that ended there
        self._origin, self._of = path.with_name(f"{path.name}.part.json"), origin
        self._writer: Writer = WRITERS[path.suffix.lower()](self.part, columns)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._goes_on = resume and self._origin.exists()
            if self._goes_on:
                found = read_origin(self._origin)
                check_origin(self.part, found, origin)
                renamed = path.exists() and not self.part.exists()
                self.is_whole = renamed and found.get(WHOLE) is True
            else:
                self._begin()
        except OSError as error:
            raise self._error(error) from error

    @property
    def saved(self) -> int:
        """How many rows stay where they are if the work ends here."""
        return self.rows

    def _begin(self) -> None:
        # Rows that are cut away first: what tells their origin never stands beside other rows.
        self._origin.unlink(missing_ok=True)
        self._writer.begin()
        if self._of is not None:
            write_whole(self._origin, json.dumps(self._of, indent=1) + "\n")

    def kept(self) -> Iterator[Row]:
        """The rows that earlier work has written, one by one. Each is then counted in `rows`."""
        if not self._goes_on:
            return
        try:
            found = self._writer.read(self.path) if self.is_whole else self._writer.resume()
            for row in found:
                self.rows += 1
                yield row
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
            if not self.is_whole:
                self._writer.close()
            if not kind:
                self._finish()
            else:
                self._leave()
        except OSError as failure:
            if not kind:  # else that error is the one to tell
                raise self._error(failure) from failure

    def _finish(self) -> None:
        # The origin goes last, so that work which ends in between finds the table whole.
        if not self.is_whole:
            if self._of is not None:
                write_whole(self._origin, json.dumps({**self._of, WHOLE: True}) + "\n")
            os.replace(self.part, self.path)
            sync_folder(self.path.parent)
        self._writer.clear()
        self._origin.unlink(missing_ok=True)

    def _leave(self) -> None:
        """What stays of work that failed: the rows, and what it takes to go on."""
        if self._goes_on:
            return
        if not self.rows:
            self.part.unlink(missing_ok=True)
        if self._of is None or not self.rows:
            self._writer.clear()
            self._origin.unlink(missing_ok=True)

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


def read_origin(path: Path) -> Origin:
    """The origin in a file.

    Raises:
        UserError: it is none of ours.
    """
    try:
        found = json.loads(path.read_bytes())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path} does not say what was begun there.", BEGIN_ANEW)
    return found


def check_origin(place: Path, found: Origin, wanted: Origin | None) -> None:
    """Refuse to go on with rows of another origin.

    Args:
        place: what messages call the rows.
        found: the origin of the rows that are there.
        wanted: that of the rows to come.

    Raises:
        UserError: they differ. The message says in what.
    """
    for name, value in (wanted or {}).items():
        before = found.get(name)
        if before != json.loads(json.dumps(value)):
            raise UserError(
                f"{place} was begun with {name} {_shown(before)}, and this command has"
                f" {_shown(value)}.",
                BEGIN_ANEW,
            )


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
