"""From what the user points at to a catalog, recognised by looking. No image is opened here.

a folder with one folder a class        nested folders belong to the top one
a folder with train/, val/, test/       each with one folder a class
the Tiny ImageNet layout                train/<id>/images, val/val_annotations.txt, words.txt
IDX files, CIFAR's binary files         see `arrays`
a zip or tar archive of any of these    see `archives`; a single folder in it is entered
a manifest                              CSV, TSV, JSON Lines or Parquet: see `manifest`
"""

# os.path says no where Path raises (a name too long, a folder not permitted), and is fast on
# 100,000 strings.

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tellapart.catalog.archives import ArchiveFiles, open_archive
from tellapart.catalog.arrays import (
    ArrayFiles,
    Arrays,
    find_arrays,
    is_idx,
    is_named_like_arrays,
    refuse_pickles,
)
from tellapart.catalog.files import READ_IT, Files, Tree, open_store, packed_head, packing
from tellapart.catalog.manifest import MANIFEST_SUFFIXES, ManifestRow, read_manifest
from tellapart.catalog.names import escape, nearest_path, unescape
from tellapart.catalog.table import SPLITS, Catalog, text_column
from tellapart.catalog.walk import Walk
from tellapart.errors import UserError, reason_of

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


# Kinds of file that are known but not read, by the end of their names → the way out.
_AS_IMAGES = "Save its images as PNG or JPEG files, one folder a class."
_WAYS_OUT = {
    **dict.fromkeys(
        [".npy", ".npz", ".h5", ".hdf5", ".mat"], ("an array file of another kind", _AS_IMAGES)
    ),
    **dict.fromkeys([".tfrecord", ".tfrecords"], ("a file of TensorFlow records", _AS_IMAGES)),
    **dict.fromkeys(
        [".7z", ".rar", ".zst", ".lz4"],
        ("an archive of another kind", "Unpack it and give the folder."),
    ),
}
_PICKLES = (".pkl", ".pickle", ".pt", ".pth")
_TEXT_BYTES = 2**28  # of a list beside the images; more is none


class Entry(NamedTuple):
    """One file on its way into the catalog; `label` is a class name."""

    path: str
    label: str
    split: str = ""
    group: str = ""
    weight: float = 1.0


def read_source(
    data: Path, *, group_column: str | None = None, weight_column: str | None = None
) -> Catalog:
    """The catalog of a source, before the scan: paths, labels and what the source says of splits
    and groups.

    Args:
        data: a folder, a table, an archive, or an IDX file of images with that of its labels beside
            it.
        group_column: of a table, the column whose equal cells keep images together; None for the
            usual names.
        weight_column: of a table, the column that says how often each image is drawn; None: each as
            often.

    Raises:
        UserError: nothing there, not recognised, or class sets that cannot work; with what to do.
    """
    if not os.path.exists(data):
        raise UserError(f"{data} does not exist.", nearest_path(data))
    if os.path.isfile(data) and data.suffix.lower() in MANIFEST_SUFFIXES:
        return _from_manifest(data, group_column, weight_column)
    if weight_column is not None:
        raise UserError(
            f"{data} is no table, and so has no column {weight_column!r} of weights.",
            "Give a table with that column, or leave training.weight_column out.",
        )
    if group_column is not None:
        raise UserError(
            f"{data} is no table, and so has no column {group_column!r} to group by.",
            "Give a table with that column, or group by folder, folder:N, name:REGEX or burst.",
        )
    if os.path.isfile(data):
        return _from_file(data)
    if not os.path.isdir(data):
        raise _unrecognised(data)
    if not os.access(data, os.R_OK | os.X_OK):
        raise UserError(f"{data} cannot be read.", READ_IT)
    return _from_tree(Walk(data))


def _from_file(data: Path) -> Catalog:
    suffix = data.suffix.lower()
    if suffix in _WAYS_OUT:
        what, way_out = _WAYS_OUT[suffix]
        raise UserError(f"{data} is {what}, which is not read here.", way_out)
    if suffix in _PICKLES:
        refuse_pickles(f"{data} holds Python pickles")
    if archive := open_archive(data):
        return _from_archive(archive)
    store = open_store(data)
    kind = packing(store)
    head = packed_head(store, kind) if kind else store.read(0, 512)
    if is_idx(head):
        folder = Walk(data.parent)
        if arrays := find_arrays(folder.tree, folder.names(""), only=escape(data.name)):
            return _from_arrays(folder, arrays)
        raise UserError(
            f"{data} is an IDX file, but its name is not that of a file of images.",
            "Name it like train-images-idx3-ubyte, put train-labels-idx1-ubyte beside it, and give"
            " the first.",
        )
    if re.match(rb"\x80[\x02-\x05]", head):
        refuse_pickles(f"{data} is a Python pickle")
    raise _unrecognised(data)


