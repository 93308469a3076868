"""Images that a table, a data frame or a list names by their paths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from tellapart.addresses import is_store_address
from tellapart.catalog.files import Files, Folder, Tree
from tellapart.catalog.names import escape
from tellapart.catalog.table import Catalog
from tellapart.errors import UserError
from tellapart.phrases import count_of, listed
from tellapart.sources.entries import Entry, catalog_of, with_test_split
from tellapart.sources.folder_names import split_named
from tellapart.sources.store_folder import StoreFolder
from tellapart.sources.stores import CHECK
from tellapart.sources.tables.manifest import Manifest, ManifestRow, Origin


def catalog_by_path(
    manifest: Manifest,
    origin: Origin,
    kind: str,
    tree: Tree,
    paths: Sequence[str] | None = None,
) -> Catalog:
    """The catalog of the images that rows name.

    Args:
        manifest: the rows, and their classes.
        origin: where the rows stand.
        kind: "table" or the like, for the sentence on the source.
        tree: where the images lie. On disk, paths may lead out of it.
        paths: one a row, from the top of the tree or absolute, without any ".". None means those
            of the rows, which may be addresses in a store.

    Raises:
        UserError: an image has two labels, splits or groups, a split is unknown, or train lacks a
            class; no address has an object, or addresses are mixed with paths.
    """
    rows = manifest.rows
    files: Files
    if paths is None and any(is_store_address(row.path) for row in rows):
        files, paths = _addresses(origin, [row.path.strip() for row in rows])
    else:
        paths = paths or [os.path.normpath(row.path) for row in rows]
        files, paths = _places(origin, paths, tree)
    entries = [
        Entry(escape(inner), row.label, _split_of(origin, row), row.group, row.weight, row.extra)
        for row, inner in zip(rows, paths, strict=True)
    ]
    entries, remarks = _once(origin, entries)
    stated = [name for name in ("split", "group") if any(getattr(entry, name) for entry in entries)]
    source = f"a {kind} of {count_of(len(entries), 'image')}"
    if stated:
        source += f" with {' and '.join(stated)}"
    if {entry.split for entry in entries} == {"train", "val"}:
        entries, _ = with_test_split(entries)
        source += "; its val is the test set, any val is cut from train"
    return catalog_of(
        files,
        source,
        manifest.classes,
        entries,
        remarks=[*manifest.remarks, *remarks],
        extra_names=manifest.extra_names,
    )


def _once(origin: Origin, entries: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """The entries, those of one image once, and a remark on those that are left out.

    Raises:
        UserError: the rows of an image differ.
    """
    first: dict[str, Entry] = {}
    several: dict[str, set[str]] = {}
    for entry in entries:
        kept = first.setdefault(entry.path, entry)
        if kept.label != entry.label:
            several.setdefault(entry.path, {kept.label}).add(entry.label)
        elif kept._replace(extra=()) != entry._replace(extra=()):
            raise UserError(
                f"{origin.name} names {entry.path!r} more than once, with different splits, groups"
                " or weights.",
                "Keep one row for each image.",
            )
    if several:
        path, labels = next(iter(several.items()))
        raise UserError(
            f"{origin.name} gives {count_of(len(several), 'image')} more than one label, for"
            f" example {path!r}: {listed(sorted(labels))}.",
            "An image has one class here. Keep the row that counts.",
        )
    again = len(entries) - len(first)
    if not again:
        return list(entries), []
    return list(first.values()), [
        f"{count_of(again, 'row')} of {origin.name}"
        f" {'repeats' if again == 1 else 'repeat'} an image with the same label, and"
        f" {'is' if again == 1 else 'are'} counted once."
    ]


def _split_of(origin: Origin, row: ManifestRow) -> str:
    split = split_named(row.split)
    if row.split and not split:
        raise UserError(
            f"{origin.row(row.number)}: split {row.split!r} is unknown.", "Use train, val or test."
        )
    return split


def _places(origin: Origin, paths: Sequence[str], tree: Tree) -> tuple[Files, Sequence[str]]:
    """Where all images are, and their paths from there. It is the tree itself if that will do."""
    leads_out = any(path.startswith("..") or os.path.isabs(path) for path in paths)
    if not isinstance(tree, Folder) or not leads_out:
        return tree, [_slashes(path) for path in paths]
    folder = os.fspath(tree.root)
    full = [os.path.abspath(os.path.join(folder, path)) for path in paths]
    try:
        root = os.path.commonpath([os.path.abspath(folder), *full])
        if root != os.path.abspath(folder):
            root = os.path.commonpath([os.path.dirname(path) for path in full])
    except ValueError:  # paths on several drives, which Windows has
        raise UserError(
            f"{origin.name} names images on several drives.", "Put them onto one drive."
        ) from None
    return Folder(Path(root)), [_slashes(os.path.relpath(path, root)) for path in full]


def _addresses(origin: Origin, addresses: Sequence[str]) -> tuple[StoreFolder, list[str]]:
    """The folder in a store that all addresses lie in, and their paths from there.

    Raises:
        UserError: not all are addresses of one kind of store, or none has an object.
    """
    schemes = {address.partition("://")[0].lower(): address for address in addresses}
    if len(schemes) > 1 or not all(map(is_store_address, addresses)):
        raise UserError(
            f"{origin.name} names images at different kinds of places:"
            f" {listed(sorted(schemes.values()), 2)}.",
            "Put all images into one store or onto the disk.",
        )
    (scheme,) = schemes
    places = [address.partition("://")[2].lstrip("/").split("/") for address in addresses]
    folders = {tuple(place[:-1]) for place in places}
    levels = takewhile(lambda names: len(set(names)) == 1, zip(*folders, strict=False))
    common = [names[0] for names in levels]
    folder = StoreFolder("/".join([f"{scheme}:/", *common]))
    paths = ["/".join(place[len(common) :]) for place in places]
    if folder.missing([escape(path) for path in paths]) == len(paths):
        raise UserError(
            f"None of the {count_of(len(paths), 'image')} of {origin.name} is in its store. The"
            f" first is {addresses[0]}.",
            CHECK,
        )
    return folder, paths


def _slashes(path: str) -> str:
    return path.replace(os.sep, "/")
