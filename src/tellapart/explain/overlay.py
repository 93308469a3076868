"""A heat map laid on the image that it explains, where the network has seen it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.modelfile.preprocessing import Preprocessing

FOR, AGAINST = (255, 96, 0), (0, 104, 255)  # RGB of what speaks for a class, and against it
MOST_ALPHA = 0.75  # at full strength the image below can still be seen


def overlay(
    image: NDArray[np.uint8] | Image.Image,
    values: NDArray[np.float32],
    preprocessing: Preprocessing | None = None,
    *,
    strongest: float | None = None,
) -> Image.Image:
    """The image with a heat map over it: orange speaks for the class, and blue against it.

    Args:
        image: (H, W, 3) uint8 RGB, or a PIL image, upright as decoding gives it.
        values: (h, w) the map.
        preprocessing: of the model, so that the map lies on what the network sees of the image.
            None lays it on the whole image.
        strongest: the value of full colour. None takes the largest of this map. Maps that are to be
            compared need the same.

    Returns:
        An RGB image as large as the one given.

    >>> photo = np.full((60, 90, 3), 128, np.uint8)
    >>> seen = overlay(photo, np.ones((7, 7), np.float32), Preprocessing())
    >>> seen.size, seen.getpixel((0, 30)) == (128, 128, 128), seen.getpixel((45, 30))
    ((90, 60), True, (223, 104, 32))
    """
    below = Image.fromarray(image) if isinstance(image, np.ndarray) else image.convert("RGB")
    heat = heat_image(values, below.size, preprocessing, strongest=strongest)
    return Image.alpha_composite(below.convert("RGBA"), heat).convert("RGB")


def heat_image(
    values: NDArray[np.float32],
    size: tuple[int, int],
    preprocessing: Preprocessing | None = None,
    *,
    strongest: float | None = None,
) -> Image.Image:
    """The map alone, as an RGBA image as large as the image that it belongs on.

    Args:
        values: (h, w) the map.
        size: width and height of the image.
        preprocessing: as for `overlay`.
        strongest: likewise.
    """
    width, height = size
    take = preprocessing or Preprocessing(mode="squash")
    top, left, down, across = take.square(height, width)
    heat = Image.new("RGBA", size, (*FOR, 0))
    # Pasted, so that what lies beyond the image is cut off: the bars of "pad" are no part of it.
    heat.paste(colours(values, (across, down), strongest=strongest), (left, top))
    return heat


def colours(
    values: NDArray[np.float32], size: tuple[int, int], *, strongest: float | None = None
) -> Image.Image:
    """The map as an RGBA image of a width and height: the stronger, the less transparent."""
    full = float(np.abs(values).max()) if strongest is None else strongest
    shares = Image.fromarray(np.asarray(values / max(full, 1e-9), np.float32))
    smooth = np.asarray(shares.resize(size, Image.Resampling.BICUBIC))
    alpha = np.clip(np.abs(smooth) * MOST_ALPHA, 0, MOST_ALPHA)
    rgba = np.empty((*smooth.shape, 4), np.uint8)
    rgba[..., :3] = np.where(smooth[..., None] >= 0, FOR, AGAINST)
    rgba[..., 3] = np.round(255 * alpha)
    return Image.fromarray(rgba)
