"""JSON of annotation tools: Label Studio, LabelMe and CreateML."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tellapart.catalog.files import Tree
from tellapart.sources.exports.annotations import (
    SHARES,
    Annotated,
    Box,
    Export,
    Images,
    bounds,
    box,
    dicts,
    is_json,
    number,
    parsed,
    read_bounded,
    size_of,
    split_of_folders,
)

_MAX_BYTES = 2**28

# ── Label Studio: https://labelstud.io/guide/export ──


def read_label_studio(tree: Tree, files: Sequence[str], images: Images) -> Export | None:
    """Label Studio's JSON or JSON-MIN. None means that there is none."""

    def is_task(task: dict[str, Any]) -> bool:
        data = task.get("data")
        return (isinstance(data, dict) and "annotations" in task) or "annotation_id" in task

    return _read_list(tree, files, images, "a Label Studio export", is_task, _of_task)


def _of_task(task: dict[str, Any], beside: str, images: Images) -> tuple[str, Annotated, int]:
    data = task["data"] if isinstance(task.get("data"), dict) else task
    called = next((value for value in data.values() if _is_image(value)), "")
    results = _results(task)
    drawn = [_drawn(result) for result in results if "width" in result]
    labels = [str(choice) for result in results for choice in _choices(result)]
    boxes = tuple(found for found in drawn if found)
    path = _uploaded(called, beside, images)
    odd = len(drawn) - len(boxes)
    return called, Annotated(path, boxes, tuple(labels), SHARES, split_of_folders(path)), odd


def _is_image(value: object) -> bool:
    return isinstance(value, str) and bool(re.search(r"\.\w{3,4}$", value.split("?d=")[-1]))


def _results(task: dict[str, Any]) -> list[dict[str, Any]]:
    """What the first annotator who did not give up has said."""
    done = [found for found in dicts(task.get("annotations")) if not found.get("was_cancelled")]
    if done:
        return [
            value
            for result in dicts(done[0].get("result"))
            if isinstance(value := result.get("value"), dict)
        ]
    found: list[dict[str, Any]] = []
    for key, value in task.items():  # JSON-MIN
        found += dicts(value) if key != "annotations" else []
        if key in ("choice", "choices", "label", "class") and isinstance(value, str | dict):
            found.append({"choices": value if isinstance(value, dict) else [value]})
    return found


def _choices(result: dict[str, Any]) -> list[object]:
    found = result.get("choices", [])
    found = found.get("choices", []) if isinstance(found, dict) else found
    return found if isinstance(found, list) else []


def _drawn(result: dict[str, Any]) -> Box | None:
    labels = next((value for key, value in result.items() if key.endswith("labels")), None)
    left, top = number(result.get("x")), number(result.get("y"))
    width, height = number(result.get("width")), number(result.get("height"))
    is_turned = bool(number(result.get("rotation")))
    if not isinstance(labels, list) or len(labels) != 1 or is_turned:
        return None
    if left is None or top is None or width is None or height is None:
        return None
    sides = (left, top, left + width, top + height)  # in hundredths of the image
    return box(labels[0], *(side / 100 for side in sides))


def _uploaded(called: str, beside: str, images: Images) -> str:
    """The image of an address. An upload puts eight characters before the name."""
    try:
        address = urlsplit(called)
        path = parse_qs(address.query).get("d", [unquote(address.path)])[0].lstrip("/")
    except ValueError:  # no address, but a name such as //[1]/a.jpg
        path = called
    if found := images.find(path, beside):
        return found
    name = path.rpartition("/")[2]
    return images.find(re.sub("^[0-9a-f]{8}-", "", name), beside) if name else ""


# ── CreateML ──


def read_create_ml(tree: Tree, files: Sequence[str], images: Images) -> Export | None:
    """CreateML's list of images with boxes around a centre. None means that there is none."""

    def is_image(item: dict[str, Any]) -> bool:
        first = next(iter(dicts(item.get("annotations"))), {})
        return "image" in item and "coordinates" in first

    return _read_list(tree, files, images, "a CreateML export", is_image, _of_create_ml)


