"""Which images a tree of folders holds, by how its folders are laid out. No image is opened here.

a folder with one folder a class        nested folders belong to the top one
a folder with train/, val/, test/       each with one folder a class, or the other way round
a folder of patients, sites or days     each with one folder a class

Folders whose names repeat inside the others are classes, unless they are splits or groups by their
names. Where either reading is possible, the user is asked.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from tellapart.catalog.files import Tree
from tellapart.catalog.names import escape, folder_at, unescape
from tellapart.catalog.table import SPLITS, Catalog
from tellapart.errors import UserError
from tellapart.phrases import count_of, listed
from tellapart.sources.entries import Entry, catalog_of_walk, with_test_split
from tellapart.sources.folder_names import (
    are_groups,
    are_parts,
    is_plain_split,
    is_unlabelled,
    is_wrapper,
    split_named,
    splits_of_one_stem,
)
from tellapart.sources.reading import Candidate, Reading
from tellapart.sources.walk import Walk, is_image_name


def folder_candidates(tree: Tree, reading: Reading) -> Iterator[Candidate]:
    """The ways in which the folders of a tree, on disk or in an archive, give labels."""
    walk = Walk(tree)
    if reading.label_by is not None:
        layout = _by_rule(walk, reading.label_by)
    elif "train" in (splits := _split_folders(walk)).values():
        layout = _from_split_folders(walk, splits)
        others = set(walk.folders("")) - set(splits)
        if isinstance(layout.refusal, NoClassFolders) and len(splits) == 1 and len(others) > 1:
            walk = Walk(tree)  # bus/, car/ and train/ are classes
            layout = _from_class_folders(walk)
    else:
        layout = _from_class_folders(walk)
    yield _candidate(walk, layout)


class NoClassFolders(UserError):
    """No folder of a class is there. What else lies there has to be told."""


class _Layout:
    """What one reading of the folders gives."""

    def __init__(
        self,
        source: str,
        classes: Sequence[str],
        entries: list[Entry],
        remarks: Sequence[str] = (),
        refusal: UserError | None = None,
    ) -> None:
        self.source, self.classes, self.entries = source, classes, entries
        self.remarks, self.refusal = remarks, refusal

    def filled(self) -> set[str]:
        """The classes that have files."""
        return {entry.label for entry in self.entries}


def _refused(message: str, hint: str) -> _Layout:
    return _Layout("", (), [], refusal=UserError(message, hint))


def _candidate(walk: Walk, layout: _Layout) -> Candidate:
    def read() -> Catalog:
        if layout.refusal:
            raise layout.refusal
        return catalog_of_walk(walk, layout.source, layout.classes, layout.entries, layout.remarks)

    # One class is no reading that another one could be held against.
    labelled = len(layout.entries) if not layout.refusal and len(layout.filled()) > 1 else 0
    depth = 2 if any(entry.split for entry in layout.entries) else 1
    command = f"{shlex.quote(walk.tree.name)} --label-by folder:{depth}"
    return Candidate(layout.source, labelled, command, read)


# ── one folder a class ──


def _from_class_folders(walk: Walk) -> _Layout:
    tops = [name for name in walk.folders("") if not is_unlabelled(name)]
    below = {top: _entered(walk, top) for top in tops}
    inner = {top: walk.folders(folder) for top, folder in below.items()}
    mixed = any(_holds_images(walk, folder) for folder in below.values())
    if len(tops) == 1 and inner[tops[0]]:
        return _refused(
            f"{walk.tree.name} holds one class only, {tops[0]!r}, which holds folders itself.",
            f"Did you mean {Path(walk.tree.name, unescape(tops[0]))}, with the classes"
            f" {listed(inner[tops[0]])}?",
        )
    if are_parts(tops) and not any(inner.values()):
        return _refused(
            f"{walk.tree.name} holds the folders {listed(tops)}, whose names differ in numbers alone,"
            " so they look like parts of one set, and not like classes.",
            "Give a table of labels, or say --label-by folder if they are classes.",
        )
    if not mixed and (shared := _repeated(inner)):
        return _from_repeated(walk, below, inner, shared)
    return _classes_at(walk, {top: top for top in tops}, count_of(len(tops), "class folder"))


def _classes_at(walk: Walk, class_of: Mapping[str, str], source: str) -> _Layout:
    """The layout where each of some folders holds images of one class."""
    entries = [Entry(path, class_of[folder]) for folder, path in walk.files(*class_of)]
    unlabelled = [name for name in walk.folders("") if is_unlabelled(name)]
    walk.ignore("files in folders without labels", sum(1 for _ in walk.files(*unlabelled)))
    loose = walk.ignore_loose("")
    if not entries:
        what = f"{walk.tree.name} holds no folder with images ({count_of(loose, 'loose file')})."
        way_out = "Make a folder for each class, named as the class, and try again."
        return _Layout("", (), [], refusal=NoClassFolders(what, way_out))
    return _Layout(source, sorted(set(class_of.values())), entries)


def _repeated(inner: Mapping[str, Sequence[str]]) -> list[str]:
    """The names that most folders inside the top ones share. [] means that they mostly differ."""
    counts = Counter(name for names in inner.values() for name in names)
    shared = sorted(name for name, count in counts.items() if count > 1)
    repeats = len(inner) > 1 and len(counts) > 1 and 2 * len(shared) >= len(counts)
    return shared if repeats else []


def _from_repeated(
    walk: Walk,
    below: Mapping[str, str],
    inner: Mapping[str, Sequence[str]],
    shared: Sequence[str],
) -> _Layout:
    """The layout where the top folders hold folders of the same names."""
    tops, names = list(inner), sorted({name for found in inner.values() for name in found})
    what = f"{listed(tops)} hold folders of the same names, {listed(shared)}"
    splits = {name: split_named(name) for name in names}
    if "train" in splits.values() and all(splits.values()):
        return _classes_over_splits(walk, below, inner, splits)
    if any(split_named(top) for top in tops):
        return _refused(
            f"In {walk.tree.name}, {what}, but there is no train folder.",
            "Name the one to train on train.",
        )
    if are_groups(names) and not are_groups(tops):
        layout = _classes_at(walk, {top: top for top in tops}, f"{len(tops)} class folders")
        layout.remarks = [f"{what}. Add --group-by folder:2 to keep each of these in one split."]
        return layout
    if are_groups(tops):
        class_of = {f"{below[top]}/{name}": name for top, found in inner.items() for name in found}
        source = f"{len(names)} class folders in each of {len(tops)} folders"
        layout = _classes_at(walk, class_of, source)
        layout.remarks = [f"{what}. Add --group-by folder:1 to keep {tops[0]!r} in one split."]
        return layout
    return _refused(
        f"In {walk.tree.name}, {what}, so either can be the classes.",
        f"For the classes {listed(tops)}, add --label-by folder:1. For the classes {listed(names)},"
        " add --label-by folder:2, and --group-by folder:1 if the upper folders are patients, places"
        " or days.",
    )


def _classes_over_splits(
    walk: Walk,
    below: Mapping[str, str],
    inner: Mapping[str, Sequence[str]],
    splits: Mapping[str, str],
) -> _Layout:
    places = {f"{below[top]}/{name}": (top, splits[name]) for top in inner for name in inner[top]}
    entries = [Entry(path, *places[place]) for place, path in walk.files(*places)]
    walk.ignore_loose("")
    names = ", ".join(f"{name}/" for name in sorted(splits, key=lambda name: splits[name]))
    entries, rule = with_test_split(entries)
    return _Layout(f"class folders with split folders {names}; {rule}", sorted(inner), entries)


# ── split folders ──


def _from_split_folders(walk: Walk, splits: dict[str, str]) -> _Layout:
    inside = {folder: _entered(walk, folder) for folder in splits}
    classes_of = {folder: walk.folders(inside[folder]) for folder in splits}
    places = {
        f"{inside[folder]}/{name}": (folder, name)
        for folder, names in classes_of.items()
        for name in names
    }
    found = [(path, *places[place]) for place, path in walk.files(*places)]
    loose = sum(walk.ignore_loose(inside[folder]) for folder in splits)
    beside = sorted(set(walk.folders("")) - set(splits))
    ignored = sum(1 for _ in walk.files(*beside))
    walk.ignore(f"files in {listed(beside)}, beside the split folders", ignored)
    walk.ignore_loose("")
    if not found:
        what = (
            f"The split folders of {walk.tree.name} hold no class folders"
            f" ({count_of(loose, 'loose file')})."
        )
        way_out = (
            "Inside each split folder, make a folder for each class. If these folders are classes"
            " themselves, add --label-by folder."
        )
        return _Layout("", (), [], refusal=NoClassFolders(what, way_out))
    # A test/ of loose images has no labels to measure with.
    labelled = {folder for _, folder, _ in found}
    splits = {folder: split for folder, split in splits.items() if folder in labelled}
    if doubled := [split for split, count in Counter(splits.values()).items() if count > 1]:
        names = [name for name, split in splits.items() if split == doubled[0]]
        return _refused(
            f"{walk.tree.name} holds two {doubled[0]} folders: {listed(names)}.",
            "Keep one of them.",
        )
    entries, rule = with_test_split(
        [Entry(path, name, splits[folder]) for path, folder, name in found],
        {split: f"{folder}/" for folder, split in splits.items()},
    )
    classes = sorted({name for names in classes_of.values() for name in names})
    folders = ", ".join(f"{folder}/" for folder in splits)
    return _Layout(f"split folders {folders}; {rule}", classes, entries)


def _split_folders(walk: Walk) -> dict[str, str]:
    """Folder name → split, train first.

    The one folder beside a train/ is its test set whatever it is called, as long as it holds
    classes of train.
    """
    folders = walk.folders("")
    found = {name: split for name in folders if (split := split_named(name))}
    if "train" not in found.values():
        found = splits_of_one_stem(folders)
    found = _without_doubles(found)
    if list(found.values()) == ["train"] and len(folders) == 2:
        (other,) = set(folders) - set(found)
        classes = set(walk.folders(_entered(walk, other)))
        if classes and classes <= set(walk.folders(_entered(walk, next(iter(found))))):
            found[other] = "test"
    return dict(sorted(found.items(), key=lambda pair: SPLITS.index(pair[1])))


def _without_doubles(splits: Mapping[str, str]) -> dict[str, str]:
    """The splits where of two names for one split the plainer one is kept. An evaluation set beside
    a test set is val, where there is no other.
    """
    kept = {}
    for split in SPLITS:
        names = [name for name, meant in splits.items() if meant == split]
        plain = [name for name in names if is_plain_split(name)]
        for name in plain or names:
            kept[name] = split
        rest = [name for name in names if plain and name not in plain]
        if split == "test" and len(rest) == 1 and "val" not in kept.values():
            kept[rest[0]] = "val"
    return kept


def _entered(walk: Walk, folder: str) -> str:
    """The folder that its wrappers lead to: train/train/, train/images/."""
    while len(inner := walk.folders(folder)) == 1 and not _holds_images(walk, folder):
        name, below = inner[0], f"{folder}/{inner[0]}"
        doubled = name.lower() == folder.rpartition("/")[2].lower()
        if not (walk.folders(below) and (doubled or is_wrapper(name) or split_named(name))):
            break
        folder = below
    return folder


def _holds_images(walk: Walk, folder: str) -> bool:
    """Whether files that are named like images lie directly in a folder."""
    return any(is_image_name(name) for name in walk.names(folder))


# ── as the user says ──


def _by_rule(walk: Walk, label_by: str) -> _Layout:
    """The layout where a rule gives the label of each file, and split folders the split."""
    splits = _split_folders(walk)
    splits = splits if "train" in splits.values() else {}
    label_of, labels = label_rule(label_by), defaultdict[str, list[Entry]](list)
    missing: list[str] = []
    for _, path in walk.files(""):
        if label := escape(label_of(unescape(path))):
            labels[label].append(Entry(path, label, splits.get(path.partition("/")[0], "")))
        else:
            missing.append(path)
    if not labels:
        example = f", for example {missing[0]!r}" if missing else ""
        return _refused(
            f"--label-by {label_by} gives none of {count_of(len(missing), 'file')} in"
            f" {walk.tree.name} a label{example}.",
            "Change the rule so that it fits the names.",
        )
    walk.ignore(f"files that --label-by {label_by} gives no label", len(missing))
    entries = [entry for found in labels.values() for entry in found]
    source = f"{len(labels)} classes by {label_by}"
    if splits:
        entries, rule = with_test_split(entries)
        source += f"; {rule}"
    return _Layout(source, sorted(labels), entries)


def label_rule(label_by: str) -> Callable[[str], str]:
    """From a path to its label, or "" where the rule gives none."""
    form, _, value = label_by.partition(":")
    if form == "name":
        pattern = re.compile(value)

        def by_name(path: str) -> str:
            found = pattern.search(path.rpartition("/")[2])
            return (found[1] or "").strip() if found else ""

        return by_name
    return partial(folder_at, number=value)
