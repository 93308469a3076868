"""The images that a file holds or names, with labels or without: an archive, a table, a container."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, overload

from numpy.typing import NDArray

from tellapart.addresses import is_store_address
from tellapart.catalog.files import Files, Folder, open_store
from tellapart.catalog.names import escape, unescape
from tellapart.catalog.table import Catalog
from tellapart.errors import UserError
from tellapart.image_input import StoredImage
from tellapart.sources.containers.archives import ArchiveFiles, open_archive
from tellapart.sources.containers.arrays import is_idx
from tellapart.sources.containers.container import container_images
from tellapart.sources.containers.nested import enter_archives
from tellapart.sources.reading import AS_IT_LIES, Reading
from tellapart.sources.source import read_source
from tellapart.sources.store_folder import StoreFolder
from tellapart.sources.stores import located, stored_image
from tellapart.sources.tables.cells import text_or_empty
from tellapart.sources.tables.columns import find_columns
from tellapart.sources.tables.dialects import looks_like_an_image
from tellapart.sources.tables.listing import Listing, Place
from tellapart.sources.tables.resolving import resolve
from tellapart.sources.tables.sheets import Sheet, is_list, is_table, read_sheet
from tellapart.sources.tables.table_file import Frame, count_there, none_there, origin_of
from tellapart.sources.walk import Walk, is_image_name


def held_images(path: Path, reading: Reading = AS_IT_LIES) -> Sequence[Path | StoredImage] | None:
    """The images of one file that the user names, in their order there. None means that the file
    holds none, so that it is to be read as an image itself.

    Args:
        path: a file, or what is none.
        reading: what the user says of the columns of a table.

    Raises:
        UserError: it is such a file, but cannot be read or holds no images.
    """
    if is_image_name(path.name) or not os.path.isfile(path):
        return None
    if not os.access(path, os.R_OK):
        return None
    # First: an .npz is a zip too, and a Parquet file may hold the images themselves.
    if container := container_images(path, reading):
        files, names = container
        return Each(names, lambda name: _image(files, name, f"{path.parent}/"))
    if archive := open_archive(path):
        return _of_archive(archive, path)
    if is_table(path.name):
        return _of_table(path, reading)
    if is_list(path.name):
        return _of_list(path, reading)
    if is_idx(open_store(path).read(0, 4)):
        return images_of(read_source(path, reading), f"{path}/")
    return None


class Each(Sequence[Path | StoredImage]):
    """Images that are made of their names when they are asked for: a path takes ten times the
    memory of its name.

    Args:
        names: what the images are made of.
        image: a name → the image.
    """

    def __init__(
        self, names: Sequence[str] | NDArray[Any], image: Callable[[str], Path | StoredImage]
    ) -> None:
        self._names, self._image = names, image

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, place: int) -> Path | StoredImage: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Path | StoredImage]: ...

    def __getitem__(self, place: int | slice) -> Path | StoredImage | Sequence[Path | StoredImage]:
        if isinstance(place, slice):
            return Each(self._names[place], self._image)
        return self._image(self._names[place])


def images_of(catalog: Catalog, prefix: str = "") -> Sequence[Path | StoredImage]:
    """The images of a catalog, in its order.

    Args:
        catalog: any.
        prefix: what stands before the names of images that are no files of their own.
    """
    return Each(catalog.paths, lambda path: _image(catalog.files, path, prefix))


def images_of_frame(frame: Frame, reading: Reading = AS_IT_LIES) -> Sequence[Path | StoredImage]:
    """The images that a data frame names, one a row. Paths are relative to the current folder.

    Raises:
        UserError: no column of it names files.
    """
    columns: Any = frame
    sheet = Sheet(list(frame.columns), len(frame), lambda name: columns[name].to_list())
    found = find_columns("The data frame", sheet, reading, count_there, labelled=False)
    names = [cell for cell in map(text_or_empty, sheet.cells(found.path)) if cell]
    return Each(names, located)


def _of_archive(archive: ArchiveFiles, path: Path) -> Sequence[Path | StoredImage]:
    tree = enter_archives(archive)
    names = [inner for _, inner in Walk(tree).files("")]
    if not names:
        raise UserError(f"{path} holds no images.", "Give an archive of images.")
    return Each(names, lambda name: _image(tree, name, f"{path}/"))


def _of_table(path: Path, reading: Reading) -> Sequence[Path | StoredImage]:
    tree, name = Folder(path.parent), escape(path.name)
    origin, place = origin_of(tree, name), Place(Listing(tree))
    sheet = read_sheet(tree, name, origin.name)

    def count(cells: Sequence[str]) -> int:
        return sum(map(is_store_address, cells)) or place.count(cells)

    column = find_columns(origin.name, sheet, reading, count, labelled=False).path
    names = [cell for cell in map(text_or_empty, sheet.cells(column)) if cell]
    if any(map(is_store_address, names)):  # others beside them are read as they are written
        return Each(names, lambda name: _beside(path, name))
    found = resolve(place, names)
    if names and len(found.missing) == len(names):
        raise none_there(origin, place, names)
    return Each(found.paths, lambda inner: path.parent / inner)


def _beside(table: Path, name: str) -> Path | StoredImage:
    """The image that a table names: at an address in a store, or at a path from the table on."""
    return stored_image(name) if is_store_address(name) else table.parent / name


def _of_list(path: Path, reading: Reading) -> Sequence[Path | StoredImage] | None:
    """The images of a list of paths. None where the file is another text."""
    with suppress(UserError):
        images = _of_table(path, reading)
        named = sum(looks_like_an_image(_name(image)) for image in images)
        return images if named * 2 > len(images) else None
    return None


def _name(image: Path | StoredImage) -> str:
    return image.name if isinstance(image, StoredImage) else str(image)


def _image(files: Files, path: str, prefix: str) -> Path | StoredImage:
    if isinstance(files, Folder):
        return files.root / unescape(path)
    if isinstance(files, StoreFolder):
        return stored_image(files.at(path))
    return StoredImage(escape(prefix) + path, partial(files.read, path))
