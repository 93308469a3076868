"""What an export of an annotation tool says of images: boxes, or labels of whole images."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tellapart.catalog.files import Tree
from tellapart.catalog.names import escape
from tellapart.sources.containers.shards import split_of_path
from tellapart.sources.walk import is_image_name

_HEAD_BYTES = 2**12
_EXPORT_BEGINS = re.compile(
    rb"(\xef\xbb\xbf)?\s*(\[\s*\{|\{\s*\"(images|annotations|categories|info|licenses?|type|version|flags"
    rb"|shapes|imagePath|imageData|imageHeight|imageWidth|lineColor)\"\s*:)",
    re.IGNORECASE,
)
SHARES = (1.0, 1.0)  # the size of a picture whose boxes are measured in shares of it


class Box(NamedTuple):
    """A box on an image, in the unit of `Annotated.size`."""

    label: str
    left: float
    top: float
    right: float
    bottom: float


class Annotated(NamedTuple):
    """One image with what is said of it.

    Args:
        path: its catalog path.
        boxes: those whose class is known.
        labels: of the image as a whole.
        size: width and height of the picture on which the boxes were drawn; `SHARES` for shares of
            it. None means pixels of the upright image.
        split: "train", "val", "test", or "" where the export does not say.
    """

    path: str
    boxes: tuple[Box, ...] = ()
    labels: tuple[str, ...] = ()
    size: tuple[float, float] | None = None
    split: str = ""


@dataclass(frozen=True)
class Export:
    """What one tool has written.

    Args:
        kind: what messages call it: "a COCO export".
        images: those that are there.
        missing: names of images that are not there.
        odd: how many annotations cannot be used: no box, no class, a crowd.
    """

    kind: str
    images: Sequence[Annotated]
    missing: Sequence[str] = ()
    odd: int = 0


class Images:
    """The image files of a tree, found by what exports call them.

    Args:
        paths: the catalog paths of all its files.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = [path for path in paths if is_image_name(path)]
        self._known = set(self.paths)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for path in self.paths:
            name = path.rpartition("/")[2]
            self._by_name[name].append(path)
            self._by_stem[os.path.splitext(name)[0]].append(path)

    def find(self, called: str, beside: str, split: str = "") -> str:
        """The path of an image, or "" where it is not there.

        Args:
            called: its name or path, as the export has it; of another machine's form, too.
            beside: the folder of the export.
            split: where several have that name, the one of this split is meant.
        """
        path = escape(re.sub(r"[\\/]+", "/", called.strip())) if "\\" in called else escape(called)
        path = re.sub("^(\\./)+", "", path)
        for folder in (beside, f"{beside}/images".lstrip("/"), ""):
            full = f"{folder}/{path}".lstrip("/")
            if full in self._known:
                return full
        return _nearest(self._by_name.get(path.rpartition("/")[2], ()), path, split)

    def find_stem(self, stem: str, beside: str) -> str:
        """The path of the image of a name without its ending, or "". One beside it goes first."""
        found = self._by_stem.get(stem, [])
        return next((path for path in found if path.rpartition("/")[0] == beside), "") or (
            found[0] if len(found) == 1 else ""
        )


def is_json(path: str) -> bool:
    """Whether a file is JSON by its name."""
    return path.lower().endswith(".json")


def may_be_export(tree: Tree, path: str) -> bool:
    """Whether a JSON file begins as those of annotation tools do: a list of objects, or an object
    with one of their first keys. Most files that cameras and clouds leave beside images do not.
    """
    try:
        head = tree.open(path).read(0, _HEAD_BYTES)
    except OSError:
        return False
    return bool(_EXPORT_BEGINS.match(head))


def _nearest(paths: Sequence[str], called: str, split: str) -> str:
    """The one of several paths with the same name that ends like another, or lies in its split."""
    ending = [path for path in paths if f"/{path}".endswith(f"/{called}")]
    found = ending or list(paths)
    if len(found) > 1 and split:
        found = [path for path in found if split_of_folders(path) == split]
    return found[0] if len(found) == 1 else ""


def split_of_folders(path: str) -> str:
    """The split that a file's folders name, the innermost first, or ""."""
    return split_of_path(path.rpartition("/")[0])


def read_bounded(tree: Tree, path: str, most: int) -> bytes:
    """The content of a file, or b"" where it is longer than that or cannot be read."""
    try:
        store = tree.open(path)
        return store.read(0, store.size) if store.size <= most else b""
    except OSError:
        return b""


def parsed(data: bytes) -> Any:
    """JSON as Python has it, or None where it is none."""
    try:
        return json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None


def dicts(value: object) -> list[dict[str, Any]]:
    """Those of a list's items that are objects; nothing where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def number(value: object) -> float | None:
    """A number of JSON, XML or YAML, or None where it is none or is not finite."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value)  # type: ignore[arg-type]  # anything else raises
    except (TypeError, ValueError, OverflowError):
        return None
    return found if abs(found) < 1e12 else None


def box(label: object, *sides: object) -> Box | None:
    """A box of left, top, right and bottom, or None where that is none or has no class."""
    text = str(label).strip() if label is not None else ""
    values = [number(side) for side in sides]
    if not text or len(values) != 4 or any(value is None for value in values):
        return None
    left, top, right, bottom = (float(value) for value in values if value is not None)
    return Box(text, left, top, right, bottom) if right > left and bottom > top else None


def size_of(width: object, height: object) -> tuple[float, float] | None:
    """The stated size of an image, or None where it is none."""
    found = (number(width), number(height))
    return (found[0], found[1]) if found[0] and found[1] and min(found[0], found[1]) > 0 else None


def bounds(label: object, points: object) -> Box | None:
    """The box around some points, or None."""
    pairs = (
        [pair for pair in points if isinstance(pair, list) and len(pair) == 2]
        if isinstance(points, list)
        else []
    )
    across = [value for pair in pairs if (value := number(pair[0])) is not None]
    down = [value for pair in pairs if (value := number(pair[1])) is not None]
    return box(label, min(across), min(down), max(across), max(down)) if across and down else None
