"""When the model may say "I don't know": the thresholds, the decision, and what they cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.metrics import Score, share
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.rule import AnswerRule


def fit_unfamiliarity_scale(
    distances: NDArray[np.floating],
    quantile: float = 0.99,
    clusters: NDArray[np.int64] | None = None,
) -> float:
    """The distance beyond which an image is unlike the training images.

    Unfamiliarity is a distance divided by this scale. Of n images the ⌈(n + 1) · quantile⌉-th
    nearest decides. So a new image of the same kinds stays familiar with at least the chance
    `quantile`, whatever the distances are like. Fewer than quantile / (1 − quantile) images, 99 by
    default, cannot promise that much. Then the farthest decides, and `familiar_promise` says what
    it promises.

    Args:
        distances: (N,) distances of images that were held out, 0 or more.
        quantile: the share of images that must stay familiar, in [0, 1].
        clusters: (N,) the cluster of each image. A cluster counts once, by its farthest image. None
            means that each image is its own.

    Returns:
        A distance above 0, in the unit of `distances`.

    Raises:
        ValueError: if there is no distance, or one is not finite.

    Source: Vovk et al. 2005, Algorithmic Learning in a Random World (conformal prediction); Bates et
    al. 2023, https://arxiv.org/abs/2104.08279 (for outliers).

    >>> fit_unfamiliarity_scale(np.array([1.0, 2.0, 3.0]), quantile=0.5)
    2.0
    """
    if not distances.size or not np.isfinite(distances).all():
        raise ValueError(f"distances must be finite and at least one, got {distances.size}")
    ordered = np.sort(_farthest(distances, clusters))
    scale = float(ordered[_rank(len(ordered), quantile) - 1])
    return max(
        scale, float(np.finfo(np.float32).eps)
    )  # copies of training images are all at distance 0


def familiar_promise(count: int, quantile: float = 0.99) -> float:
    """The chance that a new image of the same kinds counts as familiar, at least.

    Args:
        count: the images, or clusters, that `fit_unfamiliarity_scale` had.
        quantile: the share that was asked for.

    >>> [round(familiar_promise(count), 3) for count in (9, 99, 1000)]
    [0.9, 0.99, 0.99]
    """
    return min(quantile, _rank(count, quantile) / (count + 1)) if count else 0.0


def _rank(count: int, quantile: float) -> int:
    # Rounding may lift 99.0 to 99.00000000000001, which must not become 100.
    rank = math.ceil((count + 1) * quantile - 1e-9)
    return min(max(rank, 1), count)


def _farthest(
    distances: NDArray[np.floating], clusters: NDArray[np.int64] | None
) -> NDArray[np.floating]:
    """The largest distance of each cluster."""
    if clusters is None:
        return distances
    names, places = np.unique(clusters, return_inverse=True)
    farthest = np.full(len(names), -np.inf)
    np.maximum.at(farthest, places, distances)
    return farthest


@dataclass(frozen=True)
class Selective:
    """What abstaining costs and what it buys.

    Args:
        coverage: the share of the images that is answered.
        accuracy_answered: the share of those answers that is right.
        unfamiliar: how many images are not answered because they are unlike the training images.
    """

    coverage: Score
    accuracy_answered: Score
    unfamiliar: int

    def as_json(self) -> dict[str, Any]:
        """A plain dict, null where a number does not exist."""
        scores = {
            "coverage": self.coverage.as_json(),
            "accuracy_answered": self.accuracy_answered.as_json(),
        }
        return {**scores, "unfamiliar": self.unfamiliar}


def selective(predictions: Predictions, rule: AnswerRule) -> Selective:
    """Coverage and accuracy of what a rule answers.

    Args:
        predictions: predictions of the split to report on, with unfamiliarity if it was measured.
        rule: says what is answered.

    >>> probs = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
    >>> predictions = Predictions(probs, np.array([0, 1]), ("a.jpg", "b.jpg"), ("cat", "dog"))
    >>> print(selective(predictions, AnswerRule(0.8)).coverage)
    50.0 % (9.5 to 90.5, 2 images)
    """
    decisions = rule.decide(predictions.probs, predictions.unfamiliarity)
    answered = decisions == "answered"
    clusters = predictions.clusters
    return Selective(
        coverage=share(answered, clusters),
        accuracy_answered=share(predictions.correct[answered], clusters[answered]),
        unfamiliar=int((decisions == "unfamiliar").sum()),
    )
