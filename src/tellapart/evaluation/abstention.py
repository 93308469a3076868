"""When the model may say "I don't know": the thresholds, the decision, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.metrics import Score, proportion
from tellapart.evaluation.predictions import Predictions

DECISIONS = ("answered", "unsure", "unfamiliar")

# Fewer val images than this cannot tell 95 % right from 80 % right.
FEWEST_IMAGES = 20
# An answer more likely wrong than right is no answer.
LOWEST_CONFIDENCE = 0.5


def fit_confidence_threshold(predictions: Predictions, target_accuracy: float = 0.95) -> float:
    """The lowest confidence from which on the answers are right often enough.

    Args:
        predictions: of val, calibrated.
        target_accuracy: in (0, 1], how often an answer that is given should be right.

    Returns:
        In [0.5, 1], or 0 for a model of one class. The lowest confidence at which the images with
        at least that confidence are right `target_accuracy` of the time; 0.5 where all images
        together are. With fewer than 20 images, or where no confidence reaches the target,
        `target_accuracy` itself (at least 0.5): then the calibrated confidence is the promise.

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
    """The distance beyond which an image is unlike the training images: unfamiliarity = distance /
    scale.

    Args:
        distances: (N,) of val images to the training images, 0 or more.
        quantile: in [0, 1], the share of val images that must stay familiar; between two images the
            farther one decides. Up to 100 images that is the farthest of all.

    Returns:
        Above 0, in the unit of the distances.

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
    """What becomes of each image: one of DECISIONS. A number that is NaN never leads to an answer.

    Args:
        probs: (N, C), rows sum to 1.
        unfamiliarity: (N,), above 1 the image is `unfamiliar`, however sure the model is; None if
            not measured.
        threshold: a confidence below it is `unsure`; None if there is none.

    Returns:
        (N,) str.

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
        unfamiliar: images not answered because they are unlike the training images.
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
        predictions: of the split to report on, with its unfamiliarity if that was measured.
        threshold: as `fit_confidence_threshold` found it on val; None answers whatever is familiar.

    >>> probs = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
    >>> print(selective(Predictions(probs, np.array([0, 1]), ("a.jpg", "b.jpg"), ("cat", "dog")), 0.8).coverage)
    50.0 % (9.5 to 90.5, 2 images)
    """
    decisions = decide(predictions.probs, predictions.unfamiliarity, threshold)
    answered = decisions == "answered"
    count = int(answered.sum())
    return Selective(
        coverage=proportion(count, len(predictions)),
        accuracy_answered=proportion(int(predictions.correct[answered].sum()), count),
        unfamiliar=int((decisions == "unfamiliar").sum()),
    )
