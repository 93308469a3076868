"""How sure a difference of two models is, and how sure it stays where many are asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.comparison import paired_interval
from tellapart.evaluation.intervals import BIAS_REACH, CONFIDENCE


def holm(ps: Sequence[float]) -> list[float]:
    """Each p corrected so that the chance of any false finding among all is no more than that of
    one test.

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
    """The two-sided p value that belongs to `percentile_interval`: below 0.05 where the 95 %
    interval leaves 0 out.

    Where no resample reaches 0, the normal distribution of their spread says how far away it is:
    1,000 resamples alone cannot give less than 0.002, of which a correction for many questions
    would leave nothing.

    Args:
        value: the difference.
        resampled: (B,) the same on resamples.

    Returns:
        p in [0, 1]; 1 where no resample differs.

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
    """The two-sided p value of a normal distribution whose 95 % interval reaches as far towards 0
    as this one.

    Args:
        value: the difference.
        low, high: its 95 % interval, low <= value <= high.

    Returns:
        p in [0, 1]: below 0.05 where the interval leaves 0 out, above it where it holds 0.

    >>> interval_p(0.0, -0.1, 0.3), round(interval_p(0.2, 0.0, 0.9), 3), interval_p(0.2, 0.1, 0.9) < 0.0001
    (1.0, 0.05, True)
    """
    reach = value - low if value > 0 else high - value
    if not reach:
        return float(value == 0)
    return math.erfc(NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * abs(value) / reach / math.sqrt(2))


def balanced_reach(
    first: NDArray[np.bool_], second: NDArray[np.bool_], labels: NDArray[np.int64]
) -> tuple[float, float]:
    """How far the 95 % interval of a difference of balanced accuracies reaches down and up, by
    Newcombe's method.

    As many images as would give shares of that spread stand for those that there are: without
    changes nothing varies in a bootstrap, and yet nobody knows that there are none.

    Args:
        first, second: (N,) who is right.
        labels: (N,) the truth; N is at least 1.

    Returns:
        low less the difference, at most 0; and high less the difference, at least 0.

    Source of the effective number, 1 / sum of squared weights: Kish 1965, "Survey Sampling",
    section 11.7.
    """
    counts = np.bincount(labels)
    weights = 1 / (np.count_nonzero(counts) * counts[labels])
    effective = 1 / float((weights**2).sum())
    both, gained, lost = (
        min(effective * float(weights[rows].sum()), effective)
        for rows in (first & second, second & ~first, first & ~second)
    )
    low, high = paired_interval(both, gained, lost, effective)
    difference = (gained - lost) / effective
    return min(low - difference, 0.0), max(high - difference, 0.0)


def smallest_p(decided: int) -> float:
    """The least that the p of a test by signs can be: of so many coins, all fall on one side.

    >>> smallest_p(0), smallest_p(1), smallest_p(6)
    (1.0, 1.0, 0.03125)
    """
    return min(2.0 ** (1 - decided), 1.0)
