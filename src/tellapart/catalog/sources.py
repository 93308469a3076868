"""From what the user points at to a catalog, recognised by looking. No picture is opened here.

    a folder with one folder a class        nested folders belong to the top one
    a folder with train/, val/, test/       each with one folder a class
    the Tiny ImageNet layout                train/<id>/images, val/val_annotations.txt, words.txt
    a manifest                              CSV, TSV, JSON Lines or Parquet: see `manifest`
"""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tellapart.catalog.manifest import MANIFEST_SUFFIXES, ManifestRow, read_manifest
from tellapart.catalog.names import escape
from tellapart.catalog.table import SPLITS, Catalog, text_column
from tellapart.catalog.walk import Walk
from tellapart.errors import UserError

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
    """One file on its way into the catalog; `label` is a class name."""

    path: str
    label: str
    split: str = ""
    group: str = ""


def read_source(data: Path) -> Catalog:
    """The catalog of a source, before the scan: paths, labels and what the source says of splits and groups.

    Raises:
        UserError: nothing there, not recognised, or class sets that cannot work; with what to do.
    """
    if not data.exists():
        raise UserError(f"{data} does not exist.", _nearest_sibling(data))
    if data.is_file():
        if data.suffix.lower() in MANIFEST_SUFFIXES:
            return _from_manifest(data)
        kinds = ", ".join(sorted(MANIFEST_SUFFIXES))
        raise UserError(f"{data} is neither a folder nor a table.", f"Give a folder of pictures or a table ({kinds}).")
    if not os.access(data, os.R_OK | os.X_OK):
        raise UserError(f"{data} cannot be read.", "Give yourself the right to read it.")
    walk = Walk(data)
    splits = _split_folders(walk)
    if "train" in splits.values() and (data / "val" / "val_annotations.txt").is_file():
        return _from_tiny_imagenet(walk)
    if "train" in splits.values():
        return _from_split_folders(walk, splits)
    return _from_class_folders(walk)


def _from_class_folders(walk: Walk) -> Catalog:
    folders = walk.folders("")
    entries = [Entry(path, name) for name in folders for path in walk.files(name)]
    walk.ignore_loose("")
    if not entries:
        raise UserError(
            f"{walk.root} holds no folder with pictures.", "Make one folder a class, named as the class, and try again."
        )
    if len(folders) == 1 and (inner := walk.folders(folders[0])):
        raise UserError(
            f"{walk.root} holds one class only, {folders[0]!r}, which holds folders itself.",
            f"Did you mean {walk.root / folders[0]}, with the classes {_listed(inner)}?",
        )
    return _catalog(walk, f"{len(folders)} class folders", folders, entries)


def _from_split_folders(walk: Walk, splits: dict[str, str]) -> Catalog:
    as_test = _only_other(splits)
    entries, classes, loose = list[Entry](), set[str](), 0
    for folder, split in splits.items():
        names = walk.folders(folder)
        classes |= set(names)
        entries += [
            Entry(path, name, "test" if folder == as_test else split)
            for name in names
            for path in walk.files(f"{folder}/{name}")
        ]
        loose += walk.ignore_loose(folder)
    for other in set(walk.folders("")) - set(splits):
        walk.ignored[f"folder {other!r} beside the split folders"] += sum(1 for _ in walk.files(other))
    walk.ignore_loose("")
    if not entries:
        hint = "Inside each split folder, make one folder a class."
        raise UserError(f"The split folders of {walk.root} hold no class folders ({loose} loose files).", hint)
    names = ", ".join(f"{folder}/" for folder in splits)
    if as_test:
        rule = f"{as_test}/ is the test set, val is cut from train"
    elif len(splits) == 1:
        rule = "val and test are cut from it"
    else:
        rule = "each is what its name says"
    return _catalog(walk, f"split folders {names}; {rule}", sorted(classes), entries)


def _from_tiny_imagenet(walk: Walk) -> Catalog:
    ids = walk.folders("train")
    names = _readable_names(walk.root / "words.txt", ids)
    entries = [
        Entry(path, names[wnid])
        for wnid in ids
        for path in walk.files(f"train/{wnid}")
        if not path.endswith("_boxes.txt")
    ]
    entries = [entry._replace(split="train") for entry in entries]
    annotations = walk.root / "val" / "val_annotations.txt"
    for number, line in enumerate(annotations.read_text(errors="replace").splitlines(), 1):
        fields = line.split("\t")
        if len(fields) < 2:
            raise UserError(f"{annotations}, line {number}: a file name, a tab and a class id are wanted.")
        if fields[1] not in names:
            raise UserError(f"{annotations}, line {number}: class {fields[1]!r} has no folder in train.")
        entries.append(Entry(f"val/images/{escape(fields[0])}", names[fields[1]], "test"))
    if unlabelled := sum(1 for _ in walk.files("test")) if (walk.root / "test").is_dir() else 0:
        walk.ignored["pictures without a label in test/"] += unlabelled
    source = "the Tiny ImageNet layout; val_annotations.txt is the test set, val is cut from train"
    return _catalog(walk, source, sorted(names.values()), entries)


