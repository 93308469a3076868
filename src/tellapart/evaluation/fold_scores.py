"""What cross-validation measured: a score for each fold, their mean and spread, and all answers
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
    """One fold: what a model that never saw its images said of them.

    Args:
        repeat, fold: both from 1.
        metrics: of the images that the fold held out.
        facts: how its model was made, as plain values.
    """

    repeat: int
    fold: int
    metrics: Metrics
    facts: Mapping[str, Any]

    @property
    def count(self) -> int:
        """Images that the fold held out."""
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
    """All folds.

    Args:
        each: the folds of the first repeat, then those of the next.
        pooled: of each repeat, the metrics of all its folds' answers together: every image once.
        folds: in how many the images were divided.
        seed: of the division.
    """

    each: tuple[FoldScore, ...]
    pooled: tuple[Metrics, ...]
    folds: int
    seed: int

    @property
    def repeats(self) -> int:
        """How often the images were divided anew."""
        return len(self.pooled)

    @property
    def mean(self) -> dict[str, float]:
        """Metric → the mean over all folds."""
        return {name: _mean(values) for name, values in self._values.items()}

    @property
    def spread(self) -> dict[str, float]:
        """Metric → the standard deviation over all folds: how far one split's score may lie off."""
        return {name: _deviation(values) for name, values in self._values.items()}

    @property
    def together(self) -> dict[str, Score]:
        """Metric → the value of all answers together, with the interval that its images give.

        Of several repeats it is the mean of their values and of their bounds: an image that is
        answered five times is one image, and narrows no interval. The interval says how the value
        would vary with other images, not with other training images: of that no unbiased estimate
        exists.

        Source: Bengio & Grandvalet 2004, https://www.jmlr.org/papers/v5/grandvalet04a.html.
        """
        return {name: _average([getattr(one, name) for one in self.pooled]) for name in MEASURED}

    @property
    def _values(self) -> dict[str, list[float]]:
        return {name: [getattr(one.metrics, name).value for one in self.each] for name in MEASURED}

    def of_repeat(self, repeat: int) -> list[FoldScore]:
        """The folds of one repeat, from 1."""
        return [one for one in self.each if one.repeat == repeat]

    def as_json(self) -> dict[str, Any]:
        """Plain values, null where there is no number. "pooled" are all answers together."""
        return {
            "split": "out-of-fold",
            "folds": self.folds,
            "repeats": self.repeats,
            "seed": self.seed,
            "count": self.together["accuracy"].count,
            "each": [one.as_json() for one in self.each],
            "mean": _plain(self.mean),
            "spread": _plain(self.spread),
            "pooled": {name: score.as_json() for name, score in self.together.items()},
            "each_repeat": [self._repeat_as_json(repeat) for repeat in range(1, self.repeats + 1)],
        }

    def _repeat_as_json(self, repeat: int) -> dict[str, Any]:
        part = FoldScores(
            tuple(self.of_repeat(repeat)), self.pooled[repeat - 1 : repeat], self.folds, self.seed
        )
        return {
            "repeat": repeat,
            "mean": _plain(part.mean),
            "spread": _plain(part.spread),
            "pooled": part.pooled[0].as_json(),
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
        answers: of each repeat, one prediction an image, by the model of the fold that held it out.
        fold_of: of each repeat, (N,) that fold, in [0, folds).
        facts: (repeat, fold), both from 0, → what is to be said of that fold's model.
        folds, seed: of the division; the seed also decides the bootstrap.
        class_counts: (C,) images of each class in all that is divided; the largest is the baseline.
    """

    def measured(predictions: Predictions) -> Metrics:
        return measure(predictions, seed=seed, class_counts=class_counts)

    each = [
        FoldScore(
            repeat + 1,
            fold + 1,
            measured(part_of(said, held == fold)),
            facts.get((repeat, fold), {}),
        )
        for repeat, (said, held) in enumerate(zip(answers, fold_of, strict=True))
        for fold in range(folds)
    ]
    return FoldScores(tuple(each), tuple(map(measured, answers)), folds, seed)


def part_of(predictions: Predictions, chosen: NDArray[np.bool_]) -> Predictions:
    """The predictions of some of the images. chosen: (N,)."""
    far = predictions.unfamiliarity
    return Predictions(
        predictions.probs[chosen],
        predictions.labels[chosen],
        tuple(
            path for path, wanted in zip(predictions.paths, chosen.tolist(), strict=True) if wanted
        ),
        predictions.classes,
        None if far is None else far[chosen],
    )


def _average(scores: Sequence[Score]) -> Score:
    value, low, high = (
        _mean([getattr(one, part) for one in scores]) for part in ("value", "low", "high")
    )
    return Score(value, low, high, scores[0].count)


def _mean(values: Sequence[float]) -> float:
    """Of those that are numbers."""
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _deviation(values: Sequence[float]) -> float:
    """Of those that are numbers; NaN for fewer than two."""
    known = [value for value in values if math.isfinite(value)]
    return float(np.std(known, ddof=1)) if len(known) > 1 else math.nan


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
