"""Shortcuts: how well a cue without content tells the classes apart, against chance and the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.metrics import Score, measure
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.significance import interval_p

# The share of the way from chance to the model that a cue must go for sure. Sizes, light and names
# are rarely the same for all classes, and a cue that knows a little of them does little harm.
LEAST_WAY = 0.25
# Colour, detail and so bytes are also content: snow and sand. So they must go farther.
LEAST_WAY_OF_CONTENT = 0.6
CONTENT = ("bytes", "colour", "sharpness")
MOST_P = 0.01  # of a cue against chance, after the correction for the number of cues
BINS = 8  # of a number, as quantiles
MOST_VALUES = 24  # of a cue that have a column each; the rest share one
LEAST_IMAGES = 5  # with a value that has a column of its own


@dataclass(frozen=True)
class Shortcut:
    """How well one group of cues tells the classes apart.

    Args:
        cue: what it is, for example "size".
        accuracy: balanced accuracy of a small model on the cue alone, on images that it did not see.
        chance: the balanced accuracy of guessing.
        model: the balanced accuracy of the real model on the same images.
        p: of an accuracy as high by chance, corrected for the number of cues.
        found: whether it counts as a shortcut.
    """

    cue: str
    accuracy: Score
    chance: float
    model: float
    p: float
    found: bool

    @property
    def way(self) -> float:
        """The share of the way from chance to the model, in [0, 1]."""
        return _way(self.accuracy.value, self.chance, self.model)

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "cue": self.cue,
            "balanced_accuracy": self.accuracy.value,
            "low": self.accuracy.low,
            "high": self.accuracy.high,
            "chance": self.chance,
            "model": self.model,
            "p": self.p,
            "shortcut": self.found,
        }


def judge_cue(
    cue: str, predictions: Predictions, model: float, looks: int, seed: int = 0
) -> Shortcut:
    """Whether a cue is a shortcut.

    Balanced accuracy is measured, so that classes of unequal size give nothing away. Its interval
    counts copies and groups once.

    Args:
        cue: what it is.
        predictions: of the small model on the cue, for images that it did not see.
        model: the balanced accuracy of the real model on the same images.
        looks: how many cues are judged.
        seed: of the resamples.
    """
    accuracy = measure(predictions, seed=seed).balanced_accuracy
    chance = 1 / len(np.unique(predictions.labels))
    p = min(
        1.0,
        looks * interval_p(accuracy.value - chance, accuracy.low - chance, accuracy.high - chance),
    )
    least = LEAST_WAY_OF_CONTENT if cue in CONTENT else LEAST_WAY
    found = p <= MOST_P and accuracy.value > chance and _way(accuracy.low, chance, model) >= least
    return Shortcut(cue, accuracy, chance, model, p, found)


def _way(accuracy: float, chance: float, model: float) -> float:
    # A model that is no better than the cue knows nothing that the cue does not know.
    best = max(model, accuracy)
    return float(np.clip((accuracy - chance) / (best - chance), 0, 1)) if best > chance else 0.0


def in_columns(
    numbers: list[NDArray[np.float64]], words: list[NDArray[np.object_]]
) -> NDArray[np.float32]:
    """(N, K) of zeros and ones: each number by its quantile and its frequent values, each word as
    it is.

    >>> in_columns([], [np.array(["a"] * 5 + ["b"] * 5, object)]).sum(axis=0).tolist()
    [5.0, 5.0]
    """
    columns: list[NDArray[np.bool_]] = []
    for values in numbers:
        known = np.isfinite(values)
        columns += _equal(np.where(known, np.round(values, 6), np.nan).astype(str).astype(object))
        if known.any():
            cuts = np.unique(np.quantile(values[known], np.arange(1, BINS) / BINS))
            columns += [known & (values > cut) for cut in cuts]
    for column in words:
        columns += _equal(column)
    columns = [column for column in columns if 0 < np.count_nonzero(column) < len(column)]
    if not columns:
        count = len(numbers[0]) if numbers else len(words[0])
        return np.zeros((count, 0), np.float32)
    return np.stack(columns, axis=1).astype(np.float32)


def _equal(column: NDArray[np.object_]) -> list[NDArray[np.bool_]]:
    """Whether the value is this one, for each frequent value."""
    values, counts = np.unique(column.astype(str), return_counts=True)
    if len(values) < 2:
        return []
    frequent = np.argsort(-counts, kind="stable")[:MOST_VALUES]
    return [
        column.astype(str) == values[place] for place in frequent if counts[place] >= LEAST_IMAGES
    ]
