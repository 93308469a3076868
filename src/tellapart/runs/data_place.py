"""Where the data of a run lies, as its folder says it. The model file says nothing of that."""

from __future__ import annotations

import os
from pathlib import Path

from tellapart.addresses import is_store_address, store_address
from tellapart.catalog.names import escape, unescape
from tellapart.runs.folder import RunFolder

FILE = "data.json"  # of a run that is made whole; one that can be resumed has it in run.json


def place_from(run: Path, data: object) -> str | None:
    """The way from a run folder to its data, escaped. It is an absolute path only where there is no
    relative one, an address where the data is in a store, and None where it is in memory.

    Args:
        run: the folder's final path.
        data: where the data is. Anything but a path or an address is data in memory.
    """
    if address := store_address(data):
        return address
    if not isinstance(data, Path):
        return None
    here, there = os.path.realpath(run), os.path.realpath(data)
    try:
        return escape(Path(os.path.relpath(there, here)).as_posix())
    except ValueError:  # on another drive of Windows
        return escape(Path(there).as_posix())


def place_at(run: Path, place: str | None) -> Path | str | None:
    """The path that `place_from` told, if run folder and data were moved together or not at all;
    or the address.
    """
    if place is None or is_store_address(place):
        return place
    return Path(os.path.normpath(os.path.join(os.path.realpath(run), unescape(place))))


def is_there(place: Path | str) -> bool:
    """Whether there is anything at a path. What is at an address shows when it is listed."""
    return isinstance(place, str) or place.exists()


def write_data_place(run: RunFolder, data: object) -> None:
    """Write down where the data of a run is."""
    run.write_json(FILE, {"data": place_from(run.path, data)})


def data_of(run: Path) -> Path | str | None:
    """Where the data of a run was when it was trained. It need not be there any more.

    Returns:
        None where the data was in memory, or where the folder does not tell.

    Raises:
        Refused: the file that tells is damaged.
    """
    folder = RunFolder(run)
    for name in (FILE, "run.json"):
        if folder.has(name):
            place = folder.read_json(name).get("data")
            return place_at(run, place if isinstance(place, str) else None)
    return None
