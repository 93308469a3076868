"""Text tables as spreadsheets and other systems write them: their encoding, separator and header.

Everything is chosen by rules that always give the same answer for the same bytes.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice

from tellapart.sources.tables.column_names import KNOWN_NAMES, plain
from tellapart.sources.walk import is_image_name

_SEPARATORS = ",;\t|"
_SAMPLE = 50  # lines that the separator is chosen by


def text_of(data: bytes) -> tuple[str, str]:
    """The text of a file, and its encoding in words where that is a guess, else "".

    Raises:
        UnicodeDecodeError: it begins like one encoding and is none.

    >>> text_of("été".encode("cp1252"))
    ('été', 'Windows-1252')
    """
    if data.startswith(b"\xef\xbb\xbf"):
        return data.decode("utf-8-sig"), ""
    if encoding := is_utf_16(data[:1000]):
        return data.decode(encoding), ""
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError:  # five of its bytes mean nothing
        return data.decode("latin-1"), "Latin-1"


def is_utf_16(head: bytes) -> str:
    """The encoding of a text of two bytes a character, with or without a mark, else "".

    >>> is_utf_16("path,label".encode("utf-16-le")), is_utf_16(b"path,label")
    ('utf-16-le', '')
    """
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # Every other byte of plain words is zero.
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if head[start::2].count(0) > len(head) / 3:
            return encoding
    return ""


def rows_of(text: str) -> list[list[str]]:
    """The rows of a text table that hold anything, and the header is one of them.

    Raises:
        csv.Error: a cell is longer than the csv module takes.

    >>> rows_of("sep=;\\npath;label\\na, b.jpg; cat\\n;\\n")
    [['path', 'label'], ['a, b.jpg', 'cat']]
    >>> rows_of("images/a b.jpg 3\\nimages/c.jpg 4\\n")
    [['images/a b.jpg', '3'], ['images/c.jpg', '4']]
    """
    first, _, rest = text.partition("\n")
    # A setting of spreadsheets, not a header.
    setting = re.fullmatch(r"\s*\"?sep=(.)\"?\r?", first, re.IGNORECASE)
    if setting:
        text = rest
    separator = setting[1] if setting else _separator(text)
    if not separator:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return _rows_of_list([line for line in lines if not line.startswith("#")])
    quote = "'" if text.lstrip().startswith("'") else '"'
    rows = _parsed(io.StringIO(text, newline=""), separator, quote)
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    while len(rows) > 2 and _filled(rows[0]) == 1 < min(_filled(rows[1]), _filled(rows[2])):
        del rows[0]  # the title of a sheet
    return rows


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns.

    It does not where it holds an image's file name, or a cell that stands in its column again.

    >>> has_header([["a.jpg", "cat"]]), has_header([["a7", "cat"], ["b7", "cat"]])
    (False, False)
    >>> has_header([["photo", "what"], ["a7", "cat"]])
    True
    """
    first = rows[0]
    if any(looks_like_an_image(cell) for cell in first):
        return False
    # Tables that were put together repeat the whole header.
    below = [row for row in rows[1:] if row != first]
    if any(
        cell.strip() and any(cell == row[place] for row in below if place < len(row))
        for place, cell in enumerate(first)
    ):
        return False
    return any(plain(cell) in KNOWN_NAMES for cell in first) or not any(map(_is_number, first))


def looks_like_an_image(cell: object) -> bool:
    """Whether a cell ends as the name of an image file does."""
    # A file name has no more than 255 bytes, and some columns hold whole texts.
    return isinstance(cell, str) and is_image_name(cell.strip()[-300:])


def _parsed(
    lines: io.StringIO | Sequence[str], separator: str, quote: str = '"'
) -> list[list[str]]:
    return list(csv.reader(lines, delimiter=separator, quotechar=quote, skipinitialspace=True))


def _separator(text: str) -> str:
    """The separator by which most lines have as many cells as the first. "" means that there is
    none.
    """
    lines = [line for line in islice(io.StringIO(text, newline=""), 4 * _SAMPLE) if line.strip()]
    best = (0.0, 1, "")
    for separator in _SEPARATORS:
        widths = [len(row) for row in _parsed(lines[:_SAMPLE], separator) if row]
        width = widths[0] if widths else 0
        alike = sum(found == width for found in widths) / max(1, len(widths))
        if width > 1 and (alike, width) > best[:2]:
            best = (alike, width, separator)
    return best[2]


def _rows_of_list(lines: Sequence[str]) -> list[list[str]]:
    """The lines of a list, "path label" or "label path". Only the path may hold spaces."""
    for place, rows in (
        (0, [line.rsplit(None, 1) for line in lines]),
        (1, [line.split(None, 1) for line in lines]),
    ):
        fitting = sum(len(row) == 2 and looks_like_an_image(row[place]) for row in rows)
        if fitting * 2 > len(lines):
            return rows
    rows = [line.split() for line in lines]
    widths = Counter(map(len, rows))
    return rows if len(widths) == 1 else [[line] for line in lines]


def _filled(row: Sequence[str]) -> int:
    return sum(bool(cell.strip()) for cell in row)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
