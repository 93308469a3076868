"""Tables that lie beside the images they name: found by looking, and read together where each is a
split.

    metadata.csv, 1.jpg, 2.jpg, ...                     a table in the folder of its images
    train/_classes.csv, valid/_classes.csv, ...         a table in each split folder
    train.csv, test.csv, images/                        a table a split
    train.txt, test.txt, images/                        a list of paths and labels a split

A table without a label, such as a test.csv for a competition, is passed over and told.
"""

from __future__ import annotations

import csv
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any, NoReturn

from tellapart.catalog.files import Folder, Tree
from tellapart.catalog.names import name_set, unescape
from tellapart.catalog.table import Catalog
from tellapart.errors import UserError
from tellapart.phrases import count_of
from tellapart.sources.folder_names import split_named, words_of
from tellapart.sources.reading import Candidate, Reading
from tellapart.sources.tables.by_path import catalog_by_path
from tellapart.sources.tables.cells import evenly, text_or_empty
from tellapart.sources.tables.column_names import plain
from tellapart.sources.tables.dialects import looks_like_an_image, rows_of, text_of
from tellapart.sources.tables.extras import extras_in, united
from tellapart.sources.tables.labels import class_names
from tellapart.sources.tables.listing import Listing, Place
from tellapart.sources.tables.manifest import Manifest, Origin, read_rows
from tellapart.sources.tables.resolving import resolve
from tellapart.sources.tables.sheets import Sheet, is_list, may_hold_table, read_sheet
from tellapart.sources.tables.table_file import none_there, origin_of
from tellapart.sources.tree_files import items_in
from tellapart.sources.walk import IMAGE_SUFFIXES, Walk, is_image_name

_MOST_FOLDERS = 20  # at the top, that are looked into whatever their names are
_FOLDERS_OF_TABLES = name_set("annotations annotation labels label csv csvs meta metadata lists")
_MOST_BESIDE = 12  # tables in one folder; where there are more, each is of one image
_HEAD_BYTES = 2**14  # by which a list is told from other texts
_MOST_BYTES = 2**28  # of a table that the user did not name
# Columns of what `predict` and `explore` write, which would be read as labels.
_OWN_COLUMNS = (name_set("path status decision answer"), name_set("path class status sha256"))
_BOX_COLUMNS = name_set("xmin x1 bbox boundingbox bboxes boxes xcenter regionshapeattributes")
# Texts that name no images, and answers that a competition gives as an example.
_OTHERS = re.compile(r"readme|licen[cs]e|requirements|changelog|submission|classes\.txt|names\.txt")


@dataclass(frozen=True)
class _Table:
    """A table that was found, with what its rows name.

    Args:
        path: its catalog path.
        manifest: its rows.
        files: the file of each row, from the top of the tree.
        there: the files that are there.
    """

    path: str
    manifest: Manifest
    files: Sequence[str]
    there: frozenset[str]

    @property
    def labels(self) -> set[tuple[str, str]]:
        """Each file with its label."""
        return {(file, row.label) for file, row in zip(self.files, self.manifest.rows, strict=True)}


class _NoTable(Exception):
    """A file that ends like a table or a list, and names no images."""


def table_candidates(walk: Walk, reading: Reading) -> Iterator[Candidate]:
    """The ways in which tables near the top of a tree label its images.

    Where no table does, the first that names images and cannot be used labels none, and its `read`
    says why.

    Args:
        walk: over the tree.
        reading: what the user says of the form of the data.
    """
    if reading.label_by is not None:
        return
    tree = walk.tree
    listing = Listing(tree)
    refused: dict[str, UserError] = {}
    sets: list[list[_Table]] = []
    for paths in _groups(_tables_near_the_top(tree)):
        sets += _sets(list(_read_group(listing, paths, reading, refused)))
    labelling = False
    for tables in _without_doubles(sets):
        try:
            catalog = _catalog(listing, tables, refused)
        except UserError as error:
            refused[tables[0].path] = error
            continue
        labelling = True
        there = frozenset[str]().union(*(table.there for table in tables))
        yield Candidate(_what(tables), len(there), _command(tree, tables), partial(_given, catalog))
    if not labelling and refused:
        path, refusal = next(iter(refused.items()))
        yield Candidate(f"a table, {path}", 0, tree.name, partial(_fail, refusal))


