"""Archives that lie in a folder or in another archive, each as a folder of its name.

    download.zip: train.zip, test.zip   ──▶   train/…, test/…
    a folder of ring.zip and bars.zip   ──▶   ring/…, bars/…

Members are read in memory, on demand. An archive within an archive is unpacked once, into memory
or into a file without a name.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tellapart.catalog.files import Item, Store, Tree
from tellapart.catalog.names import is_junk
from tellapart.decoding import Decoded
from tellapart.errors import UserError, reason_of
from tellapart.phrases import count_of, listed
from tellapart.sources.containers.archives import ArchiveFiles, archive_in
from tellapart.sources.containers.webdataset import may_be_shard
from tellapart.sources.walk import Walk, is_image_name

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MAX_INNER = 64  # archives in one folder
_MAX_DEPTH = 2  # archives around a file


@dataclass(frozen=True)
class NestedArchives:
    """A tree whose archives at its top are folders: a `Tree`. Any thread may read.

    Args:
        outer: where the archives are.
        inner: the name of each folder → its archive.
        archives: the names of their files.
    """

    outer: Tree
    inner: Mapping[str, ArchiveFiles]
    archives: frozenset[str]

    @property
    def place(self) -> str:
        """Where the archives are."""
        return self.outer.place

    @property
    def name(self) -> str:
        """What messages call the tree that holds them."""
        return self.outer.name

    @property
    def ignored(self) -> Mapping[str, int]:
        """What all archives pass over."""
        total = Counter(self.outer.ignored)
        for archive in self.inner.values():
            total.update(archive.ignored)
        return total

    def read(self, path: str) -> bytes | Decoded:
        """The bytes of one file."""
        tree, below = self._find(path)
        return tree.read(below)

    def stamp(self, path: str) -> tuple[str, float]:
        """The stamp of the file on disk that holds it."""
        tree, below = self._find(path)
        return tree.stamp(below)

    def list(self, inside: str) -> list[Item]:
        """What lies in a folder."""
        if inside:
            tree, below = self._find(inside)
            return list(tree.list(below))
        beside = (item for item in self.outer.list("") if item.name not in self.archives)
        return [*beside, *(Item(name, True) for name in self.inner)]

    def is_file(self, path: str) -> bool:
        """Whether there is a file of this path."""
        tree, below = self._find(path)
        return bool(below) and tree.is_file(below)

    def real(self, path: str) -> str:
        """The path itself: links are passed over."""
        return os.path.join(os.sep, *path.split("/"))

    def open(self, path: str) -> Store:
        """One file, whatever it holds."""
        tree, below = self._find(path)
        return tree.open(below)

    def _find(self, path: str) -> tuple[Tree, str]:
        first, _, below = path.partition("/")
        return (self.inner[first], below) if first in self.inner else (self.outer, path)


def enter_archives(tree: Tree, depth: int = 1) -> Tree:
    """The same tree with the archives at its top as folders, if it holds archives but no folders
    and no images. WebDataset shards stay as they are.

    Where one archive is all that there is, it is the tree.

    Args:
        tree: a folder or an archive.
        depth: how many archives lie around the files in those at the top.

    Raises:
        UserError: an archive is damaged, or there are too many, or too many within one another.
    """
    walk = Walk(tree)
    all_names = walk.names("")
    names = [name for name in all_names if stem_of(name)]
    if not names or walk.folders("") or any(map(is_image_name, all_names)):
        return tree
    if is_shard_at(tree, names[0]):
        return tree
    if depth > _MAX_DEPTH or len(names) > MAX_INNER:
        raise UserError(
            f"{tree.name} holds {count_of(len(names), 'archive')}, {names[0]} for one,"
            " which is too many, or too deep in others.",
            "Unpack them, and give the folder.",
        )
    inner = _open_all(tree, names)
    if len(inner) == len(all_names) == 1:
        return enter_archives(next(iter(inner.values())), depth + 1)
    return NestedArchives(tree, inner, frozenset(names))


def is_shard_at(tree: Tree, name: str) -> bool:
    """Whether a file of a tree is a WebDataset shard."""
    if name.lower().endswith(".zip"):
        return False
    try:
        return may_be_shard(tree.open(name))
    except OSError:
        return False


def stem_of(name: str) -> str:
    """The name of an archive's file without its ending. "" means that it has no such ending.

    >>> stem_of("train.tar.gz"), stem_of("train.zip"), stem_of("zip")
    ('train', 'train', '')
    """
    ending = next((end for end in sorted(ENDINGS, key=len, reverse=True) if _ends(name, end)), "")
    return name[: -len(ending)] if ending else ""


def _ends(name: str, ending: str) -> bool:
    return name.lower().endswith(ending) and not name.lower().removesuffix(ending).endswith(".")


def _open_all(tree: Tree, names: list[str]) -> dict[str, ArchiveFiles]:
    """Stem → archive, seen from its one folder where it has only one."""
    found: dict[str, ArchiveFiles] = {}
    for name in names:
        archive = open_inner(tree, name)
        if archive is None:
            raise UserError(
                f"{name} of {tree.name} is no zip or tar archive, whatever its name says.",
                "Take it out, or download it again.",
            )
        if stem_of(name) in found:
            raise UserError(
                f"{tree.name} holds two archives called {stem_of(name)}: {listed(names)}.",
                "Take one of them out.",
            )
        found[stem_of(name)] = _without_wrapper(archive)
    return found


def open_inner(tree: Tree, name: str) -> ArchiveFiles | None:
    """An archive that lies in a tree. None means that the file is no archive.

    Raises:
        UserError: it is damaged, or cannot be read.
    """
    full, stamp = f"{name} of {tree.name}", tree.stamp(name)
    try:
        store = tree.open(name)
    except OSError as error:
        raise UserError(
            f"{full} cannot be read ({reason_of(error)}).", "Unpack it and give the folder."
        ) from None
    return archive_in(store, full, f"{tree.place}/{name}", stamp)


def _without_wrapper(archive: ArchiveFiles) -> ArchiveFiles:
    items = [item for item in archive.list("") if not is_junk(item.name, folder=item.folder)]
    return archive.entered(items[0].name) if len(items) == 1 and items[0].folder else archive
