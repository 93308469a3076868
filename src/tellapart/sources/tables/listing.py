"""The names of all files of a tree, so that paths can be looked for among them."""

from __future__ import annotations

import os
import posixpath
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tellapart.catalog.files import Folder, Tree
from tellapart.catalog.names import escape, unescape
from tellapart.sources.tables.sheets import is_list, is_table
from tellapart.sources.tables.spellings import fold, keys_of, stem_of
from tellapart.sources.tree_files import files_by_folder

_MOST_NAMES = 500_000  # files that are listed to find paths among them
_NO_IMAGES = (".json", ".xml", ".md", ".html", ".yaml", ".yml", ".py", ".ipynb", ".log")


class Listing:
    """The names of all files of a tree, listed once, when they are needed.

    Args:
        tree: a folder on disk, or an archive.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._names: dict[str, set[str] | None] = {}
        self._grouped: dict[tuple[str, bool], dict[str, list[str]]] = {}

    @cached_property
    def files(self) -> list[str]:
        """The paths of all files, from the top of the tree. Tables and other texts are left out."""
        found: list[str] = []
        # Masks have the names of their images.
        for paths in files_by_folder(self.tree, annotations=False):
            found += map(unescape, paths)
            if len(found) >= _MOST_NAMES:
                break
        return [path for path in found if not _is_text(path)]

    def grouped(self, key: Callable[[str], str], *, folded: bool) -> dict[str, list[str]]:
        """The files by what a key makes of their names.

        Args:
            key: as in `spellings.ENDINGS`.
            folded: whether case and the encoding of accents make no difference.
        """
        wanted = (key.__name__, folded)
        if wanted not in self._grouped:
            groups: dict[str, list[str]] = defaultdict(list)
            for path in self.files:
                name = key(path.rpartition("/")[2])
                groups[fold(name) if folded else name].append(path)
            self._grouped[wanted] = dict(groups)
        return self._grouped[wanted]

    def has(self, path: str) -> bool:
        """Whether there is a file of this path, from the top of the tree or absolute. Each folder
        is listed once, whatever lies in it.

        Where a folder may not be listed, its files may still be read, so the answer is yes.
        """
        inside, slash, name = path.replace(os.sep, "/").rpartition("/")
        inside = inside or slash
        if inside not in self._names:
            self._names[inside] = self._list(inside)
        names = self._names[inside]
        return names is None or name in names

    def _list(self, inside: str) -> set[str] | None:
        try:
            if isinstance(self.tree, Folder):
                return set(os.listdir(os.path.join(self.tree.root, inside)))
            items = self.tree.list(escape(inside))
            return {unescape(item.name) for item in items if not item.folder}
        except (FileNotFoundError, NotADirectoryError, ValueError):  # or a name with a zero byte
            return set()
        except OSError:
            return None


@dataclass(frozen=True)
class Place:
    """A folder in a tree, from which paths start.

    Args:
        listing: the files of the tree.
        folder: its path there, "" for the top.
        split: the split whose folder is meant where several hold files of the same names.
    """

    listing: Listing
    folder: str = ""
    split: str = "train"

    @property
    def tree(self) -> Tree:
        """The tree."""
        return self.listing.tree

    def join(self, path: str) -> str:
        """A path as it is looked for: from the top of the tree, or absolute."""
        if isinstance(self.tree, Folder):
            return os.path.normpath(os.path.join(self.folder, path))
        return posixpath.normpath(posixpath.join(self.folder, path))

    def has(self, path: str) -> bool:
        """Whether there is a file of a path as `join` gives it."""
        return self.listing.has(path)

    def count(self, cells: Sequence[str]) -> int:
        """How many of some cells are files of the tree, in any spelling, at any place."""
        groups = self.listing.grouped(stem_of, folded=True)
        return sum(
            bool(cell) and (self.has(self.join(cell)) or bool(keys_of(cell) & groups.keys()))
            for cell in cells
        )


def _is_text(path: str) -> bool:
    return is_table(path) or is_list(path) or path.lower().endswith(_NO_IMAGES)
