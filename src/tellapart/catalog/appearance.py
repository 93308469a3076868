"""How light, how contrasty and how colourful images are, from their prints."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.thumbnails import GREY_BYTES

NEUTRAL = 128  # Cb and Cr of every grey


def looks(prints: Iterable[bytes]) -> NDArray[np.float32]:
    """(N, 3) of N prints.

    Columns: brightness, the mean, 0 to 255; contrast, the standard deviation of the brightness over
    a 32 x 32 thumbnail, 0 to 127.5; colourfulness, the mean distance of (Cb, Cr) from grey, 0 to
    180, above 5 to be seen.
    """
    measured = []
    for data in prints:
        values = np.frombuffer(data, np.uint8).astype(np.float32)
        grey, colour = values[:GREY_BYTES], values[GREY_BYTES:].reshape(2, -1) - NEUTRAL
        measured.append((grey.mean(), grey.std(), np.hypot(*colour).mean()))
    return np.array(measured, np.float32).reshape(-1, 3)
