"""A walk through a tree of folders, on disk or in an archive.

It counts junk, links and what cannot be read. It opens nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tellapart.catalog.files import Folder, Item, Tree
from tellapart.catalog.names import is_junk, unescape
from tellapart.errors import reason_of

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif"}
)


class Walk:
    """Walks through one tree. Junk and loose files are counted, and loops are left out.

    Every real folder is visited once, under its own name rather than that of a link to it. So no
    link, whether it leads back up or into another class, brings an image in twice.

    Args:
        place: a folder on disk, or any tree.
    """

    def __init__(self, place: Path | Tree) -> None:
        self.tree: Tree = Folder(place) if isinstance(place, Path) else place
        self.ignored: Counter[str] = Counter(self.tree.ignored)
        self.links_outside: set[str] = set()
        self.unreadable: dict[str, str] = {}  # folder → the system's reason
        self._not_followed: list[str] = []
        self._real_root = self.tree.real("")
        # Real paths: of the folders that were visited or asked for, and of all that lie above a
        # folder that was asked for.
        self._visited: set[str] = set()
        self._above: set[str] = set()

    @property
    def remarks(self) -> list[str]:
        """What the user should know of the links and folders that were passed over."""
        texts = []
        if self._not_followed:
            texts.append(
                "Links to folders that are visited under their own names were not followed: "
                f"{len(self._not_followed)}, for example {self._not_followed[0]!r}."
            )
        if self.unreadable:
            folder, reason = next(iter(self.unreadable.items()))
            texts.append(
                f"Folders that cannot be read: {len(self.unreadable)}, for example {folder!r}"
                f" ({reason}). Their images are not used. Give yourself the right to read them, or"
                " take them out."
            )
        return texts

    def folders(self, inside: str) -> list[str]:
        """Names of the folders in `inside`, without junk, in the order of their code points. That
        order is the same in every locale.
        """
        return [
            entry.name for entry in self._list(inside)[1] if not is_junk(entry.name, folder=True)
        ]

    def names(self, inside: str) -> list[str]:
        """Names of the files in `inside`, in the same way."""
        return [
            entry.name for entry in self._list(inside)[0] if not is_junk(entry.name, folder=False)
        ]

    def files(self, *folders: str) -> Iterator[tuple[str, str]]:
        """All files under some folders, however deep: (that folder, path from the root).

        "" is the root itself.
        """
        real = {folder: self.tree.real(folder) for folder in folders}
        for folder in folders:
            self._above.update(_parents(real[folder]))
        own = {
            folder: os.path.normpath(os.path.join(self._real_root, unescape(folder)))
            for folder in folders
        }
        linked = {folder: real[folder] != own[folder] for folder in folders}
        # Own names go first, so that a link to the same folder is the one that is left out.
        followed = {
            folder
            for folder in sorted(folders, key=lambda folder: linked[folder])
            if self._is_new(real[folder], folder, linked=linked[folder])
        }
        for folder in folders:
            if folder in followed:
                yield from ((folder, path) for path in self._below(folder, real[folder]))

    def ignore(self, reason: str, count: int) -> None:
        """Count what is passed over, under its reason."""
        if count:
            self.ignored[reason] += count

    def ignore_loose(self, inside: str) -> int:
        """Count what lies beside the class folders: junk, and files that belong to no class.

        Returns:
            the number of these files.
        """
        files, folders = self._list(inside)
        loose = sum(not is_junk(entry.name, folder=False) for entry in files)
        where = f"in {inside}/" if inside else "in the top folder"
        self.ignore(f"files {where}, beside the class folders", loose)
        self.ignore("junk files", len(files) - loose)
        self.ignore("junk folders", sum(is_junk(entry.name, folder=True) for entry in folders))
        return loose

    def _below(self, inside: str, real: str) -> Iterator[str]:
        # A list and not recursion: folders can lie deeper than Python's stack.
        waiting = [(inside, real)]
        while waiting:
            inside, real = waiting.pop()
            files, folders = self._list(inside)
            yield from self._files_of(inside, files, outside=self._is_outside(real))
            deeper = []
            for entry in folders:
                path = _join(inside, entry.name)
                if is_junk(entry.name, folder=True):
                    self.ignored["junk folders"] += 1
                elif self._is_named_like_an_image(entry) and not any(self._list(path)):
                    yield path  # an empty folder called x.jpg gets its verdict like a file
                else:
                    # Without a link the real path is known, and the system need not be asked.
                    below = os.path.join(real, unescape(entry.name))
                    inner = self.tree.real(path) if entry.link else below
                    if self._is_new(inner, path, linked=entry.link):
                        deeper.append((path, inner))
            waiting += reversed(deeper)

    def _files_of(self, inside: str, files: list[Item], *, outside: bool) -> Iterator[str]:
        """The files that lie directly in a folder."""
        for entry in files:
            if is_junk(entry.name, folder=False):
                self.ignored["junk files"] += 1
                continue
            path = _join(inside, entry.name)
            if outside or (entry.link and self._is_outside(self.tree.real(path))):
                self.links_outside.add(path)
            yield path

    @staticmethod
    def _is_named_like_an_image(entry: Item) -> bool:
        return Path(entry.name).suffix.lower() in IMAGE_SUFFIXES

    def _is_new(self, real: str, path: str, *, linked: bool) -> bool:
        """Whether a folder is to be visited. It counts as visited from then on."""
        known = real in self._visited
        if linked:
            known = known or real in self._above or not self._visited.isdisjoint(_parents(real))
        if known:
            self.ignored["links to a folder visited under its own name"] += 1
            self._not_followed.append(path)
        else:
            self._visited.add(real)
        return not known

    def _list(self, inside: str) -> tuple[list[Item], list[Item]]:
        """The files and the folders in a folder, sorted by name."""
        found: tuple[list[Item], list[Item]] = ([], [])
        try:
            for entry in sorted(self.tree.list(inside)):
                found[entry.folder].append(entry)
        except OSError as error:
            self.unreadable[inside] = reason_of(error)
            self.ignored["folders that cannot be read"] = len(self.unreadable)
        return found

    def _is_outside(self, real: str) -> bool:
        return real != self._real_root and not real.startswith(os.path.join(self._real_root, ""))


def _join(inside: str, name: str) -> str:
    return f"{inside}/{name}" if inside else name


def _parents(real: str) -> Iterator[str]:
    while (parent := os.path.dirname(real)) != real:
        yield parent
        real = parent
