"""From what the user names for a prediction to images, in order: files, folders, patterns, archives,
tables, web addresses, or a list on standard input.
"""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeAlias

from tellapart.addresses import is_store_address
from tellapart.catalog.files import Folder
from tellapart.catalog.names import check_names_are_text, is_junk, unescape
from tellapart.catalog.paths import is_folder
from tellapart.decoding import Decoded
from tellapart.errors import UserError
from tellapart.home import user_path
from tellapart.image_input import StoredImage
from tellapart.sources.reading import AS_IT_LIES, Reading
from tellapart.sources.stores import located, stored_images
from tellapart.sources.tree_files import files_near_the_top
from tellapart.sources.walk import Walk, is_image_name

Input: TypeAlias = Path | StoredImage


PIECE_BYTES = 2**16  # of a list, read at a time


def expand_inputs(
    arguments: Iterable[str | Path],
    standard_input: BinaryIO,
    reading: Reading = AS_IT_LIES,
    *,
    alone: bool = False,
) -> Iterator[Input]:
    """The images that the arguments mean, one by one, in their order. Those of a folder are sorted,
    and junk is left out. Where a folder holds files of images instead, such as Parquet, these are
    read. Only the names of one folder, or the list of one table, are in memory at a time.

    A file that does not exist, and a folder that cannot be read, stays in the list: it gets its own
    row, with the status that says so.

    Args:
        arguments: each a file, a folder (with all below it), an archive, a table of paths, another
            file of images as `train` takes it, a web address of an image, an address in a store of
            a cloud (s3://, gs://, az://), a pattern with * ? or [ ] of files and folders, or "-".
            "-" means a list of files on standard input, one a line, or ended by NUL as
            `find -print0` writes them. A path is never a pattern.
        standard_input: read only for "-".
        reading: what the user says of the columns of tables.
        alone: whether nothing else is to be answered. What cannot be used is refused then, with the
            way out. Among others it gets its own row, as any file that is no image.

    Raises:
        UserError: what is alone is an archive, a table or the like that cannot be used, or an
            address that cannot be reached.
    """
    check_names_are_text()
    for argument in arguments:
        yield from _expand(argument, standard_input, reading, alone=alone)


def listed_inputs(arguments: Iterable[str | Path]) -> Iterator[Input]:
    """What `expand_inputs` gives, by listing folders alone, so that it can be counted.

    Raises:
        Uncountable: an argument is a file of images, a list or an address, which would be read
            twice.
    """
    for argument in arguments:
        if isinstance(argument, str) and (argument == "-" or _is_elsewhere(argument)):
            raise Uncountable
        yield from _expand(argument, io.BytesIO(), None, alone=False)


class Uncountable(Exception):
    """How many images there are shows only as they are read."""


def _expand(
    argument: str | Path, standard_input: BinaryIO, reading: Reading | None, *, alone: bool
) -> Iterator[Input]:
    """The images of one argument. Without a reading, files of images are `Uncountable`."""
    if argument == "-":
        yield from map(located, _listed(standard_input))
        return
    if isinstance(argument, str) and is_store_address(argument):
        yield from stored_images(argument)
        return
    if isinstance(argument, str) and _is_address(argument):
        yield _fetched(argument, alone=alone)
        return
    if str(argument).startswith("~"):
        argument = type(argument)(user_path(argument))
    is_pattern = isinstance(argument, str) and glob.has_magic(argument)
    if is_pattern and not os.path.lexists(argument):
        yield from _matching(str(argument), reading)
    else:
        yield from _all_in(os.fspath(argument), reading, alone=alone)


def _is_elsewhere(text: str) -> bool:
    return _is_address(text) or is_store_address(text)


def _is_address(text: str) -> bool:
    return text.lower().startswith(("https://", "http://"))


def _fetched(address: str, *, alone: bool) -> StoredImage:
    from tellapart.sources.downloads import fetch_image, without_secrets

    if alone:
        return fetch_image(address)
    # It is fetched when its turn has come, so that many need no more memory than a few.
    return StoredImage(without_secrets(address), partial(_fetch, address))


def _fetch(address: str) -> bytes | Decoded:
    from tellapart.sources.downloads import fetch_image

    try:
        return fetch_image(address).read()
    except UserError as error:
        return Decoded("missing", detail=error.message)


def _listed(file: BinaryIO) -> Iterator[str]:
    """The names in a list, read piece by piece."""
    # A name may hold "\r", but Windows ends lines with it. No name holds NUL, and none is longer
    # than a piece, so the first piece tells how names end.
    piece = rest = file.read(PIECE_BYTES)
    separator, ending = (b"\0", b"") if b"\0" in piece else (b"\n", b"\r")
    while piece:
        piece = file.read(PIECE_BYTES)
        *lines, rest = (rest + piece).split(separator)
        for line in lines if piece else [*lines, rest]:
            if line.strip():
                yield os.fsdecode(line.removesuffix(ending))


def _matching(pattern: str, reading: Reading | None) -> Iterator[Input]:
    # "**" matches what is in a folder too, so the folder itself would count twice.
    meant = (
        match
        for match in sorted(glob.glob(pattern, recursive=True))
        if "**" not in pattern or _is_file(match)
    )
    found = False
    for match in meant:
        if not _is_left_behind(match):
            for image in _all_in(match, reading, alone=False):
                found = True
                yield image
    if not found:
        yield Path(pattern)


def _all_in(place: str, reading: Reading | None, *, alone: bool) -> Iterator[Input]:
    if _is_file(place):
        yield from _held_in(Path(place), reading, alone=alone)
        return
    # Only where no file is an image by its name: others may hold the images, as those of a hub do.
    # A walk of its own looks for one: it ends at the first, and keeps no paths.
    named = any(is_image_name(path) for _, path in Walk(Path(place)).files(""))
    held = {} if named else _held_near_the_top(Path(place), reading)
    walk = Walk(Path(place))
    paths: Iterable[str] = (path for _, path in walk.files(""))
    for path in sorted({*paths, *held}) if held else paths:
        yield from held.get(path) or [Path(place, unescape(path))]
    yield from (Path(place, unescape(path)) for path in walk.unreadable)


def _held_near_the_top(folder: Path, reading: Reading | None) -> dict[str, Sequence[Input]]:
    """The files near the top of a folder that hold images, with these."""
    if reading is None:
        raise Uncountable
    from tellapart.sources.held_images import held_images

    found: dict[str, Sequence[Input]] = {}
    for path in files_near_the_top(Folder(folder)):
        with suppress(UserError):  # one that is damaged gets a row as other files do
            if images := held_images(folder / unescape(path), reading):
                found[path] = images
    return found


def _held_in(path: Path, reading: Reading | None, *, alone: bool) -> Sequence[Input]:
    """The images of a file: itself, or those that it holds."""
    if is_image_name(path.name):  # nearly all are
        return [path]
    if reading is None:
        raise Uncountable
    from tellapart.sources.held_images import held_images

    try:
        images = held_images(path, reading)
    except UserError:
        if alone:
            raise
        images = None
    return [path] if images is None else images


def _is_left_behind(match: str) -> bool:
    return is_junk(os.path.basename(os.path.normpath(match)), folder=is_folder(match))


def _is_file(path: str) -> bool:
    """Whether a path is to be read as a file, though there may be none: it gets a status then."""
    return not is_folder(path)
