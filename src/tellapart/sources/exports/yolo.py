"""YOLO: a text file for each image, a line for each box: class, centre and size as shares.

    train/images/0.jpg, train/labels/0.txt, data.yaml     also images/train/, labels/train/
    0.jpg, 0.txt, classes.txt

A line of more numbers is an outline, and its box is the one around it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from tellapart.catalog.files import Tree
from tellapart.sources.containers.shards import split_of_path
from tellapart.sources.exports.annotations import (
    SHARES,
    Annotated,
    Box,
    Export,
    Images,
    box,
    number,
    read_bounded,
)

_LINE_BYTES = 2**20
_YAML_BYTES = 2**20
_MOST_CLASSES = 100_000  # a larger number is a mistake, and would fill the memory
_NAME_LISTS = ("classes.txt", "obj.names", "labels.txt", "predefined_classes.txt")


def read_yolo(tree: Tree, files: Sequence[str], images: Images) -> Export | None:
    """The images that have a text file of boxes. None means that there are none.

    Args:
        tree: where they are.
        files: the paths of all its files.
        images: all images of the tree.
    """
    texts = {path for path in files if path.lower().endswith(".txt")}
    pairs = [(path, text) for path in images.paths if (text := _text_of(path, texts))]
    if not pairs or not any(_looks_right(tree, text) for _, text in pairs[:20]):
        return None
    names = _names(tree, files)
    annotated, odd = [], 0
    for path, text in pairs:
        boxes, unusable = _boxes(tree, text, names)
        odd += unusable
        annotated.append(Annotated(path, tuple(boxes), (), SHARES, _split(path)))
    return Export("a YOLO detection set", annotated, (), odd)


def _text_of(path: str, texts: set[str]) -> str:
    """The text file of an image, or ""."""
    stem = os.path.splitext(path)[0]
    folders = stem.split("/")
    for place in range(len(folders) - 2, -1, -1):
        if folders[place].lower() == "images":
            other = "/".join([*folders[:place], "labels", *folders[place + 1 :]]) + ".txt"
            if other in texts:
                return other
    return f"{stem}.txt" if f"{stem}.txt" in texts else ""


def _split(path: str) -> str:
    return split_of_path(path.rpartition("/")[0])


def _looks_right(tree: Tree, text: str) -> bool:
    lines = read_bounded(tree, text, _LINE_BYTES).decode("utf-8", "replace").splitlines()
    fields = [line.split() for line in lines if line.strip()]
    return bool(fields) and all(
        len(values) >= 5 and re.fullmatch("[0-9]+", values[0]) and number(values[1]) is not None
        for values in fields
    )


def _boxes(tree: Tree, text: str, names: Sequence[str]) -> tuple[list[Box], int]:
    """The boxes of one text file, and how many of its lines are none."""
    lines = read_bounded(tree, text, _LINE_BYTES).decode("utf-8", "replace").splitlines()
    fields = [line.split() for line in lines if line.strip()]
    found = [_box(values, names) for values in fields]
    boxes = [drawn for drawn in found if drawn]
    return boxes, len(found) - len(boxes)


def _box(fields: Sequence[str], names: Sequence[str]) -> Box | None:
    values = [number(field) for field in fields[1:]]
    numbers = [value for value in values if value is not None]
    if not re.fullmatch("[0-9]{1,9}", fields[0]) or len(numbers) != len(values):
        return None
    label = names[int(fields[0])] if int(fields[0]) < len(names) else fields[0]
    if len(numbers) >= 6 and len(numbers) % 2 == 0:  # the corners of an outline
        across, down = numbers[::2], numbers[1::2]
        sides = (min(across), min(down), max(across), max(down))
    elif len(numbers) in (4, 5):  # the fifth is how sure a model was
        x, y, width, height = numbers[:4]
        sides = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    else:
        return None
    clipped = [min(1.0, max(0.0, side)) for side in sides]
    return box(label, *clipped)


def _names(tree: Tree, files: Sequence[str]) -> tuple[str, ...]:
    """The class names, in the order of their numbers: of data.yaml, or of a list of lines."""
    # The nearest to the top goes first.
    by_depth = sorted(files, key=lambda path: path.count("/"))
    for path in by_depth:
        if path.lower().endswith((".yaml", ".yml")):
            names = _yaml_names(read_bounded(tree, path, _YAML_BYTES))
            if names:
                return names
    for path in by_depth:
        if path.rpartition("/")[2].lower() in _NAME_LISTS:
            text = read_bounded(tree, path, _YAML_BYTES).decode("utf-8-sig", "replace")
            return tuple(line.strip() for line in text.splitlines() if line.strip())
    return ()


def _yaml_names(data: bytes) -> tuple[str, ...]:
    try:
        import yaml
    except ImportError:  # the classes keep their numbers
        return ()
    try:
        content: Any = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError):
        return ()
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and all(isinstance(key, int) for key in names):
        if max(names, default=0) > _MOST_CLASSES:
            return ()
        names = [names.get(key, str(key)) for key in range(max(names, default=-1) + 1)]
    # A few hundred bytes of nested aliases would print as gigabytes of text.
    if not isinstance(names, list) or any(isinstance(name, list | dict | set) for name in names):
        return ()
    return tuple(map(str, names))
