"""Predictions → metrics with intervals. Each can be computed again from the predictions alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.clusters import effective_by_class, effective_count
from tellapart.evaluation.formulas import class_counts, f1_ratio, top5_hits
from tellapart.evaluation.intervals import percentile_interval, wilson
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.resampling import HIGHEST, Resampled, resample
from tellapart.phrases import in_groups
from tellapart.tables import to_frame

if TYPE_CHECKING:
    import polars

# Below this many images, groups counted once, a class's recall is uncertain by more than 17 points either way.
TRUSTED_COUNT = 30
# Beyond this ratio of largest to smallest class, accuracy mostly speaks of the largest.
BALANCED_RATIO = 5


@dataclass(frozen=True)
class Score:
    """A number, its 95 % interval, and the images it was measured on.

    Args:
        value: the number; NaN if there was nothing to measure, which is null in JSON.
        low: the lower bound; NaN if images were too few for an interval.
        high: the upper bound; NaN if images were too few for an interval.
        count: how many images it was measured on.
        clusters: how many these are if copies and the images of a group count once. Default: as
            many as images.

    >>> print(proportion(397, 400))
    99.2 % (97.8 to 99.7, 400 images)
    >>> f"{Score(0.031, 0.02, 0.045, 1):.3f}"
    '0.031 (0.020 to 0.045, 1 image)'
    >>> print(share(np.repeat([True, False], 10), np.arange(20) // 5))
    50.0 % (15.0 to 85.0, 20 images, 4 groups)
    """

    value: float
    low: float
    high: float
    count: int
    clusters: int = 0

    def __post_init__(self) -> None:
        if not self.clusters:
            object.__setattr__(self, "clusters", self.count)

    def __str__(self) -> str:
        return format(self)

    def __format__(self, spec: str) -> str:
        """The score as text: in percent, or as plain numbers if a format is given.

        A number that is no share of the images, as a loss is, needs the format.
        """
        images = in_groups(self.count, self.clusters, "image")
        if math.isnan(self.value):
            return f"not measured ({images})"
        scale, unit, spec = (1, "", spec) if spec else (100, " %", ".1f")
        value, low, high = (
            format(scale * number, spec) for number in (self.value, self.low, self.high)
        )
        interval = "" if math.isnan(self.low) else f"{low} to {high}, "
        return f"{value}{unit} ({interval}{images})"

    def as_json(self) -> dict[str, float | int | None]:
        """`{"value", "low", "high", "count", "clusters"}`, null where a number is not finite."""
        bounds = {"value": self.value, "low": self.low, "high": self.high}
        finite = {name: _finite(number) for name, number in bounds.items()}
        return {**finite, "count": self.count, "clusters": self.clusters}


@dataclass(frozen=True)
class ClassScores:
    """The metrics of one class.

    Args:
        name: the class.
        count: how many test images it has.
        predicted_count: how many test images were predicted to be of it.
        recall: the share of its images that was found. NaN without images.
        precision: the share of right answers among those that named it. NaN if no answer did.
        f1: harmonic mean of both, in [0, 1]. NaN without images.
    """

    name: str
    count: int
    predicted_count: int
    recall: Score
    precision: Score
    f1: float

    @property
    def trusted(self) -> bool:
        """Whether the class has enough test images for its recall to say much."""
        return is_trusted(self.recall.clusters)

    def as_json(self) -> dict[str, Any]:
        """A plain dict, null where a number does not exist."""
        counts = {"name": self.name, "count": self.count, "predicted_count": self.predicted_count}
        scores = {
            "recall": self.recall.as_json(),
            "precision": self.precision.as_json(),
            "f1": _finite(self.f1),
        }
        return {**counts, **scores, "trusted": self.trusted}


@dataclass(frozen=True)
class Metrics:
    """The metrics of one split. A split without images has metrics too, whose values are NaN.

    Args:
        accuracy: the share of right answers.
        balanced_accuracy: the mean recall of the classes that have images.
        macro_f1: the mean F1 of the classes that have images.
        log_loss: the mean of -ln(probability of the label), in nats; 0 is best. Probabilities below
            1.2e-7 count as that.
        brier: the mean squared distance of the probabilities to the truth, in [0, 2]; 0 is best.
        ece: the mean gap between confidence and accuracy over 15 confidence bins, in [0, 1]. Few
            images alone make it positive: 400 from a perfectly calibrated model give about 0.04.
        top5_accuracy: the share of images whose label is among the five likeliest classes. None
            means that there are at most five classes.
        majority_baseline: the accuracy of always answering the largest train class. None means that
            the train counts were not given.
        balanced_first: whether the classes are so uneven that balanced accuracy should be read
            first.
        per_class: one entry a class, in class order.

    >>> print(run.metrics.accuracy)
    100.0 % (51.0 to 100.0, 4 images)
    >>> [scores.name for scores in run.metrics.per_class]
    ['brick', 'leaf', 'sky']
    """

    accuracy: Score
    balanced_accuracy: Score
    macro_f1: Score
    log_loss: Score
    brier: Score
    ece: Score
    top5_accuracy: Score | None
    majority_baseline: Score | None
    balanced_first: bool
    per_class: tuple[ClassScores, ...]

    def to_frame(self) -> polars.DataFrame:
        """The metrics of the classes as a polars data frame, one row a class.

        The columns are class, count, predicted_count, recall and precision with their bounds
        (recall_low, …), f1 and trusted. A number that does not exist is null.

        Raises:
            UserError: polars is not installed.

        >>> run.metrics.to_frame().select("class", "count", "recall").rows()
        [('brick', 1, 1.0), ('leaf', 1, 1.0), ('sky', 2, 1.0)]
        """
        rows = [_class_row(scores) for scores in self.per_class]
        kinds: dict[str, type] = {"class": str, "count": int, "predicted_count": int}
        bounded = [f"{name}{bound}" for name in ("recall", "precision") for bound in _BOUNDS]
        return to_frame(rows, {**kinds, **dict.fromkeys([*bounded, "f1"], float), "trusted": bool})

    def as_json(self) -> dict[str, Any]:
        """`{"accuracy": {"value", "low", "high", "count"}, …, "per_class": […]}`.

        Numbers are finite or null.
        """
        scores = {
            name: field.as_json() if isinstance(field, Score) else field
            for name, field in vars(self).items()
        }
        return {
            **scores,
            "per_class": [scores_of_class.as_json() for scores_of_class in self.per_class],
        }


def measure(
    predictions: Predictions,
    *,
    seed: int = 0,
    baseline_label: int | None = None,
    class_counts: NDArray[np.int64] | None = None,
    resampled: Resampled | None = None,
) -> Metrics:
    """Measure one split: every metric, with its 95 % interval.

    Shares of images have Wilson's interval, the others that of a stratified bootstrap. In both,
    copies and the images of a group count once. The order of the images and the numbering of the
    classes change nothing. A split without images gives NaN
    (null in JSON), with the interval 0 to 1 or none. A class without images is listed, and left out
    of the means.

    A bootstrap does not know mistakes of a kind that did not happen. With a handful of mistakes the
    upper bounds of log loss and Brier score are therefore too low.

    Args:
        predictions: predictions of any number of images, also none.
        seed: decides the resamples. It moves the bounds a little, never the values.
        baseline_label: the class that `majority_baseline` always answers, in [0, C). Default: the
            largest of `class_counts`; without these there is no baseline.
        class_counts: (C,) the images of each class in train. They decide `balanced_first`: classes
            are uneven if the largest has more than five times the images of the smallest that has
            any. Default: the counts of `predictions`.
        resampled: what `resample` gave for these predictions, if it was called already. The seed is
            then not used.

    Raises:
        ValueError: `baseline_label` or `class_counts` does not fit the classes.

    Source: log loss and Brier score as in Gneiting & Raftery 2007,
    https://doi.org/10.1198/016214506000001437; ECE as in Guo et al. 2017,
    https://arxiv.org/abs/1706.04599.

    >>> probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], np.float32)
    >>> truth = np.array([0, 1, 1, 1])
    >>> metrics = measure(Predictions(probs, truth, ("a.jpg", "b.jpg", "c.jpg", "d.jpg"), ("cat", "dog")))
    >>> print(metrics.accuracy)
    75.0 % (30.1 to 95.4, 4 images)
    >>> print(metrics.per_class[1].recall)
    66.7 % (20.8 to 93.9, 3 images)
    """
    num_classes = len(predictions.classes)
    if baseline_label is not None and not 0 <= baseline_label < num_classes:
        raise ValueError(f"baseline_label must be in [0, {num_classes}), got {baseline_label}")
    if class_counts is not None and class_counts.shape != (num_classes,):
        raise ValueError(f"class_counts must be ({num_classes},), got {class_counts.shape}")
    if baseline_label is None and class_counts is not None:
        baseline_label = int(class_counts.argmax())
    labels, clusters = predictions.labels, predictions.clusters
    baseline = None if baseline_label is None else share(labels == baseline_label, clusters)
    test_counts = np.bincount(labels, minlength=num_classes)
    return Metrics(
        accuracy=share(predictions.correct, clusters),
        **_bootstrapped(predictions, resampled or resample(predictions, seed)),
        top5_accuracy=share(top5_hits(predictions), clusters) if num_classes > 5 else None,
        majority_baseline=baseline,
        balanced_first=_uneven(test_counts if class_counts is None else class_counts),
        per_class=_per_class(predictions),
    )


def confusion(predictions: Predictions) -> NDArray[np.int64]:
    """(C, C) counts of images by true class (row) and predicted class (column).

    >>> probs = np.array([[0.9, 0.1], [0.7, 0.3]], np.float32)
    >>> confusion(Predictions(probs, np.array([0, 1]), ("a.jpg", "b.jpg"), ("cat", "dog"))).tolist()
    [[1, 0], [1, 0]]
    """
    num_classes = len(predictions.classes)
    pairs = predictions.labels * num_classes + predictions.predicted
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def is_trusted(clusters: int) -> bool:
    """Whether so many images of a class say much about it; copies and a group's images count once.

    Pages, printed lines and JSON all go by this rule.

    >>> is_trusted(29), is_trusted(30)
    (False, True)
    """
    return clusters >= TRUSTED_COUNT


def proportion(successes: int, count: int) -> Score:
    """A share of images with Wilson's interval. Without images the value is NaN, between 0 and 1.

    >>> print(proportion(19, 20))
    95.0 % (76.4 to 99.1, 20 images)
    """
    return Score(successes / count if count else math.nan, *wilson(successes, count), count)


def share(outcomes: NDArray[np.bool_], clusters: NDArray[np.int64]) -> Score:
    """The share of images that succeeded, with Wilson's interval at the effective number of images.

    Args:
        outcomes: (N,) whether each image succeeded. Without images the value is NaN, between 0
            and 1.
        clusters: (N,) the cluster of each image; copies and the images of a group count once.

    Source: Korn & Graubard 1998, https://www150.statcan.gc.ca/n1/en/catalogue/12-001-X19980024356
    (an interval for shares at the number of images over their design effect).

    >>> print(share(np.repeat([True, False, True], 5), np.repeat([0, 1, 2], 5)))
    66.7 % (20.8 to 93.9, 15 images, 3 groups)
    >>> print(proportion(2, 3))
    66.7 % (20.8 to 93.9, 3 images)
    """
    plain, num_clusters = proportion(int(outcomes.sum()), len(outcomes)), len(np.unique(clusters))
    if num_clusters == len(outcomes):
        return plain
    effective = effective_count(outcomes, clusters)
    low, high = wilson(plain.value * effective, effective)
    return replace(plain, low=low, high=high, clusters=num_clusters)


def _bootstrapped(predictions: Predictions, drawn: Resampled) -> dict[str, Score]:
    """The scores that are no plain share of images."""
    scores = {}
    for name, value, resampled in zip(
        drawn.names, drawn.values.tolist(), drawn.resampled.T, strict=True
    ):
        low, high = percentile_interval(value, resampled)
        bounds = max(low, 0.0), min(high, HIGHEST[name])
        scores[name] = Score(value, *bounds, len(predictions), predictions.num_clusters)
    for name in ("balanced_accuracy", "macro_f1"):
        scores[name] = _at_least_wilson(scores[name], predictions)
    return scores


def _at_least_wilson(score: Score, predictions: Predictions) -> Score:
    """The score with an interval no narrower than Wilson's at the effective number of images.

    Without mistakes nothing varies in a bootstrap, so its interval has no width.

    Source of the effective number, 1 / sum of squared weights: Kish 1965, "Survey Sampling",
    section 11.7.
    """
    counts = effective_by_class(predictions.correct, predictions.labels, predictions.clusters)
    effective = len(counts) ** 2 / (1 / counts).sum() if len(counts) else 0.0
    low, high = wilson(min(score.value, 1.0) * effective if effective else 0, effective)
    return replace(score, low=float(np.fmin(score.low, low)), high=float(np.fmax(score.high, high)))


def _per_class(predictions: Predictions) -> tuple[ClassScores, ...]:
    counts = class_counts(predictions)
    f1 = np.where(counts.support > 0, f1_ratio(counts.right, counts.support, counts.called), np.nan)
    recalls, precisions = (
        _shares_by_class(predictions, of) for of in (predictions.labels, predictions.predicted)
    )
    return tuple(
        ClassScores(name, recall.count, precision.count, recall, precision, class_f1)
        for name, recall, precision, class_f1 in zip(
            predictions.classes, recalls, precisions, f1.tolist(), strict=True
        )
    )


def _shares_by_class(predictions: Predictions, of: NDArray[np.int64]) -> list[Score]:
    """The share of right answers among the images of each class, which `of` (N,) names."""
    order = np.argsort(of, kind="stable")
    ends = np.cumsum(np.bincount(of, minlength=len(predictions.classes)))
    return [
        share(predictions.correct[rows], predictions.clusters[rows])
        for rows in np.split(order, ends[:-1])
    ]


_BOUNDS = ("", "_low", "_high")


def _class_row(scores: ClassScores) -> dict[str, Any]:
    row: dict[str, Any] = {
        "class": scores.name,
        "count": scores.count,
        "predicted_count": scores.predicted_count,
        "f1": _finite(scores.f1),
        "trusted": scores.trusted,
    }
    for name in ("recall", "precision"):
        score: Score = getattr(scores, name)
        numbers = (score.value, score.low, score.high)
        row |= {name + bound: _finite(n) for bound, n in zip(_BOUNDS, numbers, strict=True)}
    return row


def _uneven(counts: NDArray[np.int64]) -> bool:
    present = counts[counts > 0]
    return bool(present.size and present.max() > BALANCED_RATIO * present.min())


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