def is_list_of_images(tree: Tree, path: str) -> bool:
    """Whether a text is a list of paths and labels, by its name and its first lines."""
    if not (is_list(path) or path.lower().endswith(".json")) or _is_other(path):
        return False
    try:
        head = tree.open(path).read(0, _HEAD_BYTES)
        if not is_list(path):
            return any(f'{suffix}"'.encode() in head.lower() for suffix in IMAGE_SUFFIXES)
        lines = text_of(head)[0].splitlines()[:20]
        rows = rows_of("\n".join(lines))
    except (OSError, UnicodeDecodeError, csv.Error, UserError):
        return False
    fitting = sum(len(row) > 1 and any(map(looks_like_an_image, row)) for row in rows)
    return bool(rows) and fitting * 2 > len(rows)


def _tables_near_the_top(tree: Tree) -> list[str]:
    """The paths of tables and lists, in the top folder and the ones in it."""
    files, folders = _listed(tree, "")
    found = [files]
    for folder in folders:
        named = folder.lower() in _FOLDERS_OF_TABLES or split_named(folder)
        if named or len(folders) <= _MOST_FOLDERS:
            found.append([f"{folder}/{name}" for name in _listed(tree, folder)[0]])
    tables = [
        [path for path in paths if may_hold_table(path) and not _is_other(path)] for paths in found
    ]
    # Where a folder holds many of a kind, each is of one image.
    counts = Counter(
        (number, _ending(path)) for number, paths in enumerate(tables) for path in paths
    )
    return [
        path
        for number, paths in enumerate(tables)
        for path in paths
        if counts[number, _ending(path)] <= _MOST_BESIDE
    ]


def _ending(path: str) -> str:
    return PurePosixPath(path.lower()).suffix


def _is_other(path: str) -> bool:
    return bool(_OTHERS.search(path.lower()))


def _listed(tree: Tree, inside: str) -> tuple[list[str], list[str]]:
    """The names of the files and of the folders in a folder."""
    items = items_in(tree, inside)
    return (
        [item.name for item in items if not item.folder],
        [item.name for item in items if item.folder],
    )


def _split_and_stem(path: str) -> tuple[str, tuple[str, ...]]:
    """The split that the name of a table or of its folder says, and the other words.

    >>> _split_and_stem("valid/_classes.csv"), _split_and_stem("labels.csv")
    (('val', ('classes', 'csv')), ('', ('labels', 'csv')))
    """
    words = words_of(path.replace("/", " "))
    splits = {split for word in words if (split := split_named(word))}
    if len(splits) != 1:
        return "", tuple(words)
    return splits.pop(), tuple(word for word in words if not split_named(word))


