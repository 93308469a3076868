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
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tellapart.catalog.files import Files, Folder, Tree
from tellapart.catalog.names import escape
from tellapart.catalog.table import Catalog
from tellapart.errors import UserError
from tellapart.phrases import count_of
from tellapart.sources.containers.kinds import HDF5, KINDS, MAGIC, Kind
from tellapart.sources.containers.named_arrays import are_partners
from tellapart.sources.containers.nested import stem_of
from tellapart.sources.containers.shards import Shard, ShardFiles, catalog_of_shards
from tellapart.sources.containers.unread import HEAD_BYTES, Unread, refuse_unread, unread_kind
from tellapart.sources.reading import Candidate, Reading
from tellapart.sources.tree_files import files_near_the_top, items_in
from tellapart.sources.walk import Walk, is_image_name

# Where the labels may lie in a file of their own.
_IN_PAIRS = (".npy", *HDF5)


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
    for kind in KINDS:
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
    if not any(ending in kind.endings for kind in KINDS):
        ending = next((end for magic, end in MAGIC if head.startswith(magic)), ending)
    for kind in KINDS:
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
    beside = [item.name for item in items_in(tree, "") if not item.folder and item.name != name]
    return [other for other in beside if _ending(other) == ending and are_partners(name, other)]


def _candidate(tree: Tree, paths: Sequence[str], kind: Kind, reading: Reading) -> Candidate | None:
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
    return Candidate(what, labelled, shlex.quote(tree.name), catalog)


def _raiser(error: UserError) -> Callable[[], Catalog]:
    def fail() -> Catalog:
        raise error

    return fail


def _ending(path: str) -> str:
    """The ending of a name; that of a packed tar is ".tar" too."""
    ending = os.path.splitext(path)[1].lower()
    return ".tar" if stem_of(path) and ending != ".zip" else ending
