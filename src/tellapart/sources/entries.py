"""The last step of every source: its files, each with a class, become a catalog that is not scanned
yet.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from tellapart.catalog.files import Files
from tellapart.catalog.table import Catalog, text_column
from tellapart.errors import UserError
from tellapart.phrases import count_of, listed
from tellapart.sources.walk import Walk

# What folders and cells may call a split, in lower case → the split.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


class Entry(NamedTuple):
    """One file on its way into the catalog; `label` is a class name, and `extra` its cells in other
    columns.
    """

    path: str
    label: str
    split: str = ""
    group: str = ""
    weight: float = 1.0
    extra: tuple[str, ...] = ()


def catalog_of(
    files: Files,
    source: str,
    classes: Sequence[str],
    entries: Iterable[Entry],
    *,
    links_outside: Collection[str] = (),
    ignored: Mapping[str, int] | None = None,
    remarks: Iterable[str] = (),
    extra_names: Sequence[str] = (),
) -> Catalog:
    """The catalog of some files, in the order of their paths.

    Args:
        files: reads them by their paths.
        source: how the source was recognised, in one sentence for the user.
        classes: all class names in the order of their labels.
        entries: one a file, in any order.
        links_outside: paths of links that lead out of the source.
        ignored: what was passed over: reason → count.
        remarks: what the user should know of the source.
        extra_names: of the columns whose cells the entries have in `extra`.

    Raises:
        UserError: val or test holds a class that train lacks.
    """
    entries = sorted(entries)
    _check_class_sets(classes, entries)
    index = {name: position for position, name in enumerate(classes)}
    count = len(entries)
    return Catalog(
        files=files,
        source=source,
        classes=tuple(classes),
        paths=text_column(entry.path for entry in entries),
        labels=np.array([index[entry.label] for entry in entries], np.int64),
        given_splits=text_column(entry.split for entry in entries),
        groups=text_column(entry.group for entry in entries),
        weights=np.array([entry.weight for entry in entries], np.float64),
        statuses=text_column([""] * count),
        details=text_column([""] * count),
        notes=text_column("link_outside" * (entry.path in links_outside) for entry in entries),
        widths=np.zeros(count, np.int64),
        heights=np.zeros(count, np.int64),
        digests=text_column([""] * count),
        taken=text_column([""] * count),
        copies=np.arange(count),
        splits=text_column([""] * count),
        ignored=dict(sorted((ignored or {}).items())),
        remarks=(*remarks, *_look_alikes(classes)),
        extras={
            name: text_column(entry.extra[place] for entry in entries)
            for place, name in enumerate(extra_names)
        },
    )


def catalog_of_walk(
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


def _check_class_sets(classes: Sequence[str], entries: list[Entry]) -> None:
    """Refuse what no training can mend: a class in val or test that train lacks.

    A class that only train has is legal; a remark says so when the splits are made.
    """
    counts = Counter((entry.split, entry.label) for entry in entries)
    trained = {name for name in classes if counts["train", name] or counts["", name]}
    for split in ("val", "test"):
        for name in classes:
            if counts[split, name] and name not in trained:
                images = count_of(counts[split, name], "image")
                raise UserError(
                    f"Class {name!r} is in {split} ({images}) but not in train.",
                    f"Add training images of it, or take it out of {split}."
                    f"{_twin(name, sorted(trained))}",
                )


def _twin(name: str, others: Sequence[str]) -> str:
    """A question, if one of the other classes may be the same one under another spelling."""
    spelled = {other.lower(): other for other in reversed(others)}
    close = difflib.get_close_matches(name.lower(), spelled, n=1)
    return f" Is it {spelled[close[0]]!r}, written differently?" if close else ""


def _look_alikes(classes: Sequence[str]) -> list[str]:
    """A remark on classes whose names a person would read as one."""
    alike = defaultdict(list)
    for name in classes:
        alike[unicodedata.normalize("NFC", name).casefold().strip()].append(name)
    return [
        f"The classes {listed(names)} differ only in case, spaces or the encoding of accents, and"
        " are kept apart. If they are one class, put their images into one folder."
        for names in alike.values()
        if len(names) > 1
    ]


def with_test_split(
    entries: list[Entry], shown: Mapping[str, str] | None = None
) -> tuple[list[Entry], str]:
    """The entries where the one split beside train is the test set, and the rule in words.

    Args:
        entries: each with its split.
        shown: split → what the words call it. None means by its name.
    """
    others = {entry.split for entry in entries} - {"train"}
    if len(others) > 1:
        return entries, "each is what its name says"
    if not others:
        return entries, "val and test are cut from it"
    (other,) = others
    tested = [entry._replace(split="test") if entry.split == other else entry for entry in entries]
    return tested, f"{(shown or {}).get(other, other)} is the test set, any val is cut from train"


def class_order(labels: Iterable[Any]) -> list[str]:
    """The class names of labels given in Python: whole numbers in their order, else by name.

    >>> class_order([10, 9, 10]), class_order(["b", "a", 10])
    (['9', '10'], ['10', 'a', 'b'])
    """
    found = set(labels)
    if all(isinstance(label, Integral) for label in found):
        return [str(label) for label in sorted(found, key=int)]
    return sorted({str(label).strip() for label in found})
