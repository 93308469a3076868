"""What copies and groups leave of a sample: how many independent images the answers are worth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# One answer that differs tells little about how alike the answers of a cluster are. The estimate
# therefore begins with this much of a cluster whose answers all agree and are off by 1. Simulated
# intervals hold the truth in 93 to 98 of 100 with it; without it, in 84 where groups are unequal
# and answers mostly right.
PRIOR = 0.2

Outcomes = NDArray[np.bool_] | NDArray[np.int64]


def design_effect(outcomes: Outcomes, clusters: NDArray[np.int64]) -> float:
    """By how much clusters raise the variance of a mean, against as many independent images.

    Two estimates are made, and the larger counts. The first is the variance of the mean as a ratio
    of cluster sums, each raised as a jackknife does, over the variance that independent images
    would have. It assumes nothing, but is too low where few clusters decide. The second assumes
    that any two images of a cluster are equally alike.

    Args:
        outcomes: (N,) what is averaged: whether an image succeeded, or the difference of two such.
        clusters: (N,) the cluster of each image.

    Returns:
        At least 1. It is 1 if each image is its own cluster, and m if each cluster holds m copies.
        If all outcomes are equal, it is the mean size of the cluster that an image lies in.

    Source: Rao & Scott 1992, https://doi.org/10.2307/2532311 (design effects of clustered shares);
    Bell & McCaffrey 2002, https://www150.statcan.gc.ca/n1/en/catalogue/12-001-X20020029058 (the
    jackknife's correction); Kish 1965, "Survey Sampling", section 5.4 (likeness within clusters).

    >>> design_effect(np.array([1, 0, 1, 1]), np.array([0, 1, 2, 3]))
    1.0
    >>> round(design_effect(np.repeat([1, 0, 1, 1], 5), np.repeat([0, 1, 2, 3], 5)), 6)
    5.0
    """
    count = len(outcomes)
    _, number, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    if len(sizes) == count:
        return 1.0
    crowding = float((sizes.astype(np.float64) ** 2).sum() / count)
    residuals = outcomes - outcomes.mean()
    total = float((residuals**2).sum())
    if not total or len(sizes) == 1:
        return crowding
    sums = np.bincount(number, weights=residuals).astype(np.float64)
    raised = sums * (1 - 1 / len(sizes)) / (1 - sizes / count)
    prior = PRIOR * crowding
    by_sums = float(((raised**2).sum() + crowding * prior) / (total + prior))
    return max(by_sums, 1 + (crowding - 1) * _likeness(sums, sizes, total), 1.0)


def effective_count(outcomes: Outcomes, clusters: NDArray[np.int64]) -> float:
    """How many independent images would measure the mean of the outcomes as well as these do.

    Args:
        outcomes: (N,) what is averaged: whether an image succeeded, or the difference of two such.
        clusters: (N,) the cluster of each image.

    Returns:
        A number in [0, N]: N if each image is its own cluster, the number of clusters if each holds
        as many copies of one image.

    >>> round(effective_count(np.repeat([True, False, True], 5), np.repeat([0, 1, 2], 5)), 6)
    3.0
    """
    return len(outcomes) / design_effect(outcomes, clusters) if len(outcomes) else 0.0


def effective_by_class(
    outcomes: Outcomes, labels: NDArray[np.int64], clusters: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The effective number of images of each class that has images, in class order.

    >>> effective_by_class(np.array([True, False, True, True]), np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]))
    array([2., 1.])
    """
    _, counts = np.unique(labels, return_counts=True)
    if len(np.unique(clusters)) == len(clusters):
        return counts.astype(np.float64)
    places = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    return np.array([effective_count(outcomes[rows], clusters[rows]) for rows in places])


def _likeness(sums: NDArray[np.float64], sizes: NDArray[np.int64], total: float) -> float:
    """The intraclass correlation in [0, 1], by the analysis of variance.

    Args:
        sums: (k,) the sum of the residuals of each cluster.
        sizes: (k,) the images of each cluster.
        total: the sum of the squared residuals.
    """
    count, k = int(sizes.sum()), len(sizes)
    squares = float((sums**2 / sizes).sum())
    between, within = squares / (k - 1), max(total - squares, 0.0) / (count - k)
    size = (count - float((sizes.astype(np.float64) ** 2).sum()) / count) / (k - 1)
    return min(max((between - within) / (between + (size - 1) * within), 0.0), 1.0)
