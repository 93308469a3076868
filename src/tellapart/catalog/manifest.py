"""A table of images: CSV, TSV, JSON Lines or Parquet, with path, label and optionally split and
group.

Paths are relative to the table's own folder, or absolute. Column names are recognised in any case:
`path` may also be called file, filename, filepath, image or image_path, and `label` class,
class_name, category or target. Any other column can be named as the group, or as the weights. A CSV
may separate its columns by commas, semicolons or tabs.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tellapart.errors import UserError, needs_extra

COLUMN_NAMES = {
    "path": ("path", "file", "filename", "filepath", "image", "image_path"),
    "label": ("label", "class", "class_name", "category", "target"),
    "split": ("split", "subset", "set"),
    "group": ("group", "group_id"),
}


class ManifestRow(NamedTuple):
    """One image as the table states it; `number` counts from 1, without the header."""

    number: int
    path: str
    label: str
    split: str = ""
    group: str = ""
    weight: float = 1.0


def read_manifest(
    path: Path, group_column: str | None = None, weight_column: str | None = None
) -> list[ManifestRow]:
    """The rows of a table. Spaces around a label, split or group are no part of it.

    Args:
        path: of the table.
        group_column: what is the group instead of `group` and `group_id`.
        weight_column: what is the weight; without it each is 1.

    Raises:
        UserError: it cannot be read, a column is missing or named twice, or a row lacks its path,
            label or weight.
    """
    try:
        records = MANIFEST_SUFFIXES[path.suffix.lower()](path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path} cannot be read as a table ({error}).", "Save it anew as UTF-8 CSV."
        ) from None
    if not records:
        raise UserError(f"{path} holds no rows.", "Give it a header and one row an image.")
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = {
        want: _column(path, names, want, among)
        for want, among in COLUMN_NAMES.items()
        if want != "group" or group_column is None
    }
    if group_column is not None:
        columns["group"] = _named_column(
            path, names, group_column, "to group by", "--group-by column:NAME"
        )
    if weight_column is not None:
        setting = "--set training.weight_column=NAME"
        columns["weight"] = _named_column(path, names, weight_column, "of weights", setting)
    return [_row(path, number, record, columns) for number, record in enumerate(records, 1)]


def _column(path: Path, names: Sequence[str], want: str, among: Sequence[str]) -> str:
    """The one column called as `among`, or "" where `want` can do without."""
    found = [name for name in names if isinstance(name, str) and name.strip().lower() in among]
    if len(found) > 1:
        raise UserError(
            f"{path} has {len(found)} columns for {want}: {', '.join(found)}.",
            "Keep or rename one.",
        )
    if not found and want in ("path", "label"):
        raise UserError(
            f"{path} has no column for {want}; its columns are {_listed(names)}.",
            f"Name one of them {want!r}.",
        )
    return found[0] if found else ""


def _named_column(path: Path, names: Sequence[str], wanted: str, purpose: str, setting: str) -> str:
    """The column that the user named: as it is written, else in any case."""
    found = wanted if wanted in names else _column(path, names, wanted, [wanted.strip().lower()])
    if not found:
        raise UserError(
            f"{path} has no column {wanted!r} {purpose}; its columns are {_listed(names)}.",
            f"Name one of them: {setting}.",
        )
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(str, names))


def _row(
    path: Path, number: int, record: Mapping[str, Any], columns: Mapping[str, str]
) -> ManifestRow:
    cells = {}
    for want, name in columns.items():
        value = record.get(name) if name else None
        if not _is_text(value, "surrogateescape" if want == "path" else "strict"):
            raise UserError(
                f"{path}, row {number}: {want} is not text.", "Write one name or number."
            )
        text = (
            "" if value is None or value != value else str(value)
        )  # a number that is not one stands for no cell
        cells[want] = text if want == "path" else text.strip()
        if not text.strip() and want in ("path", "label"):
            raise UserError(
                f"{path}, row {number}: {want} is missing.", "Fill it in, or take the row out."
            )
    weight = _weight(path, number, cells.pop("weight", "1"))
    return ManifestRow(number, **cells, weight=weight)


def _weight(path: Path, number: int, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise UserError(
            f"{path}, row {number}: the weight {text!r} is no number from 0.",
            "Write one like 2 or 0.5.",
        )
    return weight


def _is_text(value: object, undecodable: str) -> bool:
    """Whether a cell can be a name: JSON can hold lists, and halves of characters that nothing can
    write.
    """
    try:
        str(value).encode(errors=undecodable)
    except UnicodeEncodeError:
        return False
    return not isinstance(value, list | dict)


def _read_csv(path: Path) -> list[dict[str, Any]]:
    text = path.read_bytes().decode("utf-8-sig")
    header = text.partition("\n")[0]
    return list(
        csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    )


def _read_json_lines(path: Path) -> list[dict[str, Any]]:
    records = []
    # Not splitlines: a JSON text may hold line separators of Unicode.
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                raise UserError(
                    f"{path}, line {number} is not a JSON object.", "Write one object a line."
                )
            records.append(record)
    return records


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    try:
        import polars
    except ImportError:
        raise needs_extra("polars", "train") from None
    try:
        return polars.read_parquet(path).to_dicts()
    except polars.exceptions.PolarsError:
        raise UserError(
            f"{path} is not a Parquet table that can be read.", "Write it anew."
        ) from None


MANIFEST_SUFFIXES: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
