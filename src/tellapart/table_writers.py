"""Writers of the rows of one table: CSV, JSON Lines and Parquet, each able to go on where it stopped."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from tellapart.tables import Columns, Row, csv_cell, to_frame
from tellapart.writing import write_whole

if TYPE_CHECKING:
    import polars

CHUNK = 20_000  # rows of a Parquet table that are in memory at a time
CELLS = 2_000_000  # likewise, where a table has very many columns


class Writer(Protocol):
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
                try:
                    row = json.loads(line)
                except ValueError:  # a power cut may leave bytes that nobody wrote
                    return
                end += len(line)
                yield end, row


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
        polars.scan_parquet([*self._chunks, self._rest]).sink_parquet(
            self._part, row_group_size=self._size
        )

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


WRITERS: Mapping[str, Any] = {".csv": Csv, ".jsonl": _JsonLines, ".parquet": _Parquet}
