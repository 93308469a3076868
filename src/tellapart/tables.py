"""Rows as a table: CSV, JSON Lines or Parquet, written whole.

A spreadsheet runs a CSV cell as a formula if it starts with = + - @ ' or a control character. Such a
cell is written with one apostrophe before it. Without the apostrophe it is the exact text again.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart.errors import UserError, choose, needs_extra
from tellapart.writing import write_whole

if TYPE_CHECKING:
    import polars

Row = Mapping[str, Any]
Columns = Mapping[str, type]  # name → str, int, float or bool; any cell may be None


def check_table_name(path: Path) -> None:
    """Refuse, before any work, a table that could not be written after it."""
    choose("kind of table", path.suffix.lower(), list(_WRITERS))
    if path.suffix.lower() == ".parquet":
        need_parquet()
    if path.is_dir():
        raise UserError(f"{path} is a folder.", "Name a file in it, for example table.csv.")


def need_parquet() -> None:
    """See, before any work, that Parquet can be written.

    Raises:
        UserError: polars is not installed.
    """
    _polars()


def write_table(path: Path, rows: Sequence[Row], columns: Columns) -> None:
    """Write the table whole. The ending of `path` decides its kind."""
    write_whole(path, _WRITERS[path.suffix.lower()](rows, columns))


def to_frame(rows: Sequence[Row], columns: Columns) -> polars.DataFrame:
    """The table as a polars data frame. Its `to_pandas` makes one for pandas.

    Raises:
        UserError: polars is not installed.

    >>> to_frame([{"path": "a.jpg", "count": None}], {"path": str, "count": int}).columns
    ['path', 'count']
    """
    polars = _polars()
    kinds = {str: polars.String, int: polars.Int64, float: polars.Float64, bool: polars.Boolean}
    schema = {name: kinds[kind] for name, kind in columns.items()}
    return polars.DataFrame([dict(row) for row in rows], schema=schema)  # type: ignore[no-any-return]


def _csv(rows: Sequence[Row], columns: Columns) -> bytes:
    text = io.StringIO()
    # RFC 4180. Names with a line break of any kind are then quoted.
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([csv_cell(name) for name in columns])
    writer.writerows([csv_cell(row[name]) for name in columns] for row in rows)
    return text.getvalue().encode()


def csv_cell(value: object) -> object:
    """A cell of a CSV table, which no spreadsheet takes for a formula."""
    if isinstance(value, str) and value and (value[0] in "=+-@'" or value[0] < " "):
        return "'" + value
    return value


def _json_lines(rows: Sequence[Row], columns: Columns) -> bytes:
    return "".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows).encode()


def _parquet(rows: Sequence[Row], columns: Columns) -> bytes:
    buffer = io.BytesIO()
    to_frame(rows, columns).write_parquet(buffer)
    return buffer.getvalue()


def _polars() -> Any:
    try:
        import polars
    except ImportError:
        raise needs_extra("polars", "train") from None
    return polars


_WRITERS: dict[str, Callable[[Sequence[Row], Columns], bytes]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
