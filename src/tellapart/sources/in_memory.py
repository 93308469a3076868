"""Images that are in memory, and lists of (image, label) or (path, label).

An array becomes the bytes of an uncompressed BMP file when it is read, as the records of `arrays`
do, so that all that handles files handles it too. Nothing is written to disk.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from tellapart.catalog.files import Folder
from tellapart.catalog.table import Catalog
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import Decoded
from tellapart.errors import UserError
from tellapart.image_input import as_array, decode_input, is_array
from tellapart.phrases import count_of
from tellapart.sources.containers.arrays import to_bmp
from tellapart.sources.entries import Entry, catalog_of, class_order
from tellapart.sources.tables.by_path import catalog_by_path
from tellapart.sources.tables.labels import check_labels
from tellapart.sources.tables.manifest import Manifest, Origin, row_of

ImageInMemory: TypeAlias = PillowImage.Image | NDArray[np.uint8] | bytes | bytearray | memoryview

# The limit that the user sets is applied to the BMP.
_IN_MEMORY = DecodeRules(max_pixels=2**31)
_GIVE_PAIRS = "Give a list of (path, label) or of (image, label)."


class MemoryFiles:
    """Images in memory as files, by their numbers as paths; any thread may read.

    Args:
        images: path → image.
    """

    def __init__(self, images: Mapping[str, ImageInMemory]) -> None:
        self._images = images

    @property
    def place(self) -> str:
        """Nothing: only content is remembered of it, no file."""
        return ""

    def read(self, path: str) -> bytes | Decoded:
        """The bytes of one image: as they are, or as a BMP file."""
        image = self._images.get(path)
        if image is None:
            return Decoded("missing", detail="There is no such image.")
        try:
            if isinstance(image, bytes | bytearray | memoryview):
                return bytes(image)
            if isinstance(image, PillowImage.Image) and image.mode.startswith(("I", "F")):
                # As values, for the scan takes their range from all images.
                out = io.BytesIO()
                image.save(out, "TIFF")
                return out.getvalue()
            decoded = decode_input(image, rules=_IN_MEMORY)
            return decoded if decoded.pixels is None else to_bmp(decoded.pixels)
        except MemoryError:
            return Decoded("too_large", detail="It does not fit into memory.")

    def stamp(self, path: str) -> tuple[str, float]:
        """Nothing: an array can change without a trace, so each image is hashed in each scan."""
        return "", 0.0


def read_pairs(pairs: Sequence[object]) -> Catalog:
    """The catalog of a list of (path, label) or of (image, label), before the scan.

    Args:
        pairs: each with a str or a whole number as the label. A path is absolute, or relative to
            the current folder. An image is of Pillow, an (H, W), (H, W, 3) or (H, W, 4) uint8
            array, a tensor, or the bytes of an image file.

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
    rows = [
        row_of(origin, number, image if by_path else "in memory", label)
        for number, (image, label) in enumerate(checked)
    ]
    classes = class_order(label for _, label in checked)
    remarks = check_labels(origin.name, None, [row.label for row in rows])
    if by_path:
        return catalog_by_path(
            Manifest(rows, classes, remarks), origin, "list", Folder(origin.folder)
        )
    images = {
        f"{number:07}": _image(origin, number, image) for number, (image, _) in enumerate(checked)
    }
    entries = [Entry(path, row.label) for path, row in zip(images, rows, strict=True)]
    return catalog_of(
        MemoryFiles(images),
        f"a list of {count_of(len(entries), 'image')} in memory",
        classes,
        entries,
        remarks=remarks,
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
    if isinstance(image, PillowImage.Image | bytes | bytearray | memoryview):
        return image
    if not is_array(image):
        raise UserError(
            f"{origin.row(number)}: an object of type {type(image).__name__} is no image.",
            "Give a path, a PIL image, a uint8 array, or the bytes of an image file.",
        )
    try:
        return as_array(image)
    except UserError as error:
        raise UserError(f"{origin.row(number)}: {error.message}", error.hint) from None
