"""File names as text: one escape that can be undone, and which names are junk."""

from __future__ import annotations

import difflib
import os
import re
import sys
from pathlib import Path

from tellapart.catalog.paths import can_list, is_folder
from tellapart.errors import UserError

# Operating systems, editors and archivers leave these. They are never the user's images or classes.
JUNK_FOLDERS = frozenset(
    {"__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information"}
)
JUNK_FILES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"})


def name_set(text: str) -> frozenset[str]:
    """The words of a text as a set, so that long lists of names stay readable."""
    return frozenset(text.split())


# What cameras, photo services, editors and annotation tools write beside images, by the end of its
# name. Files of any other name get a verdict by their content.
_COMPANIONS = name_set(
    ".identifier .xmp .aae .thm .ini .db .json .jsonl .ndjson .xml .txt .csv .tsv .md .rst .htm .html"
    " .yaml .yml .log .pp3 .dop .cfg .toml .py .ipynb .sh .gz .parquet .sha256 .md5"
)


def companion_kind(name: str) -> str:
    """The ending that makes a file a companion, or "" for any other file.

    Windows calls the mark of a download "photo.jpg:Zone.Identifier".

    >>> companion_kind("IMG_1.AAE"), companion_kind("cat.dat")
    ('.aae', '')
    """
    suffix = name[name.rfind(".") :].lower()
    return suffix if suffix in _COMPANIONS else ""


def is_junk(name: str, *, folder: bool) -> bool:
    """Whether a file or folder of this name is passed over, and counted as ignored.

    >>> is_junk("._cat.jpg", folder=False), is_junk(".ipynb_checkpoints", folder=True), is_junk("cat", folder=True)
    (True, True, False)
    """
    return name.startswith(".") or (name in JUNK_FOLDERS if folder else name.lower() in JUNK_FILES)


def check_names_are_text() -> None:
    """Refuse to read names that Python takes for ASCII. The command line never comes to that.

    Raises:
        UserError: the locale is C, and Python's UTF-8 mode is off.
    """
    if sys.getfilesystemencoding() == "ascii":
        raise UserError(
            "Python takes the names of files for ASCII here, so that others would be wrong.",
            "Set PYTHONUTF8=1 before Python starts.",
        )


def escape(name: str) -> str:
    r"""A name as the file system gives it (undecodable bytes as surrogates) → text that any file
    can hold.

    A backslash is doubled, and an undecodable byte becomes `\xNN`. `unescape` gives back the exact
    name.

    >>> escape(os.fsdecode(b"caf\xe9.jpg"))
    'caf\\xe9.jpg'
    """
    # On Windows "\" separates, and every name is text.
    if os.name == "nt" or (name.isascii() and "\\" not in name):
        return name
    doubled = name.replace("\\", "\\\\")
    return re.sub("[\udc80-\udcff]", lambda match: f"\\x{ord(match[0]) - 0xDC00:02x}", doubled)


def unescape(text: str) -> str:
    r"""The name that `escape` was given.

    >>> unescape(escape("a\\b")) == "a\\b"
    True
    """
    if os.name == "nt" or "\\" not in text:
        return text
    return re.sub(r"\\(\\|x[0-9a-f]{2})", _unescaped, text)


def _unescaped(match: re.Match[str]) -> str:
    return "\\" if match[1] == "\\" else chr(0xDC00 + int(match[1][1:], 16))


def folder_at(path: str, number: str) -> str:
    """A folder of a path with "/" between folders, or "" where it has no such folder.

    Args:
        path: of a file.
        number: the folder's number from the top, from 1. "" means the one that the file lies in.

    >>> folder_at("a/b/1.jpg", "1"), folder_at("a/b/1.jpg", ""), folder_at("a/1.jpg", "2")
    ('a', 'b', '')
    """
    folders = path.split("/")[:-1]
    place = int(number) - 1 if number else -1
    return folders[place] if folders and place < len(folders) else ""


def nearest_path(path: Path, otherwise: str = "Check the path.") -> str:
    """A hint for a path that does not exist: which one beside it the user may have meant."""
    folder = path.absolute().parent
    siblings = os.listdir(folder) if is_folder(folder) and can_list(folder) else []
    close = difflib.get_close_matches(path.name, siblings, n=1)
    return f"Did you mean {path.parent / close[0]}?" if close else otherwise
