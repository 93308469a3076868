"""COCO: a JSON file of images, annotations and categories. See https://cocodataset.org/#format-data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tellapart.catalog.files import Tree
from tellapart.sources.containers.shards import split_of_path
from tellapart.sources.exports.annotations import (
    Annotated,
    Box,
    Export,
    Images,
    box,
    dicts,
    is_json,
    number,
    parsed,
    read_bounded,
    size_of,
)

_MAX_BYTES = 2**29


class _Set(NamedTuple):
    path: str
    split: str
    content: dict[str, Any]

    @property
    def weight(self) -> tuple[bool, int]:
        """Orders files on the same images: the objects themselves go before key points."""
        boxes = sum("bbox" in annotation for annotation in dicts(self.content["annotations"]))
        return "instances" in self.path, boxes


def read_coco(tree: Tree, files: Sequence[str], images: Images) -> Export | None:
    """The COCO files among some. None means that there are none.

    Args:
        tree: where they are.
        files: the paths of all its files.
        images: all images of the tree.
    """
    by_split: dict[str, list[_Set]] = defaultdict(list)
    for found in _sets(tree, files):
        by_split[found.split].append(found)
    if not by_split:
        return None
    annotated: list[Annotated] = []
    missing: list[str] = []
    odd = 0
    for sets in by_split.values():
        best = max(sets, key=lambda found: found.weight)
        there, gone, unusable = _images_of(best, images)
        annotated += there
        missing += gone
        odd += unusable
    return Export("a COCO export", annotated, missing, odd)


def _sets(tree: Tree, files: Sequence[str]) -> Iterator[_Set]:
    for path in files:
        if not is_json(path):
            continue
        content = parsed(read_bounded(tree, path, _MAX_BYTES))
        wanted = ("images", "annotations", "categories")
        if isinstance(content, dict) and all(isinstance(content.get(key), list) for key in wanted):
            yield _Set(path, split_of_path(path), content)


def _images_of(found: _Set, images: Images) -> tuple[list[Annotated], list[str], int]:
    """The images of one file, names of those that are not there, and a count of odd annotations."""
    names = {_key(entry, "id"): entry.get("name") for entry in dicts(found.content["categories"])}
    boxes: dict[object, list[Box]] = defaultdict(list)
    labels: dict[object, list[str]] = defaultdict(list)
    odd = 0
    for annotation in dicts(found.content["annotations"]):
        image = _key(annotation, "image_id")
        label = names.get(_key(annotation, "category_id"))
        if not annotation.get("bbox") and label is not None:
            labels[image].append(str(label))
        elif (drawn := _box(annotation, label)) and not annotation.get("iscrowd"):
            boxes[image].append(drawn)
        else:
            odd += 1
    annotated, missing = [], []
    for entry in dicts(found.content["images"]):
        called, key = str(entry.get("file_name", "")), _key(entry, "id")
        path = images.find(called, found.path.rpartition("/")[0], found.split) if called else ""
        if not path:
            missing.append(called)
            continue
        size = size_of(entry.get("width"), entry.get("height"))
        annotated.append(Annotated(path, tuple(boxes[key]), tuple(labels[key]), size, found.split))
    return annotated, missing, odd


def _key(entry: dict[str, Any], name: str) -> str | float:
    """An identifier, by which entries are matched. A damaged file may hold a list or an object."""
    value = entry.get(name)
    return value if isinstance(value, str | float | int) else str(value)


def _box(annotation: dict[str, Any], label: object) -> Box | None:
    sides = annotation.get("bbox")
    if not isinstance(sides, list) or len(sides) != 4:
        return None
    left, top, width, height = map(number, sides)
    if left is None or top is None or width is None or height is None:
        return None
    return box(label, left, top, left + width, top + height)
