"""How bright, how contrasty and how colourful images are, measured on their thumbnails."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.thumbnails import GREY_BYTES

NEUTRAL = 128  # Cb and Cr of every grey


def measure_appearance(thumbnails: Iterable[bytes]) -> NDArray[np.float32]:
    """Brightness, contrast and colourfulness of N thumbnails, as the columns of an (N, 3) array.

    Brightness is the mean, 0 to 255. Contrast is the standard deviation of the brightness over the
    32 x 32 thumbnail, 0 to 127.5. Colourfulness is the mean distance of (Cb, Cr) from grey, 0 to
    180; people see colour above 5.
    """
    measured = []
    for thumbnail in thumbnails:
        values = np.frombuffer(thumbnail, np.uint8).astype(np.float32)
        grey, colour = values[:GREY_BYTES], values[GREY_BYTES:].reshape(2, -1) - NEUTRAL
        measured.append((grey.mean(), grey.std(), np.hypot(*colour).mean()))
    return np.array(measured, np.float32).reshape(-1, 3)
