"""A table of images: CSV, TSV, JSON Lines, Parquet or a data frame, with path, label and optionally
split and group.

Paths are absolute, or relative to the table's own folder (of a frame: to the current folder).
Column names are recognised in any case: `path` may also be called file, filename, filepath, image
or image_path, and `label` class, class_name, category or target. Any other column can be named as
the group, or as the weights. A CSV may separate its columns by commas, semicolons or tabs.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeGuard

from tellapart.catalog.entries import class_order
from tellapart.catalog.reading import AS_IT_LIES, Reading
from tellapart.errors import UserError, needs_extra

COLUMN_NAMES = {
    "path": ("path", "file", "filename", "filepath", "image", "image_path"),
    "label": ("label", "class", "class_name", "category", "target"),
    "split": ("split", "subset", "set"),
    "group": ("group", "group_id"),
}


class Frame(Protocol):
    """A data frame of pandas or polars. Neither is imported for it."""

    @property
    def columns(self) -> Any:
        """The names of the columns."""

    def __len__(self) -> int:
        """How many rows there are."""


@dataclass(frozen=True)
class Origin:
    """Where rows stand.

    Args:
        name: what begins a sentence: a table's path, or "The data frame".
        folder: where relative paths start.
        first: the number of the first row: 1 in a file, 0 in Python.
    """

    name: str
    folder: Path
    first: int = 1

    def row(self, number: int) -> str:
        """What a message calls a row.

        >>> Origin("The list", Path(), first=0).row(17)
        'The list, row 17 (counted from 0)'
        """
        return f"{self.name}, row {number}" + " (counted from 0)" * (self.first == 0)


class ManifestRow(NamedTuple):
    """One image as the table states it; `number` counts as its `Origin` does, without the
    header.
    """

    number: int
    path: str
    label: str
    split: str = ""
    group: str = ""
    weight: float = 1.0


def read_manifest(path: Path, reading: Reading = AS_IT_LIES) -> list[ManifestRow]:
    """The rows of a table. Spaces around a label, split or group are no part of it.

    Args:
        path: the table's.
        reading: which columns are the group and the weight, where the user says so.

    Raises:
        UserError: it cannot be read, a column is missing or named twice, or a row lacks its path,
            label or weight.
    """
    try:
        records = MANIFEST_SUFFIXES[path.suffix.lower()](path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path} cannot be read as a table ({error}).", "Save it again as CSV in UTF-8."
        ) from None
    origin = Origin(str(path), path.parent)
    if not records:
        raise _no_rows(origin)
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = _columns(origin, names, reading)
    return [row_of(origin, number, record, columns) for number, record in enumerate(records, 1)]


def is_frame(source: object) -> TypeGuard[Frame]:
    """Whether an object is a data frame of pandas or polars, or of a class that builds on it."""
    return bool(_frame_library(source))


def read_frame(
    frame: Frame, origin: Origin, reading: Reading = AS_IT_LIES
) -> tuple[list[ManifestRow], list[str]]:
    """The rows of a data frame, and its class names in the order of their labels.

    Args:
        frame: of pandas or polars, with the columns of a table.
        origin: what messages call it.
        reading: as in `read_manifest`.

    Raises:
        UserError: as in `read_manifest`.
    """
    if not len(frame):
        raise _no_rows(origin)
    columns = _columns(origin, list(frame.columns), reading)
    # Only what is used is taken out of the frame: its other columns can hold anything.
    used: Any = frame[[name for name in dict.fromkeys(columns.values()) if name]]  # type: ignore[index]
    records = used.to_dicts() if _frame_library(frame) == "polars" else used.to_dict("records")
    rows = [row_of(origin, number, record, columns) for number, record in enumerate(records)]
    return rows, class_order(record[columns["label"]] for record in records)


def _frame_library(source: object) -> str:
    """ "pandas" or "polars" for a data frame, else "". Told by names, so that nothing is
    imported.
    """
    libraries = (
        kind.__module__.partition(".")[0]
        for kind in type(source).__mro__
        if kind.__name__ == "DataFrame"
    )
    return next((library for library in libraries if library in ("pandas", "polars")), "")


def _no_rows(origin: Origin) -> UserError:
    return UserError(
        f"{origin.name} holds no rows.", "Give it a header and one row for each image."
    )


def _columns(origin: Origin, names: Sequence[str], reading: Reading) -> dict[str, str]:
    """What is wanted → the column that holds it, or "" where there is none."""
    columns = {
        want: _column(origin, names, want, among)
        for want, among in COLUMN_NAMES.items()
        if want != "group" or reading.group_column is None
    }
    if reading.group_column is not None:
        columns["group"] = _named_column(
            origin, names, reading.group_column, "to group by", "--group-by column:NAME"
        )
    if reading.weight_column is not None:
        setting = "--set training.weight_column=NAME"
        columns["weight"] = _named_column(
            origin, names, reading.weight_column, "of weights", setting
        )
    return columns


def _column(origin: Origin, names: Sequence[str], want: str, among: Sequence[str]) -> str:
    """The one column called as `among`, or "" where `want` can do without."""
    found = [name for name in names if isinstance(name, str) and name.strip().lower() in among]
    if len(found) > 1:
        raise UserError(
            f"{origin.name} has {len(found)} columns for {want}: {', '.join(found)}.",
            "Keep or rename one.",
        )
    if not found and want in ("path", "label"):
        raise UserError(
            f"{origin.name} has no column for {want}; its columns are {_listed(names)}.",
            f"Name one of them {want!r}.",
        )
    return found[0] if found else ""


def _named_column(
    origin: Origin, names: Sequence[str], wanted: str, purpose: str, setting: str
) -> str:
    """The column that the user named: as it is written, else in any case."""
    found = wanted if wanted in names else _column(origin, names, wanted, [wanted.strip().lower()])
    if not found:
        raise UserError(
            f"{origin.name} has no column {wanted!r} {purpose}; its columns are {_listed(names)}.",
            f"Name one of them: {setting}.",
        )
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(str, names))


def row_of(
    origin: Origin, number: int, record: Mapping[str, Any], columns: Mapping[str, str]
) -> ManifestRow:
    """One row, its cells checked.

    Args:
        origin: where it stands.
        number: as messages call it.
        record: column → cell.
        columns: "path", "label" and what else is wanted → its column, or "" for none.

    Raises:
        UserError: path or label is missing, or a cell cannot be what its column means.
    """
    cells = {}
    for want, name in columns.items():
        value = record.get(name) if name else None
        text = "" if _is_missing(value) else _text_of(origin, number, want, value)
        cells[want] = text if want == "path" else text.strip()
        if not text.strip() and want in ("path", "label"):
            raise UserError(
                f"{origin.row(number)}: {want} is missing.", "Fill it in, or take the row out."
            )
    weight = _weight(origin, number, cells.pop("weight", "1"))
    return ManifestRow(number, **cells, weight=weight)


def _is_missing(value: object) -> bool:
    """Whether a cell is empty. A number that is not one stands for no cell."""
    if isinstance(value, str):
        return False
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):
        # pandas' NA compares to NA, which is neither true nor false; arrays compare to arrays.
        return type(value).__name__ == "NAType"


def _text_of(origin: Origin, number: int, want: str, value: object) -> str:
    """A cell as text. JSON can hold lists and halves of characters, and frames hold any object."""
    text = str(value) if _is_scalar(value, want) else None
    try:
        if text is not None:
            text.encode(errors="surrogateescape" if want == "path" else "strict")
            return text
    except UnicodeEncodeError:
        pass
    hint = "Write one name or number."
    if want == "path" and not isinstance(value, str):
        hint += " Give images that are in memory as a list of (image, label)."
    raise UserError(f"{origin.row(number)}: {want} is not text.", hint)


def _is_scalar(value: object, want: str) -> bool:
    if want == "path":
        return isinstance(value, str | int | float | os.PathLike)
    return isinstance(value, Hashable) and not isinstance(value, tuple | bytes | memoryview)


def _weight(origin: Origin, number: int, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise UserError(
            f"{origin.row(number)}: the weight {text!r} is no number from 0.",
            "Write one like 2 or 0.5.",
        )
    return weight


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
            f"{path} is not a Parquet table that can be read.", "Write it again."
        ) from None


MANIFEST_SUFFIXES: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
