"""The other columns of a table: what they say of the images, kept so that answers can be sliced by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from tellapart.sources.tables.cells import distinct, is_number, text_or_empty
from tellapart.sources.tables.column_names import plain
from tellapart.sources.tables.columns import Columns
from tellapart.sources.tables.sheets import Sheet

MOST_COLUMNS = 64
LONGEST_CELL = 100  # characters; longer text is a caption, and no value that images share
_NUMBERS_OF_ROWS = frozenset({"id", "index", "rowid", "uid", "uuid"})


def extra_columns(sheet: Sheet, columns: Columns) -> dict[str, list[str]]:
    """The columns of a table that nothing else uses → their cells as texts.

    Left out are columns without a name, numbers of rows, and text of which nearly every cell is
    another one: no two images share it.

    Args:
        sheet: the cells.
        columns: the columns that are used.
    """
    if not sheet.has_header:
        return {}
    used = (columns.path, columns.label, columns.split, columns.group, columns.weight)
    taken = {*used, *columns.one_hot}
    free = [name for name in sheet.names if name not in taken and _is_named(name)]
    found = {str(name): sheet.cells(name) for name in free[:MOST_COLUMNS]}
    return {name: list(map(_text, cells)) for name, cells in found.items() if _is_shared(cells)}


def united(names: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The names of the columns of several tables, each once.

    >>> united([("camera", "site"), ("site", "light")])
    ('camera', 'site', 'light')
    """
    return tuple(dict.fromkeys(name for those in names for name in those))


def extras_in(cells: Sequence[str], names: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """The cells of a row in another order of the columns, "" for a column that its table lacks.

    >>> extras_in(("dark",), ("light",), ("camera", "light"))
    ('', 'dark')
    """
    by_name = dict(zip(names, cells, strict=True))
    return tuple(by_name.get(name, "") for name in wanted)


def _is_named(name: object) -> bool:
    short = plain(name)
    return bool(short) and short not in _NUMBERS_OF_ROWS and not short.startswith("unnamed")


def _is_shared(cells: Sequence[Any]) -> bool:
    """Whether images can share the values: numbers, dates, or text that repeats."""
    if any(isinstance(cell, list | dict | tuple | bytes) for cell in cells):
        return False
    texts = distinct(cells)
    if 2 * len(texts) <= len(cells):
        return bool(texts)
    return all(map(is_number, texts)) or all(map(_is_moment, texts))


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _text(cell: object) -> str:
    text = text_or_empty(cell)[:LONGEST_CELL]
    # JSON can hold halves of characters, which no table can be written with.
    return text if text.isascii() else text.encode(errors="replace").decode()
