"""Rows of a table of images, whatever it is: path and label, optionally split, group and weight.

The columns are found by `columns`, the labels are judged by `labels`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tellapart.errors import UserError
from tellapart.phrases import listed
from tellapart.sources.layouts import label_rule
from tellapart.sources.reading import Reading
from tellapart.sources.tables.cells import is_missing, yes_or_no
from tellapart.sources.tables.columns import Columns, find_columns
from tellapart.sources.tables.extras import extra_columns
from tellapart.sources.tables.labels import (
    check_labels,
    class_names,
    few_missing,
    is_none,
    whole_numbers,
)
from tellapart.sources.tables.sheets import Sheet


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
    header. `extra` holds its cells in the columns that are kept for slices.
    """

    number: int
    path: str
    label: str
    split: str = ""
    group: str = ""
    weight: float = 1.0
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """The rows of a table that name an image and its label.

    Args:
        rows: one an image.
        classes: all class names in the order of their labels.
        remarks: what the user should know of them.
        label: the column of the labels. None means that they are spread over several.
        extra_names: of the columns that are kept for slices.
    """

    rows: list[ManifestRow]
    classes: list[str]
    remarks: list[str]
    label: Any = None
    extra_names: tuple[str, ...] = ()


def read_rows(
    origin: Origin,
    sheet: Sheet,
    reading: Reading,
    count_files: Callable[[Sequence[str]], int],
    *,
    by_cells: bool = True,
) -> Manifest:
    """The rows of a table. Spaces around a label, split or group are no part of it.

    Args:
        origin: where the rows stand.
        sheet: the cells.
        reading: what the user says of the columns.
        count_files: how many of some cells name files that are there.
        by_cells: whether a column may be that of the labels by its cells alone.

    Raises:
        UserError: there are no rows, a column is missing or named twice, or a row lacks its path,
            label or weight.
    """
    if not sheet.count:
        raise UserError(
            f"{origin.name} holds no rows.", "Give it a header and one row for each image."
        )
    columns = find_columns(
        origin.name,
        sheet,
        reading,
        count_files,
        by_cells=by_cells,
        labelled=reading.label_by is None,
    )
    numbers = range(origin.first, origin.first + sheet.count)
    paths = _paths(origin, sheet, columns)
    labels = _labels(origin, sheet, columns, reading, paths)
    nothing = {label for label in set(labels) if is_none(label)}
    missing = [number for number, label in zip(numbers, labels, strict=True) if label in nothing]
    remarks = few_missing(origin.name, [origin.row(number) for number in missing], labels)
    names = whole_numbers([label for label in labels if label not in nothing])
    name = iter(names)
    extras = extra_columns(sheet, columns)
    rows = [
        ManifestRow(number, path, next(name), split, group, _weight(origin, number, weight), extra)
        for number, path, label, split, group, weight, extra in zip(
            numbers,
            paths,
            labels,
            _splits(origin, sheet, columns),
            _cells(origin, sheet, "group", columns.group),
            _cells(origin, sheet, "weight", columns.weight, "1"),
            zip(*extras.values(), strict=True) if extras else [()] * sheet.count,
            strict=True,
        )
        if label not in nothing
    ]
    column = None if columns.label is None else str(columns.label)
    remarks += check_labels(origin.name, column, names)
    remarks = [*sheet.remarks, *columns.remarks, *remarks]
    return Manifest(rows, class_names(names), remarks, columns.label, tuple(extras))


def row_of(origin: Origin, number: int, path: object, label: object) -> ManifestRow:
    """One row of a path and a label, checked.

    Args:
        origin: where it stands.
        number: as messages call it.
        path, label: its cells.

    Raises:
        UserError: one of them is missing, or is no text.
    """
    texts = _text_of(origin, number, "path", path), _text_of(origin, number, "label", label)
    for want, text in zip(("path", "label"), texts, strict=True):
        _require(origin, number, want, text)
    return ManifestRow(number, texts[0], texts[1].strip())


def _paths(origin: Origin, sheet: Sheet, columns: Columns) -> list[str]:
    paths = _cells(origin, sheet, "path", columns.path)
    if re.fullmatch(r"[0-9]+\.0", paths[0]):  # numbers in a column that has gaps become fractions
        paths = whole_numbers(paths)
    for number, path in enumerate(paths, origin.first):
        _require(origin, number, "path", path)
    return paths


def _cells(origin: Origin, sheet: Sheet, want: str, name: Any, otherwise: str = "") -> list[str]:
    """The cells of one column as texts.

    Args:
        origin: where they stand.
        sheet: the table.
        want: what the column is for.
        name: the column's. None means that there is none.
        otherwise: what each cell is then.
    """
    if name is None:
        return [otherwise] * sheet.count
    texts = [
        _text_of(origin, number, want, cell)
        for number, cell in enumerate(sheet.cells(name), origin.first)
    ]
    return texts if want == "path" else [text.strip() for text in texts]


def _labels(
    origin: Origin, sheet: Sheet, columns: Columns, reading: Reading, paths: Sequence[str]
) -> list[str]:
    """The label of each row: by a rule on its path, in a column, or spread over several."""
    if reading.label_by is not None:
        label_of = label_rule(reading.label_by)
        return [label_of(path.replace("\\", "/")) for path in paths]
    if not columns.one_hot:
        return _cells(origin, sheet, "label", columns.label)
    marked: list[list[str]] = [[] for _ in range(sheet.count)]
    for name in columns.one_hot:
        for names, cell in zip(marked, sheet.cells(name), strict=True):
            if yes_or_no(cell):
                names.append(str(name))
    for number, names in enumerate(marked, origin.first):
        if len(names) != 1:
            found = f"{len(names)}, in {listed(names)}" if names else "none"
            raise UserError(
                f"{origin.row(number)}: one of the columns {listed(columns.one_hot)} must be 1, and"
                f" {found} is.",
                "Correct the row, or take it out.",
            )
    return [names[0] for names in marked]


def _splits(origin: Origin, sheet: Sheet, columns: Columns) -> list[str]:
    if not columns.yes_split:
        return _cells(origin, sheet, "split", columns.split)
    # Who marks one split means that the others are trained on; who marks train, tested on.
    other = "test" if columns.yes_split == "train" else "train"
    return [columns.yes_split if yes_or_no(cell) else other for cell in sheet.cells(columns.split)]


def _require(origin: Origin, number: int, want: str, text: str) -> None:
    if not text.strip():
        raise UserError(
            f"{origin.row(number)}: {want} is missing.", "Fill it in, or take the row out."
        )


def _text_of(origin: Origin, number: int, want: str, value: object) -> str:
    """A cell as text. JSON can hold lists and halves of characters, and frames hold any object."""
    if type(value) is str and value.isascii():  # most cells, and there may be millions
        return value
    if want == "label" and isinstance(value, list) and len(value) == 1:
        (value,) = value  # as tools write it that allow several
    if is_missing(value):
        return ""
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
    if text == "1":
        return 1.0
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
