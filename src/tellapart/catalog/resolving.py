"""From the paths that a table states to files that are there.

A path is looked for as it is written, first. Where most are not there, the names of all files are
listed once, and the table's paths are spelled and placed in other ways:

    r00001                        train_images/r00001.jpg    an ending and a folder are added
    C:\\me\\photos\\ring\\1.jpg       ring/1.jpg                 another machine's folders are cut off
    https://h/u/ab%20c.jpg?x=1    ab c.jpg                   what makes it a URL is taken off

The way that finds the most is used for all, the first of those that find as many, and told. Two
paths never become one file.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from tellapart.catalog.cells import evenly
from tellapart.catalog.files import Folder, Tree
from tellapart.catalog.folder_names import annotations_beside, split_named
from tellapart.catalog.names import escape, is_junk, unescape
from tellapart.catalog.sheets import is_list, is_table
from tellapart.catalog.walk import IMAGE_SUFFIXES
from tellapart.phrases import count_of, listed

_MOST_NAMES = 500_000  # files that are listed to find paths among them
_SAMPLE = 400  # paths that a way is tried on before it is tried on all
_NO_IMAGES = (".json", ".xml", ".md", ".html", ".yaml", ".yml", ".py", ".ipynb", ".log")


@dataclass(frozen=True)
class Resolved:
    """Where the files of some paths are.

    Args:
        paths: one a path that was asked for: from the top of the tree, or absolute.
        missing: the numbers of those that were not found, which are as they were written.
        remarks: in which way the others were found, if it is another one than as written.
    """

    paths: list[str]
    missing: list[int]
    remarks: list[str]


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
        """The paths of all files, from the top of the tree. Tables and other texts are left out.

        Links to folders are not followed, as they may lead round in circles.
        """
        found: list[str] = []
        waiting = [""]
        while waiting and len(found) < _MOST_NAMES:
            inside = waiting.pop()
            try:
                items = sorted(self.tree.list(inside))
            except OSError:
                continue
            # Masks have the names of their images.
            masks = set(annotations_beside([item.name for item in items if item.folder]))
            for item in items:
                path = f"{inside}/{item.name}" if inside else item.name
                if is_junk(item.name, folder=item.folder) or item.name in masks:
                    continue
                if not item.folder:
                    found.append(unescape(path))
                elif not item.link:
                    waiting.append(path)
        return [path for path in found if not _is_text(path)]

    def grouped(self, key: Callable[[str], str], *, folded: bool) -> dict[str, list[str]]:
        """The files by what a key makes of their names.

        Args:
            key: as `_name` or `_stem`.
            folded: whether case and the encoding of accents make no difference.
        """
        wanted = (key.__name__, folded)
        if wanted not in self._grouped:
            groups: dict[str, list[str]] = defaultdict(list)
            for path in self.files:
                name = key(path.rpartition("/")[2])
                groups[_fold(name) if folded else name].append(path)
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
        groups = self.listing.grouped(_stem, folded=True)
        return sum(
            bool(cell) and (self.has(self.join(cell)) or bool(_keys(cell) & groups.keys()))
            for cell in cells
        )


class _Way(NamedTuple):
    """One way to spell and place paths."""

    spelling: int  # how many of the steps in _SPELLINGS are taken
    ending: int  # which of _ENDINGS


class _Match(NamedTuple):
    """A file that a path may mean."""

    path: str
    cut: int  # folders at the path's beginning that the file's has not
    added: str  # the folders at the file's beginning that the path has not


def resolve(place: Place, names: Sequence[str]) -> Resolved:
    """Where the files of some paths are.

    Args:
        place: where they start.
        names: the paths, as a table states them.
    """
    written = {name: place.join(name) for name in dict.fromkeys(names)}
    absent = [name for name, path in written.items() if not place.has(path)]
    if not absent or not place.listing.files:
        return _resolved(names, written, set(absent), [])
    most = len(absent) * 2 > len(written)
    taken = set(written.values()) - {written[name] for name in absent}
    found, way = _best_way(place, absent, taken, moved=most)
    remarks = [_told(absent, found, way, len(written))] if found else []
    return _resolved(names, {**written, **found}, set(absent) - found.keys(), remarks)


def _resolved(
    names: Sequence[str], paths: Mapping[str, str], missing: set[str], remarks: list[str]
) -> Resolved:
    return Resolved(
        [paths[name] for name in names],
        [number for number, name in enumerate(names) if name in missing],
        remarks,
    )


def _best_way(
    place: Place, absent: Sequence[str], taken: set[str], *, moved: bool
) -> tuple[dict[str, str], _Way]:
    """The way that finds most of some paths: path → file, and the way.

    Args:
        place: where they start.
        absent: paths that are not there as written.
        taken: the files of the others.
        moved: whether folders may be cut off and added.
    """
    best: tuple[dict[str, str], _Way] = ({}, _Way(0, 0))
    sample = [str(name) for name in evenly(absent, _SAMPLE)]
    for way in _ways(sample):
        if not _found(place, sample, way, taken, moved=moved):
            continue
        found = _found(place, absent, way, taken, moved=moved)
        if len(found) > len(best[0]):
            best = (found, way)
        if len(found) == len(absent):
            break
    found = best[0]
    # A few names that happen to agree are no way to read a table.
    enough = len(found) * 2 >= min(len(absent), len(place.listing.files))
    return best if enough or not moved else ({}, best[1])


def _ways(names: Sequence[str]) -> Iterator[_Way]:
    """The ways that differ for some names, the plainest first."""
    for ending in range(len(_ENDINGS)):
        before = None
        for steps in range(len(_SPELLINGS) + 1):
            spelled = [_spelled(name, steps) for name in names]
            folded = steps == len(_SPELLINGS)
            if spelled != before or folded:
                yield _Way(steps, ending)
            before = spelled


def _found(
    place: Place, names: Sequence[str], way: _Way, taken: set[str], *, moved: bool
) -> dict[str, str]:
    """The paths that one way finds → their files."""
    folded = way.spelling == len(_SPELLINGS)
    _, key_of_path, key_of_file = _ENDINGS[way.ending]
    groups = place.listing.grouped(key_of_file, folded=folded)
    matches: dict[str, list[_Match]] = {}
    for name in names:
        *above, last = _parts(_spelled(name, way.spelling)) or [""]
        key = key_of_path(last)
        files = groups.get(_fold(key) if folded else key, []) if key else []
        if close := _closest(above, _images_first(files), folded=folded):
            matches[name] = close
    if not moved:
        own = place.folder
        matches = {
            name: same
            for name, close in matches.items()
            if (same := [match for match in close if match.cut == 0 and match.added == own])
        }
    return _one_each(place, matches, taken)


def _closest(above: Sequence[str], files: Sequence[str], *, folded: bool) -> list[_Match]:
    """The files that share most of the folders right above them with a path."""
    found = []
    wanted = [_fold(part) for part in above] if folded else list(above)
    for path in files:
        folders = path.split("/")[:-1]
        parts = [_fold(part) for part in folders] if folded else folders
        shared = 0
        while shared < min(len(parts), len(wanted)) and parts[-1 - shared] == wanted[-1 - shared]:
            shared += 1
        added = "/".join(folders[: len(folders) - shared])
        found.append(_Match(path, len(wanted) - shared, added))
    least = min((match.cut for match in found), default=0)
    return [match for match in found if match.cut == least]


def _one_each(
    place: Place, matches: Mapping[str, Sequence[_Match]], taken: set[str]
) -> dict[str, str]:
    """One file a path, by the folders that most paths need cut off and added."""
    cuts = Counter(close[0].cut for close in matches.values())
    most_cut = max(cuts, key=lambda cut: (cuts[cut], -cut), default=0)
    votes = Counter(match.added for close in matches.values() for match in close)

    def rank(match: _Match) -> tuple[int, bool, bool]:
        of_the_split = place.split in map(split_named, match.added.split("/"))
        return votes[match.added], match.added == place.folder, of_the_split

    chosen: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name, close in matches.items():
        best = max(map(rank, close))
        first = [match for match in close if rank(match) == best]
        if len(first) == 1 and first[0].cut <= most_cut and first[0].path not in taken:
            chosen[first[0].path].append((first[0].cut, name))
    found = {}
    for path, names in chosen.items():
        names.sort()
        if len(names) == 1 or names[0][0] < names[1][0]:
            found[names[0][1]] = path
    return found


def _images_first(files: Sequence[str]) -> Sequence[str]:
    """The files that are named like images, or all if none is."""
    if len(files) < 2:
        return files
    return [path for path in files if _suffix(path) in IMAGE_SUFFIXES] or files


# ── spellings ──


def _as_slashes(path: str) -> str:
    return path.replace("\\", "/")


def _without_blanks(path: str) -> str:
    return "/".join(part.strip() for part in path.split("/")).strip("'\"")


def _without_url(path: str) -> str:
    path = re.sub(r"^[a-z][a-z0-9+.-]+://[^/]*/", "", path, flags=re.IGNORECASE)
    # Annotation tools give the local path of a file as a query.
    if query := re.fullmatch(r"[^?]*\?(?:d|path|file)=([^&]+).*", path):
        path = query[1]
    return unquote(path.partition("?")[0].partition("#")[0])


def _without_upload_prefix(path: str) -> str:
    """Annotation tools put eight or more hexadecimal digits before the names of uploaded files."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + re.sub(r"^[0-9a-f]{8}(?:[0-9a-f-]*)[-_]", "", name)