def _unrecognised(data: Path) -> UserError:
    kinds = ", ".join(sorted(MANIFEST_SUFFIXES))
    return UserError(
        f"{data} is neither a folder nor a table, an archive or a file of arrays.",
        f"Give a folder of images, a table ({kinds}), a zip or tar archive, or an IDX file.",
    )


def _from_archive(archive: ArchiveFiles) -> Catalog:
    walk = Walk(archive)
    while inner := _only_folder(walk):
        walk.ignore_loose("")
        ignored, archive = walk.ignored, archive.entered(inner)
        walk = Walk(archive)
        walk.ignored = ignored
    if (table := _table(walk.names(""))) and len(walk.folders("")) < 2 and not _holds_more(walk):
        raise UserError(
            f"{archive.name} holds a table, {table!r}.", "Unpack the archive and give the table."
        )
    catalog = _from_tree(walk)
    where = f" (in {archive.top}/)" if archive.top else ""
    return catalog.replace(source=f"a {archive.kind} archive{where} of {catalog.source}")


def _only_folder(walk: Walk) -> str:
    """The one folder at the top of an archive, if that is only a wrapper around the source; else
    "".
    """
    folders = walk.folders("")
    if len(folders) != 1 or _holds_more(walk):
        return ""
    (inner,) = folders
    names = walk.names(inner)
    return inner if walk.folders(inner) or is_named_like_arrays(names) or _table(names) else ""


def _holds_more(walk: Walk) -> bool:
    """Whether a folder with one folder in it is a source none the less."""
    is_train = any(SPLIT_NAMES.get(name.lower()) == "train" for name in walk.folders(""))
    return is_train or is_named_like_arrays(walk.names(""))


def _table(names: Iterable[str]) -> str:
    return next((name for name in names if Path(name).suffix.lower() in MANIFEST_SUFFIXES), "")


def _from_tree(walk: Walk) -> Catalog:
    if arrays := find_arrays(walk.tree, walk.names("")):
        return _from_arrays(walk, arrays)
    if pickled := [
        name for name in walk.folders("") if name in ("cifar-10-batches-py", "cifar-100-python")
    ]:
        refuse_pickles(f"{walk.tree.name} holds Python pickles in {pickled[0]}/")
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
            f"{walk.tree.name} holds no folder with images ({loose} loose files).",
            "Make one folder a class, named as the class, and try again.",
        )
    if len(classes) == 1 and (inner := walk.folders(classes[0])):
        raise UserError(
            f"{walk.tree.name} holds one class only, {classes[0]!r}, which holds folders itself.",
            f"Did you mean {Path(walk.tree.name, unescape(classes[0]))}, with the classes"
            f" {_listed(inner)}?",
        )
    remarks = _refuse_or_remark_splits(walk.tree.name, classes, entries)
    return _catalog(walk, f"{len(classes):,} class folders", classes, entries, remarks)


def _refuse_or_remark_splits(root: str, classes: Sequence[str], entries: list[Entry]) -> list[str]:
    """Class folders that all hold the same folders may be splits under names that are not known
    here.
    """
    inner = defaultdict(set)
    for entry in entries:
        _, *below = entry.path.split("/")
        inner[entry.label].add(below[0] if len(below) > 1 else "")
    shared = next(iter(inner.values()))
    if (
        len(inner) < 2
        or len(shared) < 2
        or "" in shared
        or any(names != shared for names in inner.values())
    ):
        return []
    what = f"{_listed(classes)} all hold the folders {_listed(sorted(shared))}"
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
    walk.ignore(
        f"files in {_listed(beside)}, beside the split folders", sum(1 for _ in walk.files(*beside))
    )
    walk.ignore_loose("")
    if not found:
        hint = "Inside each split folder, make one folder a class."
        raise UserError(
            f"The split folders of {walk.tree.name} hold no class folders ({loose} loose files).",
            hint,
        )
    labelled = {
        folder for _, folder, _ in found
    }  # a test/ of loose images has no labels to be measured with
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
    return _catalog(
        walk,
        f"split folders {', '.join(f'{folder}/' for folder in splits)}; {rule}",
        classes,
        entries,
    )


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
    walk.ignore(
        "files in val/ without a label", unlabelled["val"] - 1
    )  # val_annotations.txt itself
    source = (
        "the Tiny ImageNet layout; val_annotations.txt is the test set, any val is cut from train"
    )
    return _catalog(walk, source, sorted(names.values()), entries)


