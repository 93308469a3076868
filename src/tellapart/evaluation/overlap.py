"""Classes that overlap: pairs that held-out answers cannot tell apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.clusters import effective_count
from tellapart.evaluation.intervals import wilson

LEAST_MIXED = 0.25  # of the images of two classes that lie on the wrong side; half is chance
SURE_MIXED = 0.15  # that the lower bound of the interval must reach
LEAST_IMAGES = 10  # of each of the two classes


@dataclass(frozen=True)
class Overlap:
    """Two classes that are told apart badly.

    Args:
        classes: the numbers of the two.
        mixed: the share of their images that look more like the other one, in [0, 1].
        low: the lower bound of its 95 % interval.
        places: the images that do, the clearest first.
    """

    classes: tuple[int, int]
    mixed: float
    low: float
    places: tuple[int, ...]


def find_overlaps(
    logits: NDArray[np.float32], labels: NDArray[np.int64], clusters: NDArray[np.int64]
) -> list[Overlap]:
    """The pairs of classes that overlap, the worst first. Each class is compared with the one that
    it is most often taken for.

    Args:
        logits: (N, C) of heads that did not see the image; rows of NaN are left out.
        labels: (N,) int64 in [0, C).
        clusters: (N,) the cluster of each image.

    >>> logits = np.random.default_rng(0).normal(size=(80, 2)).astype(np.float32)
    >>> [overlap.classes for overlap in find_overlaps(logits, np.arange(80) % 2, np.arange(80))]
    [(0, 1)]
    """
    answered = np.asarray(np.isfinite(logits).all(axis=1))
    pairs = set()
    for label in np.unique(labels[answered]).tolist():
        own = logits[answered & (labels == label)]
        closer = (own > own[:, [label]]).mean(axis=0)
        other = int(closer.argmax())
        if closer[other] > 0:
            pairs.add((min(label, other), max(label, other)))
    found = [_overlap(logits, labels, clusters, answered, pair) for pair in sorted(pairs)]
    kept = [
        overlap
        for overlap in found
        if overlap and overlap.mixed >= LEAST_MIXED and overlap.low >= SURE_MIXED
    ]
    return sorted(kept, key=lambda overlap: -overlap.mixed)


def _overlap(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    clusters: NDArray[np.int64],
    answered: NDArray[np.bool_],
    pair: tuple[int, int],
) -> Overlap | None:
    first, second = pair
    places = np.flatnonzero(answered & np.isin(labels, pair))
    is_first = labels[places] == first
    if min(int(is_first.sum()), int((~is_first).sum())) < LEAST_IMAGES:
        return None
    leads = logits[places, first] - logits[places, second]
    margins = np.where(is_first, leads, -leads)
    wrong = margins < 0
    # The mean of both classes: a large one alone must not hide that the small one is never found.
    mixed = float((wrong[is_first].mean() + wrong[~is_first].mean()) / 2)
    count = effective_count(wrong, clusters[places])
    low, _ = wilson(mixed * count, count)
    order = np.argsort(margins, kind="stable")[: int(wrong.sum())]
    return Overlap(pair, mixed, low, tuple(places[order].tolist()))
