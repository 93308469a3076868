"""The kinds of containers, and how the files of each become shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

from tellapart.catalog.files import AGAIN, Folder, Tree, file_stamp, reopened_store
from tellapart.errors import UserError, reason_of
from tellapart.sources.containers import hdf5, npz
from tellapart.sources.containers.archives import ArchiveFiles, archive_in
from tellapart.sources.containers.arrow import FEATHER, open_arrow, saved_info
from tellapart.sources.containers.columnar import (
    ColumnFile,
    class_names_in,
    image_columns,
    shard_of,
)
from tellapart.sources.containers.hdf5 import arrays_of_hdf5
from tellapart.sources.containers.named_arrays import NamedArray, paired
from tellapart.sources.containers.nested import open_inner
from tellapart.sources.containers.npz import array_of_npy, arrays_of_npz
from tellapart.sources.containers.parquet import open_parquet
from tellapart.sources.containers.pixel_tables import read_pixel_table
from tellapart.sources.containers.shards import Shard
from tellapart.sources.containers.spool import Spool
from tellapart.sources.containers.webdataset import is_shard, may_be_shard, named_classes, shard_in
from tellapart.sources.reading import Reading, refuse_columns
from tellapart.sources.store_folder import StoreFolder

MOST_OPEN = 100  # files at a time
_LIST_BYTES = 2**24
PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather")
NUMPY = (".npz", ".npy")
HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
_CLASS_LISTS = ("classes.txt", "classes.json", "labels.txt", "class_names.txt", "class_names.json")


def _on_disk(tree: Tree, path: str) -> Path:
    """The path of a file on disk.

    Raises:
        UserError: it lies in an archive or in a store.
    """
    if isinstance(tree, Folder):
        return Path(tree.real(path))
    if isinstance(tree, StoreFolder):
        raise UserError(
            f"{tree.at(path)} lies in a store, where files of its kind are not read.",
            "Download it, and give the file.",
        )
    raise UserError(
        f"{path} of {tree.name} lies in an archive, where files of its kind are not read.",
        "Unpack the archive, and give the folder.",
    )


class Reader(Protocol):
    """Reads the files of one kind. Without labels, none is looked for."""

    def __call__(
        self, tree: Tree, paths: Sequence[str], reading: Reading, *, labelled: bool
    ) -> list[Shard]:
        """The files among those of `paths` that hold images."""


def _parquet(tree: Tree, paths: Sequence[str], reading: Reading, *, labelled: bool) -> list[Shard]:
    return _of_columns(tree, paths, reading, open_parquet, labelled=labelled)


def _arrow(tree: Tree, paths: Sequence[str], reading: Reading, *, labelled: bool) -> list[Shard]:
    @cache
    def names_of(folder: str) -> Mapping[str, Sequence[str]]:
        return class_names_in(_text(tree, f"{folder}/dataset_info.json".lstrip("/")))

    @cache
    def used(folder: str) -> frozenset[str]:
        state = saved_info(_text(tree, f"{folder}/state.json".lstrip("/")))
        files = state.get("_data_files")
        names = [file.get("filename") for file in files] if isinstance(files, list) else []
        return frozenset(str(name) for name in names)

    def is_used(path: str) -> bool:
        folder, _, name = path.rpartition("/")
        return name in used(folder) if used(folder) else not name.startswith("cache-")

    def open_file(path: Path, name: str) -> ColumnFile:
        return open_arrow(path, name, names_of(inner[path]))

    kept = [path for path in paths if is_used(path)]
    inner = {_on_disk(tree, path): path.rpartition("/")[0] for path in kept}
    return _of_columns(tree, kept, reading, open_file, labelled=labelled)


def _of_columns(
    tree: Tree,
    paths: Sequence[str],
    reading: Reading,
    open_file: Callable[[Path, str], ColumnFile],
    *,
    labelled: bool,
) -> list[Shard]:
    """The shards among files of columns. Tables without images are left out."""
    shards, spool = [], Spool(tree.name)
    for path in paths:
        place = _on_disk(tree, path)
        stamp = file_stamp(str(place))
        file = open_file(place, f"{path} of {tree.name}" if len(paths) > 1 else str(place))
        if image_columns(file.schema) and file.starts[-1]:
            shards.append(shard_of(file, path, stamp, reading, spool, labelled=labelled))
    return shards


def _webdataset(
    tree: Tree, paths: Sequence[str], reading: Reading, *, labelled: bool
) -> list[Shard]:
    shards, errors = [], []
    for path in paths:
        try:
            if not may_be_shard(tree.open(path)):
                continue
            archive = _open_shard(tree, path, many=len(paths) > MOST_OPEN)
        except OSError:
            continue
        except UserError as error:
            errors.append(error)
            continue
        if archive is not None and is_shard(archive):
            shards.append(shard_in(archive, path, (), reading, labelled=labelled))
    if errors and shards:  # without any shard, another reader says what they are
        raise errors[0]
    folders = dict.fromkeys(path.rpartition("/")[0] for path in ("", *paths))
    lists = [f"{folder}/{name}".lstrip("/") for folder in folders for name in _CLASS_LISTS]
    names = named_classes({path: _text(tree, path) for path in lists if tree.is_file(path)})
    return [replace(shard, class_names=names) for shard in shards]


def _numpy(tree: Tree, paths: Sequence[str], reading: Reading, *, labelled: bool) -> list[Shard]:
    refuse_columns(tree.name, reading)
    arrays = []
    for path in paths:
        if not path.lower().endswith(".npz"):
            arrays.append(_npy(tree, path))
        elif archive := open_inner(tree, path):
            arrays += arrays_of_npz(archive, path)
        else:
            raise UserError(
                f"{path} of {tree.name} is no .npz file, whatever its name says.", AGAIN
            )
    return paired(tree.name, arrays, labelled=labelled)


def _npy(tree: Tree, path: str) -> NamedArray:
    name, stamp = f"{path} of {tree.name}", tree.stamp(path)
    try:
        return array_of_npy(tree.open(path), path, stamp, name)
    except OSError as error:
        raise UserError(f"{name} cannot be read ({reason_of(error)}).", AGAIN) from None


def _hdf5(tree: Tree, paths: Sequence[str], reading: Reading, *, labelled: bool) -> list[Shard]:
    refuse_columns(tree.name, reading)
    arrays = []
    for path in paths:
        arrays += arrays_of_hdf5(_on_disk(tree, path), path, tree.stamp(path))
    return paired(tree.name, arrays, labelled=labelled)


def _pixel_tables(
    tree: Tree, paths: Sequence[str], reading: Reading, *, labelled: bool
) -> list[Shard]:
    spool = Spool(tree.name)
    found = (read_pixel_table(tree, path, reading, spool) for path in paths)
    return [shard for shard in found if shard is not None]


def _open_shard(tree: Tree, path: str, *, many: bool) -> ArchiveFiles | None:
    """A tar. Of many, none stays open: systems allow a process about a thousand files."""
    if not many or not isinstance(tree, Folder):
        return open_inner(tree, path)
    place, stamp = tree.real(path), tree.stamp(path)
    try:
        store = reopened_store(place, stamp[0])
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason_of(error)}).", AGAIN) from None
    return archive_in(store, f"{path} of {tree.name}", place, stamp)


def _text(tree: Tree, path: str) -> bytes:
    try:
        return tree.open(path).read(0, _LIST_BYTES) if tree.is_file(path) else b""
    except OSError:
        return b""


class Kind(NamedTuple):
    """One kind of container."""

    what: str  # in the middle of a sentence
    endings: tuple[str, ...]  # of the names of its files
    read: Reader


KINDS = (
    Kind("Parquet with images", PARQUET, _parquet),
    Kind("Arrow with images", ARROW, _arrow),
    Kind("WebDataset shards", (".tar",), _webdataset),
    Kind("NumPy arrays", NUMPY, _numpy),
    Kind("HDF5 arrays", HDF5, _hdf5),
    Kind("pixels in the cells of tables", (".csv",), _pixel_tables),
)
# First bytes → the ending that a file of its kind has, whatever its name is.
MAGIC = (
    (b"PAR1", PARQUET[0]),
    (FEATHER, ARROW[0]),
    (npz.MAGIC, ".npy"),
    (hdf5.MAGIC, HDF5[0]),
)
