"""Edited copies: an image turned by a few degrees, cropped, recoloured. Embeddings propose them.

    embeddings ──▶ mutual neighbours ──▶ similarities ──▶ nearer than any two different images ──▶ pairs
                   far nearer than       of thumbnails,
                   the others            registered

A network gives such copies nearly the same embedding, but two different images of one class as
well. So the pixels decide. How alike different images of the set are is measured on some that are
near but not nearest; in a uniform set that is so much that nothing is taken for a copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tellapart.catalog.fitting import CONTRAST
from tellapart.catalog.thumbnails import batches, grey_of
from tellapart.catalog.unions import united
from tellapart.probe.registration import similarities

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]

NEIGHBOURS = 6  # two images propose each other if each is among so many nearest of the other
FARTHER = 20  # the neighbour that stands for images that are no copies
# How much nearer than that neighbour a copy is. Copies are at 0.3 to 0.8, others seldom under 0.8.
NEARER = 0.85
# The fine structure of copies agrees at 0.94 and more, that of different photos at 0.75 at most.
LEAST_SIMILARITY = 0.9
# Copies differ by so many standard deviations less than different images do, on a scale of
# logarithms: of some thousand proposals none is that near by chance.
DEVIATIONS = 4.0
LEAST_DIFFERENCE = 0.01  # what rounding leaves
_DIFFERENT = 200  # pairs that are measured to learn this
# Half a minute of one core.
MOST_PAIRS = 8_000
_DIMENSIONS = 256  # that embeddings are projected to, so that the neighbours take seconds
_ROWS = 256  # pairs, or images, at a time


@dataclass(frozen=True)
class Edited:
    """What the search found.

    Args:
        pairs: (P, 2) rows that show one image.
        left: how many proposals were not looked at, for want of time.
    """

    pairs: Integers
    left: int


def edited_copies(
    features: Floats, thumbnails: NDArray[np.uint8], known: Integers, *, block: int
) -> Edited:
    """Find the images that are others turned by a few degrees, cropped or recoloured.

    Args:
        features: (N, D) their embeddings.
        thumbnails: (N, THUMBNAIL_BYTES).
        known: (N,) the smallest row that shows the same image, as far as it is known.
        block: more images than this are taken in blocks, across which nothing is compared.
    """
    count = len(features)
    proposed, different = _proposals(features, block)
    proposed = proposed[known[proposed[:, 0]] != known[proposed[:, 1]]]
    left = max(0, len(proposed) - MOST_PAIRS)
    if not len(proposed):
        return Edited(proposed, left)
    different = different[known[different[:, 0]] != known[different[:, 1]]]
    limit = _largest_difference(thumbnails, different)
    pairs, tops = [*enumerate(known.tolist())], known
    for start in range(0, min(len(proposed), MOST_PAIRS), _ROWS):
        batch = proposed[start : min(start + _ROWS, MOST_PAIRS)]
        # What a chain joins already need not be registered.
        batch = batch[tops[batch[:, 0]] != tops[batch[:, 1]]]
        pairs += map(tuple, batch[_differences(thumbnails, batch) <= limit].tolist())
        tops = united(count, pairs)
    return Edited(np.array(pairs[count:], np.int64).reshape(-1, 2), left)


def _proposals(features: Floats, size: int) -> tuple[Integers, Integers]:
    """Mutual neighbours that are far nearer than others, the nearest first; and pairs that are near
    but not nearest.
    """
    points = _directions(features)
    # Along one axis, so that what is alike lies in one block most of the time.
    order = np.argsort(points[:, 0], kind="stable")
    blocks = np.array_split(order, max(1, -(-len(order) // size)))
    found = [_neighbours(points[block]) for block in blocks if len(block) > 2]
    empty = np.zeros((0, 2), np.int64)
    proposed = [block[pairs] for block, (pairs, _, _) in zip(blocks, found, strict=False)]
    different = [block[pairs] for block, (_, _, pairs) in zip(blocks, found, strict=False)]
    ratios = np.concatenate([np.zeros(0), *(ratio for _, ratio, _ in found)])
    together = np.sort(np.concatenate([empty, *proposed]), axis=1)
    nearest_first = np.argsort(ratios, kind="stable")
    return together[nearest_first], np.concatenate([empty, *different])


def _directions(features: Floats) -> Floats:
    """(N, D) of length 1, as seen from the middle; at most `_DIMENSIONS` numbers of each."""
    centred = features - features.mean(0)
    if features.shape[1] > _DIMENSIONS:
        projection = np.random.default_rng(0).standard_normal((features.shape[1], _DIMENSIONS))
        centred = centred @ projection.astype(np.float32)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    points: Floats = (centred / np.maximum(lengths, 1e-12)).astype(np.float32)
    return points


def _neighbours(points: Floats) -> tuple[Integers, NDArray[np.float64], Integers]:
    """Of one block: the pairs that propose each other, how near they are as a share of the distance
    to the FARTHER neighbour, and each image with that neighbour.
    """
    count = len(points)
    kept = min(FARTHER, count - 2) + 1
    nearest = np.empty((count, kept), np.int64)
    distance = np.empty((count, kept))
    for rows in batches(count, _ROWS):
        likeness = points[rows] @ points.T
        likeness[np.arange(len(likeness)), np.arange(count)[rows]] = -np.inf  # itself
        some = np.argpartition(-likeness, kept - 1, axis=1)[:, :kept]
        value = np.take_along_axis(likeness, some, 1)
        by_value = np.argsort(-value, axis=1, kind="stable")
        nearest[rows] = np.take_along_axis(some, by_value, 1)
        distance[rows] = np.sqrt(np.maximum(2 - 2 * np.take_along_axis(value, by_value, 1), 0))
    usual = np.maximum(distance[:, -1], 1e-9)
    near = nearest[:, :NEIGHBOURS]
    first, slot = np.nonzero(np.ones(near.shape, np.bool_))
    second = near[first, slot]
    ratio = distance[first, slot] / np.minimum(usual[first], usual[second])
    mutual = (near[second] == first[:, None]).any(1) & (first < second) & (ratio <= NEARER)
    pairs = np.stack([first[mutual], second[mutual]], axis=1)
    return pairs, ratio[mutual], np.stack([np.arange(count), nearest[:, -1]], axis=1)


def _largest_difference(thumbnails: NDArray[np.uint8], different: Integers) -> float:
    """The difference up to which two images of this set are copies."""
    limit = float(np.sqrt(1 - LEAST_SIMILARITY**2))
    if not len(different):
        return limit
    some = np.linspace(0, len(different) - 1, min(len(different), _DIFFERENT)).astype(np.int64)
    differences = _differences(thumbnails, different[some])
    logarithms = np.log(np.maximum(differences, LEAST_DIFFERENCE))
    tail = float(np.exp(logarithms.mean() - DEVIATIONS * logarithms.std()))
    if tail >= limit:
        return limit
    # A uniform set: only what is far nearer than any of these.
    return min(tail, float(np.exp(logarithms.min())) / CONTRAST)


@torch.inference_mode()
def _differences(thumbnails: NDArray[np.uint8], pairs: Integers) -> Floats:
    """(P,) how much two images differ once one is laid on the other: from 0 to 1."""
    parts = [np.zeros(0, np.float32)]
    for some in batches(len(pairs), _ROWS):
        first, second = (torch.from_numpy(grey_of(thumbnails, rows)) for rows in pairs[some].T)
        score = similarities(first, second).clamp(0, 1)
        parts.append((1 - score**2).sqrt().numpy())
    differences: Floats = np.concatenate(parts)
    return differences
