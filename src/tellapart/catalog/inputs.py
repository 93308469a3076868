"""What the user names to be predicted: files, folders, patterns, or a list on standard input → files, in order."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from tellapart.catalog.names import unescape
from tellapart.catalog.walk import Walk


def expand_inputs(arguments: Sequence[str], standard_input: BinaryIO) -> list[Path]:
    """The files that are meant, in the order of the arguments; within a folder, sorted, junk left out.

    Args:
        arguments: a file, a folder (with all below it), a pattern with * ? or [ ], or "-" for a list of files on
            standard input, one a line, or ended by NUL as `find -print0` writes them.
        standard_input: read only for "-".

    A file that does not exist is kept: it gets its own row, with the status that says so.
    """
    return [path for argument in arguments for path in _expand(argument, standard_input)]


def _expand(argument: str, standard_input: BinaryIO) -> Iterator[Path]:
    if argument == "-":
        data = standard_input.read()
        names = data.split(b"\0" if b"\0" in data else b"\n")
        yield from (Path(os.fsdecode(name.removesuffix(b"\r"))) for name in names if name.strip())
    elif os.path.isdir(argument):
        yield from (Path(argument, unescape(name.removeprefix("/"))) for name in Walk(Path(argument)).files(""))
    elif not os.path.lexists(argument) and glob.has_magic(argument):
        matches = sorted(glob.glob(argument, recursive=True))
        yield from (Path(match) for match in matches or [argument] if not os.path.isdir(match))
    else:
        yield Path(argument)
