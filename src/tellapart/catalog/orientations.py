"""The eight orientations of an image: as it is, mirrored, and turned by quarters."""

from __future__ import annotations

from functools import cache

import numpy as np

from tellapart.catalog.thumbnails import MAX_ASPECT, Floats, Integers

ORIENTATIONS = 8  # as it is is 0; from 4 on, width and height change places


def turned(images: Floats, turns: Integers) -> Floats:
    """(E, S, S): each image in one of the eight orientations.

    >>> turned(np.array([[[1.0, 2.0], [3.0, 4.0]]]), np.array([4])).tolist()
    [[[1.0, 3.0], [2.0, 4.0]]]
    """
    result = images.copy()
    for turn in np.unique(turns[turns > 0]):
        chosen = turns == turn
        image = images[chosen]
        image = image.transpose(0, 2, 1) if turn & 4 else image
        result[chosen] = image[:, :: -1 if turn & 2 else 1, :: -1 if turn & 1 else 1]
    return result


def turned_alike(normal: Floats) -> Floats:
    """(M, 256): half-size images as one and the same vector in all eight orientations.

    The eight pixels that mirroring and turning move to each other's places are sorted.
    """
    eights, fours = _orbits()
    count = len(normal)
    parts = (np.sort(normal[:, places], axis=2).reshape(count, -1) for places in (eights, fours))
    return np.concatenate(list(parts), axis=1)


def best_turns(small: Floats, aspects: Floats, first: Integers, second: Integers) -> Integers:
    """(E,) the orientation in which the second of two images is most like the first; -1 where no
    orientation has its shape.

    Args:
        small: (N, S²) of all images, as `halved` makes them.
        aspects: (N,) log(width / height).
        first: (E,) rows.
        second: (E,) rows.
    """
    side = int(np.sqrt(small.shape[1]))
    images = small[second].reshape(-1, side, side)
    fixed = small[first] - small[first].mean(1, keepdims=True)
    upright = np.abs(aspects[first] - aspects[second]) <= MAX_ASPECT
    sideways = np.abs(aspects[first] + aspects[second]) <= MAX_ASPECT
    scores = np.full((len(first), ORIENTATIONS), -np.inf, np.float32)
    for turn in range(ORIENTATIONS):
        shown = turned(images, np.full(len(second), turn)).reshape(fixed.shape)
        score = np.einsum("ep,ep->e", fixed, shown)
        scores[:, turn] = np.where(sideways if turn & 4 else upright, score, -np.inf)
    best: Integers = np.where(upright | sideways, scores.argmax(1), -1)
    return best


@cache
def _orbits() -> tuple[Integers, Integers]:
    """(28, 8) and (8, 4): the pixels of a 16 × 16 image that change places, the diagonals apart."""
    pixels = np.arange(256.0).reshape(1, 16, 16)
    everywhere = [turned(pixels, np.array([turn]))[0] for turn in range(ORIENTATIONS)]
    places = np.stack([image.ravel() for image in everywhere], axis=1).astype(np.int64)
    orbits = np.unique(np.sort(places, axis=1), axis=0)
    on_diagonal = (np.diff(orbits, axis=1) == 0).any(1)
    return orbits[~on_diagonal], np.stack([np.unique(row) for row in orbits[on_diagonal]])
