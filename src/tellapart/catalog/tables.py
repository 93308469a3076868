"""Tables and data frames as sources: which images they name, with which labels.

Paths are absolute, or relative to the table's own folder (of a frame: to the current folder).
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeGuard

from tellapart.catalog.by_path import catalog_by_path
from tellapart.catalog.files import Folder, Tree
from tellapart.catalog.manifest import Origin, read_rows
from tellapart.catalog.names import unescape
from tellapart.catalog.paths import exists
from tellapart.catalog.reading import AS_IT_LIES, Reading
from tellapart.catalog.sheets import Sheet, read_sheet
from tellapart.catalog.table import Catalog


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
    origin = _origin_of(tree, path)
    sheet = read_sheet(tree, path, origin.name)
    manifest = read_rows(origin, sheet, reading, lambda cells: 0)
    return catalog_by_path(manifest, origin, "table", None if isinstance(tree, Folder) else tree)


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
    manifest = read_rows(origin, sheet, reading, lambda cells: sum(map(exists, cells)))
    return catalog_by_path(manifest, origin, "data frame")


def _origin_of(tree: Tree, path: str) -> Origin:
    inner = PurePosixPath(unescape(path))
    if isinstance(tree, Folder):
        return Origin(str(tree.root / inner), tree.root / inner.parent)
    return Origin(f"{inner} of {tree.name}", Path(inner.parent))
