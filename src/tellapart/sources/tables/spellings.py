"""The spellings in which the path of a file may stand in a table, and the endings of its name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import PurePosixPath
from urllib.parse import unquote

from tellapart.sources.walk import is_image_name

# ── spellings ──


def _as_slashes(path: str) -> str:
    return path.replace("\\", "/")


def _without_blanks(path: str) -> str:
    return "/".join(part.strip() for part in path.split("/")).strip("'\"")


def _without_url(path: str) -> str:
    path = re.sub(r"^[a-z][a-z0-9+.-]+://[^/]*/", "", path, flags=re.IGNORECASE)
    # Annotation tools give the local path of a file as a query.
    if query := re.fullmatch(r"[^?]*\?(?:d|path|file)=([^&]+).*", path):
        path = query[1]
    return unquote(path.partition("?")[0].partition("#")[0])


def _without_upload_prefix(path: str) -> str:
    """Annotation tools put eight or more hexadecimal digits before the names of uploaded files."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + re.sub(r"^[0-9a-f]{8}(?:[0-9a-f-]*)[-_]", "", name)


def _same(path: str) -> str:
    return path


# In words → the step. Each is taken after those before it; the last one is done by `_fold`.
SPELLINGS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("with / for \\", _as_slashes),
    ("without blanks around them", _without_blanks),
    ("without what makes them URLs", _without_url),
    ("without the prefix of an upload", _without_upload_prefix),
    ("whatever their case and the encoding of accents", _same),
)


def spelled(path: str, steps: int) -> str:
    """A path after some steps of SPELLINGS.

    >>> spelled("photos\\\\a.jpg ", 2), spelled("https://host/u/a%20b.jpg?x=1", 3)
    ('photos/a.jpg', 'u/a b.jpg')
    """
    for _, step in SPELLINGS[:steps]:
        path = step(path)
    return path


def fold(text: str) -> str:
    """A name without case, and with its accents in one encoding."""
    return unicodedata.normalize("NFC", text).casefold().strip()


def parts_of(path: str) -> list[str]:
    """The folders and the name of a path, without drive, ".", ".." and what is empty."""
    return [
        part
        for part in path.split("/")
        if part not in ("", ".", "..") and not re.fullmatch("[A-Za-z]:", part)
    ]


# ── endings ──


def _name(name: str) -> str:
    return name


def stem_of(name: str) -> str:
    """A name without its ending.

    >>> stem_of("a.b.jpg"), stem_of("a")
    ('a.b', 'a')
    """
    return name.rpartition(".")[0] or name


def _stem_of_image(name: str) -> str:
    """The name without the ending of an image. "" where it has none."""
    return stem_of(name) if is_image_name(name) else ""


def _digits(name: str) -> str:
    """A number without the zeros before it, as a spreadsheet leaves it. "" for another name.

    >>> _digits("00012.jpg"), _digits("12"), _digits("a12.jpg")
    ('12', '12', '')
    """
    stem = _stem_of_image(name) or name
    return stem.lstrip("0") or "0" if stem.isdecimal() else ""


# In words → what must agree, made from the name in the table and from that of the file.
ENDINGS: tuple[tuple[str, Callable[[str], str], Callable[[str], str]], ...] = (
    ("", _name, _name),
    ("with an ending", _name, stem_of),
    ("with another ending", _stem_of_image, stem_of),
    ("with zeros before their numbers", _digits, _digits),
)


def suffix_of(path: str) -> str:
    """The ending of a name in lower case, with its point."""
    return PurePosixPath(path).suffix.lower()


def keys_of(cell: str) -> set[str]:
    """What the name of a file might be in a cell, folded and with or without its ending."""
    *_, last = parts_of(spelled(cell, len(SPELLINGS))) or [""]
    return {fold(last), fold(stem_of(last))} - {""}
