"""Which images a tree of folders holds, by how its folders are laid out. No image is opened here.

a folder with one folder a class        nested folders belong to the top one
a folder with train/, val/, test/       each with one folder a class
the Tiny ImageNet layout                train/<id>/images, val/val_annotations.txt, words.txt
IDX files, CIFAR's binary files         see `arrays`
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tellapart.catalog.arrays import ArrayFiles, Arrays, find_arrays, refuse_pickles
from tellapart.catalog.entries import SPLIT_NAMES, Entry, catalog_of
from tellapart.catalog.files import READ_IT, Files, Tree
from tellapart.catalog.names import escape, unescape
from tellapart.catalog.table import SPLITS, Catalog
from tellapart.catalog.walk import Walk
from tellapart.errors import UserError, reason_of
from tellapart.phrases import count_of, listed

_TEXT_BYTES = 2**28  # the most that is read of a list beside the images


def read_tree(walk: Walk) -> Catalog:
    """The catalog of a tree of folders, on disk or in an archive.

    Raises:
        UserError: the layout is none of those above, or its classes cannot work.
    """
    if arrays := find_arrays(walk.tree, walk.names("")):
        return read_arrays(walk, arrays)
    for name in walk.folders(""):
        if name in ("cifar-10-batches-py", "cifar-100-python"):
            refuse_pickles(f"{walk.tree.name} holds Python pickles in {name}/")
    splits = _split_folders(walk)
    if "train" in splits and walk.tree.is_file("val/val_annotations.txt"):
        return _from_tiny_imagenet(walk)
    if "train" in splits.values():
        return _from_split_folders(walk, splits)
    return _from_class_folders(walk)


def _from_class_folders(walk: Walk) -> Catalog:
    classes = walk.folders("")
    entries = [Entry(path, name) for name, path in walk.files(*classes)]
    loose = walk.ignore_loose("")
    if not entries:
        raise UserError(
            f"{walk.tree.name} holds no folder with images ({count_of(loose, 'loose file')}).",
            "Make a folder for each class, named as the class, and try again.",
        )
    if len(classes) == 1 and (inner := walk.folders(classes[0])):
        raise UserError(
            f"{walk.tree.name} holds one class only, {classes[0]!r}, which holds folders itself.",
            f"Did you mean {Path(walk.tree.name, unescape(classes[0]))}, with the classes"
            f" {listed(inner)}?",
        )
    remarks = _refuse_or_remark_splits(walk.tree.name, classes, entries)
    return _walked(walk, count_of(len(classes), "class folder"), classes, entries, remarks)


def _refuse_or_remark_splits(root: str, classes: Sequence[str], entries: list[Entry]) -> list[str]:
    """A remark where all class folders hold the same folders: they may be splits under unknown
    names.

    Raises:
        UserError: one of them has the name of a split.
    """
    inner = defaultdict(set)
    for entry in entries:
        _, *below = entry.path.split("/")
        inner[entry.label].add(below[0] if len(below) > 1 else "")
    shared = next(iter(inner.values()))
    differ = any(names != shared for names in inner.values())
    if len(inner) < 2 or len(shared) < 2 or "" in shared or differ:
        return []
    what = f"{listed(classes)} all hold the folders {listed(sorted(shared))}"
    if any(name.lower() in SPLIT_NAMES for name in classes):
        raise UserError(
            f"In {root}, {what}, but there is no train folder.", "Name the one to train on train."
        )
    return [
        f"{what}, and each is taken as one class. If they are splits, name them train and test; "
        "if they are patients or the like, --group-by folder:2 keeps each in one split."
    ]


def _from_split_folders(walk: Walk, splits: dict[str, str]) -> Catalog:
    classes_of = {folder: walk.folders(folder) for folder in splits}
    places = {
        f"{folder}/{name}": (folder, name) for folder, names in classes_of.items() for name in names
    }
    found = [(path, *places[place]) for place, path in walk.files(*places)]
    loose = sum(walk.ignore_loose(folder) for folder in splits)
    beside = sorted(set(walk.folders("")) - set(splits))
    ignored = sum(1 for _ in walk.files(*beside))
    walk.ignore(f"files in {listed(beside)}, beside the split folders", ignored)
    walk.ignore_loose("")
    if not found:
        raise UserError(
            f"The split folders of {walk.tree.name} hold no class folders"
            f" ({count_of(loose, 'loose file')}).",
            "Inside each split folder, make a folder for each class.",
        )
    # A test/ of loose images has no labels to measure with.
    labelled = {folder for _, folder, _ in found}
    splits = {folder: split for folder, split in splits.items() if folder in labelled}
    as_test = _only_other(splits)
    entries = [
        Entry(path, name, "test" if folder == as_test else splits[folder])
        for path, folder, name in found
    ]
    if as_test:
        rule = f"{as_test}/ is the test set, any val is cut from train"
    elif len(splits) == 1:
        rule = "val and test are cut from it"
    else:
        rule = "each is what its name says"
    classes = sorted({name for names in classes_of.values() for name in names})
    folders = ", ".join(f"{folder}/" for folder in splits)
    return _walked(walk, f"split folders {folders}; {rule}", classes, entries)


def _from_tiny_imagenet(walk: Walk) -> Catalog:
    ids = walk.folders("train")
    names = _readable_names(walk.tree, ids)
    places = {f"train/{wnid}": names[wnid] for wnid in ids}
    found = (pair for pair in walk.files(*places) if not pair[1].endswith("_boxes.txt"))
    entries = [Entry(path, places[place], "train") for place, path in found]
    inside = "val/val_annotations.txt"
    annotations = f"{inside} of {walk.tree.name}"
    label_of = {}
    for number, line in enumerate(_lines(walk.tree, inside), 1):
        fields = line.split("\t")
        if len(fields) < 2:
            raise UserError(
                f"{annotations}, line {number}: a file name, a tab and a class id are wanted.",
                "Download it again.",
            )
        if fields[1] not in names:
            raise UserError(
                f"{annotations}, line {number}: class {fields[1]!r} has no folder in train.",
                "Add its training images, or take the line out.",
            )
        label_of[f"val/images/{escape(fields[0])}"] = names[fields[1]]
    entries += [Entry(path, name, "test") for path, name in label_of.items()]
    beside = [path for _, path in walk.files("val", *({"test"} & set(walk.folders(""))))]
    unlabelled = Counter(path.split("/")[0] for path in beside if path not in label_of)
    walk.ignore("images without a label in test/", unlabelled["test"])
    # One of them is val_annotations.txt itself.
    walk.ignore("files in val/ without a label", unlabelled["val"] - 1)
    source = (
        "the Tiny ImageNet layout; val_annotations.txt is the test set, any val is cut from train"
    )
    return _walked(walk, source, sorted(names.values()), entries)


def read_arrays(walk: Walk, arrays: Arrays) -> Catalog:
    """The catalog of the arrays that a folder holds.

    Raises:
        UserError: they are of several sets, or of more labels than class names.
    """
    splits, rule = _splits_of_arrays(walk.tree.name, arrays)
    labels = sorted({label for file in arrays.files for label in np.unique(file.labels).tolist()})
    names = dict(enumerate(arrays.class_names)) or {label: str(label) for label in labels}
    if unnamed := [label for label in labels if label not in names]:
        raise UserError(
            f"{walk.tree.name} has {count_of(len(names), 'class name')}, but images with label"
            f" {unnamed[0]}, counted from 0.",
            "Give the list of names a line for each label.",
        )
    entries = [
        Entry(file.record_path(number), names[label], splits.get(file.part, ""))
        for file in arrays.files
        for number, label in enumerate(file.labels.tolist())
    ]
    beside = set(walk.names("")) - arrays.used
    walk.ignore("files beside the arrays", len(beside))
    walk.ignore("folders beside the arrays", len(walk.folders("")))
    classes = [names[label] for label in labels]
    return _walked(
        walk, f"{arrays.kind}: {rule}", classes, entries, files=ArrayFiles(walk.tree, arrays.files)
    )


def _splits_of_arrays(place: str, arrays: Arrays) -> tuple[dict[str, str], str]:
    """Part → split, and the rule in words. There are no splits if there is one part only."""
    counts = Counter[str]()
    for file in arrays.files:
        counts[file.part] += len(file.labels)
    if len(counts) == 1:
        return {}, f"{counts.total():,} images; val and test are cut from them"
    named = {**SPLIT_NAMES, "t10k": "test"}
    splits = {
        part: named[word]
        for part in counts
        for word in re.split(r"[-_. ]", part.lower())
        if word in named
    }
    found = sorted(splits.values(), key=SPLITS.index)
    if len(set(found)) < len(counts) or "train" not in found:
        raise UserError(
            f"{place} holds several sets of arrays: {listed(sorted(counts))}.",
            "Give the image file of one set, or put a train and a test set into a folder of their"
            " own.",
        )
    sizes = ", ".join(
        f"{split} {counts[part]:,}" for split in found for part in counts if splits[part] == split
    )
    if len(found) > 2:
        return splits, f"{sizes}; each is what its name says"
    other = found[1]
    splits = {part: "test" if split == other else split for part, split in splits.items()}
    return splits, f"{sizes}; {other} is the test set, any val is cut from train"


def _split_folders(walk: Walk) -> dict[str, str]:
    """Folder name → split, train first.

    The one folder beside a train/ is its test set whatever it is called, as long as it holds
    classes of train.

    Raises:
        UserError: two folders have names of one split.
    """
    folders = walk.folders("")
    found = {name: SPLIT_NAMES[name.lower()] for name in folders if name.lower() in SPLIT_NAMES}
    doubled = [split for split, count in Counter(found.values()).items() if count > 1]
    if doubled and "train" in found.values():
        names = [name for name, split in found.items() if split == doubled[0]]
        raise UserError(
            f"{walk.tree.name} holds two {doubled[0]} folders: {listed(names)}.",
            "Keep one of them.",
        )
    if list(found.values()) == ["train"] and len(folders) == 2:
        (other,) = set(folders) - set(found)
        classes = set(walk.folders(other))
        if classes and classes <= set(walk.folders(next(iter(found)))):
            found[other] = "test"
    return dict(sorted(found.items(), key=lambda pair: SPLITS.index(pair[1])))


def _only_other(splits: dict[str, str]) -> str:
    """The one folder beside train: it is the test set, whatever its name. "" if there is none, or
    there are two.
    """
    others = [folder for folder, split in splits.items() if split != "train"]
    return others[0] if len(others) == 1 else ""


def _readable_names(tree: Tree, ids: Sequence[str]) -> dict[str, str]:
    """Class id → the first of its names in words.txt, or the id itself where there is none.

    Names that several classes share get the id in brackets.
    """
    names = dict.fromkeys(ids, "")
    if tree.is_file("words.txt"):
        pairs = (line.split("\t", 1) for line in _lines(tree, "words.txt") if "\t" in line)
        names |= {wnid: text.split(",")[0].strip() for wnid, text in pairs if wnid in names}
    counts = Counter(names.values())
    shared = {wnid: f"{name} ({wnid})" for wnid, name in names.items() if counts[name] > 1}
    return {wnid: shared.get(wnid, name) if name else wnid for wnid, name in names.items()}


def _lines(tree: Tree, path: str) -> list[str]:
    try:
        text = tree.open(path).read(0, _TEXT_BYTES).decode("utf-8-sig", "replace")
    except OSError as error:
        raise UserError(
            f"{path} of {tree.name} cannot be read ({reason_of(error)}).", READ_IT
        ) from None
    return [line for line in text.split("\n") if line.strip()]


def _walked(
    walk: Walk,
    source: str,
    classes: Sequence[str],
    entries: list[Entry],
    remarks: Iterable[str] = (),
    files: Files | None = None,
) -> Catalog:
    """The catalog of what a walk has found, with what it passed over."""
    return catalog_of(
        files or walk.tree,
        source,
        classes,
        entries,
        links_outside=walk.links_outside,
        ignored=walk.ignored,
        remarks=(*walk.remarks, *remarks),
    )
