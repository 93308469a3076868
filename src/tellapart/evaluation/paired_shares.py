"""The difference of two shares of the same images: its interval, and its test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.clusters import effective_count
from tellapart.evaluation.intervals import CONFIDENCE, wilson
from tellapart.evaluation.metrics import Score, share

# Above so many steps the exact distribution of a sign-flip test takes seconds, and a normal one is
# as good: the groups that differ are then thousands.
MOST_STEPS = 100_000_000


@dataclass(frozen=True)
class PairedShares:
    """Two shares of the same images.

    Args:
        first: the share of the first, with its interval.
        second: the share of the second, with its interval.
        difference: second less first, with its paired 95 % interval.
        gained: how many images only the second got right.
        lost: how many images only the first got right.
        differing: how many clusters these images are.
        p: how often two equally good models would differ this much, two-sided.
        test: which test gave p.
    """

    first: Score
    second: Score
    difference: Score
    gained: int
    lost: int
    differing: int
    p: float
    test: Literal["mcnemar", "sign-flip"]


def compare_shares(
    first: NDArray[np.bool_], second: NDArray[np.bool_], clusters: NDArray[np.int64]
) -> PairedShares:
    """Compare two shares of the same images.

    Where each image is its own cluster, the test is McNemar's. Else it flips the signs of whole
    clusters. The interval is Newcombe's at the effective number of images.

    Args:
        first: (N,) whether the first model got each image right.
        second: (N,) the same of the second model.
        clusters: (N,) the cluster of each image; copies and the images of a group count once.

    >>> right = np.array([True, False, True, True])
    >>> compare_shares(right, np.ones(4, bool), np.arange(4)).difference.value
    0.25
    """
    count, change = len(first), second.astype(np.int64) - first.astype(np.int64)
    gained, lost = int((change > 0).sum()), int((change < 0).sum())
    num_clusters = len(np.unique(clusters))
    clustered = num_clusters < count
    return PairedShares(
        first=share(first, clusters),
        second=share(second, clusters),
        difference=Score(
            (gained - lost) / count if count else math.nan,
            *paired_interval(*paired_counts(first, second, clusters)),
            count,
            num_clusters,
        ),
        gained=gained,
        lost=lost,
        differing=len(np.unique(clusters[change != 0])),
        p=sign_flip(change, clusters) if clustered else mcnemar(gained, lost),
        test="sign-flip" if clustered else "mcnemar",
    )


def paired_interval(
    both: float, gained: float, lost: float, count: float, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The interval of the difference of two shares of the same images.

    Args:
        both: how many images both models got right.
        gained: how many only the second got right.
        lost: how many only the first got right.
        count: how many images there are. It may be a fraction, since an effective number of images
            is one.
        confidence: the chance that such an interval holds the true difference, in (0, 1).

    Returns:
        low and high of second less first; (-1, 1) without images.

    Source: Newcombe 1998, https://pubmed.ncbi.nlm.nih.gov/9839354/, method 10: Wilson's intervals
    of both shares, put together by the correlation of the two, which is corrected for continuity.

    >>> [round(bound, 4) for bound in paired_interval(both=36, gained=12, lost=2, count=50)]
    [0.0569, 0.3404]
    """
    if not count:
        return -1.0, 1.0
    neither = max(count - both - gained - lost, 0.0)
    # min: rounding of fractions must not make the successes more than all images.
    first_right, second_right = min(both + lost, count), min(both + gained, count)
    first, second = first_right / count, second_right / count
    first_low, first_high = wilson(first_right, count, confidence)
    second_low, second_high = wilson(second_right, count, confidence)
    correlation = _correlation(both, gained, lost, neither)

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(a**2 - 2 * correlation * a * b + b**2, 0.0))

    difference = second - first
    return (
        max(difference - reach(second - second_low, first_high - first), -1.0),
        min(difference + reach(second_high - second, first - first_low), 1.0),
    )


