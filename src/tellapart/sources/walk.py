"""A walk through a tree of folders, on disk or in an archive.

It counts what is passed over: junk, links, what cannot be read, files that stand beside images,
folders of annotations, and the folders of earlier runs. It opens nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tellapart.catalog.files import Folder, Item, Tree
from tellapart.catalog.names import companion_kind, is_junk, name_set, unescape
from tellapart.errors import reason_of
from tellapart.sources.folder_names import annotations_beside
from tellapart.sources.long_folders import Items, sorted_items

IMAGE_SUFFIXES = name_set(
    ".jpg .jpeg .jpe .jfif .png .gif .webp .bmp .dib .tif .tiff .avif .ppm .pgm .pbm .pnm"
    " .jp2 .heic .heif .jxl .dcm"
)
_RUN_FILES = (("environment.json", "recipe.yaml"), ("study.json", "trials.csv"))


def is_image_name(path: str) -> bool:
    """Whether a path ends as those of image files do.

    >>> is_image_name("photos/cat.JPG"), is_image_name("photos.jpg/cat"), is_image_name(".jpg")
    (True, False, False)
    """
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


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
        self._runs: set[str] = set()
        self._left_out: dict[str, int] = {}  # folder of annotations → files in it
        # Folders that were looked at and not walked yet, so that each is listed once.
        self._listed: dict[str, tuple[Items, list[Item]]] = {}
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
        if self._left_out:
            folder = next(iter(self._left_out))
            texts.append(
                f"Folders of masks, labels or annotations beside a folder of images are left out:"
                f" {len(self._left_out)}, for example {folder!r}. If their files are examples too,"
                " rename the folder."
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
        """Names of the folders in `inside` that may hold images, in the order of their code points.
        That order is the same in every locale.
        """
        return [entry.name for entry in self._used_folders(inside, self._peek(inside)[1])]

    def names(self, inside: str) -> list[str]:
        """Names of the files in `inside`, in the same way."""
        return [
            entry.name for entry in self._peek(inside)[0] if not is_junk(entry.name, folder=False)
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
        files, folders = self._peek(inside)
        loose = sum(not is_junk(entry.name, folder=False) for entry in files)
        where = f"in {inside}/" if inside else "in the top folder"
        self.ignore(f"files {where}, beside the class folders", loose)
        self.ignore("junk files", len(files) - loose)
        self.ignore("junk folders", sum(is_junk(entry.name, folder=True) for entry in folders))
        self._leave_out(inside, folders)
        return loose

    def _below(self, inside: str, real: str) -> Iterator[str]:
        # A list and not recursion: folders can lie deeper than Python's stack.
        waiting = [(inside, real)]
        while waiting:
            inside, real = waiting.pop()
            files, folders = self._list(inside)
            yield from self._files_of(inside, files, outside=self._is_outside(real))
            deeper = []
            self.ignore("junk folders", sum(is_junk(entry.name, folder=True) for entry in folders))
            self._leave_out(inside, folders)
            for entry in self._used_folders(inside, folders):
                path = _join(inside, entry.name)
                if is_image_name(entry.name) and not any(self._peek(path)):
                    yield path  # an empty folder called x.jpg gets its verdict like a file
                else:
                    # Without a link the real path is known, and the system need not be asked.
                    below = os.path.join(real, unescape(entry.name))
                    inner = self.tree.real(path) if entry.link else below
                    if self._is_new(inner, path, linked=entry.link):
                        deeper.append((path, inner))
            waiting += reversed(deeper)

    def _files_of(self, inside: str, files: Items, *, outside: bool) -> Iterator[str]:
        """The files that lie directly in a folder."""
        for entry in files:
            if is_junk(entry.name, folder=False):
                self.ignored["junk files"] += 1
                continue
            path = _join(inside, entry.name)
            if kind := companion_kind(entry.name):
                self.ignored[f"files that stand beside images ({kind})"] += 1
                continue
            if outside or (entry.link and self._is_outside(self.tree.real(path))):
                self.links_outside.add(path)
            yield path

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

    def _used_folders(self, inside: str, folders: list[Item]) -> list[Item]:
        """Those folders that may hold images of the user."""
        left_out = set(annotations_beside([entry.name for entry in folders]))
        return [
            entry
            for entry in folders
            if not is_junk(entry.name, folder=True)
            and entry.name not in left_out
            and not self._holds_runs(_join(inside, entry.name))
        ]

    def _leave_out(self, inside: str, folders: list[Item]) -> None:
        """Count the folders that are passed over, each once."""
        for name in annotations_beside([entry.name for entry in folders]):
            path = _join(inside, name)
            self._left_out[path] = self._left_out.get(path) or self._count(path)
        for entry in folders:
            path = _join(inside, entry.name)
            if not is_junk(entry.name, folder=True) and self._holds_runs(path):
                self._runs.add(path)
        for reason, count in (
            ("files in folders of annotations", sum(self._left_out.values())),
            ("folders of earlier runs", len(self._runs)),
        ):
            if count:
                self.ignored[reason] = count

    def _holds_runs(self, path: str) -> bool:
        """Whether a folder is one of our own runs, or holds nothing but such folders."""
        if self._is_run(path):
            return True
        inner = []
        try:
            for entry in self.tree.list(path):
                if is_junk(entry.name, folder=entry.folder):
                    continue
                if not entry.folder:  # the usual case, before all its files are listed
                    return False
                inner.append(_join(path, entry.name))
        except OSError:
            return False
        return bool(inner) and all(map(self._is_run, inner))

    def _is_run(self, path: str) -> bool:
        """Whether a folder holds the files that a run or a search leaves."""
        return any(
            all(self.tree.is_file(_join(path, name)) for name in names) for names in _RUN_FILES
        )

    def _count(self, inside: str) -> int:
        """How many files lie in a folder, however deep; links are not followed."""
        files, folders = self._peek(inside)
        return len(files) + sum(
            self._count(_join(inside, entry.name)) for entry in folders if not entry.link
        )

    def _peek(self, inside: str) -> tuple[Items, list[Item]]:
        """As `_list`, but a walk that comes here later need not list the folder again."""
        if inside not in self._listed:
            self._listed[inside] = self._list(inside)
        return self._listed[inside]

    def _list(self, inside: str) -> tuple[Items, list[Item]]:
        """The files and the folders in a folder, sorted by name."""
        if inside in self._listed:
            return self._listed.pop(inside)
        try:
            return sorted_items(self.tree.list(inside))
        except OSError as error:
            self.unreadable[inside] = reason_of(error)
            self.ignored["folders that cannot be read"] = len(self.unreadable)
            return Items(), []

    def _is_outside(self, real: str) -> bool:
        return real != self._real_root and not real.startswith(os.path.join(self._real_root, ""))


def _join(inside: str, name: str) -> str:
    return f"{inside}/{name}" if inside else name


def _parents(real: str) -> Iterator[str]:
    while (parent := os.path.dirname(real)) != real:
        yield parent
        real = parent
