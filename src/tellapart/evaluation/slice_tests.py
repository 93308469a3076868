"""One slice against all other images: how sure it is that its share is lower, and by how much."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.clusters import design_effect
from tellapart.evaluation.intervals import CONFIDENCE, wilson
from tellapart.evaluation.metrics import Score


def worse_p(
    correct: NDArray[np.bool_], clusters: NDArray[np.int64], rows: NDArray[np.bool_]
) -> float:
    """How often a slice as bad as this is drawn if it is no worse than the rest: one-sided.

    Args:
        correct: (N,) whether each answer is right.
        clusters: (N,) the cluster of each image.
        rows: (N,) whether each image is in the slice.

    >>> correct = np.array([False] * 3 + [True] * 3)
    >>> round(worse_p(correct, np.arange(6), ~correct), 6)
    0.05
    """
    wrong, count = _effective(correct[rows], clusters[rows])
    wrong_rest, count_rest = _effective(correct[~rows], clusters[~rows])
    # Parts of an image are rounded to the safe side: fewer errors in the slice, more in the rest.
    errors, size = math.floor(wrong + 1e-9), math.ceil(count - 1e-9)
    errors_rest, size_rest = math.ceil(wrong_rest - 1e-9), math.floor(count_rest + 1e-9)
    return _fisher(errors, size, min(errors_rest, size_rest), size_rest)


def lower_by(
    correct: NDArray[np.bool_], clusters: NDArray[np.int64], rows: NDArray[np.bool_], looks: int
) -> Score:
    """A share in a slice less that of the rest, with Newcombe's interval at Bonferroni's level.

    Args:
        correct: (N,) what is counted, as whether each answer is right.
        clusters: (N,) the cluster of each image.
        rows: (N,) whether each image is in the slice.
        looks: how many slices are looked at together.

    Source: Newcombe 1998, https://pubmed.ncbi.nlm.nih.gov/9595617/ (method 10).
    """
    confidence = 1 - (1 - CONFIDENCE) / looks
    values, lows, highs = [], [], []
    for side in (rows, ~rows):
        wrong, count = _effective(correct[side], clusters[side])
        low, high = wilson(count - wrong, count, confidence)
        values.append(1 - wrong / count)
        lows.append(low)
        highs.append(high)
    value = values[0] - values[1]
    low = value - math.hypot(values[0] - lows[0], highs[1] - values[1])
    high = value + math.hypot(highs[0] - values[0], values[1] - lows[1])
    return Score(value, low, high, int(rows.sum()), len(np.unique(clusters[rows])))


def _effective(correct: NDArray[np.bool_], clusters: NDArray[np.int64]) -> tuple[float, float]:
    """Errors and images, at the number of independent images that they are worth."""
    effect = design_effect(correct, clusters)
    return float((~correct).sum()) / effect, len(correct) / effect


def _fisher(errors: int, size: int, errors_rest: int, size_rest: int) -> float:
    """The chance of so many errors in the slice or more, given how many there are in all."""
    total, count = errors + errors_rest, size + size_rest
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])

    def choose(n: int, k: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(logs[n] - logs[k] - logs[n - k])

    drawn = np.arange(errors, min(total, size) + 1)
    drawn = drawn[total - drawn <= size_rest]
    chances = choose(size, drawn) + choose(size_rest, total - drawn)
    whole = logs[count] - logs[total] - logs[count - total]
    return float(min(np.exp(chances - whole).sum(), 1.0))
