"""The metrics of a cross-validation: of each fold, their mean and spread, and of all answers
together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.metrics import Metrics, Score, measure
from tellapart.evaluation.predictions import Predictions

# The numbers that have a mean and a spread.
MEASURED = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier", "ece")


@dataclass(frozen=True)
class FoldScore:
    """The metrics of one fold: of its images, by a model that was not trained on them.

    Args:
        repeat: which repeat, counted from 1.
        fold: which fold, counted from 1.
        metrics: metrics of the images that the fold held out.
        facts: how the fold's model was trained, as plain values.
    """

    repeat: int
    fold: int
    metrics: Metrics
    facts: Mapping[str, Any]

    @property
    def count(self) -> int:
        """How many images the fold held out."""
        return self.metrics.accuracy.count

    def as_json(self) -> dict[str, Any]:
        """`{"repeat", "fold", "count", "accuracy": {"value", "low", "high", "count"}, …}`."""
        scores = {name: getattr(self.metrics, name).as_json() for name in MEASURED}
        return {
            "repeat": self.repeat,
            "fold": self.fold,
            "count": self.count,
            **scores,
            **self.facts,
        }


@dataclass(frozen=True)
class FoldScores:
    """The metrics of all folds.

    Args:
        each: the folds of the first repeat, then those of the next.
        pooled: an entry a repeat: the metrics of the answers of all its folds, every image once.
        folds: how many folds the images were divided into.
        seed: the seed that divided them.
    """

    each: tuple[FoldScore, ...]
    pooled: tuple[Metrics, ...]
    folds: int
    seed: int

    @property
    def repeats(self) -> int:
        """How many times the images were divided."""
        return len(self.pooled)

    @property
    def mean(self) -> dict[str, float]:
        """Metric → its mean over all folds."""
        return {name: _mean(values) for name, values in self._values.items()}

    @property
    def spread(self) -> dict[str, float]:
        """Metric → its standard deviation over all folds.

        It says how far the score of a single split may be off.
        """
        return {name: _deviation(values) for name, values in self._values.items()}

    @property
    def together(self) -> dict[str, Score]:
        """Metric → its value over all answers together, with an interval.

        With several repeats it is the mean of their values and of their bounds. An image that is
        answered five times is still one image, so repeats do not narrow the interval. The interval
        says how the value varies with the test images. No unbiased estimate exists of how it varies
        with the training images.

        Source: Bengio & Grandvalet 2004, https://www.jmlr.org/papers/v5/grandvalet04a.html.
        """
        return {
            name: _average([getattr(metrics, name) for metrics in self.pooled]) for name in MEASURED
        }

    @property
    def _values(self) -> dict[str, list[float]]:
        return {
            name: [getattr(fold.metrics, name).value for fold in self.each] for name in MEASURED
        }

    def of_repeat(self, repeat: int) -> list[FoldScore]:
        """The folds of one repeat, which is counted from 1."""
        return [fold for fold in self.each if fold.repeat == repeat]

    def as_json(self) -> dict[str, Any]:
        """Plain values, null where there is no number. "pooled" means all answers together."""
        return {
            "split": "out-of-fold",
            "folds": self.folds,
            "repeats": self.repeats,
            "seed": self.seed,
            "count": self.together["accuracy"].count,
            "each": [fold.as_json() for fold in self.each],
            "mean": _plain(self.mean),
            "spread": _plain(self.spread),
            "pooled": {name: score.as_json() for name, score in self.together.items()},
            "each_repeat": [self._repeat_as_json(repeat) for repeat in range(1, self.repeats + 1)],
        }

    def _repeat_as_json(self, repeat: int) -> dict[str, Any]:
        scores = FoldScores(
            tuple(self.of_repeat(repeat)), self.pooled[repeat - 1 : repeat], self.folds, self.seed
        )
        return {
            "repeat": repeat,
            "mean": _plain(scores.mean),
            "spread": _plain(scores.spread),
            "pooled": scores.pooled[0].as_json(),
        }


def score_folds(
    answers: Sequence[Predictions],
    fold_of: Sequence[NDArray[np.int64]],
    facts: Mapping[tuple[int, int], Mapping[str, Any]],
    *,
    folds: int,
    seed: int,
    class_counts: NDArray[np.int64],
) -> FoldScores:
    """Measure each fold, and each repeat's folds together.

    Args:
        answers: an entry a repeat, with a prediction an image, by the model of the fold that held
            it out.
        fold_of: an entry a repeat, (N,) the fold that held each image out, in [0, folds).
        facts: (repeat, fold), both counted from 0, → what is recorded about that fold's model.
        folds: how many folds the images were divided into.
        seed: the seed that divided them; it also decides the bootstrap.
        class_counts: (C,) images of each class among all that are divided. The largest class is the
            baseline.
    """

    def measured(predictions: Predictions) -> Metrics:
        return measure(predictions, seed=seed, class_counts=class_counts)

    each = [
        FoldScore(
            repeat + 1,
            fold + 1,
            measured(predictions.rows(held == fold)),
            facts.get((repeat, fold), {}),
        )
        for repeat, (predictions, held) in enumerate(zip(answers, fold_of, strict=True))
        for fold in range(folds)
    ]
    return FoldScores(tuple(each), tuple(map(measured, answers)), folds, seed)


def _average(scores: Sequence[Score]) -> Score:
    value, low, high = (
        _mean([getattr(score, name) for score in scores]) for name in ("value", "low", "high")
    )
    return Score(value, low, high, scores[0].count, scores[0].clusters)


def _mean(values: Sequence[float]) -> float:
    """The mean of the values that are finite."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _deviation(values: Sequence[float]) -> float:
    """The standard deviation of the values that are finite; NaN for fewer than two."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.std(finite, ddof=1)) if len(finite) > 1 else math.nan


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
