"""The numbers of one epoch: plain functions of predictions, by name. Without error bars, so quick.

`metrics.measure` gives the same numbers with their intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.predictions import Predictions

Metric = Callable[[Predictions], float]


def accuracy(predictions: Predictions) -> float:
    """The share of right answers; NaN without images."""
    return float(predictions.correct.mean()) if len(predictions) else math.nan


def recall(predictions: Predictions) -> float:
    """The mean share of a class that was found; also called balanced accuracy."""
    support, _, right = _counts(predictions)
    return _mean(right / np.maximum(support, 1), support)


def precision(predictions: Predictions) -> float:
    """The mean share of the images called a class that are it; 0 for a class that was never the
    answer.
    """
    support, called, right = _counts(predictions)
    return _mean(right / np.maximum(called, 1), support)


def f1(predictions: Predictions) -> float:
    """The mean over the classes of the harmonic mean of recall and precision."""
    support, called, right = _counts(predictions)
    return _mean(2 * right / np.maximum(support + called, 1), support)


def loss(predictions: Predictions) -> float:
    """Mean of -ln(probability of the label), in nats; probabilities below 1.2e-7 count as that."""
    of_label = predictions.probs[np.arange(len(predictions)), predictions.labels].astype(np.float64)
    return (
        float(-np.log(np.maximum(of_label, np.finfo(np.float32).eps)).mean())
        if len(predictions)
        else math.nan
    )


def top5_accuracy(predictions: Predictions) -> float:
    """The share whose label is among the five likeliest classes; of equals the first is the
    likelier.
    """
    probs, labels = predictions.probs, predictions.labels[:, None]
    of_label = np.take_along_axis(probs, labels, axis=1)
    ahead = (probs > of_label) | ((probs == of_label) & (np.arange(probs.shape[1]) < labels))
    return float((ahead.sum(axis=1) < 5).mean()) if len(predictions) else math.nan


# Means over classes are over those that have images.
METRICS: Mapping[str, Metric] = {
    "loss": loss,
    "accuracy": accuracy,
    "balanced_accuracy": recall,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "top5_accuracy": top5_accuracy,
}

LOWER_IS_BETTER = ("loss", "error")  # how the names of such metrics end


def better(name: str, new: float, old: float | None) -> bool:
    """Whether a metric has improved. What is no number never has, and any number is better than
    none.

    >>> better("loss", 0.2, 0.3), better("my_error", 0.2, 0.3), better("accuracy", 0.2, 0.3)
    (True, True, False)
    """
    if math.isnan(new):
        return False
    if old is None or math.isnan(old):
        return True
    return new < old if name.endswith(LOWER_IS_BETTER) else new > old


def _counts(
    predictions: Predictions,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(C,) images of each class, answers that named it, and both at once."""
    labels, predicted, most = predictions.labels, predictions.predicted, len(predictions.classes)
    chosen = (labels, predicted, labels[labels == predicted])
    support, called, right = (np.bincount(one, minlength=most) for one in chosen)
    return support, called, right


def _mean(values: NDArray[np.float64], support: NDArray[np.int64]) -> float:
    return float(values[support > 0].mean()) if support.any() else math.nan
