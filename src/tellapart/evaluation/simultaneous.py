"""The difference of two shares, as one of several that are looked at together."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.intervals import CONFIDENCE
from tellapart.evaluation.metrics import Score
from tellapart.evaluation.paired_shares import compare_shares, paired_counts, paired_interval

LEAST_P = 1e-14  # a smaller one is lost in the rounding of 1 - p
BISECTIONS = 50


@dataclass(frozen=True)
class JointDifference:
    """A difference among several, whose interval and p value say the same thing.

    Args:
        score: second less first. Its interval holds 0 exactly where p is 0.05 or more.
        p: how often equally good models would show a difference as large anywhere among all.
        p_alone: that of this comparison alone.
        gained: how many images only the second got right.
        lost: how many images only the first got right.
        comparisons: how many there are; all intervals together are right 19 times of 20.
    """

    score: Score
    p: float
    p_alone: float
    gained: int
    lost: int
    comparisons: int


def joint_difference(
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    clusters: NDArray[np.int64],
    comparisons: int,
) -> JointDifference:
    """Compare two shares of the same images as one comparison of several.

    The interval is Newcombe's at Bonferroni's level. The p value is the larger of the exact test's
    and of the one at which the interval touches 0. Where the exact test alone leaves equality
    possible, the interval is widened to hold 0. So a reader of either draws the same conclusion.

    Args:
        first: (N,) whether the first model got each image right.
        second: (N,) the same of the second model.
        clusters: (N,) the cluster of each image; copies and the images of a group count once.
        comparisons: how many there are, with this one.

    >>> right, all_right = np.arange(100) < 84, np.ones(100, bool)
    >>> pair = joint_difference(right, all_right, np.arange(100), comparisons=28)
    >>> pair.p < 0.05, pair.score.low > 0
    (True, True)
    """
    alone = compare_shares(first, second, clusters)
    counts = paired_counts(first, second, clusters)
    p_alone = max(alone.p, _touching_p(counts))
    p = min(comparisons * p_alone, 1.0)
    low, high = paired_interval(*counts, confidence=1 - (1 - CONFIDENCE) / comparisons)
    if p >= 1 - CONFIDENCE:
        low, high = min(low, 0.0), max(high, 0.0)
    score = replace(alone.difference, low=low, high=high)
    return JointDifference(score, p, p_alone, alone.gained, alone.lost, comparisons)


def _touching_p(counts: tuple[float, float, float, float]) -> float:
    """The p value at which the interval of a difference just touches 0.

    Args:
        counts: as `paired_counts` gives them.
    """
    _, gained, lost, count = counts
    if not count or gained == lost:
        return 1.0
    least, most = math.log(LEAST_P), 0.0  # the interval is the wider, the smaller p is
    for _ in range(BISECTIONS):
        middle = (least + most) / 2
        low, high = paired_interval(*counts, confidence=1 - math.exp(middle))
        least, most = (middle, most) if low <= 0 <= high else (least, middle)
    return math.exp(most)
