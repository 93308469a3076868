"""Arrays of images as a catalog: which of a folder's files of arrays are train, val and test."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from tellapart.catalog.table import SPLITS, Catalog
from tellapart.errors import UserError
from tellapart.phrases import count_of, listed
from tellapart.sources.containers.arrays import ArrayFiles, Arrays
from tellapart.sources.entries import SPLIT_NAMES, Entry, catalog_of_walk
from tellapart.sources.walk import Walk


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
    return catalog_of_walk(
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
