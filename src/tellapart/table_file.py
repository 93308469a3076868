"""A table that is written row by row, so that its rows need no memory and an interruption loses none.

Until it is whole it lies beside its own name, as `answers.csv.part`. Work that was stopped in any way,
even by SIGKILL, goes on behind the last whole row of that file, so what tells how far it came is the
file itself. A small file beside it says of what work it is.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from tellapart.errors import Refused, UserError, reason_of
from tellapart.tables import Columns, Row, csv_cell, to_frame
from tellapart.writing import FULL, sync_folder, write_whole

if TYPE_CHECKING:
    import polars

CHUNK = 20_000  # rows of a Parquet table that are in memory at a time
CELLS = 2_000_000  # likewise, where a table has very many columns
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
        self._writer: _Writer = _WRITERS[path.suffix.lower()](self.part, columns)
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


class _Writer(Protocol):
    """Writes the rows of one kind of table."""

    def begin(self) -> None:
        """Begin a table without rows, in place of whatever is there."""

    def resume(self) -> Iterator[Row]:
        """The whole rows that are there. What is behind the last is cut away at the end, and rows
        may be added then.
        """

    def read(self, path: Path) -> Iterator[Row]:
        """The rows of a table that is whole."""

    def add(self, row: Row) -> None:
        """Write a row, or hold it until there are more."""

    def close(self) -> None:
        """Write what is held. The file is then as whole as its rows."""

    def clear(self) -> None:
        """Remove what only work that goes on needs."""


class _Lines:
    """CSV or JSON Lines."""

    def __init__(self, part: Path, columns: Columns) -> None:
        self._part, self._columns = part, columns
        self.file: IO[str] | None = None
        self._rows: Any = None

    def begin(self) -> None:
        """An empty file."""
        self._open(0)

    def resume(self) -> Iterator[Row]:
        """Each row whose line is whole."""
        end = 0
        if self._part.exists():
            for end, row in self._whole_rows(self._part):  # noqa: B007 - the last one counts
                if row is not None:
                    yield row
        self._open(end)

    def read(self, path: Path) -> Iterator[Row]:
        """Each row."""
        return (row for _, row in self._whole_rows(path) if row is not None)

    def _open(self, end: int) -> None:
        with self._part.open("ab") as file:
            file.truncate(end)
        self.file = self._part.open("a", encoding="utf-8", newline="")
        self._rows = csv.writer(self.file, lineterminator="\r\n")
        if end == 0:
            self._write_head()

    def _write_head(self) -> None:
        """Write what stands before the first row."""

    def _whole_rows(self, path: Path) -> Iterator[tuple[int, Row | None]]:
        """Where in the file each row ends, and the row. A head is None."""
        raise NotImplementedError

    def add(self, row: Row) -> None:
        """Write a row."""
        raise NotImplementedError

    def close(self) -> None:
        """Write the rest, as safe from a power cut as can be."""
        if self.file:
            with self.file:
                self.file.flush()
                os.fsync(self.file.fileno())

    def clear(self) -> None:
        """Nothing lies beside the file."""


class Csv(_Lines):
    """Rows as comma-separated values."""

    def _write_head(self) -> None:
        self._rows.writerow([csv_cell(name) for name in self._columns])

    def add(self, row: Row) -> None:
        """Write a row."""
        self._rows.writerow([csv_cell(row[name]) for name in self._columns])

    def _whole_rows(self, path: Path) -> Iterator[tuple[int, Row | None]]:
        """A row that was cut off has no line end, or a quoted cell that is not closed."""
        read = _CountedLines(path)
        rows, head = csv.reader(read, strict=True), True
        try:
            for cells in rows:
                if not read.line.endswith(b"\r\n") or len(cells) != len(self._columns):
                    return
                row = {name: _plain(cell) for name, cell in zip(self._columns, cells, strict=True)}
                yield read.count, None if head else row
                head = False
        except (csv.Error, UnicodeDecodeError):
            return
        finally:
            read.file.close()


class _CountedLines:
    """The lines of a file, and how many bytes they are so far."""

    def __init__(self, path: Path) -> None:
        self.file, self.count, self.line = path.open("rb"), 0, b""

    def __iter__(self) -> Iterator[str]:
        for self.line in self.file:  # noqa: B020 - the last one is looked at
            self.count += len(self.line)
            yield self.line.decode()


def _plain(cell: str) -> str:
    """A cell without the apostrophe that `csv_cell` puts before it."""
    return cell[1:] if cell.startswith("'") else cell


class _JsonLines(_Lines):
    def add(self, row: Row) -> None:
        assert self.file
        self.file.write(json.dumps(dict(row), ensure_ascii=False) + "\n")

    def _whole_rows(self, path: Path) -> Iterator[tuple[int, Row | None]]:
        end = 0
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return
                end += len(line)
                yield end, json.loads(line)


class _Parquet:
    """Chunks in a folder, which become one file at the end: a Parquet file cannot grow.

    The rows behind the last chunk lie in a file of their own after an interruption. Its name holds
    the number of chunks before it, so that it counts only where none was written since.
    """

    def __init__(self, part: Path, columns: Columns) -> None:
        self._part, self._columns = part, columns
        self._folder = part.with_name(f"{part.name}s")
        self._size = rows_in_memory(columns)
        self._held: list[dict[str, Any]] = []
        self._chunks: list[Path] = []
        self._is_ready = False  # for rows; before, nothing that is there may be changed

    def begin(self) -> None:
        """An empty file, and no chunks."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._empty()

    def _empty(self) -> None:
        self._part.write_bytes(b"")
        self._is_ready = True

    def resume(self) -> Iterator[Row]:
        """The rows of the chunks, then those of the rest. Only what is kept is in memory."""
        import polars

        while (chunk := self._chunk(len(self._chunks))).exists():
            yield from polars.read_parquet(chunk).iter_rows(named=True)
            self._chunks.append(chunk)
        if self._rest.exists():
            self._held = polars.read_parquet(self._rest).to_dicts()
            yield from self._held
        self._empty()

    def read(self, path: Path) -> Iterator[Row]:
        """The rows, some at a time."""
        return frame_rows(path, self._size)

    def add(self, row: Row) -> None:
        self._held.append(dict(row))
        if len(self._held) == self._size:
            chunk = self._chunk(len(self._chunks))
            write_frame(chunk, to_frame(self._held, self._columns))
            self._chunks.append(chunk)
            self._held.clear()

    def _chunk(self, number: int) -> Path:
        return self._folder / f"{number:06}.parquet"

    @property
    def _rest(self) -> Path:
        return self._folder / f"rest-{len(self._chunks):06}.parquet"

    def close(self) -> None:
        if not self._is_ready:
            return
        import polars

        write_frame(self._rest, to_frame(self._held, self._columns))
        polars.scan_parquet([*self._chunks, self._rest]).sink_parquet(self._part)

    def clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def rows_in_memory(columns: Columns) -> int:
    """How many rows of a table are held before they are written together."""
    return max(1, min(CHUNK, CELLS // len(columns)))


def write_frame(path: Path, frame: polars.DataFrame) -> bytes:
    """Write a Parquet file whole, and return its bytes."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    write_whole(path, buffer.getvalue())
    return buffer.getvalue()


def frame_rows(path: Path, size: int) -> Iterator[Row]:
    """The rows of a Parquet file, of which `size` are in memory at a time."""
    import polars

    table = polars.scan_parquet(path)
    start = 0
    while rows := table.slice(start, size).collect().to_dicts():
        yield from rows
        start += size


_WRITERS: Mapping[str, Any] = {".csv": Csv, ".jsonl": _JsonLines, ".parquet": _Parquet}
