"""What a table file holds, as columns of cells: CSV, TSV, lists, JSON Lines or Parquet, packed or
not.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeGuard

from tellapart.catalog.files import READ_IT, Damage, Tree
from tellapart.errors import UserError, needs_extra, reason_of
from tellapart.sources.containers.packed import broken, packing, unpack
from tellapart.sources.tables.column_names import KNOWN_NAMES, plain
from tellapart.sources.tables.dialects import has_header, is_utf_16, rows_of, text_of

# Lists of paths and labels. What else ends like them is told apart by content.
LIST_SUFFIXES = (".txt", ".lst")
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_PACKED = (".csv.gz", ".tsv.gz", ".jsonl.gz", ".ndjson.gz")
_MAX_BYTES = 2**31  # of one table, unpacked

_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_NO_TEXT = frozenset(range(32)) - frozenset(b"\t\n\v\f\r\x1b")
SAVE_AS_CSV = 'Open it, choose "Save as", and save the sheet as CSV in UTF-8.'


@dataclass(frozen=True)
class Sheet:
    """The cells of a table, by column.

    Args:
        names: of the columns, in their order.
        count: how many rows there are.
        cells: the name of a column → its cells. A missing one is None.
        has_header: whether the names stand in the file, or are ours: "column 1" and so on.
        remarks: what the user should know of the file.
    """

    names: Sequence[Any]
    count: int
    cells: Callable[[Any], list[Any]]
    has_header: bool = True
    remarks: tuple[str, ...] = ()


def is_table(name: str) -> bool:
    """Whether a file is a table, by its name.

    >>> is_table("labels.CSV"), is_table("labels.csv.gz"), is_table("labels.txt")
    (True, True, False)
    """
    return name.lower().endswith((*TABLE_SUFFIXES, *_PACKED))


def is_list(name: str) -> bool:
    """Whether a file may be a list of paths and labels, by its name."""
    return name.lower().endswith(LIST_SUFFIXES)


def may_hold_table(name: str) -> bool:
    """Whether a file may be a table or a list, which its content has to show.

    >>> may_hold_table("train.txt"), may_hold_table("labels.json"), may_hold_table("cat.jpg")
    (True, True, False)
    """
    return is_table(name) or name.lower().endswith((*LIST_SUFFIXES, ".json"))


def read_sheet(tree: Tree, path: str, name: str) -> Sheet:
    """The cells of one table.

    Args:
        tree: where it lies.
        path: its catalog path there.
        name: what messages call it.

    Raises:
        UserError: it cannot be read, or its content is not what its name says.
    """
    data = _bytes_of(tree, path, name)
    suffix = PurePosixPath(path.lower().removesuffix(".gz")).suffix
    if suffix == ".parquet":
        return _read_parquet(data, name)
    _refuse_others(data, name)
    try:
        text, guessed = text_of(data)
        if suffix == ".json":
            sheet = _from_json(text, name)
        elif suffix in (".jsonl", ".ndjson"):
            sheet = _from_records(_json_records(text, name))
        else:
            sheet = _from_rows(rows_of(text))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{name} cannot be read as a table ({error}).", "Save it again as CSV in UTF-8."
        ) from None
    if not guessed:
        return sheet
    remark = (
        f"{name} is not in UTF-8 and was read as {guessed}. If letters look wrong, save it again in"
        " UTF-8."
    )
    return Sheet(sheet.names, sheet.count, sheet.cells, sheet.has_header, (remark,))


def _refuse_others(data: bytes, name: str) -> None:
    """Refuse files that are no text, or a text that only stands for a table."""
    head = data[:1000]
    if data.startswith(_WORKBOOKS):
        raise UserError(f"{name} is a workbook, as Excel writes it.", SAVE_AS_CSV)
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise UserError(
            f"{name} is a web page, not a table.", "Log in where it is, and download it."
        )
    if head.startswith(b"version https://git-lfs"):
        raise UserError(f"{name} is a pointer of Git LFS, not the table.", "Run git lfs pull.")
    if sum(byte in _NO_TEXT for byte in head) > len(head) / 20 and not is_utf_16(head):
        raise UserError(
            f"{name} cannot be read as a table: it is no text.", "Save it again as CSV in UTF-8."
        )


def _bytes_of(tree: Tree, path: str, name: str) -> bytes:
    try:
        store = tree.open(path)
        if kind := packing(store):
            store = unpack(store, kind, name)
        if store.size > _MAX_BYTES:
            raise UserError(f"{name} is larger than 2 GiB.", "Keep only the columns that are used.")
        return store.read(0, store.size)
    except Damage as damage:
        raise broken(name, damage) from None
    except OSError as error:
        raise UserError(f"{name} cannot be read ({reason_of(error)}).", READ_IT) from None


def _from_rows(rows: list[list[str]]) -> Sheet:
    """Rows of text. Columns without a name and without any cell are no columns."""
    if not rows:
        return Sheet([], 0, lambda name: [])
    header = has_header(rows)
    first, below = (rows[0], rows[1:]) if header else ([], rows)
    below = [row for row in below if row != first]
    width = max(map(len, rows))
    columns: dict[str, list[Any]] = {}
    counts = Counter(name.strip() for name in first)
    for place in range(width):
        cells = [row[place] if place < len(row) else None for row in below]
        name = first[place].strip() if place < len(first) else ""
        is_empty = not any(cell and cell.strip() for cell in cells)
        if is_empty and (not name or name in columns):
            continue
        # Names must differ. Two of a kind are told apart by their places.
        by_place = f"column {place + 1}"
        unique = f"{name} ({by_place})" if counts[name] > 1 and name in columns else name
        columns[unique or by_place] = cells
    return Sheet(list(columns), len(below), columns.__getitem__, header)


def _from_records(records: list[dict[str, Any]]) -> Sheet:
    names = list(dict.fromkeys(name for record in records for name in record))
    return Sheet(names, len(records), lambda name: [record.get(name) for record in records])


def _json_records(text: str, name: str) -> list[dict[str, Any]]:
    records = []
    # Not splitlines: a JSON text may hold line separators of Unicode.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                raise UserError(
                    f"{name}, line {number} is not a JSON object.", "Write one object a line."
                )
            records.append(record)
    return records


def _from_json(text: str, name: str) -> Sheet:
    """A JSON text as a table: objects in a list, columns by name, or labels by the image's name."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict) and not _columns_in(content):
        lists = [value for value in content.values() if _are_objects(value)]
        if len(lists) == 1:
            (content,) = lists
        elif all(isinstance(value, dict) for value in content.values()):
            content = [{"path": key, **value} for key, value in content.items()]
        elif all(isinstance(value, str | int | float) for value in content.values()):
            content = [{"path": key, "label": value} for key, value in content.items()]
    if _are_objects(content):
        return _from_records(content)
    if isinstance(content, dict) and (columns := _columns_in(content)):
        return Sheet(list(columns), len(next(iter(columns.values()))), columns.__getitem__)
    raise UserError(
        f"{name} holds no table that is known here.",
        "Write a list of objects with path and label, or an object from each path to its label.",
    )


def _are_objects(value: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _columns_in(content: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The columns of an object of columns, as data frames are written. {} means that it is none."""
    columns = {
        name: list(cells.values()) if isinstance(cells, dict) else cells
        for name, cells in content.items()
    }
    are_columns = (
        len(columns) > 1
        and all(isinstance(cells, list) for cells in columns.values())
        and len({len(cells) for cells in columns.values()}) == 1
        and any(plain(name) in KNOWN_NAMES for name in columns)
    )
    return columns if are_columns else {}


def _read_parquet(data: bytes, name: str) -> Sheet:
    try:
        import polars
    except ImportError:
        raise needs_extra("polars", "train") from None
    try:
        frame = polars.read_parquet(io.BytesIO(data))
    except polars.exceptions.PolarsError:
        raise UserError(
            f"{name} is not a Parquet table that can be read.", "Write it again."
        ) from None
    return Sheet(frame.columns, len(frame), lambda column: frame[column].to_list())
