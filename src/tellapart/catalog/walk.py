"""A walk through a folder: what is junk, what is a link, what cannot be read; each is counted, nothing is opened."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tellapart.catalog.names import escape, is_junk, unescape

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif"})


class Walk:
    """Looks through one folder: junk and loose files are counted, loops are left out, names are escaped."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ignored: Counter[str] = Counter()
        self.remarks: list[str] = []
        self.links_outside: set[str] = set()
        self._real_root = os.path.realpath(root)

    def folders(self, inside: str) -> list[str]:
        """Names of the folders in `inside`, junk left out, in the order of their code points in every locale."""
        return [name for name in self._names(inside, folders=True) if not is_junk(name, folder=True)]

    def files(self, inside: str, seen: set[str] | None = None) -> Iterator[str]:
        """Paths from the root of all files under `inside`, however deep; each real folder is visited once."""
        seen = {os.path.realpath(self._disk(inside))} if seen is None else seen
        for name in self._names(inside, folders=False):
            if is_junk(name, folder=False):
                self.ignored["junk files"] += 1
            else:
                self._note_link(f"{inside}/{name}")
                yield f"{inside}/{name}"
        for name in self._names(inside, folders=True):
            yield from self._folder(f"{inside}/{name}", name, seen)

    def _folder(self, path: str, name: str, seen: set[str]) -> Iterator[str]:
        real = os.path.realpath(self._disk(path))
        if is_junk(name, folder=True):
            self.ignored["junk folders"] += 1
        elif real in seen:
            self.ignored["links to a folder already visited"] += 1
            self.remarks.append(f"{path} is a link to a folder already visited; it was not followed.")
        elif Path(name).suffix.lower() in PICTURE_SUFFIXES and not os.listdir(real):
            yield path  # an empty folder called x.jpg gets its verdict like a file
        else:
            seen.add(real)
            yield from self.files(path, seen)

    def ignore_loose(self, inside: str) -> int:
        """Count what lies beside the class folders: files that belong to no class, and junk."""
        names = self._names(inside, folders=False)
        loose = sum(not is_junk(name, folder=False) for name in names)
        where = f"in {inside}/" if inside else "in the top folder"
        self._ignore(f"files {where}, beside the class folders", loose)
        self._ignore("junk files", len(names) - loose)
        self._ignore("junk folders", sum(is_junk(name, folder=True) for name in self._names(inside, folders=True)))
        return loose

    def _ignore(self, reason: str, count: int) -> None:
        if count:
            self.ignored[reason] += count

    def _names(self, inside: str, *, folders: bool) -> list[str]:
        folder = self._disk(inside)
        try:
            # os.path.isdir and not DirEntry.is_dir: a link to itself is no folder, and no error.
            names = [name for name in os.listdir(folder) if os.path.isdir(os.path.join(folder, name)) == folders]
        except OSError as error:
            if folders:  # asked twice, told once
                self.ignored["folders that cannot be read"] += 1
                self.remarks.append(f"{inside} cannot be read ({error.strerror}); its pictures are not used.")
            return []
        return sorted(escape(name) for name in names)

    def _note_link(self, path: str) -> None:
        disk = self._disk(path)
        if os.path.islink(disk) and not Path(os.path.realpath(disk)).is_relative_to(self._real_root):
            self.links_outside.add(path)

    def _disk(self, path: str) -> str:
        return os.path.join(self.root, unescape(path)) if path else str(self.root)