def paired_counts(
    first: NDArray[np.bool_], second: NDArray[np.bool_], clusters: NDArray[np.int64]
) -> tuple[float, float, float, float]:
    """What `paired_interval` takes: images that both, only the second, and only the first got
    right, and all images. They are scaled to the effective number of images.

    Args:
        first: (N,) whether the first model got each image right.
        second: (N,) the same of the second model.
        clusters: (N,) the cluster of each image.
    """
    count = len(first)
    both, gained, lost = (
        int(mask.sum()) for mask in (first & second, second & ~first, first & ~second)
    )
    change = second.astype(np.int64) - first.astype(np.int64)
    effective = effective_count(change, clusters)
    if effective == count:
        return both, gained, lost, count
    shrink = effective / count
    return both * shrink, gained * shrink, lost * shrink, effective


def mcnemar(gained: int, lost: int) -> float:
    """McNemar's exact test, two-sided.

    If two models are equally good, half of the images on which they differ favour either.

    Args:
        gained: how many images only the second model got right.
        lost: how many images only the first model got right.

    Returns:
        p in (0, 1]; 1 if the models never differ.

    Source: McNemar 1947, https://doi.org/10.1007/BF02295996, with the binomial distribution itself.

    >>> mcnemar(8, 1), mcnemar(3, 3)
    (0.0390625, 1.0)
    """
    count, term, total = gained + lost, 1, 0
    for successes in range(min(gained, lost) + 1):
        total += term
        term = term * (count - successes) // (successes + 1)
    return float(min(2 * total / 2**count, 1.0))


def sign_flip(change: NDArray[np.int64], clusters: NDArray[np.int64]) -> float:
    """The exact test of McNemar for images in clusters, two-sided.

    If two models are equally good, the sum of the changes of a cluster is as often so many up as
    down. The test counts how many of all choices of signs give as large a sum over all clusters.

    Args:
        change: (N,) 1 where only the second model got the image right, -1 where only the first
            did, else 0.
        clusters: (N,) the cluster of each image.

    Returns:
        p in (0, 1]; 1 if no cluster changed. It is McNemar's if each cluster is one image, or as
        many copies of one.

    Source: Durkalski et al. 2003, https://doi.org/10.1002/sim.1438 (McNemar's test on cluster
    sums), with the distribution that flipped signs give in place of the normal one.

    >>> sign_flip(np.array([1, 1, 1, 0]), np.array([0, 0, 0, 1])), sign_flip(np.ones(6, int), np.arange(6))
    (1.0, 0.03125)
    """
    _, number = np.unique(clusters, return_inverse=True)
    sums = np.rint(np.bincount(number, weights=change)).astype(np.int64)
    sums = sums[sums != 0]
    if not len(sums):
        return 1.0
    sums //= np.gcd.reduce(sums)
    sizes, observed = np.abs(sums), abs(int(sums.sum()))
    if sizes.max() == 1:
        return mcnemar(int((sums > 0).sum()), int((sums < 0).sum()))
    most = int(sizes.sum())
    if most * len(sizes) > MOST_STEPS:
        return math.erfc(observed / math.sqrt(2 * float((sizes**2).sum())))
    chances = np.zeros(most + 1)  # of each sum of the clusters whose sign is positive
    chances[0] = 1.0
    for size in sizes.tolist():
        chances[size:] = (chances[size:] + chances[:-size]) / 2
        chances[:size] /= 2
    reached = np.abs(2 * np.arange(most + 1) - most) >= observed
    return float(min(chances[reached].sum(), 1.0))


def _correlation(both: float, gained: float, lost: float, neither: float) -> float:
    """The phi coefficient of the two models' answers, corrected for continuity."""
    product = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if not product:
        return 0.0
    numerator = float(both * neither - gained * lost)
    if numerator > 0:
        numerator = max(numerator - (both + gained + lost + neither) / 2, 0.0)
    return numerator / math.sqrt(product)
