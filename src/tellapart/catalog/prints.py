"""The print of an image: 16 bytes that stay nearly the same when the image is saved again.

It is the signs of the 128 lowest frequencies of the grey thumbnail, in order of their height, as in
the perceptual hash of Zauner 2010, https://www.phash.org/docs/pubs/thesis_zauner.pdf. Of 1,200
photographs, copies saved at JPEG quality 40 or at half the size differ in 4 of the 128 signs at most,
and different ones in 37 at least, with one exception in a hundred.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.thumbnails import GREY_SIDE, Floats, batches, detail_of, grey_of

PRINT_BYTES = 16
_SIGNS = 8 * PRINT_BYTES
# Signs in which copies may differ. With 12, more copies of images of 32 × 32 pixels are found, but
# twice as many solar cells count as copies of those that were cut from the same block of silicon.
REACH = 8
# How many times further away the next image must be. In a uniform set, images differ in few signs:
# there one is as near to another by chance as to its copy.
CONTRAST = 3
# Grey levels of standard deviation under which the signs are a matter of noise.
_MIN_DETAIL = 3.0
_FREQUENCIES = 16  # on each axis, of which the lowest together are taken


def prints_of(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, PRINT_BYTES) the print of each thumbnail. It is all 0 for a flat image, which has none.

    Args:
        thumbnails: (N, THUMBNAIL_BYTES) from `make_thumbnail`.

    >>> prints_of(np.zeros((1, 1152), np.uint8)).tolist() == [[0] * PRINT_BYTES]
    True
    """
    places = np.arange(_FREQUENCIES)[:, None] * (2 * np.arange(GREY_SIDE) + 1)
    waves = np.cos(np.pi / (2 * GREY_SIDE) * places).astype(np.float32)
    heights = np.add.outer(np.arange(_FREQUENCIES), np.arange(_FREQUENCIES)).ravel()
    lowest = np.argsort(heights, kind="stable")[1 : _SIGNS + 1]  # without the mean
    prints = np.zeros((len(thumbnails), PRINT_BYTES), np.uint8)
    for batch in batches(len(thumbnails), 4096):
        rows = np.arange(len(thumbnails))[batch]
        spectra = waves @ grey_of(thumbnails, rows) @ waves.T
        prints[batch] = np.packbits(spectra.reshape(len(rows), -1)[:, lowest] > 0, axis=1)
        prints[rows[detail_of(thumbnails[batch]) < _MIN_DETAIL]] = 0
    return prints


def has_print(prints: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N,) which images have a print."""
    return np.asarray(prints.any(axis=1))


def copies_of(queries: NDArray[np.uint8], known: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(N,) the number of the known image that each query is a copy of, or -1.

    Args:
        queries: (N, PRINT_BYTES) prints.
        known: (M, PRINT_BYTES) prints of images of which none is a copy of another.
    """
    found = np.full(len(queries), -1, np.int64)
    usable = np.flatnonzero(has_print(queries))
    if not len(known):
        return found
    signs = _signs(known)
    for batch in batches(len(usable), 512):
        # A product of signs counts those that agree, less those that differ.
        distances = (_SIGNS - _signs(queries[usable[batch]]) @ signs.T) / 2
        nearest = distances.argmin(axis=1)
        rows = np.arange(len(nearest))
        first = distances[rows, nearest]
        distances[rows, nearest] = _SIGNS
        stands_out = (first <= REACH) & (CONTRAST * first < distances.min(axis=1))
        found[usable[batch]] = np.where(stands_out, nearest, -1)
    return found


def apart(prints: NDArray[np.uint8], clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows that have a print, without those that are near an earlier one of their cluster."""
    kept: dict[int, list[int]] = {}
    for row in np.flatnonzero(has_print(prints)).tolist():
        mates = kept.setdefault(int(clusters[row]), [])
        differ = np.unpackbits(prints[mates] ^ prints[row], axis=1).sum(axis=1)
        # What is nearer than this could keep a copy of either from standing out.
        if not (differ <= CONTRAST * REACH).any():
            mates.append(row)
    return np.array(sorted(row for mates in kept.values() for row in mates), np.int64)


def _signs(prints: NDArray[np.uint8]) -> Floats:
    """(N, 128) the bits as 1 and -1."""
    return np.unpackbits(prints, axis=1).astype(np.float32) * 2 - 1