def _of_create_ml(item: dict[str, Any], beside: str, images: Images) -> tuple[str, Annotated, int]:
    called = str(item["image"])
    path = images.find(called, beside)
    found = [_centred(annotation) for annotation in dicts(item.get("annotations"))]
    boxes = tuple(drawn for drawn in found if drawn)
    split = split_of_folders(path)
    return called, Annotated(path, boxes, (), None, split), len(found) - len(boxes)


def _centred(annotation: dict[str, Any]) -> Box | None:
    sides = annotation.get("coordinates")
    if not isinstance(sides, dict):
        return None
    x, y = number(sides.get("x")), number(sides.get("y"))
    width, height = number(sides.get("width")), number(sides.get("height"))
    if x is None or y is None or width is None or height is None:
        return None
    label = annotation.get("label")
    return box(label, x - width / 2, y - height / 2, x + width / 2, y + height / 2)


_Reader = Callable[[dict[str, Any], str, Images], tuple[str, Annotated, int]]


def _read_list(
    tree: Tree,
    files: Sequence[str],
    images: Images,
    kind: str,
    fits: Callable[[dict[str, Any]], bool],
    read: _Reader,
) -> Export | None:
    """The export whose JSON files are lists with an object an image."""
    annotated: list[Annotated] = []
    missing: list[str] = []
    odd = 0
    for path, items in _lists(tree, files):
        for item in items:
            if not fits(item):
                continue
            called, found, unusable = read(item, path.rpartition("/")[0], images)
            odd += unusable
            if found.path:
                annotated.append(found)
            else:
                missing.append(called)
    return Export(kind, annotated, missing, odd) if annotated or missing else None


def _lists(tree: Tree, files: Sequence[str]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for path in files:
        content = parsed(read_bounded(tree, path, _MAX_BYTES)) if is_json(path) else None
        if isinstance(content, list):
            yield path, dicts(content)


# ── LabelMe: https://github.com/wkentaro/labelme ──


def read_labelme(tree: Tree, files: Sequence[str], images: Images) -> Export | None:
    """LabelMe's JSON files, one an image. None means that there are none."""
    annotated: list[Annotated] = []
    missing: list[str] = []
    odd = 0
    for path in files:
        content = _labelme(tree, path) if is_json(path) else None
        if content is None:
            continue
        called = str(content.get("imagePath"))
        image = images.find(called, path.rpartition("/")[0])
        if not image:
            missing.append(called)
            continue
        shapes = [_shape(shape) for shape in dicts(content.get("shapes"))]
        odd += shapes.count(None)
        flags = content.get("flags")
        labels = (
            tuple(name for name, is_set in flags.items() if is_set is True)
            if isinstance(flags, dict)
            else ()
        )
        size = size_of(content.get("imageWidth"), content.get("imageHeight"))
        drawn = tuple(shape for shape in shapes if shape)
        annotated.append(Annotated(image, drawn, labels, size, split_of_folders(image)))
    return Export("LabelMe annotations", annotated, missing, odd) if annotated else None


def _labelme(tree: Tree, path: str) -> dict[str, Any] | None:
    content = parsed(read_bounded(tree, path, _MAX_BYTES))
    if not isinstance(content, dict) or not {"shapes", "imagePath"} <= content.keys():
        return None
    return content


def _shape(shape: dict[str, Any]) -> Box | None:
    points = shape.get("points")
    if shape.get("shape_type") == "circle" and isinstance(points, list) and len(points) == 2:
        try:
            (x, y), (edge_x, edge_y) = points
            radius = math.hypot(edge_x - x, edge_y - y)
            return box(shape.get("label"), x - radius, y - radius, x + radius, y + radius)
        except (TypeError, ValueError, OverflowError):  # JSON has numbers of any size
            return None
    return bounds(shape.get("label"), points)
