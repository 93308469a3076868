"""Images that are in memory, and lists of (image, label) or (path, label).

An array becomes the bytes of an uncompressed BMP file when it is read, as the records of `arrays`
do, so that all that handles files handles it too. Nothing is written to disk.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from threading import Lock
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.catalog.arrays import to_bmp
from tellapart.catalog.by_path import catalog_by_path
from tellapart.catalog.entries import Entry, catalog_of, class_order
from tellapart.catalog.manifest import Origin, row_of
from tellapart.catalog.table import Catalog
from tellapart.decoding import DEFAULT_MAX_PIXELS, Decoded, decode_image
from tellapart.errors import UserError

ImageInMemory: TypeAlias = Image.Image | NDArray[np.uint8] | bytes | bytearray | memoryview

# Pillow refuses above this, whatever limit is set. The scan's own limit is applied to the BMP.
_MOST_PIXELS = 2 * DEFAULT_MAX_PIXELS
_GIVE_PAIRS = "Give a list of (path, label) or of (image, label)."


class MemoryFiles:
    """Images in memory as files, by their numbers as paths; any thread may read.

    Args:
        images: path → image.
    """

    def __init__(self, images: Mapping[str, ImageInMemory]) -> None:
        self._images = images
        # Pillow may load an image only when it is first used, and must not do so in two threads
        # at once. One image can be in the list twice.
        self._locks = {id(image): Lock() for image in images.values()}

    @property
    def place(self) -> str:
        """Nothing: no file is remembered, only its content."""
        return ""

    def read(self, path: str) -> bytes | Decoded:
        """The bytes of one image: as they are, or as a BMP file."""
        image = self._images.get(path)
        if image is None:
            return Decoded("missing", detail="There is no such image.")
        try:
            if isinstance(image, Image.Image):
                return self._read_pillow(image)
            return to_bmp(_channels(image)) if isinstance(image, np.ndarray) else bytes(image)
        except MemoryError:
            return Decoded("too_large", detail="It does not fit into memory.")

    def stamp(self, path: str) -> tuple[str, float]:
        """Nothing: an array can change without a trace, so it is hashed each time."""
        return "", 0.0

    def _read_pillow(self, image: Image.Image) -> bytes | Decoded:
        with self._locks[id(image)]:
            decoded = decode_image(image, max_pixels=_MOST_PIXELS)
        return decoded if decoded.pixels is None else to_bmp(decoded.pixels)


def _channels(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W), (H, W, 3) or (H, W, 4) → (H, W, 1) or (H, W, 3), transparent parts on white."""
    if array.ndim == 2:
        return array[:, :, None]
    if array.shape[2] == 3:
        return array
    pixels = decode_image(Image.fromarray(array), max_pixels=_MOST_PIXELS).pixels
    assert pixels is not None
    return pixels


def read_pairs(pairs: Sequence[object]) -> Catalog:
    """The catalog of a list of (path, label) or of (image, label), before the scan.

    Args:
        pairs: each with a str or a whole number as the label. A path is absolute, or relative to
            the current folder. An image is of Pillow, an (H, W), (H, W, 3) or (H, W, 4) uint8
            array, or the bytes of an image file.

    Raises:
        UserError: a pair cannot be used, with its place in the list and what to do.
    """
    origin = Origin("The list", Path.cwd(), first=0)
    if not len(pairs):
        raise UserError("The list of images is empty.", _GIVE_PAIRS)
    checked = [_pair(origin, number, pair) for number, pair in enumerate(pairs)]
    by_path = _is_path(checked[0][0])
    for number, (image, _) in enumerate(checked):
        if _is_path(image) != by_path:
            raise UserError(
                f"{origin.row(number)}: the list holds both paths and images in memory.",
                "Give one kind: open the files, or save the images.",
            )
    columns = {"path": "path", "label": "label"}
    cells = [
        {"path": image if by_path else "in memory", "label": label} for image, label in checked
    ]
    rows = [row_of(origin, number, record, columns) for number, record in enumerate(cells)]
    classes = class_order(label for _, label in checked)
    if by_path:
        return catalog_by_path(rows, origin, "list", classes)
    images = {
        f"{number:07}": _image(origin, number, image) for number, (image, _) in enumerate(checked)
    }
    entries = [Entry(path, row.label) for path, row in zip(images, rows, strict=True)]
    return catalog_of(
        MemoryFiles(images), f"a list of {len(entries):,} images in memory", classes, entries
    )


def _pair(origin: Origin, number: int, pair: object) -> tuple[object, str | int]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise UserError(
            f"{origin.row(number)} is not a pair of an image and its label.",
            f"{_GIVE_PAIRS} Two lists become one by list(zip(images, labels)).",
        )
    image, label = pair
    if not isinstance(label, str | Integral):
        raise UserError(
            f"{origin.row(number)}: the label is of type {type(label).__name__}.",
            "Give a name or a whole number.",
        )
    return image, label  # type: ignore[return-value]  # numpy's whole numbers are no int to mypy


def _is_path(image: object) -> bool:
    return isinstance(image, str | os.PathLike)


def _image(origin: Origin, number: int, image: object) -> ImageInMemory:
    """An image that can be read later, or the error that says why not."""
    if isinstance(image, Image.Image | bytes | bytearray | memoryview):
        return image
    if not isinstance(image, np.ndarray):
        raise UserError(
            f"{origin.row(number)}: an object of type {type(image).__name__} is no image.",
            "Give a path, an image of Pillow, a uint8 array, or the bytes of an image file.",
        )
    wrong = f"{origin.row(number)}: the array is {image.dtype} of shape {image.shape}"
    if image.dtype != np.uint8:
        raise UserError(
            f"{wrong}, not uint8.",
            'Scale its values to 0-255, and convert it by image.astype("uint8").',
        )
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        raise UserError(
            f"{wrong}, not (height, width), (height, width, 3) or (height, width, 4).",
            "Move its channels to the end, in the order red, green, blue.",
        )
    if not image.size:
        raise UserError(f"{wrong}, which holds no pixels.", "Take it out of the list.")
    return image
