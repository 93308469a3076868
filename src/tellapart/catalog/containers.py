"""Containers of images: files that hold many images with their labels, alone or in a folder.

Parquet with the bytes of images        as hubs write it: see `parquet`
WebDataset shards                       see `webdataset`
Arrow, as the `datasets` library saves  see `arrow`
NumPy's .npz and .npy                   see `npz`
HDF5                                    see `hdf5`
pixels in the cells of a CSV            see `pixel_tables`

Each kind is told by its content. Kinds that are known but not read are named: see `unread`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple, Protocol

from tellapart.catalog import hdf5, npz
from tellapart.catalog.annotations import is_image_name
from tellapart.catalog.archives import ArchiveFiles, archive_in
from tellapart.catalog.arrow import FEATHER, open_arrow, saved_info
from tellapart.catalog.columnar import ColumnFile, class_names_in, image_columns, shard_of
from tellapart.catalog.files import AGAIN, Files, Folder, Item, Tree, file_stamp, reopened_store
from tellapart.catalog.hdf5 import arrays_of_hdf5
from tellapart.catalog.named_arrays import NamedArray, are_partners, paired
from tellapart.catalog.names import escape, is_junk
from tellapart.catalog.nested import open_inner, stem_of
from tellapart.catalog.npz import array_of_npy, arrays_of_npz
from tellapart.catalog.parquet import open_parquet
from tellapart.catalog.pixel_tables import read_pixel_table
from tellapart.catalog.reading import Candidate, Reading, refuse_columns
from tellapart.catalog.shards import Shard, ShardFiles, catalog_of_shards
from tellapart.catalog.spool import Spool
from tellapart.catalog.table import Catalog
from tellapart.catalog.unread import HEAD_BYTES, Unread, refuse_unread, unread_kind
from tellapart.catalog.walk import Walk
from tellapart.catalog.webdataset import is_shard, named_classes, shard_in
from tellapart.errors import UserError, reason_of
from tellapart.phrases import count_of

_MAX_FOLDERS = 24  # in one folder, that are looked into
_MAX_DEPTH = 3
MOST_OPEN = 100  # files at a time
_LIST_BYTES = 2**24
PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather")
NUMPY = (".npz", ".npy")
HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
# Where the labels may lie in a file of their own.
_IN_PAIRS = (".npy", *HDF5)
_CLASS_LISTS = ("classes.txt", "classes.json", "labels.txt", "class_names.txt", "class_names.json")


def container_candidates(
    walk: Walk, reading: Reading, near: Sequence[str] | None = None
) -> Iterator[Candidate]:
    """A reading for each kind of container that a tree holds.

    A kind that is known but cannot be read labels no image, and `read` says why. It is left out
    where images lie beside it, as then it is seldom the data.

    Args:
        walk: over the tree. Only folders near its top are looked into.
        reading: what the user says of the form of the data.
        near: what `files_near_the_top` found. None means that it is looked for here.
    """
    if reading.label_by is not None:
        return
    near = files_near_the_top(walk.tree) if near is None else near
    special = [path for path in near if not is_image_name(path)]
    has_images = len(special) < len(near)
    by_ending = defaultdict(list)
    for path in special:
        by_ending[_ending(path)].append(path)
    for kind in _KINDS:
        paths = sorted(path for ending in kind.endings for path in by_ending[ending])
        candidate = _candidate(walk.tree, paths, kind, reading) if paths else None
        if candidate and (candidate.labelled or not has_images):
            yield candidate
    if not has_images:
        yield from _unread_candidates(walk.tree, special)


def read_container(path: Path, reading: Reading) -> Catalog | None:
    """The catalog of a file that holds many images. None means that it is no such file.

    Raises:
        UserError: it is one, but is of a kind that is not read, or cannot be used.
    """
    kind, shards = _shards_in(path, reading, labelled=True)
    if not shards:
        return None
    _refuse_choices(str(path), reading)
    return catalog_of_shards(str(path), Folder(path.parent).place, kind, shards)


def container_images(path: Path, reading: Reading) -> tuple[Files, list[str]] | None:
    """The images of such a file, with labels or without, in their order there. None means that it
    is no such file, or is of a kind that is not read.

    Raises:
        UserError: it is one, but cannot be used.
    """
    _, shards = _shards_in(path, reading, labelled=False)
    if not shards:
        return None
    names = [name for shard in shards for name in shard.record_paths()]
    return ShardFiles(Folder(path.parent).place, shards), names


def _shards_in(path: Path, reading: Reading, *, labelled: bool) -> tuple[str, list[Shard]]:
    """The kind of a file of images, and what it holds; nothing where it is none."""
    tree, name = Folder(path.parent), escape(path.name)
    head = _head(tree, name)
    if labelled and (unread := unread_kind(path.name, head)):
        refuse_unread(str(path), unread)
    ending = _ending(name)
    if not any(ending in kind.endings for kind in _KINDS):
        ending = next((end for magic, end in _MAGIC if head.startswith(magic)), ending)
    for kind in _KINDS:
        if ending not in kind.endings:
            continue
        paths = [name, *_partners(tree, name)]
        if shards := kind.read(tree, paths, reading, labelled=labelled):
            own = [shard for shard in shards if shard.path.split("/")[0] == name]
            return kind.what, own or shards
    return "", []


def _refuse_choices(name: str, reading: Reading) -> None:
    """Refuse what the user says of files, where there are records."""
    if reading.label_by is not None:
        raise UserError(
            f"{name} holds its labels, and its images have no names, so --label-by finds nothing.",
            "Leave --label-by out, or name a column with --columns label=NAME.",
        )
    if reading.crops:
        raise UserError(f"{name} holds no boxes that --crops could cut out.", "Leave --crops out.")


def _unread_candidates(tree: Tree, paths: Sequence[str]) -> Iterator[Candidate]:
    """A reading that always fails, for each kind of file that is known but not read."""
    names: dict[Unread, list[str]] = {}
    for path in paths:
        if kind := unread_kind(path.rpartition("/")[2]):
            names.setdefault(kind, []).append(path)
    for kind, found in names.items():
        read = partial(refuse_unread, tree.name, kind, found)
        yield Candidate(f"{kind.what} ({count_of(len(found), 'file')})", 0, tree.name, read)


def _head(tree: Tree, name: str) -> bytes:
    try:
        return tree.open(name).read(0, HEAD_BYTES)
    except OSError:
        return b""


def _partners(tree: Tree, name: str) -> list[str]:
    """The files beside one that may hold its labels: those whose names differ in that alone."""
    ending = _ending(name)
    if ending not in _IN_PAIRS:
        return []
    beside = [item.name for item in _listed(tree, "") if not item.folder and item.name != name]
    return [other for other in beside if _ending(other) == ending and are_partners(name, other)]


def _candidate(tree: Tree, paths: Sequence[str], kind: _Kind, reading: Reading) -> Candidate | None:
    """The reading of all files of one kind. None means that they hold no images."""
    try:
        shards = kind.read(tree, paths, reading, labelled=True)
    except UserError as error:
        return Candidate(kind.what, 0, tree.name, _raiser(error))
    if not shards:
        return None
    labelled = sum(label is not None and label != -1 for shard in shards for label in shard.labels)

    def catalog() -> Catalog:
        return catalog_of_shards(tree.name, tree.place, kind.what, shards)

    what = f"{kind.what} ({count_of(len(shards), 'file')})"
    return Candidate(what, labelled, tree.name, catalog)


def _raiser(error: UserError) -> Callable[[], Catalog]:
    def fail() -> Catalog:
        raise error

    return fail


def files_near_the_top(tree: Tree) -> list[str]:
    """The paths of the files in the folders near the top, folder by folder. Links to folders are
    not followed, nor are many folders in one: they are classes.
    """
    found, waiting = [], [("", 0)]
    while waiting:
        inside, depth = waiting.pop(0)
        prefix = f"{inside}/" if inside else ""
        folders = []
        for item in _listed(tree, inside):
            if not item.folder:
                found.append(prefix + item.name)
            elif not item.link:
                folders.append((prefix + item.name, depth + 1))
        if depth < _MAX_DEPTH and len(folders) <= _MAX_FOLDERS:
            waiting += folders
    return found


def all_files(tree: Tree) -> Iterator[str]:
    """The paths of all files of a tree that are no junk. Links to folders are not followed."""
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        for item in _listed(tree, inside):
            path = f"{inside}/{item.name}" if inside else item.name
            if not item.folder:
                yield path
            elif not item.link:
                waiting.append(path)


def _listed(tree: Tree, inside: str) -> list[Item]:
    try:
        items = sorted(tree.list(inside))
    except OSError:
        return []
    return [item for item in items if not is_junk(item.name, folder=item.folder)]


def _ending(path: str) -> str:
    """The ending of a name; that of a packed tar is ".tar" too."""
    ending = os.path.splitext(path)[1].lower()
    return ".tar" if stem_of(path) and ending != ".zip" else ending


def _on_disk(tree: Tree, path: str) -> Path:
    """The path of a file on disk.

    Raises:
        UserError: it lies in an archive.
    """
    if isinstance(tree, Folder):
        return Path(tree.real(path))
    raise UserError(
        f"{path} of {tree.name} lies in an archive, where files of its kind are not read.",
        "Unpack the archive, and give the folder.",
    )


# ── the kinds ──


class _Reader(Protocol):
    """Reads the files of one kind. Without labels, none is looked for."""

    def __call__(
        self, tree: Tree, paths: Sequence[str], reading: Reading, *, labelled: bool
    ) -> list[Shard]: ...


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
            archive = _open_shard(tree, path, many=len(paths) > MOST_OPEN)
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


class _Kind(NamedTuple):
    what: str  # in the middle of a sentence
    endings: tuple[str, ...]  # of the names of its files
    read: _Reader


_KINDS = (
    _Kind("Parquet with images", PARQUET, _parquet),
    _Kind("Arrow with images", ARROW, _arrow),
    _Kind("WebDataset shards", (".tar",), _webdataset),
    _Kind("NumPy arrays", NUMPY, _numpy),
    _Kind("HDF5 arrays", HDF5, _hdf5),
    _Kind("pixels in the cells of tables", (".csv",), _pixel_tables),
)
# First bytes → the ending that a file of its kind has, whatever its name is.
_MAGIC = (
    (b"PAR1", PARQUET[0]),
    (FEATHER, ARROW[0]),
    (npz.MAGIC, ".npy"),
    (hdf5.MAGIC, HDF5[0]),
)
