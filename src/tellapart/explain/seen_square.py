"""The square that the network sees of an image, changed and shown to the model file."""

from __future__ import annotations

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
