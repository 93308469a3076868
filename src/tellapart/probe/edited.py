"""Edited copies: an image turned by a few degrees, cropped, recoloured. Embeddings propose them.

    embeddings ──▶ mutual neighbours ──▶ similarities ──▶ nearer than any two different images ──▶ pairs
                   far nearer than       of thumbnails,
                   the others            registered

A network gives such copies nearly the same embedding, but two different images of one class as
well. So the pixels decide. How alike different images of a class are is measured; in a uniform
class that is so much that nothing is taken for a copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.thumbnails import batches, grey_of
from tellapart.catalog.unions import united
from tellapart.probe.registration import similarities
from tellapart.scratch import scratch
from tellapart.threads import map_ahead

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]

NEIGHBOURS = 6  # two images propose each other if each is among so many nearest of the other
FARTHER = 20  # the neighbour that stands for those that are no copies
# How much nearer than that neighbour a copy is. Copies are at 0.3 to 0.8, others seldom under 0.8.
NEARER = 0.85
# The fine structure of copies agrees at 0.94 and more, that of different photos at 0.75 at most.
LEAST_SIMILARITY = 0.9
# Copies differ by so many standard deviations less than different images do, on a scale of
# logarithms: of some thousand proposals none is that near by chance.
DEVIATIONS = 4.0
LEAST_DIFFERENCE = 0.01  # what rounding leaves
_DIFFERENT = 200  # pairs that are measured to learn this
LEAST_IMAGES = 20  # of a class, to measure how alike different images of it are
# Half a minute of one core.
MOST_PAIRS = 8_000
_DIMENSIONS = 256  # that embeddings are projected to, so that the neighbours take seconds
_ROWS = 256  # pairs, or images, at a time
_REGISTERED = 32  # pairs at a time on each core: what they need stays in its cache
_EMBEDDINGS = 4096  # that are read at a time


class Embeddings(Protocol):
    """Embeddings of images, of which some are read at a time."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, part: slice, /) -> Floats:
        """(M, D) those of a slice."""


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
    features: Embeddings,
    thumbnails: NDArray[np.uint8],
    labels: Integers,
    known: Integers,
    *,
    block: int,
) -> Edited:
    """Find the images that are others turned by a few degrees, cropped or recoloured.

    Args:
        features: (N, D) their embeddings: an array, or what reads slices of it.
        thumbnails: (N, THUMBNAIL_BYTES).
        labels: (N,) their classes.
        known: (N,) the smallest row that shows the same image, as far as it is known.
        block: more images than this are taken in blocks, across which nothing is compared.
    """
    points = _directions(features)
    proposed = _proposals(points, block)
    proposed = proposed[known[proposed[:, 0]] != known[proposed[:, 1]]]
    if not len(proposed):
        return Edited(proposed, 0)
    limits = _largest_differences(points, thumbnails, labels, known)[labels[proposed]].min(1)
    # Nothing is taken for a copy where the limit is 0, so nothing needs to be registered there.
    proposed, limits = proposed[limits > 0], limits[limits > 0]
    left = max(0, len(proposed) - MOST_PAIRS)
    # Of the images, only those that are proposed are joined: their number is bounded.
    tops, place = np.unique(known[proposed[:MOST_PAIRS]], return_inverse=True)
    place, joined = place.reshape(-1, 2), np.arange(len(tops))
    accepted: list[int] = []  # numbers of proposals
    for part in batches(len(place), _ROWS):
        numbers = np.arange(len(place))[part]
        # What a chain joins already need not be registered.
        numbers = numbers[joined[place[numbers, 0]] != joined[place[numbers, 1]]]
        alike = _differences(thumbnails, proposed[numbers]) <= limits[numbers]
        accepted += numbers[alike].tolist()
        joined = united(len(tops), place[accepted].tolist())
    return Edited(proposed[accepted], left)