def _from_arrays(walk: Walk, arrays: Arrays) -> Catalog:
    splits, rule = _splits_of_arrays(walk.tree.name, arrays)
    labels = sorted({label for file in arrays.files for label in np.unique(file.labels).tolist()})
    names = (
        dict(enumerate(arrays.class_names))
        if arrays.class_names
        else {label: str(label) for label in labels}
    )
    if unnamed := [label for label in labels if label not in names]:
        raise UserError(
            f"{walk.tree.name} has {len(names)} class names, but images with label {unnamed[0]},"
            " counted from 0.",
            "Give the list one line a label.",
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
    return _catalog(
        walk, f"{arrays.kind}: {rule}", classes, entries, files=ArrayFiles(walk.tree, arrays.files)
    )


def _splits_of_arrays(place: str, arrays: Arrays) -> tuple[dict[str, str], str]:
    """Part → split, empty if there is one part only; and the rule in words."""
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
            f"{place} holds several sets of arrays: {_listed(sorted(counts))}.",
            "Give the file of images of one, or put a train and a test set into a folder of their"
            " own.",
        )
    listed = ", ".join(
        f"{split} {counts[part]:,}" for split in found for part in counts if splits[part] == split
    )
    if len(found) > 2:
        return splits, f"{listed}; each is what its name says"
    other = found[1]
    splits = {part: "test" if split == other else split for part, split in splits.items()}
    return splits, f"{listed}; {other} is the test set, any val is cut from train"


def _from_manifest(path: Path, group_column: str | None, weight_column: str | None) -> Catalog:
    rows = read_manifest(path, group_column, weight_column)
    root, paths = _common_root(path, rows)
    entries = [
        Entry(escape(inner), row.label, _split_of(path, row), row.group, row.weight)
        for row, inner in zip(rows, paths, strict=True)
    ]
    repeated = [
        inner for inner, count in Counter(entry.path for entry in entries).items() if count > 1
    ]
    if repeated:
        hint = "Keep one row an image."
        raise UserError(
            f"{path} names {len(repeated)} images more than once, {repeated[0]!r} for one.", hint
        )
    stated = [name for name in ("split", "group") if any(getattr(entry, name) for entry in entries)]
    source = f"a table of {len(rows):,} images" + (
        f" with {' and '.join(stated)}" if stated else ""
    )
    if {entry.split for entry in entries} == {"train", "val"}:
        entries = [
            entry._replace(split="test") if entry.split == "val" else entry for entry in entries
        ]
        source += "; its val is the test set, any val is cut from train"
    return _catalog(Walk(root), source, sorted({entry.label for entry in entries}), entries)


def _split_of(path: Path, row: ManifestRow) -> str:
    if not row.split:
        return ""
    if row.split.lower() not in SPLIT_NAMES:
        raise UserError(
            f"{path}, row {row.number}: split {row.split!r} is unknown.", "Use train, val or test."
        )
    return SPLIT_NAMES[row.split.lower()]


def _common_root(table: Path, rows: Sequence[ManifestRow]) -> tuple[Path, list[str]]:
    """The folder that all images lie under, and their paths from there. The table's own folder if
    it will do.
    """
    folder = str(table.parent)
    inner = [os.path.normpath(row.path) for row in rows]
    if not any(os.path.isabs(path) or path.startswith("..") for path in inner):
        return Path(folder), [_slashes(path) for path in inner]
    full = [os.path.abspath(os.path.join(folder, path)) for path in inner]
    try:
        root = os.path.commonpath([os.path.abspath(folder), *full])
        if root != os.path.abspath(folder):
            root = os.path.commonpath([os.path.dirname(path) for path in full])
    except ValueError:  # Windows
        raise UserError(
            f"{table} names images on several drives.", "Bring them onto one."
        ) from None
    return Path(root), [_slashes(os.path.relpath(path, root)) for path in full]


def _slashes(path: str) -> str:
    return path.replace(os.sep, "/")


