"""Which thumbnails may be copies of which: a descriptor that crops leave alone, and its nearest
neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.alignment import normalised, resampling
from tellapart.catalog.shares import Tell, silent, told
from tellapart.catalog.thumbnails import MAX_ASPECT, Floats, Integers, batches, grey_of
from tellapart.threads import map_ahead

_LENGTH = 32  # of the descriptor
# How far apart copies may lie on one axis, in standard deviations of copies: never met by chance.
_REACH = 10.0
# Likewise on all axes together: copies are some 6 apart, the worst crops of small images 12.
_RADIUS = 17.0
_ROWS = 128  # images taken at a time: some 30 MB a thread
_DISTANCES = 2**22  # computed at a time: with their ranks some 50 MB a thread


def describe(
    thumbnails: NDArray[np.uint8],
    aspects: Floats,
    order: Integers,
    form: Callable[[Floats], Floats] = np.asarray,
) -> Floats:
    """(N, 33): that in which the images of this very set differ from each other, and which a crop
    leaves alone.

    This is a linear discriminant analysis of the thumbnails at half size, in which crops made of up
    to a thousand of them stand for the copies. In a uniform set it ignores what all have in common.
    One unit is the spread within copies.

    Args:
        thumbnails: of all images.
        aspects: log(width / height) of all images.
        order: the images to describe, as rows of `thumbnails`.
        form: what of a normalised half-size image is compared: (M, 256) to (M, 256).
    """
    some = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), 1000)).astype(np.int64))]
    grey = grey_of(thumbnails, some)
    plain = form(normalised(grey))
    crops = [
        resampling(scale, shift) for scale, shift in ((1, 0), (0.95, -0.8), (0.95, 0.8), (0.9, 0))
    ]
    moved = [
        form(normalised(down @ grey @ across.T)) - plain
        for down, across in product(crops, repeat=2)
    ]
    change = np.concatenate(moved)
    within = (change.T @ change).astype(np.float64) / len(change)
    # Some spread in every direction, for the other changes and for sets of few images.
    within += np.eye(len(within)) * (0.05 * np.trace(within) / len(within) + 1e-9)
    values, vectors = np.linalg.eigh(within)
    whiten = vectors / np.sqrt(values)
    centre = plain.mean(0)
    spread = ((plain - centre) @ whiten).astype(np.float64)
    directions = np.linalg.eigh(spread.T @ spread / len(spread))[1][:, ::-1][:, :_LENGTH]
    project = (whiten @ directions).astype(np.float32)
    points = np.empty((len(order), _LENGTH + 1), np.float32)
    for part in batches(len(order), 4096):
        described = form(normalised(grey_of(thumbnails, order[part])))
        points[part, :-1] = (described - centre) @ project
    points[:, -1] = aspects[order] / (MAX_ASPECT / 4)
    return points


def nearest_later(points: Floats, count: int, tell: Tell = silent) -> Integers:
    """For each point the `count` nearest among the later ones: (N, count) rows, -1 where there is
    none.

    It is exact, but for points more than _REACH away. Of each block of products only the best of
    every 32 is kept, and the nearest lie in the best of these groups. Later points alone are half
    the work, and still join all copies.

    Args:
        points: (N, D), in ascending order of their first coordinate.
        count: how many of the nearest to return.
        tell: is told the share that is done.
    """
    size, group, block, tile = len(points), 32, 512, 4096
    known = np.zeros((size + -size % group, points.shape[1] + 1), np.float32)
    known[:size, :-1] = points
    # So that a product ranks like the distance.
    known[:size, -1] = np.einsum("ij,ij->i", points, points) / -2
    known[size:, -1] = -np.finfo(np.float32).max / 4

    def search(start: int) -> Integers:
        query = np.ones((min(block, size - start), known.shape[1]), np.float32)
        query[:, :-1] = points[start : start + block]
        rows = len(query)
        stop = int(np.searchsorted(points[:, 0], query[-1, 0] + _REACH, "right"))
        stop += -stop % group
        best = []
        for first in range(start, stop, tile):
            score = known[first : min(first + tile, stop)] @ query.T
            if first == start:
                itself_and_earlier = np.triu(np.ones((rows, rows), np.bool_))
                score[:rows][itself_and_earlier] = -np.inf
            best.append(score.reshape(-1, group, rows).max(1))
        ranks = np.concatenate(best).T
        keep = min(count, ranks.shape[1])
        groups = np.argpartition(-ranks, keep - 1, axis=1)[:, :keep]
        members = (
            known[start:].reshape(-1, group, known.shape[1])[groups].reshape(rows, keep * group, -1)
        )
        score = (members @ query[:, :, None])[:, :, 0]
        place = (start + groups[:, :, None] * group + np.arange(group)).reshape(rows, -1)
        score[(place <= np.arange(start, start + rows)[:, None]) | (place >= size)] = -np.inf
        chosen = np.argpartition(-score, count - 1, axis=1)[:, :count]
        place, score = np.take_along_axis(place, chosen, 1), np.take_along_axis(score, chosen, 1)
        return np.where(np.isfinite(score), place, -1)

    starts = range(0, size, block)
    found: Integers = np.concatenate(list(told(map_ahead(search, starts), len(starts), tell)))
    return found


def within_reach(points: Floats, later: Integers) -> Integers:
    """Rows with a proposal near enough to be their copy, and these proposals. The pixels of all
    others are never compared.
    """
    near = np.zeros(later.shape, np.bool_)
    for part in batches(len(points), 4096):
        away = points[later[part]] - points[part, None]
        near[part] = np.einsum("ijk,ijk->ij", away, away) <= _RADIUS**2
    near &= later >= 0
    return np.union1d(np.flatnonzero(near.any(1)), later[near])


def nearest_of_all(points: Floats, rows: Integers, count: int) -> Integers:
    """For some points the `count` nearest of all others: (len(rows), count) rows."""
    lengths = np.einsum("ij,ij->i", points, points)

    def search(part: slice) -> Integers:
        chosen = rows[part]
        distance = lengths - 2 * (points[chosen] @ points.T)
        distance[np.arange(len(chosen)), chosen] = np.inf  # itself
        nearest: Integers = np.argpartition(distance, count - 1, axis=1)[:, :count]
        return nearest

    size = max(1, min(_ROWS, _DISTANCES // len(points)))
    return np.concatenate(list(map_ahead(search, batches(len(rows), size))))
