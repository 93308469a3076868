"""From what the user points at to a catalog, recognised by looking. No image is opened here.

a folder                                see `layouts`
a zip or tar archive of such a folder   see `archives`; a single folder in it is entered
IDX files, CIFAR's binary files         see `arrays`
an address in a store, such as s3://    of such a folder, or of a table: see `store_folder`
a table, a data frame                   CSV, TSV, JSON Lines, Parquet, pandas, polars: see `tables`
a list of (path or image, label)        see `in_memory`
a catalog                               as `explore` gives it; it is scanned again
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import TypeAlias, TypeVar

from tellapart.addresses import store_address
from tellapart.catalog.files import READ_IT, Folder, Tree, open_store
from tellapart.catalog.names import check_names_are_text, escape, nearest_path
from tellapart.catalog.paths import can_list, exists, is_file, is_folder
from tellapart.catalog.table import Catalog, text_column
from tellapart.errors import UserError
from tellapart.home import user_path
from tellapart.sources.containers.archives import ArchiveFiles, open_archive
from tellapart.sources.containers.array_layout import read_arrays
from tellapart.sources.containers.arrays import find_arrays, is_idx, is_named_like_arrays
from tellapart.sources.containers.container import read_container
from tellapart.sources.containers.nested import enter_archives
from tellapart.sources.containers.packed import packed_head, packing
from tellapart.sources.exports.export import detection_candidates, read_export
from tellapart.sources.folder_names import is_unlabelled, may_wrap, split_named
from tellapart.sources.in_memory import ImageInMemory, read_pairs
from tellapart.sources.look import read_tree
from tellapart.sources.reading import AS_IT_LIES, Reading, refuse_columns
from tellapart.sources.store_folder import StoreFolder
from tellapart.sources.tables.search import is_list_of_images
from tellapart.sources.tables.sheets import TABLE_SUFFIXES, is_table, may_hold_table
from tellapart.sources.tables.table_file import Frame, is_frame, read_frame, read_table
from tellapart.sources.walk import Walk, is_image_name

T = TypeVar("T", Folder, ArchiveFiles, StoreFolder)

# What every verb takes as its data.
Source: TypeAlias = (
    str
    | PathLike[str]
    | Frame
    | Sequence[tuple[str | PathLike[str], str | int]]
    | Sequence[tuple[ImageInMemory, str | int]]
    | Catalog
)


def read_source(source: Source, reading: Reading = AS_IT_LIES) -> Catalog:
    """The catalog of a source, before the scan: paths, labels and what the source says of splits
    and groups.

    Args:
        source: a folder, a table, an archive, or an IDX file of images with that of its labels
            beside it; the address of a folder or a table in a store; a data frame of pandas or
            polars with the columns of a table; a list of (path, label) or of (image, label); or a
            catalog, whose groups and given splits stay.
        reading: what the user says of the form of the data.

    Raises:
        UserError: nothing is there, it is not recognised, or its classes cannot work; with what to
            do.

    >>> from PIL import Image
    >>> read_source([(Image.new("RGB", (8, 8)), "black"), (b"no image", "broken")]).source
    'a list of 2 images in memory'
    """
    if is_frame(source) or isinstance(source, str | PathLike):
        check_names_are_text()
    if is_frame(source):
        return read_frame(source, reading)
    if address := store_address(source):
        return _from_store(address, reading)
    if isinstance(source, str | PathLike):
        data = user_path(source)
        if not exists(data):
            raise UserError(f"{data} does not exist.", nearest_path(data))
        if is_file(data) and (container := read_container(data, reading)):
            return container
        if is_file(data) and (export := read_export(data, reading)):
            return export
        if is_file(data) and may_hold_table(data.name):
            return read_table(Folder(data.parent), escape(data.name), reading)
        return _from_path(data, reading)
    refuse_columns("The source", reading)
    if isinstance(source, Catalog):
        return _unscanned(source)
    if isinstance(source, Sequence) and not isinstance(source, bytes | bytearray | memoryview):
        return read_pairs(source)
    raise UserError(
        f"An object of type {type(source).__name__} is no source of images.",
        "Give a path, a data frame of pandas or polars, a list of (path, label) or of (image,"
        " label), or a catalog.",
    )


def name_of(source: Source) -> str:
    """The name of a source where the user gives none: its own without an ending, or "data".

    >>> name_of("photos/cats-dogs.zip"), name_of([("cat.jpg", "cat")])
    ('cats-dogs.zip', 'data')
    """
    if isinstance(source, Catalog):
        return name_of(source.files.place) if source.files.place else "data"
    if address := store_address(source):
        name = address.rpartition("/")[2]
        return name.split(".")[0] if is_table(name) else name
    if not isinstance(source, str | PathLike):
        return "data"
    path = user_path(source)
    return path.name.split(".")[0] or path.stem if is_file(path) else path.resolve().name


def _unscanned(catalog: Catalog) -> Catalog:
    """A catalog as it was before its scan, but for its groups and copies.

    Files of classes that were left out have no label any more, and none of them can be used.
    """
    kept = catalog.rows(catalog.labels >= 0)
    empty = text_column([""] * len(kept))
    # All other notes are of the content, and the next scan makes them again.
    notes = text_column("link_outside" * ("link_outside" in note) for note in kept.notes)
    kept = kept.replace(statuses=empty, notes=notes, splits=empty)
    # What was listed then says nothing of the objects as they are now.
    return kept.replace(files=kept.files.anew()) if isinstance(kept.files, StoreFolder) else kept


def _from_path(data: Path, reading: Reading) -> Catalog:
    """The catalog of a folder or of a file that is no table."""
    if is_file(data):
        return _from_file(data, reading)
    if not is_folder(data):
        raise _unrecognised(data)
    if not can_list(data):
        raise UserError(f"{data} cannot be read.", READ_IT)
    return _from_folder(Folder(data), reading)


def _from_folder(folder: T, reading: Reading) -> Catalog:
    """The catalog of a folder on disk or in a store."""
    tree, ignored = _unwrapped(folder)
    if (entered := enter_archives(tree)) is not tree:
        return _beside(_from_archives(entered, reading), ignored)
    catalog, is_export = _read_below(folder, tree, reading)
    if is_export:
        return catalog
    inner = tree.place.removeprefix(folder.place).strip("/")
    where = f"in {inner}/: " if inner else ""
    return _beside(catalog.replace(source=f"{where}{catalog.source}"), ignored)


def _from_store(address: str, reading: Reading) -> Catalog:
    """The catalog of a folder or of a table in a store."""
    above, _, name = address.rpartition("/")
    if may_hold_table(name) and (folder := StoreFolder(above)).is_file(escape(name)):
        return read_table(folder, escape(name), reading)
    folder = StoreFolder(address)
    folder.take_listing()
    if not folder.list(""):
        raise UserError(
            f"{address} is no folder of images.",
            "Give the address of a folder, or of a table of paths and labels.",
        )
    return _from_folder(folder, reading)


def _from_file(data: Path, reading: Reading) -> Catalog:
    if archive := open_archive(data):
        return _from_archive(archive, reading)
    refuse_columns(str(data), reading)
    store = open_store(data)
    kind = packing(store)
    head = packed_head(store, kind) if kind else store.read(0, 512)
    if is_idx(head):
        folder = Walk(data.parent)
        if arrays := find_arrays(folder.tree, folder.names(""), only=escape(data.name)):
            return read_arrays(folder, arrays)
        raise UserError(
            f"{data} is an IDX file, but its name is not that of a file of images.",
            "Name it like train-images-idx3-ubyte, put train-labels-idx1-ubyte beside it, and give"
            " the first.",
        )
    raise _unrecognised(data)


def _unrecognised(data: Path) -> UserError:
    kinds = ", ".join(sorted(TABLE_SUFFIXES))
    return UserError(
        f"{data} is neither a folder nor a table, an archive or a file of arrays.",
        f"Give a folder of images, a table ({kinds}), a zip or tar archive, or an IDX file.",
    )


def _from_archive(archive: ArchiveFiles, reading: Reading) -> Catalog:
    whole = archive
    archive, ignored = _unwrapped(whole)
    if (entered := enter_archives(archive)) is not archive:
        return _beside(_from_archives(entered, reading), ignored)
    catalog, is_export = _read_below(whole, archive, reading)
    if is_export:
        return catalog.replace(source=f"a {whole.kind} archive of {catalog.source}")
    where = f" (in {archive.top}/)" if archive.top else ""
    source = f"a {archive.kind} archive{where} of {catalog.source}"
    return _beside(catalog.replace(source=source), ignored)


def _from_archives(tree: Tree, reading: Reading) -> Catalog:
    """The catalog of the archives that lie in a folder or in an archive."""
    if isinstance(tree, ArchiveFiles):
        return _from_archive(tree, reading)
    catalog = read_tree(tree, reading)
    return catalog.replace(source=f"archives, each as a folder: {catalog.source}")


def _read_below(whole: T, inner: T, reading: Reading) -> tuple[Catalog, bool]:
    """The catalog of a folder that was entered; or, where it has no classes itself, that of an export
    which lies beside it: annotations.json beside images/, or labels/. And whether it is the export.
    """
    is_whole = whole.place == inner.place and whole.name == inner.name
    exports = [] if is_whole else list(detection_candidates(Walk(whole), reading))
    if not exports:
        return read_tree(inner, reading), False
    if not reading.crops:
        with suppress(UserError):
            return read_tree(inner, reading), False
    return exports[0].read(), True


def _beside(catalog: Catalog, ignored: Counter[str]) -> Catalog:
    """The catalog that also counts what lies beside the folder that was entered."""
    return catalog.replace(ignored=dict(sorted((Counter(catalog.ignored) + ignored).items())))


def _unwrapped(tree: T) -> tuple[T, Counter[str]]:
    """The tree that the folders around the data lead to, and what lies beside these."""
    ignored = Counter[str]()
    top = tree
    while inner := _only_folder(walk := Walk(tree), is_inside=tree is not top):
        walk.ignore_loose("")
        ignored += walk.ignored
        tree = tree.entered(inner)
        ignored -= Counter(tree.ignored)  # a walk of it counts these again
    return tree, ignored


def _only_folder(walk: Walk, *, is_inside: bool) -> str:
    """The one folder at the top that only wraps the source. "" means that there is none.

    Args:
        walk: at the folder to be looked at.
        is_inside: whether this folder is itself inside one that was entered.
    """
    folders = [name for name in walk.folders("") if not is_unlabelled(name)]
    if len(folders) != 1 or split_named(folders[0]) or _holds_data(walk, ""):
        return ""
    (inner,) = folders
    below = walk.folders(inner)
    if not (below or _holds_data(walk, inner)):
        return ""
    # On disk a folder may be the user's one class, with folders of any kind below.
    own = os.path.basename(walk.tree.place).lower()
    wraps = may_wrap(inner) or inner.lower() == own or _has_train(below)
    return inner if wraps or is_inside or isinstance(walk.tree, ArchiveFiles) else ""


def _has_train(folders: Iterable[str]) -> bool:
    return any(split_named(name) == "train" for name in folders)


def _holds_data(walk: Walk, inside: str) -> bool:
    """Whether the files in a folder are more than stands beside the folder of a source."""
    names = walk.names(inside)
    if is_named_like_arrays(names) or any(is_table(name) or is_image_name(name) for name in names):
        return True
    prefix = f"{inside}/" if inside else ""
    return any(is_list_of_images(walk.tree, f"{prefix}{name}") for name in names)
