"""The confidence from which the model answers, and the accuracy that it promises there."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.predictions import Predictions

CERTAINTY = 0.95  # that a promised accuracy is kept on new images
# An answer more likely wrong than right is no answer.
LOWEST_CONFIDENCE = 0.5
MOST_START_ERRORS = 3
# Confidences from 0.999994 down to 0.5, in even steps of their logit. They are fixed in advance,
# so that a test of each of them is an ordinary binomial test.
_GRID = 1 / (1 + np.exp(-np.arange(12, -0.01, -0.25)))


@dataclass(frozen=True)
class Threshold:
    """From which confidence on the model answers.

    Args:
        confidence: an answer below it is "unsure".
        target: the accuracy that answers should reach.
        promised: whether it is proven that answers on new images like these reach the target, at
            `CERTAINTY`. Otherwise `confidence` is the target itself: each answer is that sure.
        answered: how many clusters of images are answered from `confidence` on. A cluster counts
            once: it is one image with its copies, or one group.
        errors: how many of these are answered wrongly. A cluster with right and wrong answers
            counts in part.
        needed: without a promise, about how many clusters it would take to prove the target. None
            if the answers are not that accurate at any confidence, or if the target is promised.

    >>> Threshold(0.5, 0.95, True, 100, 1.0, None).as_json()["promised"]
    True
    """

    confidence: float
    target: float
    promised: bool
    answered: int
    errors: float
    needed: int | None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "certainty": CERTAINTY if self.promised else None}


def fit_threshold(predictions: Predictions, target: float = 0.95) -> Threshold:
    """The lowest confidence from which answers are proven to reach a target accuracy.

    Confidences are tested from the highest down. The first whose error rate cannot be proven ends
    the search, so all tests together err as seldom as one. The search begins where enough clusters
    are answered for a test to succeed. How many these are depends on the number of clusters alone.

    Args:
        predictions: calibrated answers to images that the model was not fitted on.
        target: how often an answer that is given should be right, in (0, 1).

    Raises:
        ValueError: if `target` is not in (0, 1).

    Source: Angelopoulos et al. 2021, https://arxiv.org/abs/2110.01052 (Learn then Test, fixed
    sequences), with the exact binomial test of Geifman & El-Yaniv 2017,
    https://arxiv.org/abs/1705.08500.

    >>> probs = np.tile(np.array([[0.9, 0.1]], np.float32), (59, 1))
    >>> all_right = Predictions(probs, np.zeros(59, int), tuple(map(str, range(59))), ("cat", "dog"))
    >>> fit_threshold(all_right).promised, fit_threshold(all_right.rows(np.arange(58))).needed
    (True, 59)
    """
    if not 0 < target < 1:
        raise ValueError(f"target must be in (0, 1), got {target}")
    lowest = LOWEST_CONFIDENCE if len(predictions.classes) > 1 else 0.0
    grid = np.where(_GRID[-1] == _GRID, lowest, _GRID)
    answered, errors = _counts(predictions, grid)
    start = _start(predictions.num_clusters, target)
    found = None
    for place in np.flatnonzero(answered >= start).tolist():
        # Part of an error counts as a whole one, which keeps the test on the safe side.
        if chance_of_luck(int(answered[place]), math.ceil(errors[place] - 1e-9), target) > (
            1 - CERTAINTY
        ):
            break
        found = place
    if found is not None:
        counts = int(answered[found]), float(errors[found])
        return Threshold(float(grid[found]), target, True, *counts, None)
    fallback = np.array([max(target, lowest)])
    (count,), (wrong,) = _counts(predictions, fallback)
    needed = _needed(answered, errors, predictions.num_clusters, target)
    return Threshold(float(fallback[0]), target, False, int(count), float(wrong), needed)


def clusters_for(errors: int, target: float = 0.95) -> int:
    """How many clusters must be answered to prove the target accuracy in spite of some errors.

    >>> [clusters_for(errors) for errors in range(4)]
    [59, 93, 124, 153]
    """
    count = errors + 1
    step = 1
    while chance_of_luck(count + step, errors, target) > 1 - CERTAINTY:
        step *= 2
    low, high = count, count + step
    while high - low > 1:
        middle = (low + high) // 2
        if chance_of_luck(middle, errors, target) > 1 - CERTAINTY:
            low = middle
        else:
            high = middle
    return high


@cache
def chance_of_luck(count: int, errors: int, target: float) -> float:
    """How often a model whose accuracy is just the target makes so few errors, or fewer.

    Args:
        count: how many clusters are answered.
        errors: how many of the answers are wrong.
        target: the accuracy, in (0, 1).

    >>> round(chance_of_luck(59, 0, 0.95), 4), chance_of_luck(10, 10, 0.95)
    (0.0485, 1.0)
    """
    if errors >= count:
        return 1.0
    wrong = np.arange(errors + 1)
    choices = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        for k in wrong.tolist()
    ]
    logs = choices + wrong * math.log1p(-target) + (count - wrong) * math.log(target)
    highest = float(logs.max())
    return float(min(math.exp(highest) * np.exp(logs - highest).sum(), 1.0))


def _counts(
    predictions: Predictions, grid: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each confidence, how many clusters are answered from there on, and how many wrongly."""
    answered, errors = [], []
    _, cluster_of = np.unique(predictions.clusters, return_inverse=True)
    wrong = ~predictions.correct
    for confidence in grid.tolist():
        chosen = predictions.confidence >= confidence
        sizes = np.bincount(cluster_of[chosen])
        mistakes = np.bincount(cluster_of[chosen], weights=wrong[chosen])
        present = sizes > 0
        answered.append(int(present.sum()))
        errors.append(float((mistakes[present] / sizes[present]).sum()))
    return np.array(answered, np.int64), np.array(errors, np.float64)


def _start(num_clusters: int, target: float) -> int:
    """How many clusters must be answered where the search begins.

    Many clusters can afford to begin where a few errors do not end the search at once.
    """
    allowed = [
        clusters_for(errors, target)
        for errors in range(MOST_START_ERRORS + 1)
        if errors == 0 or 3 * clusters_for(errors, target) <= num_clusters
    ]
    return allowed[-1]


def _needed(
    answered: NDArray[np.int64], errors: NDArray[np.float64], num_clusters: int, target: float
) -> int | None:
    """About how many clusters would prove the target, if new ones were answered like these."""
    known = answered >= min(10, max(num_clusters, 1))
    estimates = []
    for count, wrong in zip(answered[known].tolist(), errors[known].tolist(), strict=True):
        rate, allowed = wrong / count, 0
        if rate >= 1 - target:
            continue
        while allowed + 0.5 < rate * clusters_for(allowed, target) and allowed < 200:
            allowed += 1
        if allowed < 200:
            estimates.append(math.ceil(clusters_for(allowed, target) * num_clusters / count))
    return min(estimates, default=None)
