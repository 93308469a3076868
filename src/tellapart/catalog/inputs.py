"""From what the user names for a prediction to files, in order: files, folders, patterns, or a list
on standard input.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from tellapart.catalog.names import check_names_are_text, is_junk, unescape
from tellapart.catalog.paths import is_folder
from tellapart.catalog.walk import Walk
from tellapart.home import user_path


def expand_inputs(arguments: Sequence[str], standard_input: BinaryIO) -> list[Path]:
    """The files that the arguments mean, in their order. Those of a folder are sorted, and junk is
    left out.

    A file that does not exist, and a folder that cannot be read, stays in the list: it gets its own
    row, with the status that says so.

    Args:
        arguments: each a file, a folder (with all below it), a pattern with * ? or [ ] of files and
            folders, or "-". "-" means a list of files on standard input, one a line, or ended by
            NUL as `find -print0` writes them.
        standard_input: read only for "-".
    """
    check_names_are_text()
    return [path for argument in arguments for path in _expand(argument, standard_input)]


def _expand(argument: str, standard_input: BinaryIO) -> Iterator[Path]:
    if argument.startswith("~"):
        argument = os.fspath(user_path(argument))
    if argument == "-":
        yield from _listed(standard_input.read())
    elif not os.path.lexists(argument) and glob.has_magic(argument):
        yield from _matching(argument)
    else:
        yield from _all_in(argument)


def _listed(data: bytes) -> Iterator[Path]:
    # A name may hold "\r", but Windows ends lines with it.
    separator, ending = (b"\0", b"") if b"\0" in data else (b"\n", b"\r")
    lines = (line.removesuffix(ending) for line in data.split(separator))
    yield from (Path(os.fsdecode(line)) for line in lines if line.strip())


def _matching(pattern: str) -> Iterator[Path]:
    # "**" matches what is in a folder too, so the folder itself would count twice.
    meant = (
        match
        for match in sorted(glob.glob(pattern, recursive=True))
        if "**" not in pattern or _is_file(match)
    )
    files = [path for match in meant if not _is_left_behind(match) for path in _all_in(match)]
    yield from files or [Path(pattern)]


def _all_in(place: str) -> Iterator[Path]:
    if _is_file(place):
        yield Path(place)
        return
    walk = Walk(Path(place))
    yield from (Path(place, unescape(path)) for _, path in walk.files(""))
    yield from (Path(place, unescape(path)) for path in walk.unreadable)


def _is_left_behind(match: str) -> bool:
    return is_junk(os.path.basename(os.path.normpath(match)), folder=is_folder(match))


def _is_file(path: str) -> bool:
    """Whether a path is to be read as a file, though there may be none: it gets a status then."""
    return not is_folder(path)
