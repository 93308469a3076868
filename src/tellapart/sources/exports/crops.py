"""Boxes on images as images of their own: each is cut out when it is read.

    street.jpg with three boxes   ──▶   street.jpg#0, street.jpg#1, street.jpg#2

Boxes are of the upright image. Where the export states the size of the image as it is stored, before
EXIF turns it, they are of that one, and the crop is turned as the image is.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.catalog.files import Files
from tellapart.decoders.opening import open_image
from tellapart.decoders.rules import DEFAULT_RULES, DecodeRules
from tellapart.decoding import Decoded, decode
from tellapart.exif import turn_of
from tellapart.sources.containers.arrays import to_bmp
from tellapart.sources.exports.annotations import SHARES, Box

MIN_SIDE = 4  # pixels; a smaller box shows nothing that could be told apart
_KEPT_IMAGES = 4  # decoded images that wait for their next box
_SAME_SHAPE = 0.02  # by how much the sides may differ in proportion, as rounding makes them

_UNDONE = {
    Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
    Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
}


class Crop(NamedTuple):
    """One box of an image, and the size of the picture on which it was drawn."""

    image: str
    box: Box
    size: tuple[float, float] | None


class CropFiles:
    """Boxes as files; any thread may read. An image is decoded once for boxes that follow each other.

    Args:
        files: the images.
        crops: catalog path → box.
        rules: the settings of the decode contract. Where they name no range for more than 8 bits,
            16 bits are scaled by their full range: boxes are cut before all images are known.
    """

    def __init__(
        self, files: Files, crops: Mapping[str, Crop], rules: DecodeRules = DEFAULT_RULES
    ) -> None:
        self._files, self._crops = files, crops
        self._rules = replace(rules, ranges=rules.ranges or ())
        self._decoded: OrderedDict[str, _Upright | Decoded] = OrderedDict()
        self._lock = Lock()
        self._locks: dict[str, Lock] = {}

    @property
    def place(self) -> str:
        """Where the images are."""
        return self._files.place

    def read(self, path: str) -> bytes | Decoded:
        """One box as a BMP file, or why there is none: the verdict on its image, for one."""
        crop = self._crops.get(path)
        if crop is None:
            return Decoded("missing", detail="There is no such box.")
        try:
            image = self._image(crop.image)
            return image if isinstance(image, Decoded) else _cut(image, crop)
        except MemoryError:
            return Decoded("too_large", detail="It does not fit into memory.")

    def stamp(self, path: str) -> tuple[str, float]:
        """The stamp of the image, with the box, so that another box is noticed."""
        crop = self._crops.get(path)
        if crop is None:
            return "", 0.0
        text, changed = self._files.stamp(crop.image)
        return (f"{text} {crop.box[1:]} {crop.size}" if text else "", changed)

    def _image(self, path: str) -> _Upright | Decoded:
        with self._lock:
            lock = self._locks.setdefault(path, Lock())
        with lock:
            with self._lock:
                known = self._decoded.get(path)
            if known is not None:
                return known
            found = _decoded(self._files.read(path), self._rules)
            with self._lock:
                self._decoded[path] = found
                while len(self._decoded) > _KEPT_IMAGES:
                    gone, _ = self._decoded.popitem(last=False)
                    self._locks.pop(gone, None)
        return found


class _Upright(NamedTuple):
    """A decoded image, how EXIF turned it, and its width and height before it was reduced."""

    pixels: NDArray[np.uint8]
    turn: Image.Transpose | None
    size: tuple[float, float]


def _decoded(data: bytes | Decoded, rules: DecodeRules) -> _Upright | Decoded:
    if isinstance(data, Decoded):
        return data
    decoded = decode(data, rules=rules)
    if decoded.pixels is None:
        return decoded
    turn, size = None, (decoded.width, decoded.height)
    # The decode contract reads some images in another way than Pillow does.
    with suppress(Exception), open_image(data, decoded.format) as image:
        turn = turn_of(image, [])
        if "reduced" in decoded.notes:
            size = image.size[::-1] if turn in _SIDEWAYS else image.size
    return _Upright(decoded.pixels, turn, size)


def _cut(image: _Upright, crop: Crop) -> bytes | Decoded:
    height, width = image.pixels.shape[:2]
    size = crop.size or image.size
    if _fits(size, (width, height)):
        pixels, turn = image.pixels, None
    elif image.turn in _SIDEWAYS and _fits(size, (height, width)):
        turn = image.turn
        pixels = _turned(image.pixels, _UNDONE.get(turn, turn))
    else:
        return Decoded(
            "corrupt",
            detail=f"Its boxes were drawn on an image of {size[0]:g} x {size[1]:g} pixels.",
        )
    height, width = pixels.shape[:2]
    across, down = width / size[0], height / size[1]
    left, right = _clipped(crop.box.left * across, crop.box.right * across, width)
    top, bottom = _clipped(crop.box.top * down, crop.box.bottom * down, height)
    if min(right - left, bottom - top) < MIN_SIDE:
        return Decoded("empty", detail=f"Less than {MIN_SIDE} pixels of the box lie on the image.")
    cut = pixels[top:bottom, left:right]
    return to_bmp(_turned(cut, turn) if turn is not None else cut)


_SIDEWAYS = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)


def _fits(size: tuple[float, float], real: tuple[int, int]) -> bool:
    """Whether boxes drawn on a picture of some size can be laid on one of the real size."""
    if size == SHARES:
        return True
    across, down = real[0] / size[0], real[1] / size[1]
    return abs(across / down - 1) < _SAME_SHAPE


def _clipped(first: float, last: float, most: int) -> tuple[int, int]:
    """The whole pixels that a side of a box touches."""
    # A sum of shares may lie a hair beside a whole pixel.
    begin, end = math.floor(first + 1e-6), math.ceil(last - 1e-6)
    return min(max(begin, 0), most), min(max(end, 0), most)


def _turned(pixels: NDArray[np.uint8], turn: Image.Transpose) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(pixels).transpose(turn))
