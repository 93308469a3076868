"""When the model may say "I don't know": the thresholds, the decision, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.metrics import Score, share
from tellapart.evaluation.predictions import Predictions

DECISIONS = ("answered", "unsure", "unfamiliar")


def fit_unfamiliarity_scale(distances: NDArray[np.floating], quantile: float = 0.99) -> float:
    """The distance beyond which an image is unlike the training images.

    Unfamiliarity is a distance divided by this scale.

    Args:
        distances: (N,) distances of val images to the training images, 0 or more.
        quantile: the share of val images that must stay familiar, in [0, 1]. Between two images the
            farther one decides; of up to 100 images the farthest decides by default.

    Returns:
        A distance above 0, in the unit of `distances`.

    Raises:
        ValueError: if there is no distance, or one is not finite.

    >>> fit_unfamiliarity_scale(np.array([1.0, 2.0, 3.0]), quantile=0.6)
    3.0
    """
    if not distances.size or not np.isfinite(distances).all():
        raise ValueError(f"distances must be finite and at least one, got {distances.size}")
    scale = float(np.quantile(distances, quantile, method="higher"))
    return max(
        scale, float(np.finfo(np.float32).eps)
    )  # copies of training images are all at distance 0


def decide(
    probs: NDArray[np.floating], unfamiliarity: NDArray[np.floating] | None, threshold: float | None
) -> NDArray[np.str_]:
    """Decide for each image whether it is answered. NaN never leads to an answer.

    Args:
        probs: (N, C) probabilities; rows sum to 1.
        unfamiliarity: (N,). An image above 1 is "unfamiliar", however sure the model is. None means
            that it was not measured.
        threshold: an image with a confidence below it is "unsure". None means no threshold.

    Returns:
        (N,) str, each one of DECISIONS.

    >>> decide(np.array([[0.9, 0.1], [0.6, 0.4], [1.0, 0.0]]), np.array([0.5, 0.5, 1.5]), 0.8).tolist()
    ['answered', 'unsure', 'unfamiliar']
    """
    none = np.zeros(len(probs), bool)
    unsure = none if threshold is None else ~(probs.max(axis=1, initial=0) >= threshold)
    unfamiliar = none if unfamiliarity is None else ~(unfamiliarity <= 1)
    return np.select([unfamiliar, unsure], ["unfamiliar", "unsure"], "answered")


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


def selective(predictions: Predictions, threshold: float | None) -> Selective:
    """Coverage and accuracy when `decide` chooses what is answered.

    Args:
        predictions: predictions of the split to report on, with unfamiliarity if it was measured.
        threshold: what `fit_confidence_threshold` found on val. None answers all that is familiar.

    >>> probs = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
    >>> print(selective(Predictions(probs, np.array([0, 1]), ("a.jpg", "b.jpg"), ("cat", "dog")), 0.8).coverage)
    50.0 % (9.5 to 90.5, 2 images)
    """
    decisions = decide(predictions.probs, predictions.unfamiliarity, threshold)
    answered = decisions == "answered"
    clusters = predictions.clusters
    return Selective(
        coverage=share(answered, clusters),
        accuracy_answered=share(predictions.correct[answered], clusters[answered]),
        unfamiliar=int((decisions == "unfamiliar").sum()),
    )