def _same(path: str) -> str:
    return path


# In words → the step. Each is taken after those before it; the last one is done by `_fold`.
_SPELLINGS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("with / for \\", _as_slashes),
    ("without blanks around them", _without_blanks),
    ("without what makes them URLs", _without_url),
    ("without the prefix of an upload", _without_upload_prefix),
    ("whatever their case and the encoding of accents", _same),
)


def _spelled(path: str, steps: int) -> str:
    for _, step in _SPELLINGS[:steps]:
        path = step(path)
    return path


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold().strip()


def _parts(path: str) -> list[str]:
    """The folders and the name of a path, without drive, ".", ".." and what is empty."""
    return [
        part
        for part in path.split("/")
        if part not in ("", ".", "..") and not re.fullmatch("[A-Za-z]:", part)
    ]


# ── endings ──


def _name(name: str) -> str:
    return name


def _stem(name: str) -> str:
    """A name without its ending.

    >>> _stem("a.b.jpg"), _stem("a")
    ('a.b', 'a')
    """
    return name.rpartition(".")[0] or name


def _stem_of_image(name: str) -> str:
    """The name without the ending of an image. "" where it has none."""
    return _stem(name) if _suffix(name) in IMAGE_SUFFIXES else ""


def _digits(name: str) -> str:
    """A number without the zeros before it, as a spreadsheet leaves it. "" for another name.

    >>> _digits("00012.jpg"), _digits("12"), _digits("a12.jpg")
    ('12', '12', '')
    """
    stem = _stem_of_image(name) or name
    return stem.lstrip("0") or "0" if stem.isdecimal() else ""


