"""How bright, how contrasty and how colourful images are, measured on their thumbnails."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.thumbnails import GREY_BYTES, THUMBNAIL_BYTES

NEUTRAL = 128  # Cb and Cr of every grey
_BATCH = 1024  # thumbnails taken at a time


def measure_appearance(thumbnails: Iterable[bytes]) -> NDArray[np.float32]:
    """Brightness, contrast and colourfulness of N thumbnails, as the columns of an (N, 3) array.

    Brightness is the mean, 0 to 255. Contrast is the standard deviation of the brightness over the
    32 x 32 thumbnail, 0 to 127.5. Colourfulness is the mean distance of (Cb, Cr) from grey, 0 to
    180; people see colour above 5.
    """
    measured = [np.zeros((0, 3), np.float32)]
    waiting = iter(thumbnails)
    while batch := b"".join(islice(waiting, _BATCH)):
        values = np.frombuffer(batch, np.uint8).reshape(-1, THUMBNAIL_BYTES).astype(np.float32)
        grey = values[:, :GREY_BYTES]
        colour = values[:, GREY_BYTES:].reshape(len(values), 2, -1) - NEUTRAL
        colourfulness = np.hypot(colour[:, 0], colour[:, 1]).mean(1)
        measured.append(np.stack([grey.mean(1), grey.std(1), colourfulness], axis=1))
    return np.concatenate(measured)