def _catalog(
    walk: Walk,
    source: str,
    classes: Sequence[str],
    entries: list[Entry],
    remarks: Iterable[str] = (),
    files: Files | None = None,
) -> Catalog:
    entries = sorted(entries)
    _check_class_sets(classes, entries)
    index = {name: position for position, name in enumerate(classes)}
    count = len(entries)
    return Catalog(
        files=files or walk.tree,
        source=source,
        classes=tuple(classes),
        paths=text_column([entry.path for entry in entries]),
        labels=np.array([index[entry.label] for entry in entries], np.int64),
        given_splits=text_column([entry.split for entry in entries]),
        groups=text_column([entry.group for entry in entries]),
        weights=np.array([entry.weight for entry in entries], np.float64),
        statuses=text_column([""] * count),
        notes=text_column(
            ["link_outside" * (entry.path in walk.links_outside) for entry in entries]
        ),
        widths=np.zeros(count, np.int64),
        heights=np.zeros(count, np.int64),
        digests=text_column([""] * count),
        taken=text_column([""] * count),
        copies=np.arange(count),
        splits=text_column([""] * count),
        ignored=dict(sorted(walk.ignored.items())),
        remarks=(*walk.remarks, *remarks, *_look_alikes(classes)),
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
                close = difflib.get_close_matches(
                    name.lower(), [other.lower() for other in known], n=1
                )
                twin = [
                    f" Is it {other!r}, written differently?"
                    for other in known
                    if [other.lower()] == close
                ]
                raise UserError(
                    f"Class {name!r} is in {split} ({counts[split, name]} images) but not in"
                    " train.",
                    f"Add training images of it, or take it out of {split}.{''.join(twin[:1])}",
                )


def _look_alikes(classes: Sequence[str]) -> list[str]:
    """A remark on classes whose names a person would read as one."""
    alike = defaultdict(list)
    for name in classes:
        alike[unicodedata.normalize("NFC", name).casefold().strip()].append(name)
    return [
        f"The classes {_listed(names)} differ only in case, spaces or the encoding of accents, and"
        " are kept apart. If they are one class, put their images into one folder."
        for names in alike.values()
        if len(names) > 1
    ]


def _split_folders(walk: Walk) -> dict[str, str]:
    """Folder name → split, train first; two names of one split are an error.

    The one folder beside a train/ is its test set whatever it is called, as long as it holds
    classes of train.
    """
    folders = walk.folders("")
    found = {name: SPLIT_NAMES[name.lower()] for name in folders if name.lower() in SPLIT_NAMES}
    doubled = [split for split, count in Counter(found.values()).items() if count > 1]
    if doubled and "train" in found.values():
        names = [name for name, split in found.items() if split == doubled[0]]
        raise UserError(
            f"{walk.tree.name} holds two {doubled[0]} folders: {_listed(names)}.",
            "Keep one of them.",
        )
    if list(found.values()) == ["train"] and len(folders) == 2:
        (other,) = set(folders) - set(found)
        classes = set(walk.folders(other))
        if classes and classes <= set(walk.folders(next(iter(found)))):
            found[other] = "test"
    return dict(sorted(found.items(), key=lambda pair: SPLITS.index(pair[1])))


def _only_other(splits: dict[str, str]) -> str:
    """The one folder beside train, which is reported on as test whatever its name; "" if there are
    none or two.
    """
    others = [folder for folder, split in splits.items() if split != "train"]
    return others[0] if len(others) == 1 else ""


def _readable_names(tree: Tree, ids: Sequence[str]) -> dict[str, str]:
    """Class id → the first of its names in words.txt; the id itself where there is none or two
    share it.
    """
    names = dict.fromkeys(ids, "")
    if tree.is_file("words.txt"):
        pairs = (line.split("\t", 1) for line in _lines(tree, "words.txt") if "\t" in line)
        names |= {wnid: text.split(",")[0].strip() for wnid, text in pairs if wnid in names}
    shared = Counter(names.values())
    return {
        wnid: wnid if not name else f"{name} ({wnid})" if shared[name] > 1 else name
        for wnid, name in names.items()
    }


def _lines(tree: Tree, path: str) -> list[str]:
    try:
        text = tree.open(path).read(0, _TEXT_BYTES).decode("utf-8-sig", "replace")
    except OSError as error:
        raise UserError(
            f"{path} of {tree.name} cannot be read ({reason_of(error)}).", READ_IT
        ) from None
    return [line for line in text.split("\n") if line.strip()]


def _listed(names: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(map(repr, names[:limit])) + more
