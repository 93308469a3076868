"""When the model may say "I don't know": the thresholds, the decision, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.metrics import Score, share
from tellapart.evaluation.predictions import Predictions

DECISIONS = ("answered", "unsure", "unfamiliar")

# Fewer val images than this cannot tell an accuracy of 95 % from one of 80 %.
FEWEST_IMAGES = 20
# An answer more likely wrong than right is no answer.
LOWEST_CONFIDENCE = 0.5


def fit_confidence_threshold(predictions: Predictions, target_accuracy: float = 0.95) -> float:
    """The lowest confidence above which the answers reach a target accuracy.

    Args:
        predictions: calibrated predictions of val.
        target_accuracy: how often an answer that is given should be right, in (0, 1].

    Returns:
        A confidence in [0.5, 1], or 0 for a model of one class. The images with at least this
        confidence reach the target. It is 0.5 if all images together reach it. With fewer than 20
        images, or if no confidence reaches the target, it is `target_accuracy` itself (at least
        0.5). The calibrated confidence is then the promise.

    Raises:
        ValueError: if `target_accuracy` is not in (0, 1].

    Source: El-Yaniv & Wiener 2010, https://jmlr.org/papers/v11/el-yaniv10a.html (the risk-coverage
    trade-off).

    >>> right = np.linspace(0.95, 0.5, 30, dtype=np.float32)  # 30 images, the 10 least confident are wrong
    >>> probs, labels = np.stack([right, 1 - right], axis=1), np.repeat([0, 1], [20, 10])
    >>> val = Predictions(probs, labels, tuple(f"{row}.jpg" for row in range(30)), ("cat", "dog"))
    >>> round(fit_confidence_threshold(val, 0.99), 3), round(float(right[19]), 3)
    (0.655, 0.655)
    """
    if not 0 < target_accuracy <= 1:
        raise ValueError(f"target_accuracy must be in (0, 1], got {target_accuracy}")
    lowest = LOWEST_CONFIDENCE if len(predictions.classes) > 1 else 0.0
    if len(predictions) < FEWEST_IMAGES:
        return max(target_accuracy, lowest)
    order = np.argsort(-predictions.confidence, kind="stable")
    confidence, correct = predictions.confidence[order], predictions.correct[order]
    accuracy = np.cumsum(correct) / np.arange(1, len(order) + 1)
    # Images of equal confidence are answered together or not at all: only the last of them may end
    # the answers.
    ends = np.append(confidence[1:] != confidence[:-1], True)
    enough = np.flatnonzero(ends & (accuracy >= target_accuracy))
    if not enough.size:
        return max(target_accuracy, lowest)
    return max(float(confidence[enough[-1]]), lowest) if enough[-1] < len(order) - 1 else lowest


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
