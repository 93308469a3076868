"""How sure a difference between two models is, also where many differences are tested."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.clusters import effective_by_class
from tellapart.evaluation.intervals import BIAS_REACH, CONFIDENCE
from tellapart.evaluation.paired_shares import paired_interval


def holm(ps: Sequence[float]) -> list[float]:
    """Each p value corrected for how many there are.

    The chance of any false finding among all is then no more than that of one test.

    Source: Holm 1979, https://www.jstor.org/stable/4615733.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, least = [1.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        least = max(least, min((len(ps) - rank) * ps[place], 1.0))
        corrected[place] = least
    return corrected


def bootstrap_p(value: float, resampled: NDArray[np.float64]) -> float:
    """The two-sided p value that belongs to `percentile_interval`.

    It is below 0.05 if the 95 % interval leaves 0 out. If no resample reaches 0, the normal
    distribution of their spread says how far away 0 is. 1,000 resamples alone cannot give less than
    0.002, which would not survive a correction for many tests.

    Args:
        value: the difference on the images themselves.
        resampled: (B,) the difference on the resamples.

    Returns:
        p in [0, 1]; 1 if no resample differs.

    >>> bootstrap_p(0.5, np.linspace(-0.5, 1.5, 999)), bootstrap_p(0.0, np.zeros(999))
    (0.502, 1.0)
    """
    bias = float(np.median(resampled)) - value
    below = int((resampled <= bias + BIAS_REACH * max(bias, 0.0)).sum())
    above = int((resampled >= bias + BIAS_REACH * min(bias, 0.0)).sum())
    p = min(2 * (min(below, above) + 1) / (len(resampled) + 1), 1.0)
    if min(below, above):
        return p
    spread = float(resampled.std())
    away = max(abs(value) - BIAS_REACH * abs(bias), 0.0)
    return min(p, math.erfc(away / (spread * math.sqrt(2)))) if spread else p


def interval_p(value: float, low: float, high: float) -> float:
    """The two-sided p value of a difference, from how far its 95 % interval reaches towards 0.

    The reach is taken for that of a normal distribution.

    Args:
        value: the difference.
        low: the lower bound of its 95 % interval, at most `value`.
        high: the upper bound, at least `value`.

    Returns:
        p in [0, 1]: below 0.05 if the interval leaves 0 out, above it if the interval holds 0.

    >>> interval_p(0.0, -0.1, 0.3), round(interval_p(0.2, 0.0, 0.9), 3), interval_p(0.2, 0.1, 0.9) < 0.0001
    (1.0, 0.05, True)
    """
    reach = value - low if value > 0 else high - value
    if not reach:
        return float(value == 0)
    return math.erfc(NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * abs(value) / reach / math.sqrt(2))


def balanced_reach(
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    labels: NDArray[np.int64],
    clusters: NDArray[np.int64],
) -> tuple[float, float]:
    """How far the 95 % interval of a difference of balanced accuracies reaches down and up.

    Newcombe's method is applied at the effective number of images. If two models answer alike,
    nothing varies in a bootstrap, although they might differ on other images.

    Args:
        first: (N,) whether the first model is right.
        second: (N,) whether the second model is right.
        labels: (N,) the truth; N is at least 1.
        clusters: (N,) the cluster of each image.

    Returns:
        low less the difference, at most 0; and high less the difference, at least 0.

    Source of the effective number, 1 / sum of squared weights: Kish 1965, "Survey Sampling",
    section 11.7.
    """
    counts = np.bincount(labels)
    weights = 1 / (np.count_nonzero(counts) * counts[labels])
    change = second.astype(np.int64) - first.astype(np.int64)
    inflation = np.ones(len(counts))
    inflation[counts > 0] = counts[counts > 0] / effective_by_class(change, labels, clusters)
    effective = 1 / float((weights**2 * inflation[labels]).sum())
    both, gained, lost = (
        min(effective * float(weights[rows].sum()), effective)
        for rows in (first & second, second & ~first, first & ~second)
    )
    low, high = paired_interval(both, gained, lost, effective)
    difference = (gained - lost) / effective
    return min(low - difference, 0.0), max(high - difference, 0.0)


def smallest_p(decided: int) -> float:
    """The least p value that a sign test can give: all of `decided` coins fall on one side.

    >>> smallest_p(0), smallest_p(1), smallest_p(6)
    (1.0, 1.0, 0.03125)
    """
    return min(2.0 ** (1 - decided), 1.0)
