"""The numbers of one epoch: plain functions of predictions, by name. They have no intervals, so
they are quick.

`metrics.measure` gives the same numbers with their intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.formulas import (
    ClassCounts,
    class_counts,
    f1_ratio,
    image_losses,
    ratio,
    top5_hits,
)
from tellapart.evaluation.predictions import Predictions

Metric = Callable[[Predictions], float]


def accuracy(predictions: Predictions) -> float:
    """The share of right answers; NaN without images."""
    return float(predictions.correct.mean()) if len(predictions) else math.nan


def recall(predictions: Predictions) -> float:
    """The mean share of a class that was found; also called balanced accuracy."""
    counts = class_counts(predictions)
    return _mean(ratio(counts.right, counts.support), counts)


def precision(predictions: Predictions) -> float:
    """The mean share of right answers among those that name a class.

    A class that is never the answer counts as 0.
    """
    counts = class_counts(predictions)
    return _mean(ratio(counts.right, counts.called), counts)


def f1(predictions: Predictions) -> float:
    """The mean over the classes of the harmonic mean of recall and precision."""
    counts = class_counts(predictions)
    return _mean(f1_ratio(counts.right, counts.support, counts.called), counts)


def loss(predictions: Predictions) -> float:
    """Mean of -ln(probability of the label), in nats; probabilities below 1.2e-7 count as that."""
    return float(image_losses(predictions).mean()) if len(predictions) else math.nan


def top5_accuracy(predictions: Predictions) -> float:
    """The share of images whose label is among the five likeliest classes.

    Of equal probabilities the first class counts as the likelier.
    """
    return float(top5_hits(predictions).mean()) if len(predictions) else math.nan


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
    """Whether a metric has improved. NaN is never better, and any number is better than NaN.

    Args:
        name: the metric; names that end in "loss" or "error" improve downwards.
        new: its value now.
        old: its best value so far, or None.

    >>> better("loss", 0.2, 0.3), better("my_error", 0.2, 0.3), better("accuracy", 0.2, 0.3)
    (True, True, False)
    """
    if math.isnan(new):
        return False
    if old is None or math.isnan(old):
        return True
    return new < old if name.endswith(LOWER_IS_BETTER) else new > old


def _mean(values: NDArray[np.float64], counts: ClassCounts) -> float:
    """The mean over the classes that have images."""
    present = counts.support > 0
    return float(values[present].mean()) if present.any() else math.nan