def _from_manifest(path: Path) -> Catalog:
    rows = read_manifest(path)
    root, paths = _common_root(path.parent, rows)
    entries = [
        Entry(escape(inner), row.label, _split_of(path, row), row.group) for row, inner in zip(rows, paths, strict=True)
    ]
    repeated = [inner for inner, count in Counter(entry.path for entry in entries).items() if count > 1]
    if repeated:
        hint = "Keep one row a picture."
        raise UserError(f"{path} names {len(repeated)} pictures more than once, {repeated[0]!r} for one.", hint)
    stated = [name for name in ("split", "group") if any(getattr(entry, name) for entry in entries)]
    source = f"a table of {len(rows):,} pictures" + (f" with {' and '.join(stated)}" if stated else "")
    if {entry.split for entry in entries} == {"train", "val"}:
        entries = [entry._replace(split="test") if entry.split == "val" else entry for entry in entries]
        source += "; its val is the test set, val is cut from train"
    return _catalog(Walk(root), source, sorted({entry.label for entry in entries}), entries)


def _split_of(path: Path, row: ManifestRow) -> str:
    if not row.split:
        return ""
    if row.split.lower() not in SPLIT_NAMES:
        raise UserError(f"{path}, row {row.number}: split {row.split!r} is unknown.", "Use train, val or test.")
    return SPLIT_NAMES[row.split.lower()]


def _common_root(folder: Path, rows: Sequence[ManifestRow]) -> tuple[Path, list[str]]:
    """The folder that all pictures lie under, and their paths from there. The table's own folder if it will do."""
    full = [os.path.normpath(folder / row.path) for row in rows]
    base = os.path.normpath(folder)
    if all(Path(path).is_relative_to(base) for path in full):
        root = base
    else:
        full = [os.path.abspath(path) for path in full]
        root = os.path.commonpath([os.path.dirname(path) for path in full])
    return Path(root), [Path(os.path.relpath(path, root)).as_posix() for path in full]


def _catalog(walk: Walk, source: str, classes: Sequence[str], entries: list[Entry]) -> Catalog:
    entries = sorted(entries)
    _check_class_sets(classes, entries)
    index = {name: position for position, name in enumerate(classes)}
    count = len(entries)
    return Catalog(
        root=walk.root,
        source=source,
        classes=tuple(classes),
        paths=text_column([entry.path for entry in entries]),
        labels=np.array([index[entry.label] for entry in entries], np.int64),
        given_splits=text_column([entry.split for entry in entries]),
        groups=text_column([entry.group for entry in entries]),
        statuses=text_column([""] * count),
        notes=text_column(["link_outside" * (entry.path in walk.links_outside) for entry in entries]),
        widths=np.zeros(count, np.int64),
        heights=np.zeros(count, np.int64),
        digests=text_column([""] * count),
        ignored=dict(sorted(walk.ignored.items())),
        remarks=tuple(walk.remarks),
    )


def _check_class_sets(classes: Sequence[str], entries: list[Entry]) -> None:
    """Refuse what no training can mend: a class in val or test that train lacks.

    A class that only train has is legal, and named as untested when the splits are made.
    """
    counts = Counter((entry.split, entry.label) for entry in entries)
    for split in ("val", "test"):
        for name in classes:
            if counts[split, name] and not (counts["train", name] or counts["", name]):
                known = [other for other in classes if counts["train", other]]
                close = difflib.get_close_matches(name.lower(), [other.lower() for other in known], n=1)
                twin = f" Is it {next(o for o in known if o.lower() == close[0])!r}, written differently?" if close else ""
                raise UserError(
                    f"Class {name!r} is in {split} ({counts[split, name]} pictures) but not in train.",
                    f"Add training pictures of it, or take it out of {split}.{twin}",
                )


def _split_folders(walk: Walk) -> dict[str, str]:
    """Folder name → split, for the folders that are named like splits; two names of one split are an error."""
    found = {name: SPLIT_NAMES[name.lower()] for name in walk.folders("") if name.lower() in SPLIT_NAMES}
    doubled = [split for split, count in Counter(found.values()).items() if count > 1]
    if doubled and "train" in found.values():
        names = [name for name, split in found.items() if split == doubled[0]]
        raise UserError(f"{walk.root} holds two {doubled[0]} folders: {_listed(names)}.", "Keep one of them.")
    return dict(sorted(found.items(), key=lambda pair: SPLITS.index(pair[1])))


def _only_other(splits: dict[str, str]) -> str:
    """The one folder beside train, which is reported on as test whatever its name; "" if there are none or two."""
    others = [folder for folder, split in splits.items() if split != "train"]
    return others[0] if len(others) == 1 else ""


def _readable_names(words: Path, ids: Sequence[str]) -> dict[str, str]:
    """Class id → the first of its names in words.txt; the id itself where there is none or two share it."""
    names = dict.fromkeys(ids, "")
    if words.is_file():
        pairs = (line.split("\t", 1) for line in words.read_text(errors="replace").splitlines() if "\t" in line)
        names |= {wnid: text.split(",")[0].strip() for wnid, text in pairs if wnid in names}
    shared = Counter(names.values())
    return {
        wnid: wnid if not name else f"{name} ({wnid})" if shared[name] > 1 else name for wnid, name in names.items()
    }


def _nearest_sibling(path: Path) -> str:
    folder = path.absolute().parent
    siblings = os.listdir(folder) if folder.is_dir() else []
    close = difflib.get_close_matches(path.name, siblings, n=1)
    return f"Did you mean {path.parent / close[0]}?" if close else "Check the path."


def _listed(names: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(map(repr, names[:limit])) + more
