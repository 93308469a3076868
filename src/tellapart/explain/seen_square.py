"""The square that the network sees of an image, changed and shown to the model file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tellapart.modelfile.preprocessing import Preprocessing


def framed(square: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """An image of which the network sees exactly this square.

    Args:
        square: (S, S, 3) uint8, as large as the network's input.
        preprocessing: of the model.

    >>> take = Preprocessing(share_permille=875)
    >>> image = framed(np.full((224, 224, 3), 7, np.uint8), take)
    >>> image.shape, take.square(256, 256)
    ((256, 256, 3), (16, 16, 224, 224))
    """
    size = preprocessing.size_px
    for side in range(size, 2 * size * 1000 // max(1, preprocessing.share_permille) + 2):
        top, left, down, _ = preprocessing.square(side, side)
        if down == size:
            image = np.zeros((side, side, 3), np.uint8)
            image[top : top + size, left : left + size] = square
            return image
    raise AssertionError("a square whose crop has this side always exists")


def shifted(square: NDArray[np.uint8], stride: float, finer: int) -> Iterator[NDArray[np.uint8]]:
    """The square, moved so that the cells of a map lie on each part of the cells in turn.

    Args:
        square: (S, S, 3) uint8.
        stride: how many pixels a cell of the map has.
        finer: into how many parts a cell is divided along each side.

    Yields:
        finer · finer squares (S, S, 3): from left to right, then from top to bottom.
    """
    places = [(part + 0.5) / finer - 0.5 for part in range(finer)]
    reach = int(np.ceil(stride / 2))
    # The border is repeated: black or grey bars would be edges that the image does not have.
    wide = np.pad(square, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width = square.shape[:2]
    for down in places:
        for across in places:
            top, left = reach + round(down * stride), reach + round(across * stride)
            yield wide[top : top + height, left : left + width]