# In words → what must agree, made from the name in the table and from that of the file.
_ENDINGS: tuple[tuple[str, Callable[[str], str], Callable[[str], str]], ...] = (
    ("", _name, _name),
    ("with an ending", _name, _stem),
    ("with another ending", _stem_of_image, _stem),
    ("with zeros before their numbers", _digits, _digits),
)


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _is_text(path: str) -> bool:
    return is_table(path) or is_list(path) or path.lower().endswith(_NO_IMAGES)


def _keys(cell: str) -> set[str]:
    """What the name of a file might be in a cell, folded and with or without its ending."""
    *_, last = _parts(_spelled(cell, len(_SPELLINGS))) or [""]
    return {_fold(last), _fold(_stem(last))} - {""}


# ── what is told ──


def _told(absent: Sequence[str], found: Mapping[str, str], way: _Way, count: int) -> str:
    name = next(iter(found))
    ways = ", ".join(_changes(found, way))
    if len(absent) == count:
        text = f"None of {count_of(count, 'path')} exists as written."
    else:
        text = f"{len(absent):,} of {count_of(count, 'path')} do not exist as written."
    number = "They" if len(found) == len(absent) else f"{len(found):,} of them"
    return f"{text} {number} are found {ways}: {name!r} is {found[name]!r}."


def _changes(found: Mapping[str, str], way: _Way) -> Iterator[str]:
    """What was changed in the paths that were found, in words."""
    for steps, (words, _) in enumerate(_SPELLINGS[: way.spelling]):
        is_last = steps == len(_SPELLINGS) - 1
        if is_last or any(_spelled(path, steps) != _spelled(path, steps + 1) for path in found):
            yield words
    if way.ending:
        yield _ENDINGS[way.ending][0]
    pairs = {
        (_spelled(path, way.spelling).rpartition("/")[0], file.rpartition("/")[0])
        for path, file in found.items()
    }
    if all(stated == folder for stated, folder in pairs):
        return
    folders = {folder for _, folder in pairs}
    if all(stated.endswith(folder) for stated, folder in pairs):
        yield "without the folders that they begin with"
    else:
        yield "in other folders" if len(folders) > 1 else f"in {folders.pop()}/"


def why_missing(place: Place, names: Sequence[str]) -> str:
    """What a message adds where none of some paths is there: how one was looked for, and where
    files of the same ending are.
    """
    name = names[0]
    looked_for = place.join(name)
    if isinstance(place.tree, Folder):
        looked_for = os.path.join(place.tree.root, looked_for)
    text = f"The first, {name!r}, was looked for as {looked_for}."
    groups = place.listing.grouped(_stem, folded=True)
    if same := [path for key in sorted(_keys(name)) for path in groups.get(key, [])]:
        return f"{text} In {place.tree.name} there are {listed(same, 2)}."
    suffix = _suffix(name)
    alike = [path for path in place.listing.files if _suffix(path) == suffix] or [
        path for path in place.listing.files if _suffix(path) in IMAGE_SUFFIXES
    ]
    if not alike:
        return f"{text} There is no image in {place.tree.name}."
    return f"{text} In {place.tree.name} there are {count_of(len(alike), 'image')}: {listed(alike, 2)}."


def start_of(place: Place, names: Sequence[str]) -> str:
    """The folder above the table's from which paths would be there, or "" for none."""
    if not isinstance(place.tree, Folder):
        return ""
    above = os.path.abspath(place.tree.root / place.folder)
    for _ in range(2):
        above = os.path.dirname(above)
        if any(os.path.isfile(os.path.join(above, name)) for name in names[:5] if "\0" not in name):
            return above
    return ""
