"""Tables and data frames as sources: which images they name, with which labels.

Paths are absolute, or relative to the table's own folder (of a frame: to the current folder).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeGuard

from tellapart.addresses import is_store_address
from tellapart.catalog.files import Folder, Tree
from tellapart.catalog.names import unescape
from tellapart.catalog.paths import exists
from tellapart.catalog.table import Catalog
from tellapart.errors import UserError
from tellapart.phrases import count_of
from tellapart.sources.reading import AS_IT_LIES, Reading
from tellapart.sources.tables.by_path import catalog_by_path
from tellapart.sources.tables.listing import Listing, Place
from tellapart.sources.tables.manifest import Origin, read_rows
from tellapart.sources.tables.resolving import resolve, start_of, why_missing
from tellapart.sources.tables.sheets import Sheet, read_sheet


class Frame(Protocol):
    """A data frame of pandas or polars. Neither is imported for it."""

    @property
    def columns(self) -> Any:
        """The names of the columns."""

    def __len__(self) -> int:
        """How many rows there are."""


def read_table(tree: Tree, path: str, reading: Reading = AS_IT_LIES) -> Catalog:
    """The catalog of the images that a table names.

    Args:
        tree: a folder, or an archive that holds the table and the images.
        path: the table's catalog path in it.
        reading: what the user says of its columns.

    Raises:
        UserError: it cannot be read, or its rows cannot be used; with what to do.
    """
    origin = origin_of(tree, path)
    place = Place(Listing(tree), unescape(path.rpartition("/")[0]))
    sheet = read_sheet(tree, path, origin.name)

    def count(cells: Sequence[str]) -> int:
        return sum(map(is_store_address, cells)) or place.count(cells)

    manifest = read_rows(origin, sheet, reading, count)
    names = [row.path for row in manifest.rows]
    in_stores = any(map(is_store_address, names))
    if in_stores and not isinstance(tree, Folder):
        return catalog_by_path(manifest, origin, "table", tree)
    found = resolve(place, names)
    if in_stores and found.missing:  # else all of them lie here as copies
        return catalog_by_path(manifest, origin, "table", tree)
    if len(found.missing) == len(names):
        raise none_there(origin, place, names)
    manifest = replace(manifest, remarks=[*manifest.remarks, *found.remarks])
    return catalog_by_path(manifest, origin, "table", tree, found.paths)


def none_there(origin: Origin, place: Place, names: Sequence[str]) -> UserError:
    """The error for a table none of whose images is there."""
    message = f"None of the {count_of(len(names), 'image')} of {origin.name} is there."
    if is_store_address(names[0]):
        hint = "They are addresses in a store: give the table itself as the data."
    elif start := start_of(place, names):
        hint = f"The paths start in {start}: put the table there, or give that folder."
    elif re.match(r"[A-Za-z]:[\\/]", names[0]):
        hint = "They look like paths of a Windows machine: give paths relative to the table."
    else:
        hint = (
            "Give paths relative to the table, put it where they start, or name the column of"
            " paths: --columns path=NAME."
        )
    return UserError(f"{message} {why_missing(place, names)}", hint)


def is_frame(source: object) -> TypeGuard[Frame]:
    """Whether an object is a data frame of pandas or polars, or of a class that builds on it.

    That is told by names, so that neither is imported.
    """
    return any(
        kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] in ("pandas", "polars")
        for kind in type(source).__mro__
    )


def read_frame(frame: Frame, reading: Reading = AS_IT_LIES) -> Catalog:
    """The catalog of the images that a data frame names.

    Args:
        frame: of pandas or polars, with the columns of a table.
        reading: as in `read_table`.

    Raises:
        UserError: as in `read_table`.
    """
    origin = Origin("The data frame", Path.cwd(), first=0)
    columns: Any = frame
    sheet = Sheet(list(frame.columns), len(frame), lambda name: columns[name].to_list())
    manifest = read_rows(origin, sheet, reading, count_there)
    return catalog_by_path(manifest, origin, "data frame", Folder(origin.folder))


def count_there(cells: Sequence[str]) -> int:
    """How many cells are paths of files that are there, or addresses in a store."""
    return sum(is_store_address(cell) or exists(cell) for cell in cells)


def origin_of(tree: Tree, path: str) -> Origin:
    """Where the rows of a table in a tree stand."""
    inner = PurePosixPath(unescape(path))
    if isinstance(tree, Folder):
        return Origin(str(tree.root / inner), tree.root / inner.parent)
    return Origin(f"{inner} of {tree.name}", Path(inner.parent))
