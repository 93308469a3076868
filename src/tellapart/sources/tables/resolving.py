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
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tellapart.catalog.files import Folder
from tellapart.phrases import count_of, listed
from tellapart.sources.folder_names import split_named
from tellapart.sources.tables.cells import evenly
from tellapart.sources.tables.listing import Place
from tellapart.sources.tables.spellings import (
    ENDINGS,
    SPELLINGS,
    fold,
    keys_of,
    parts_of,
    spelled,
    stem_of,
    suffix_of,
)
from tellapart.sources.walk import is_image_name

_SAMPLE = 400  # paths that a way is tried on before it is tried on all


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


class _Way(NamedTuple):
    """One way to spell and place paths."""

    spelling: int  # how many of the steps in SPELLINGS are taken
    ending: int  # which of ENDINGS


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
    for ending in range(len(ENDINGS)):
        before = None
        for steps in range(len(SPELLINGS) + 1):
            after = [spelled(name, steps) for name in names]
            folded = steps == len(SPELLINGS)
            if after != before or folded:
                yield _Way(steps, ending)
            before = after


def _found(
    place: Place, names: Sequence[str], way: _Way, taken: set[str], *, moved: bool
) -> dict[str, str]:
    """The paths that one way finds → their files."""
    folded = way.spelling == len(SPELLINGS)
    _, key_of_path, key_of_file = ENDINGS[way.ending]
    groups = place.listing.grouped(key_of_file, folded=folded)
    matches: dict[str, list[_Match]] = {}
    for name in names:
        *above, last = parts_of(spelled(name, way.spelling)) or [""]
        key = key_of_path(last)
        files = groups.get(fold(key) if folded else key, []) if key else []
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
    wanted = [fold(part) for part in above] if folded else list(above)
    for path in files:
        folders = path.split("/")[:-1]
        parts = [fold(part) for part in folders] if folded else folders
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
    return [path for path in files if is_image_name(path)] or files


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
    for steps, (words, _) in enumerate(SPELLINGS[: way.spelling]):
        is_last = steps == len(SPELLINGS) - 1
        if is_last or any(spelled(path, steps) != spelled(path, steps + 1) for path in found):
            yield words
    if way.ending:
        yield ENDINGS[way.ending][0]
    pairs = {
        (spelled(path, way.spelling).rpartition("/")[0], file.rpartition("/")[0])
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
    groups = place.listing.grouped(stem_of, folded=True)
    if same := [path for key in sorted(keys_of(name)) for path in groups.get(key, [])]:
        return f"{text} In {place.tree.name} there are {listed(same, 2)}."
    suffix = suffix_of(name)
    alike = [path for path in place.listing.files if suffix_of(path) == suffix] or [
        path for path in place.listing.files if is_image_name(path)
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
