"""Exports of annotation tools: labels of whole images are read, and boxes become images on request.

COCO                                      see `coco`
YOLO: images/ beside labels/, data.yaml   see `yolo`
a CSV with a row for each box             see `box_tables`
Pascal VOC, CVAT                          see `voc`
Label Studio, LabelMe, CreateML           see `label_tools`

Roboflow exports in these forms. Without --crops, a set of boxes is refused with words that say what
it is, as no folder of it is a class.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tellapart.catalog.files import Files, Folder, Tree
from tellapart.catalog.names import escape
from tellapart.catalog.table import Catalog
from tellapart.decoders.rules import DecodeRules
from tellapart.errors import UserError
from tellapart.phrases import count_of, listed
from tellapart.sources.containers.shards import divided
from tellapart.sources.entries import Entry, catalog_of, class_order
from tellapart.sources.exports.annotations import (
    SHARES,
    Export,
    Images,
    is_json,
    may_be_export,
)
from tellapart.sources.exports.box_tables import is_box_table, read_box_tables
from tellapart.sources.exports.coco import read_coco
from tellapart.sources.exports.crops import MIN_SIDE, Crop, CropFiles
from tellapart.sources.exports.label_tools import read_create_ml, read_label_studio, read_labelme
from tellapart.sources.exports.voc import read_cvat, read_voc
from tellapart.sources.exports.yolo import read_yolo
from tellapart.sources.reading import Candidate, Reading
from tellapart.sources.tree_files import all_files, files_near_the_top
from tellapart.sources.walk import Walk, is_image_name


class _Reader(NamedTuple):
    ending: str  # of the names of its files
    read: Callable[[Tree, Sequence[str], Images], Export | None]
    labels: bool  # whether it may hold labels of whole images


_READERS = (
    _Reader(".json", read_coco, labels=True),
    _Reader(".json", read_label_studio, labels=True),
    _Reader(".json", read_create_ml, labels=False),
    _Reader(".json", read_labelme, labels=True),
    _Reader(".xml", read_voc, labels=False),
    _Reader(".xml", read_cvat, labels=True),
    _Reader(".txt", read_yolo, labels=False),
    _Reader(".csv", read_box_tables, labels=False),
)
SAMPLE = 50  # files by which a kind is told, where all of them cannot label an image
MANY_JSON = (
    2000  # JSON files, from which a sample is opened: they may be those of a camera or a cloud
)
_ENDINGS = (".json", ".xml", ".txt", ".csv")


def detection_candidates(
    walk: Walk, reading: Reading, near: Sequence[str] | None = None
) -> Iterator[Candidate]:
    """A reading for each export of an annotation tool that a tree holds.

    One of boxes labels no image, unless each box is to become one, and `read` says what it is.

    Args:
        walk: over the tree.
        reading: `crops` says whether boxes become images.
        near: what `files_near_the_top` found. None means that it is looked for here.

    Raises:
        UserError: boxes are to become images, but there are none.
    """
    if reading.label_by is not None and not reading.crops:
        return
    near = files_near_the_top(walk.tree) if near is None else near
    found: list[Candidate] = []
    if any(path[-5:].lower().endswith(_ENDINGS) for path in near):
        found = list(_found(walk.tree, reading))
    if reading.crops and not found:
        raise UserError(
            f"{walk.tree.name} holds no boxes that --crops could cut out: no export of COCO, YOLO,"
            " Pascal VOC, CVAT, Label Studio, LabelMe or CreateML, and no table of boxes, is there.",
            "Give the folder that holds both the images and the export, or leave --crops out.",
        )
    yield from found


def read_export(path: Path, reading: Reading) -> Catalog | None:
    """The catalog of a file of an annotation tool: JSON, XML or a table of boxes, with the images
    that lie beside it or below. None means that it is no such file.

    Raises:
        UserError: it is one of boxes, which are not to be images, or its images are not there.
    """
    tree, name = Folder(path.parent), escape(path.name)
    if path.suffix.lower() not in (".json", ".xml") and not is_box_table(tree, name):
        return None
    # The folder is walked only for a file that is an export by its content.
    if not list(_exports(tree, [name])):
        return None
    paths = [found for found in all_files(tree) if is_image_name(found)]
    for export in _exports(tree, sorted([*paths, name])):
        for candidate in _candidates(tree, export, reading):
            return candidate.read()
    return None


def _found(tree: Tree, reading: Reading) -> Iterator[Candidate]:
    """The readings of all exports. Boxes that are not to be images are only looked at as a sample,
    as a million XML files may lie beside class folders.
    """
    paths = sorted(all_files(tree))
    files, images = _without_companions(tree, paths), Images(paths)
    for reader in _READERS:
        own = [path for path in files if path.lower().endswith(reader.ending)]
        if not own:
            continue
        if reading.crops or reader.labels:
            export = reader.read(tree, files, images)
            yield from _candidates(tree, export, reading) if export else ()
            continue
        left_out = set(own[SAMPLE:])
        export = reader.read(tree, [path for path in files if path not in left_out], images)
        if export and any(image.boxes for image in export.images):
            whole = partial(reader.read, tree, files, images)
            yield Candidate(
                export.kind, 0, f"{shlex.quote(tree.name)} --crops", partial(_refuse, tree, whole)
            )


def _without_companions(tree: Tree, paths: Sequence[str]) -> list[str]:
    """The files without the JSON files that are no export by how they begin."""
    found = [path for path in paths if is_json(path)]
    if len(found) > MANY_JSON and not any(
        may_be_export(tree, path) for path in found[:: len(found) // SAMPLE]
    ):
        found = [path for path in found if path.count("/") < 2]
    exports = {path for path in found if may_be_export(tree, path)}
    return [path for path in paths if not is_json(path) or path in exports]


def _exports(tree: Tree, paths: Sequence[str]) -> Iterator[Export]:
    """What the readers find among a few files."""
    images, files = Images(paths), _without_companions(tree, paths)
    for reader in _READERS:
        if any(path.lower().endswith(reader.ending) for path in files) and (
            export := reader.read(tree, files, images)
        ):
            yield export


def _candidates(tree: Tree, export: Export, reading: Reading) -> Iterator[Candidate]:
    boxes = sum(len(image.boxes) for image in export.images)
    labelled = sum(len(set(image.labels)) == 1 for image in export.images)
    if reading.crops and boxes:
        with_boxes = sum(bool(image.boxes) for image in export.images)
        what = f"{export.kind} with {count_of(boxes, 'box', 'boxes')}, each an image"
        yield Candidate(
            what,
            with_boxes,
            f"{shlex.quote(tree.name)} --crops",
            partial(_crops, tree, export, reading.rules),
        )
    if labelled and not reading.crops:
        what = f"{export.kind} with labels of whole images"
        yield Candidate(what, labelled, shlex.quote(tree.name), partial(_labelled, tree, export))
    if not reading.crops and boxes and not labelled:
        yield Candidate(
            export.kind,
            0,
            f"{shlex.quote(tree.name)} --crops",
            partial(_refuse, tree, lambda: export),
        )
    if not boxes and not labelled:
        yield Candidate(export.kind, 0, tree.name, partial(_refuse_empty, tree, export))


def _refuse(tree: Tree, read: Callable[[], Export | None]) -> Catalog:
    export = read() or Export("a detection set", ())
    labels = Counter(box.label for image in export.images for box in image.boxes)
    images = sum(bool(image.boxes) for image in export.images)
    raise UserError(
        f"{tree.name} holds {export.kind}: {count_of(labels.total(), 'box', 'boxes')} of"
        f" {count_of(len(labels), 'class', 'classes')} ({listed(sorted(labels))}) on"
        f" {count_of(images, 'image')}. No image as a whole has a class.",
        f"To classify what is in the boxes, each cut out as an image of its own, run tellapart"
        f" train {shlex.quote(tree.name)} --crops. To classify whole images, make a folder for each class.",
    )


def _refuse_empty(tree: Tree, export: Export) -> Catalog:
    missing = f", and {count_of(len(export.missing), 'image')} that it names are not there"
    example = f" ({export.missing[0]!r} for one)" if export.missing else ""
    raise UserError(
        f"{tree.name} holds {export.kind} without a class for any image{missing * bool(export.missing)}"
        f"{example}.",
        "Put the images beside it, or export it again with its labels.",
    )


def _labelled(tree: Tree, export: Export) -> Catalog:
    """The catalog of the images that have one label as a whole."""
    ignored, entries = Counter[str](), []
    for image in export.images:
        found = set(image.labels)
        if len(found) == 1:
            entries.append(Entry(image.path, found.pop(), image.split))
        else:
            ignored["images without a label" if not found else "images with several labels"] += 1
    return _catalog(
        tree, tree, export, f"{export.kind} with labels of whole images", entries, ignored
    )


def _crops(tree: Tree, export: Export, rules: DecodeRules) -> Catalog:
    """The catalog of the boxes."""
    crops, entries, ignored = {}, [], Counter[str]()
    for image in export.images:
        digits = len(str(max(0, len(image.boxes) - 1)))
        for number, box in enumerate(image.boxes):
            crop = Crop(image.path, box, image.size)
            if _is_tiny(crop):
                ignored[f"boxes with less than {MIN_SIDE} pixels a side on their image"] += 1
                continue
            path = f"{image.path}#{number:0{digits}}"
            crops[path] = crop
            entries.append(Entry(path, box.label, image.split, group=image.path))
        if not image.boxes:
            ignored["images without a box"] += 1
    kind = f"{export.kind}, each box an image of the group of its photograph"
    remark = (
        f"Each of the {count_of(len(entries), 'box', 'boxes')} is an image, cut out of"
        f" {count_of(len({crop.image for crop in crops.values()}), 'photograph')}."
        " The boxes of one photograph stay in one split."
    )
    return _catalog(tree, CropFiles(tree, crops, rules), export, kind, entries, ignored, remark)


def _is_tiny(crop: Crop) -> bool:
    """Whether too little of a box lies on its image, where the size of that is known."""
    if crop.size is None:
        return crop.box.right <= 0 or crop.box.bottom <= 0
    width, height = crop.size
    least = 0.0 if crop.size == SHARES else MIN_SIDE
    across = min(crop.box.right, width) - max(crop.box.left, 0)
    down = min(crop.box.bottom, height) - max(crop.box.top, 0)
    return min(across, down) < least or min(across, down) <= 0


def _catalog(
    tree: Tree,
    files: Files,
    export: Export,
    kind: str,
    entries: list[Entry],
    ignored: Counter[str],
    *remarks: str,
) -> Catalog:
    if not entries:
        return _refuse_empty(tree, export)
    entries, rule, left_out = divided(tree.name, _once(entries))
    counts = ignored + left_out
    counts["annotations that are no boxes of one class"] = export.odd
    remarks_on_missing = (
        [
            f"{count_of(len(export.missing), 'image')} that the export names are not there, for example"
            f" {export.missing[0]!r}."
        ]
        if export.missing
        else []
    )
    return catalog_of(
        files,
        f"{kind}: {rule}",
        class_order({entry.label for entry in entries}),
        entries,
        ignored=+counts,
        remarks=[*remarks, *remarks_on_missing],
    )


def _once(entries: list[Entry]) -> list[Entry]:
    """One entry a path: two exports may name an image twice."""
    return list({entry.path: entry for entry in entries}.values())
