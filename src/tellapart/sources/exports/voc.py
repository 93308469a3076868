"""XML of annotation tools: Pascal VOC, one file an image, and CVAT, one file for all.

    JPEGImages/1.jpg, Annotations/1.xml, ImageSets/Main/train.txt     also 1.xml beside 1.jpg

A file with a document type is refused, so that no entity of it is ever expanded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree
from xml.parsers import expat

from tellapart.catalog.files import Tree
from tellapart.sources.containers.shards import split_of_path
from tellapart.sources.exports.annotations import (
    Annotated,
    Box,
    Export,
    Images,
    box,
    number,
    read_bounded,
    size_of,
    split_of_folders,
)

_MAX_BYTES = 2**24
_MAX_CVAT_BYTES = 2**28
_LIST_BYTES = 2**26


class _NoDocumentType(Exception):
    pass


def parse_safely(data: bytes) -> ElementTree.Element | None:
    """The root of an XML text, or None where it is damaged or declares a document type."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise _NoDocumentType

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.buffer_text = True
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, _NoDocumentType, AssertionError, ValueError, LookupError):
        return None


def read_voc(tree: Tree, files: Sequence[str], images: Images) -> Export | None:
    """The Pascal VOC annotations among some XML files. None means that there are none.

    Args:
        tree: where they are.
        files: the paths of all its files.
        images: all images of the tree.
    """
    splits = _listed_splits(tree, files)
    annotated: list[Annotated] = []
    missing: list[str] = []
    odd = 0
    for path in files:
        if not path.lower().endswith(".xml"):
            continue
        root = parse_safely(read_bounded(tree, path, _MAX_BYTES))
        if root is None or root.tag != "annotation":
            continue
        stem = os.path.splitext(path.rpartition("/")[2])[0]
        called = (root.findtext("filename") or "").strip()
        beside = path.rpartition("/")[0]
        image = images.find_stem(stem, beside) or (called and images.find(called, beside))
        if not image:
            missing.append(called or stem)
            continue
        boxes = [_box(element) for element in root.iter("object")]
        odd += boxes.count(None)
        size = size_of(root.findtext("size/width"), root.findtext("size/height"))
        split = splits.get(stem, "") if splits else split_of_folders(image)
        annotated.append(Annotated(image, tuple(filter(None, boxes)), (), size, split))
    return Export("Pascal VOC annotations", annotated, missing, odd) if annotated else None


def _box(element: ElementTree.Element) -> Box | None:
    """One object. Its pixels count from 1, and the last one belongs to it."""
    left, top = number(element.findtext("bndbox/xmin")), number(element.findtext("bndbox/ymin"))
    right, bottom = element.findtext("bndbox/xmax"), element.findtext("bndbox/ymax")
    if left is None or top is None:
        return None
    return box(element.findtext("name"), left - 1, top - 1, right, bottom)


def _listed_splits(tree: Tree, files: Sequence[str]) -> dict[str, str]:
    """Name of an image without its ending → split, by ImageSets/Main, where that is there."""
    found: dict[str, str] = {}
    for path in files:
        folder, _, name = path.rpartition("/")
        split = split_of_path(name) if name in ("train.txt", "val.txt", "test.txt") else ""
        if split and folder.lower().endswith("imagesets/main"):
            text = read_bounded(tree, path, _LIST_BYTES).decode("utf-8", "replace")
            found |= {line.split()[0]: split for line in text.splitlines() if line.split()}
    return found


def read_cvat(tree: Tree, files: Sequence[str], images: Images) -> Export | None:
    """CVAT's `annotations.xml`. None means that there is none."""
    annotated: list[Annotated] = []
    missing: list[str] = []
    odd = 0
    for path in files:
        if not path.lower().endswith("annotations.xml"):
            continue
        root = parse_safely(read_bounded(tree, path, _MAX_CVAT_BYTES))
        if root is None or root.tag != "annotations":
            continue
        for element in root.iter("image"):
            called = element.get("name", "")
            image = images.find(called, path.rpartition("/")[0]) if called else ""
            if not image:
                missing.append(called)
                continue
            boxes = list(_cvat_boxes(element))
            odd += boxes.count(None)
            labels = tuple(tag.get("label", "") for tag in element.iter("tag"))
            size = size_of(element.get("width"), element.get("height"))
            drawn = tuple(filter(None, boxes))
            annotated.append(Annotated(image, drawn, labels, size, split_of_folders(image)))
    return Export("a CVAT export", annotated, missing, odd) if annotated else None


def _cvat_boxes(image: ElementTree.Element) -> Iterator[Box | None]:
    for element in image.iter("box"):
        sides = (element.get(side) for side in ("xtl", "ytl", "xbr", "ybr"))
        yield box(element.get("label"), *sides)
