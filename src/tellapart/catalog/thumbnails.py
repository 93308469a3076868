"""The thumbnail of an image: as little of it as the search for near-duplicates needs.

Many of them are one array, (N, THUMBNAIL_BYTES), a thumbnail a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.floating[Any]]  # single precision wherever there are many
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Fine enough to tell two shots of one thing apart, coarse enough for JPEG's noise to average out.
GREY_SIDE = 32
COLOUR_SIDE = 8  # JPEG itself keeps colour coarser than grey
GREY_BYTES = GREY_SIDE**2
THUMBNAIL_BYTES = GREY_BYTES + 2 * COLOUR_SIDE**2

# The difference of log(width / height) that copies may have: 10 % of one side cropped and none of
# the other is 0.105.
MAX_ASPECT = 0.12
BORDER = 2  # thumbnail pixels that are not compared: a crop may have taken their counterparts


def make_thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """Squeeze an image of any shape into 32 × 32 brightnesses and 8 × 8 colours.

    Args:
        pixels: (H, W, 3) RGB, at least 1 × 1.

    Returns:
        THUMBNAIL_BYTES bytes: grey row by row, then Cb, then Cr, each 0 to 255 as in JPEG.

    >>> len(make_thumbnail(np.zeros((3, 500, 3), np.uint8))) == THUMBNAIL_BYTES
    True
    """
    # The gap lets Pillow average whole blocks first, which is several times faster for photos.
    small = Image.fromarray(pixels).resize(
        (GREY_SIDE, GREY_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0
    )
    small = small.convert("YCbCr")
    colours = small.reduce(GREY_SIDE // COLOUR_SIDE).tobytes()
    return small.tobytes()[::3] + colours[1::3] + colours[2::3]


def grey_of(thumbnails: NDArray[np.uint8], rows: Integers) -> Floats:
    """(M, 32, 32) the grey levels of some rows, 0 to 255."""
    return thumbnails[rows, :GREY_BYTES].reshape(-1, GREY_SIDE, GREY_SIDE).astype(np.float32)


def detail_of(thumbnails: NDArray[np.uint8], border: int = 0) -> Floats:
    """(M,) the standard deviation of the grey levels, without a border of so many pixels."""
    inner = slice(border, GREY_SIDE - border)
    grey = thumbnails[:, :GREY_BYTES].reshape(-1, GREY_SIDE, GREY_SIDE)[:, inner, inner]
    grey = grey.reshape(len(thumbnails), (GREY_SIDE - 2 * border) ** 2)
    return root_mean_square(grey - grey.mean(1, keepdims=True, dtype=np.float32))


def mean_colours(thumbnails: NDArray[np.uint8]) -> Integers:
    """(M, 3) the mean Y, Cb and Cr, as whole numbers."""
    grey = thumbnails[:, :GREY_BYTES]
    colour = thumbnails[:, GREY_BYTES:].reshape(len(thumbnails), 2, -1)
    means: Integers = np.rint(np.column_stack([grey.mean(1), colour.mean(2)])).astype(np.int64)
    return means


def root_mean_square(values: Floats) -> Floats:
    """(M,) the root mean square of each row."""
    sizes: Floats = np.sqrt((values**2).mean(1))
    return sizes


def batches(count: int, size: int) -> Iterator[slice]:
    """Slices that cover `count` rows, `size` at a time, so that memory stays bounded."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
