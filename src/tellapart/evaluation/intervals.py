"""Error bars: Wilson's interval for a share, the stratified bootstrap for everything else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
CONFIDENCE = 0.95

# The noise of the images has moved a value by up to so many times what the noise of resampling
# moves it again. Where the effect grows with the size of the noise, as near the least that a
# distance can be, both noises together make sqrt(2) of what the images alone make; where it grows
# with the square, each makes as much as the other.
BIAS_REACH = 1 + math.sqrt(2)

# Draws held at once: some ten arrays of 8 bytes a draw stay under 100 MB.
CHUNK_DRAWS = 1_000_000

Statistic = Callable[[NDArray[np.int64], NDArray[np.float64]], NDArray[np.float64]]


def wilson(successes: float, count: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a share.

    It holds near 0 and 1, and for few images, where p ± 1.96 s does not.

    Args:
        successes: how many of `count` succeeded. It may be a fraction, since an effective number of
            images is one.
        count: how many were tried; 0 gives (0, 1).
        confidence: the chance that such an interval holds the true share, in (0, 1).

    Returns:
        low and high, fractions in [0, 1] with the observed share between them.

    Raises:
        ValueError: `successes` is not in [0, count].

    Source: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953; compared with its rivals by
    Newcombe 1998, https://pubmed.ncbi.nlm.nih.gov/9595616/ (table I holds the examples of the
    tests).

    >>> [round(bound, 4) for bound in wilson(81, 263)]
    [0.2553, 0.3662]
    """
    if count == 0:
        return 0.0, 1.0
    if not 0 <= successes <= count:
        raise ValueError(f"successes must be in [0, {count}], got {successes}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, shrink = successes / count, z * z / count
    centre = (share + shrink / 2) / (1 + shrink)
    half = z * math.sqrt(share * (1 - share) / count + shrink / (4 * count)) / (1 + shrink)
    # min and max: rounding must not cut off a share of exactly 0 or 1.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def bootstrap(
    statistic: Statistic,
    labels: NDArray[np.int64],
    clusters: NDArray[np.int64] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> NDArray[np.float64]:
    """The statistic on resamples of the images, drawn within each true class.

    From n images of a class n - 1 are drawn, and each weighs n / (n - 1). Drawing n would make the
    variance too small by that factor, which halves it for a class of two. Classes of one image are
    drawn as if they were one class. Of images in clusters, whole clusters are drawn, within the
    class that most of their images have.

    Args:
        statistic: rows (B, M) and weights (M,) or (B, M) → (B, K). Row b holds the images of one
            resample, and a weight is that of the image in the same column. It is called with a few
            resamples at a time.
        labels: (N,) the true classes. Numbering them differently changes no draw.
        clusters: (N,) the cluster of each image. Default: each image is its own cluster.
        seed: the same seed gives the same resamples.
        resamples: how many resamples are drawn.

    Returns:
        (resamples, K) values of the statistic.

    Raises:
        ValueError: there are fewer than two clusters, which cannot show how images vary.

    Source: Rao & Wu 1988, https://doi.org/10.1080/01621459.1988.10478591 (n - 1 draws within
    strata).

    >>> values = np.array([1.0, 2.0, 3.0, 4.0])
    >>> means = bootstrap(lambda rows, weights: (values[rows] @ weights / 4)[:, None], np.array([0, 0, 1, 1]))
    >>> means.shape, sorted(set(means[:, 0].tolist()))
    ((1000, 1), [2.0, 2.5, 3.0])
    """
    members = None if clusters is None else _members(labels, clusters)
    strata = labels if members is None else members.labels
    if len(strata) < 2:
        raise ValueError(f"a bootstrap needs at least 2 images, got {len(strata)}")
    order, sizes = _strata(strata)
    draws = np.maximum(sizes - 1, 1)
    starts, widths = np.repeat(np.cumsum(sizes) - sizes, draws), np.repeat(sizes, draws)
    weights = np.repeat(sizes / draws, draws)
    rng = np.random.Generator(np.random.Philox(key=seed))
    chunk = max(1, CHUNK_DRAWS // len(starts))
    values = []
    for done in range(0, resamples, chunk):
        uniform = rng.random((min(chunk, resamples - done), len(starts)))
        rows = order[starts + (uniform * widths).astype(np.int64)]
        drawn = (rows, weights) if members is None else members.weighed(rows, weights)
        values.append(statistic(*drawn))
    return np.concatenate(values)


def percentile_interval(
    value: float, resampled: NDArray[np.float64], confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The interval of the resampled values, centred on the measured value and corrected for bias.

    A resample carries the noise of the images twice. Noise moves some statistics in one direction
    only: it raises a calibration error in nearly every resample. The plain percentiles may then not
    even hold the value. The noise of the images has already moved the value, by up to BIAS_REACH
    times as much. The interval therefore reaches that much further back.

    Args:
        value: the statistic on the images themselves.
        resampled: (B,) the statistic on the resamples. NaN gives NaN.
        confidence: the share of the resamples between the two bounds, in (0, 1).

    Returns:
        low <= value <= high, in the unit of the statistic.

    >>> low, high = percentile_interval(0.7, np.linspace(0.6, 0.8, 1000), confidence=0.5)
    >>> round(low, 3), round(high, 3)
    (0.65, 0.75)
    """
    tail = (1 - confidence) / 2
    low, median, high = np.quantile(resampled, [tail, 0.5, 1 - tail])
    bias = median - value
    back, forth = BIAS_REACH * max(bias, 0), BIAS_REACH * min(bias, 0)
    return float(value - (median - low) - back), float(value + (high - median) - forth)


@dataclass(frozen=True)
class _Members:
    """The images of each of k clusters, which are numbered as they appear.

    Args:
        numbers: (N,) the number of each image's cluster, in [0, k).
        labels: (k,) the class that most images of a cluster have; of equals, the first to appear.
    """

    numbers: NDArray[np.int64]
    labels: NDArray[np.int64]

    def weighed(
        self, drawn: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Drawn clusters (B, M) and their weights (M,) → all images, and their weights, (B, N)."""
        cells = drawn + len(self.labels) * np.arange(len(drawn))[:, None]
        spread = np.broadcast_to(weights, drawn.shape).ravel()
        totals = np.bincount(cells.ravel(), weights=spread, minlength=len(drawn) * len(self.labels))
        weighed = totals.astype(np.float64).reshape(len(drawn), -1)[:, self.numbers]
        return np.broadcast_to(np.arange(len(self.numbers)), weighed.shape), weighed


def _members(labels: NDArray[np.int64], clusters: NDArray[np.int64]) -> _Members | None:
    """The clusters of the images; None if each image is its own."""
    _, first, numbers = np.unique(clusters, return_index=True, return_inverse=True)
    if len(first) == len(labels):
        return None
    numbers = np.argsort(np.argsort(first))[numbers]
    _, seen, counts = np.unique(
        np.stack([numbers, labels]), axis=1, return_index=True, return_counts=True
    )
    # Sorted by cluster, then from the most frequent class, then from the first to appear.
    order = np.lexsort((seen, -counts, numbers[seen]))
    _, places = np.unique(numbers[seen][order], return_index=True)
    return _Members(numbers, labels[seen][order][places])


def _strata(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows (N,) sorted by stratum, and the images of each stratum."""
    _, first, inverse, counts = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    # Named by its first image, not by its label, a stratum keeps its place when classes are
    # renumbered.
    strata = np.where(counts == 1, len(labels), first)[inverse]
    return np.argsort(strata, kind="stable"), np.unique(strata, return_counts=True)[1]
