"""The thumbnail of an image: as little of it as the search for near-duplicates needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Fine enough to tell two shots of one thing apart, coarse enough for JPEG's noise to average out.
GREY_SIDE = 32
COLOUR_SIDE = 8  # JPEG itself keeps colour coarser than grey
GREY_BYTES = GREY_SIDE**2
THUMBNAIL_BYTES = GREY_BYTES + 2 * COLOUR_SIDE**2


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