def _groups(paths: Sequence[str]) -> list[list[str]]:
    """The tables that differ in the word for the split alone, that of train first."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for path in paths:
        split, stem = _split_and_stem(path)
        groups.setdefault(stem if split else (path,), []).append(path)
    for group in groups.values():
        group.sort(key=lambda path: ("train", "val", "test", "").index(_split_and_stem(path)[0]))
    return list(groups.values())


def _read_group(
    listing: Listing, paths: Sequence[str], reading: Reading, refused: dict[str, UserError]
) -> Iterator[_Table]:
    """The tables of one group that can be used. Why others cannot is added to `refused`."""
    columns: Mapping[str, str] = {}
    for path in paths:
        try:
            table = _read(listing, path, replace(reading, columns={**columns, **reading.columns}))
        except _NoTable:
            continue
        except UserError as error:
            refused[path] = error
            continue
        # The others have the labels of train, whatever else repeats in their columns.
        if table.manifest.label is not None and not columns:
            columns = {"label": str(table.manifest.label)}
        yield table


def _read(listing: Listing, path: str, reading: Reading) -> _Table:
    """One table.

    Raises:
        _NoTable: it names no images.
        UserError: it names images, and cannot be used.
    """
    tree, folder = listing.tree, unescape(path.rpartition("/")[0])
    place = Place(listing, folder, _split_and_stem(path)[0] or "train")
    origin = origin_of(tree, path)
    try:
        if tree.open(path).size > _MOST_BYTES:
            raise _NoTable
        if is_list(path) and not is_list_of_images(tree, path):
            raise _NoTable
        sheet = read_sheet(tree, path, origin.name)
    except (OSError, UserError):
        raise _NoTable from None
    if any(own <= set(sheet.names) for own in _OWN_COLUMNS):
        raise _NoTable
    names_images = _names_images(sheet, place)
    boxes = [name for name in sheet.names if plain(name) in _BOX_COLUMNS]
    if boxes and names_images:
        raise UserError(
            f"{origin.name} gives boxes inside the images, by column {boxes[0]!r}.",
            "Export it in the form of COCO or VOC, and add --crops to make each box an image.",
        )
    try:
        manifest = read_rows(origin, sheet, reading, place.count, by_cells=not sheet.has_header)
        found = resolve(place, [row.path for row in manifest.rows])
        if len(found.missing) == len(found.paths):
            raise none_there(origin, place, [row.path for row in manifest.rows])
    except UserError:
        if names_images:
            raise
        raise _NoTable from None
    missing = {found.paths[number] for number in found.missing}
    remarks = [*manifest.remarks, *found.remarks]
    return _Table(
        path,
        replace(manifest, remarks=remarks),
        found.paths,
        frozenset(found.paths) - missing,
    )


def _names_images(sheet: Sheet, place: Place) -> bool:
    """Whether most cells of a column are files that are there, or are named like images."""
    for name in sheet.names:
        sample = [text_or_empty(cell) for cell in evenly(sheet.cells(name), 50)]
        looking = sum(map(looks_like_an_image, sample))
        if max(looking, place.count(sample)) * 2 > len(sample):
            return True
    return False


def _sets(tables: list[_Table]) -> list[list[_Table]]:
    """The tables of one group as what is read together: a table a split, or each by itself."""
    splits = [_split_and_stem(table.path)[0] for table in tables]
    if "train" in splits and len(set(splits)) > 1:
        return [tables]
    return [[table] for table in tables]


def _without_doubles(sets: Sequence[Sequence[_Table]]) -> list[Sequence[_Table]]:
    """The sets without those that say the same as one before, as metadata.jsonl beside
    metadata.csv does. Those of several tables go first, as they know splits.
    """
    kept: dict[frozenset[tuple[str, str]], Sequence[_Table]] = {}
    for tables in sorted(sets, key=len, reverse=True):
        labels = frozenset[tuple[str, str]]().union(*(table.labels for table in tables))
        kept.setdefault(labels, tables)
    return list(kept.values())


def _catalog(
    listing: Listing, tables: Sequence[_Table], refused: Mapping[str, UserError]
) -> Catalog:
    """The catalog of the images that tables name."""
    tree = listing.tree
    extra_names = united(table.manifest.extra_names for table in tables)
    rows = [
        row._replace(
            split=row.split or (_split_and_stem(table.path)[0] if tables[1:] else ""),
            extra=extras_in(row.extra, table.manifest.extra_names, extra_names),
        )
        for table in tables
        for row in table.manifest.rows
    ]
    files = [file for table in tables for file in table.files]
    remarks = list(dict.fromkeys(text for table in tables for text in table.manifest.remarks))
    remarks += [f"{path} is left out: {error.message}" for path, error in refused.items()]
    names = ", ".join(unescape(table.path) for table in tables)
    kind = f"set of {len(tables)} tables ({names})" if tables[1:] else f"table ({names})"
    classes = class_names(row.label for row in rows)
    manifest = Manifest(rows, classes, remarks, extra_names=extra_names)
    origin = origin_of(tree, tables[0].path)
    if tables[1:]:
        origin = Origin(f"The set of {names}", origin.folder)
    catalog = catalog_by_path(manifest, origin, kind, tree, files)
    images = {path for path in listing.files if is_image_name(path)}
    unnamed = len(images - set(files))
    ignored = {"images that no table names": unnamed} if unnamed else {}
    return catalog.replace(ignored={**tree.ignored, **ignored})


def _what(tables: Sequence[_Table]) -> str:
    names = ", ".join(unescape(table.path) for table in tables)
    images = count_of(sum(len(table.there) for table in tables), "image")
    return f"{'tables' if tables[1:] else 'a table'}, {names}, with labels of {images}"


def _command(tree: Tree, tables: Sequence[_Table]) -> str:
    """What the user writes to get these tables. A column that is named means that tables count."""
    if isinstance(tree, Folder) and len(tables) == 1:
        return shlex.quote(str(tree.root / unescape(tables[0].path)))
    label: Any = tables[0].manifest.label
    columns = "" if label is None else f" --columns label={shlex.quote(str(label))}"
    return f"{shlex.quote(tree.name)}{columns}"


def _given(catalog: Catalog) -> Catalog:
    return catalog


def _fail(error: UserError) -> NoReturn:
    raise error
