"""Images that a table, a data frame or a list names by their paths."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tellapart.catalog.entries import SPLIT_NAMES, Entry, catalog_of
from tellapart.catalog.files import Folder
from tellapart.catalog.manifest import ManifestRow, Origin
from tellapart.catalog.names import escape
from tellapart.catalog.table import Catalog
from tellapart.errors import UserError
from tellapart.phrases import count_of


def catalog_by_path(
    rows: Sequence[ManifestRow], origin: Origin, kind: str, classes: Sequence[str]
) -> Catalog:
    """The catalog of the images that rows name.

    Args:
        rows: one an image.
        origin: where the rows stand.
        kind: "table" or the like, for the sentence on the source.
        classes: all class names in the order of their labels.

    Raises:
        UserError: an image is named twice, a split is unknown, or train lacks a class.
    """
    root, paths = _common_root(origin, rows)
    entries = [
        Entry(escape(inner), row.label, _split_of(origin, row), row.group, row.weight)
        for row, inner in zip(rows, paths, strict=True)
    ]
    counts = Counter(entry.path for entry in entries)
    if repeated := [inner for inner, count in counts.items() if count > 1]:
        raise UserError(
            f"{origin.name} names {count_of(len(repeated), 'image')} more than once, for example"
            f" {repeated[0]!r}.",
            "Keep one row for each image.",
        )
    stated = [name for name in ("split", "group") if any(getattr(entry, name) for entry in entries)]
    source = f"a {kind} of {count_of(len(rows), 'image')}"
    if stated:
        source += f" with {' and '.join(stated)}"
    if {entry.split for entry in entries} == {"train", "val"}:
        entries = [
            entry._replace(split="test") if entry.split == "val" else entry for entry in entries
        ]
        source += "; its val is the test set, any val is cut from train"
    return catalog_of(Folder(root), source, classes, entries)


def _split_of(origin: Origin, row: ManifestRow) -> str:
    if not row.split:
        return ""
    if row.split.lower() not in SPLIT_NAMES:
        raise UserError(
            f"{origin.row(row.number)}: split {row.split!r} is unknown.", "Use train, val or test."
        )
    return SPLIT_NAMES[row.split.lower()]


def _common_root(origin: Origin, rows: Sequence[ManifestRow]) -> tuple[Path, list[str]]:
    """The folder that all images lie under, and their paths from there. It is the origin's own
    folder if that will do.
    """
    folder = os.fspath(origin.folder)
    inner = [os.path.normpath(row.path) for row in rows]
    if not any(os.path.isabs(path) or path.startswith("..") for path in inner):
        return Path(folder), [_slashes(path) for path in inner]
    full = [os.path.abspath(os.path.join(folder, path)) for path in inner]
    try:
        root = os.path.commonpath([os.path.abspath(folder), *full])
        if root != os.path.abspath(folder):
            root = os.path.commonpath([os.path.dirname(path) for path in full])
    except ValueError:  # paths on several drives, which Windows has
        raise UserError(
            f"{origin.name} names images on several drives.", "Put them onto one drive."
        ) from None
    return Path(root), [_slashes(os.path.relpath(path, root)) for path in full]


def _slashes(path: str) -> str:
    return path.replace(os.sep, "/")
