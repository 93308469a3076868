"""How the accuracy grows with the number of images, and what twice as many would bring about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.metrics import Score, share

DRAWS = 1000
FEWEST_SIZES = 3  # of which a slope can be told
FITTED_SIZES = 3  # the largest ones: a curve flattens, so small sizes would promise too much
STEEPEST = 1.0  # errors at most halve where images double
# A curve flattens behind its end. On cifar10 and tiny-imagenet-20, with 200 to 480 images, the whole
# slope promised 1.2 to 1.5 times what came (benchmarks/growth.py).
FLATTENED, FLATTEST = 0.75, 0.5  # shares of the slope that are expected, and at least


@dataclass(frozen=True)
class LearningCurve:
    """The accuracy of heads that learned from ever more of the images.

    Args:
        sizes: how many images the heads learned from, ascending.
        accuracies: of each size, on images that the head was not fitted on.
        images: how many images the shipped model learned from.
        now: the accuracy that the curve expects of so many images, in [0, 1].
        doubled: the accuracy that it expects of twice as many, with its interval.
        gain: how much more that is, as a share with its interval.
    """

    sizes: tuple[int, ...]
    accuracies: tuple[Score, ...]
    images: int
    now: float
    doubled: Score
    gain: Score

    @property
    def line(self) -> str:
        """What twice as many images would bring about, in words."""
        low, value, high = (
            100 * number for number in (self.gain.low, self.gain.value, self.gain.high)
        )
        start = f"Twice as many images, {2 * self.images:,} instead of {self.images:,},"
        if high < 0.1:
            return f"{start} would bring about less than 0.1 points of accuracy."
        return (
            f"{start} would bring about {value:.1f} points of accuracy (95 % interval"
            f" {max(low, 0.0):.1f} to {high:.1f}): {100 * self.doubled.value:.1f} % instead of"
            f" {100 * self.now:.1f} %."
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values, which `kept_scores.learning_curve_from` reads."""
        return {
            "sizes": list(self.sizes),
            "accuracies": [score.as_json() for score in self.accuracies],
            "images": self.images,
            "now": self.now,
            "doubled": self.doubled.as_json(),
            "gain": self.gain.as_json(),
            "text": self.line,
        }


def fit_learning_curve(
    sizes: Sequence[int],
    correct: NDArray[np.bool_],
    clusters: NDArray[np.int64],
    images: int,
    seed: int = 0,
) -> LearningCurve | None:
    """A power law of the error over the number of images, with the uncertainty of its end.

    The law is fitted to the largest sizes alone. Clusters are drawn anew for the interval, and the
    errors of all sizes with them, so that what the sizes share cancels out. A curve flattens behind
    its end. So three quarters of the slope are expected, and the bounds take half of it and all.

    Args:
        sizes: S numbers of images that heads learned from, ascending.
        correct: (S, N) whether each head was right about each image, none of which it learned from.
        clusters: (N,) the cluster of each image.
        images: how many images the shipped model learned from.
        seed: decides the draws.

    Returns:
        None where the sizes are too few.

    Source: Hestness et al. 2017, https://arxiv.org/abs/1712.00409 (power laws); Viering & Loog 2022,
    https://arxiv.org/abs/2103.10948 (where they end).

    >>> wrong = np.array([[16, 8, 4]]).T > np.arange(100)
    >>> curve = fit_learning_curve([100, 200, 400], ~wrong, np.arange(100), 400)
    >>> round(curve.gain.value, 3), curve.sizes
    (0.017, (100, 200, 400))
    """
    if len(sizes) < FEWEST_SIZES or not correct.shape[1]:
        return None
    names, cluster_of = np.unique(clusters, return_inverse=True)
    # (S, K) mistakes of each size in each cluster
    wrong = np.stack([np.bincount(cluster_of, ~row) for row in correct]).astype(float)
    counts = np.bincount(cluster_of)
    rng = np.random.Generator(np.random.Philox(key=seed))
    weights = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
    drawn, slopes = _fits(sizes, weights @ wrong.T, weights @ counts, images)
    (now,), (slope,) = _fits(sizes, wrong.sum(axis=1)[None], np.array([counts.sum()]), images)
    flattest, steepest = drawn * 2.0 ** (FLATTEST * slopes), drawn * 2.0**slopes
    doubled = now * 2.0 ** (FLATTENED * slope)
    low, high = np.quantile(drawn - flattest, 0.025), np.quantile(drawn - steepest, 0.975)
    count = correct.shape[1]
    return LearningCurve(
        sizes=tuple(sizes),
        accuracies=tuple(share(row, clusters) for row in correct),
        images=images,
        now=float(1 - now),
        doubled=Score(
            float(1 - doubled),
            float(1 - np.quantile(flattest, 0.975)),
            float(1 - np.quantile(steepest, 0.025)),
            count,
            len(names),
        ),
        gain=Score(float(now - doubled), float(low), float(high), count, len(names)),
    )


def _fits(
    sizes: Sequence[int], wrong: NDArray[np.floating], counts: NDArray[np.int64], images: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(B,) errors at the shipped size, and (B,) slopes of their logarithm, 0 or less.

    Args:
        sizes: S, ascending.
        wrong: (B, S) wrong answers of each draw.
        counts: (B,) answers of each draw.
        images: the shipped size.
    """
    # Half an error more keeps the logarithm of a head without mistakes finite.
    used = wrong[:, -FITTED_SIZES:] + 0.5
    logs = np.log(used / (counts[:, None] + 1))
    x = np.log(np.array(sizes[-FITTED_SIZES:], np.float64))
    weight = used / used.sum(axis=1, keepdims=True)  # the variance of a log count is 1 / count
    mean_x = (weight * x).sum(axis=1, keepdims=True)
    mean_y = (weight * logs).sum(axis=1, keepdims=True)
    slope = (weight * (x - mean_x) * (logs - mean_y)).sum(axis=1) / (
        weight * (x - mean_x) ** 2
    ).sum(axis=1)
    slope = np.clip(slope, -STEEPEST, 0.0)
    at = mean_y[:, 0] + slope * (math.log(images) - mean_x[:, 0])
    return np.exp(np.minimum(at, 0.0)), slope