def _proposals(points: Floats, size: int) -> Integers:
    """(P, 2) mutual neighbours that are far nearer than others, the nearest first."""
    # Along one axis, so that what is alike lies in one block most of the time.
    order = np.argsort(points[:, 0], kind="stable")
    blocks = np.array_split(order, max(1, -(-len(order) // size)))
    pairs, ratios = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
    for block in blocks:
        if len(block) > 2:
            near, ratio = _neighbours(points[block])
            pairs.append(block[near])
            ratios.append(ratio)
    nearest_first = np.argsort(np.concatenate(ratios), kind="stable")
    return np.sort(np.concatenate(pairs), axis=1)[nearest_first]


def _directions(features: Embeddings) -> Floats:
    """(N, D) of length 1, as seen from the middle; at most `_DIMENSIONS` numbers of each.

    The embeddings of a million images are 5 GB, so they are read in batches.
    """
    count, width = len(features), features[:1].shape[1]
    projection = None
    if width > _DIMENSIONS:
        rng = np.random.default_rng(0)
        projection = rng.standard_normal((width, _DIMENSIONS)).astype(np.float32)
    points = scratch((count, min(width, _DIMENSIONS)), np.float32)
    total = np.zeros(points.shape[1])
    for part in batches(count, _EMBEDDINGS):
        points[part] = features[part] if projection is None else features[part] @ projection
        total += points[part].sum(0, dtype=np.float64)
    middle = (total / count).astype(np.float32)
    for part in batches(count, _EMBEDDINGS):
        centred = points[part] - middle
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        points[part] = centred / np.maximum(lengths, 1e-12)
    return points


def _neighbours(points: Floats) -> tuple[Integers, NDArray[np.float64]]:
    """The pairs in one block that propose each other, and how near they are as a share of the
    distance to the FARTHER neighbour.
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
    return pairs, ratio[mutual]


def _largest_differences(
    points: Floats, thumbnails: NDArray[np.uint8], labels: Integers, known: Integers
) -> NDArray[np.float64]:
    """For each class the difference up to which two of its images are copies.

    Classes of few images get that of the most uniform class.
    """
    sizes = np.bincount(labels)
    enough = np.flatnonzero(sizes >= LEAST_IMAGES)
    limits = np.zeros(len(sizes))
    if not len(enough):
        return limits
    each = max(LEAST_IMAGES, _DIFFERENT // len(enough))
    of_class = [_different(points, np.flatnonzero(labels == label), each) for label in enough]
    for label, pairs in zip(enough.tolist(), of_class, strict=True):
        apart = pairs[known[pairs[:, 0]] != known[pairs[:, 1]]]
        limits[label] = _largest_difference(_differences(thumbnails, apart))
    limits[sizes < LEAST_IMAGES] = limits[enough].min()
    return limits


def _different(points: Floats, rows: Integers, most: int) -> Integers:
    """Pairs of some images of a class and another one that is alike, yet no copy: a third of the
    class is nearer.
    """
    some = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64))]
    place = len(rows) - 1 - len(rows) // 3
    other = rows[np.argpartition(points[some] @ points[rows].T, place - 1, axis=1)[:, place - 1]]
    return np.stack([some, other], axis=1)


def _largest_difference(differences: Floats) -> float:
    """The difference up to which images are copies, by how much different images differ."""
    if len(differences) < LEAST_IMAGES // 2:
        return 0.0
    limit = float(np.sqrt(1 - LEAST_SIMILARITY**2))
    logarithms = np.log(np.maximum(differences, LEAST_DIFFERENCE))
    tail = float(np.exp(logarithms.mean() - DEVIATIONS * logarithms.std()))
    # In a uniform kind of image nothing is told apart from a copy by 32 x 32 pixels.
    return limit if min(tail, float(np.quantile(differences, 0.02))) >= limit else 0.0


def _differences(thumbnails: NDArray[np.uint8], pairs: Integers) -> Floats:
    """(P,) how much two images differ once one is laid on the other: from 0 to 1."""

    def of(rows: slice) -> Floats:
        first, second = (grey_of(thumbnails, some).astype(np.float32) for some in pairs[rows].T)
        score = similarities(first, second).clip(0, 1)
        found: Floats = np.sqrt(1 - score**2).astype(np.float32)
        return found

    parts = map_ahead(of, batches(len(pairs), _REGISTERED))
    return np.concatenate([np.zeros(0, np.float32), *parts])
