"""Several models on the same images, pair by pair: each metric and each class, with corrected p
values.

predictions ─▶ aligned ─▶ Metrics each, resampled alike ─▶ a Pair for every two ─▶ Holm's correction
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.comparison import SIGNIFICANT
from tellapart.evaluation.formulas import top5_hits
from tellapart.evaluation.intervals import percentile_interval
from tellapart.evaluation.metrics import (
    Metrics,
    Score,
    is_trusted,
    measure,
)
from tellapart.evaluation.paired_shares import compare_shares
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.resampling import Resampled, resample
from tellapart.evaluation.significance import (
    balanced_reach,
    bootstrap_p,
    holm,
    interval_p,
    smallest_p,
)

LOSSES = frozenset({"log_loss", "brier", "ece"})

# A difference of so many standard errors is found 4 times out of 5: 1.96 for the test, 0.84 for the
# power.
_FOUND_ERRORS = 2.8


@dataclass(frozen=True)
class Difference:
    """One metric, or the recall of one class, of two models on the same images.

    Args:
        name: the metric, as `Metrics` calls it, or the class.
        first: the score of the first model.
        second: the score of the second model.
        difference: second less first, with its paired 95 % interval.
        p: how often two equally good models would differ this much, two-sided. It is Holm-corrected
            for all differences of its family.
        p_alone: the same without the correction.
        test: which test gave p: McNemar's exact one, the same over groups, or the bootstrap on
            resamples that both models share.
        is_loss: whether less is better.
    """

    name: str
    first: Score
    second: Score
    difference: Score
    p: float
    p_alone: float
    test: Literal["mcnemar", "sign-flip", "bootstrap"]
    is_loss: bool = False

    @property
    def found(self) -> bool:
        """Whether the difference is significant."""
        return self.p < SIGNIFICANT

    @property
    def gain(self) -> float:
        """By how much the second model is better; negative if it is worse."""
        return -self.difference.value if self.is_loss else self.difference.value

    @property
    def smallest_found(self) -> float:
        """The smallest difference that as many images would find 4 times out of 5."""
        return _FOUND_ERRORS * (self.difference.high - self.difference.low) / (2 * 1.96)

    @property
    def images_needed(self) -> float:
        """How many images like these, in groups like theirs, would find a difference of this size 4
        times out of 5.

        It is infinite if there is no difference.
        """
        size = abs(self.difference.value)
        return self.difference.count * (self.smallest_found / size) ** 2 if size else math.inf

    def as_json(self) -> dict[str, Any]:
        """The difference with its bounds, both scores, and the test."""
        score = self.difference.as_json()
        bounds = {
            "difference": score["value"],
            **{key: score[key] for key in ("low", "high", "count", "clusters")},
        }
        tested = {"p": self.p, "p_alone": self.p_alone, "test": self.test, "found": self.found}
        return {**bounds, **tested, "first": self.first.as_json(), "second": self.second.as_json()}


@dataclass(frozen=True)
class Pair:
    """Two of the models, compared.

    Args:
        places: the positions of the two among all models.
        names: what the two are called.
        metrics: the differences of the metrics; the one that decides comes first.
        classes: the differences in recall of every class that has images, in class order.
            `is_trusted` says which of them have enough images.
        lost: (K,) rows that only the first model got right.
        gained: (K,) rows that only the second model got right.
    """

    places: tuple[int, int]
    names: tuple[str, str]
    metrics: tuple[Difference, ...]
    classes: tuple[Difference, ...]
    lost: NDArray[np.int64]
    gained: NDArray[np.int64]

    @property
    def main(self) -> Difference:
        """The difference by which the two are judged."""
        return self.metrics[0]

    def metrics_as_json(self, **facts: Any) -> list[dict[str, Any]]:
        """An entry a metric, the main one first; `facts` are added to each entry."""
        names = {"names": list(self.names)}
        return [
            {
                "metric": metric.name,
                **metric.as_json(),
                **names,
                "main": metric is self.main,
                **facts,
            }
            for metric in self.metrics
        ]

    def classes_as_json(self, **facts: Any) -> list[dict[str, Any]]:
        """An entry a class; "trusted" is false if its images are too few."""
        names = {"names": list(self.names)}
        return [
            {"class": recall.name, "metric": "recall", **recall.as_json(), **names}
            | {"trusted": is_trusted(recall.difference.clusters), **facts}
            for recall in self.classes
        ]


@dataclass(frozen=True)
class Paired:
    """All models, compared.

    Args:
        metrics: the metrics of each model.
        pairs: every two models; pairs with the first model come first.
    """

    metrics: tuple[Metrics, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class _Model:
    """What is computed once for a model, however many pairs it is in."""

    name: str
    predictions: Predictions
    correct: NDArray[np.bool_]
    drawn: Resampled
    metrics: Metrics


def aligned(predictions: Predictions, like: Predictions) -> Predictions:
    """The same predictions, with images and classes in the order of another model's.

    Args:
        predictions: the predictions to reorder.
        like: the predictions whose order is taken.

    Raises:
        ValueError: the images, labels or classes are not the same.

    >>> probs = np.array([[0.75, 0.25], [0.5, 0.5]], np.float32)
    >>> straight = Predictions(probs, np.array([0, 1]), ("a.jpg", "b.jpg"), ("cat", "dog"))
    >>> turned = Predictions(probs, np.array([0, 1]), ("b.jpg", "a.jpg"), ("dog", "cat"))
    >>> aligned(turned, like=straight).probs.tolist()
    [[0.5, 0.5], [0.25, 0.75]]
    """
    places = {path: row for row, path in enumerate(predictions.paths)}
    if places.keys() != set(like.paths) or len(predictions) != len(like):
        raise _not_the_same()
    if set(predictions.classes) != set(like.classes):
        raise _not_the_same()
    rows = np.array([places[path] for path in like.paths], np.int64)
    columns = [predictions.classes.index(name) for name in like.classes]
    labels = np.argsort(columns)[predictions.labels[rows]]
    if not np.array_equal(labels, like.labels):
        raise _not_the_same()
    return Predictions(
        predictions.probs[rows][:, columns],
        labels,
        like.paths,
        like.classes,
        clusters=like.clusters,
    )


def compare_all(
    predictions: Sequence[Predictions], names: Sequence[str], *, seed: int = 0
) -> Paired:
    """Compare every two of several models by their answers to the same images.

    Accuracy decides, or balanced accuracy if the classes are so uneven that accuracy mostly
    measures the largest. The deciding metric is one family of tests, the other metrics a second, the
    classes a third. Holm's correction keeps the chance of any false finding in a family at 5 %.

    Args:
        predictions: predictions of two or more models, of at least two images, as `aligned` gives
            them.
        names: what each model is called.
        seed: decides the resamples, which all models share.

    Raises:
        ValueError: the images or their order are not the same, or there are fewer than two.
    """
    first = predictions[0]
    for other in predictions[1:]:
        same = other.paths == first.paths and other.classes == first.classes
        if not same or not np.array_equal(other.labels, first.labels):
            raise _not_the_same()
    if len(first) < 2:
        raise ValueError(f"a comparison needs at least 2 images, got {len(first)}")
    models = [_model(answers, name, seed) for answers, name in zip(predictions, names, strict=True)]
    pairs = [_pair(models, places) for places in combinations(range(len(models)), 2)]
    return Paired(tuple(model.metrics for model in models), _corrected(pairs))


def _model(predictions: Predictions, name: str, seed: int) -> _Model:
    drawn = resample(predictions, seed)
    return _Model(
        name, predictions, predictions.correct, drawn, measure(predictions, resampled=drawn)
    )


def _pair(models: Sequence[_Model], places: tuple[int, int]) -> Pair:
    first, second = (models[place] for place in places)
    main = "balanced_accuracy" if first.metrics.balanced_first else "accuracy"
    metrics = _metric_differences(first, second)
    return Pair(
        places=places,
        names=(first.name, second.name),
        metrics=tuple(sorted(metrics, key=lambda metric: metric.name != main)),
        classes=tuple(_class_differences(first, second)),
        lost=np.flatnonzero(first.correct & ~second.correct),
        gained=np.flatnonzero(second.correct & ~first.correct),
    )


def _metric_differences(first: _Model, second: _Model) -> list[Difference]:
    clusters = first.predictions.clusters
    differences = [_shares("accuracy", first.correct, second.correct, clusters)]
    differences += [_bootstrapped(first, second, name) for name in first.drawn.names]
    if first.metrics.top5_accuracy is not None:
        hits, other_hits = (top5_hits(model.predictions) for model in (first, second))
        differences.append(_shares("top5_accuracy", hits, other_hits, clusters))
    return differences


def _class_differences(first: _Model, second: _Model) -> Iterable[Difference]:
    for label, name in enumerate(first.predictions.classes):
        rows = first.predictions.labels == label
        if rows.any():
            clusters = first.predictions.clusters[rows]
            yield _shares(name, first.correct[rows], second.correct[rows], clusters)


def _shares(
    name: str,
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    clusters: NDArray[np.int64],
) -> Difference:
    """The difference of two shares of the same images; first and second are (N,), who is right."""
    pair = compare_shares(first, second, clusters)
    return Difference(name, pair.first, pair.second, pair.difference, pair.p, pair.p, pair.test)


def _bootstrapped(first: _Model, second: _Model, name: str) -> Difference:
    column, answers = first.drawn.names.index(name), first.predictions
    value = float(second.drawn.values[column] - first.drawn.values[column])
    resampled = second.drawn.resampled[:, column] - first.drawn.resampled[:, column]
    low, high = percentile_interval(value, resampled)
    p = bootstrap_p(value, resampled)
    is_loss = name in LOSSES
    # Balanced accuracy and F1 are of answers, as accuracy is: a few that changed must not look like
    # a certainty.
    if not is_loss:
        down, up = balanced_reach(first.correct, second.correct, answers.labels, answers.clusters)
        low, high = max(min(low, value + down), -1.0), min(max(high, value + up), 1.0)
        p = max(
            p,
            interval_p(value, low, high),
            smallest_p(len(np.unique(answers.clusters[first.correct != second.correct]))),
        )
    scores: tuple[Score, Score] = (getattr(first.metrics, name), getattr(second.metrics, name))
    difference = Score(value, low, high, len(answers), answers.num_clusters)
    return Difference(name, *scores, difference, p, p, "bootstrap", is_loss)


def _corrected(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Holm's correction in each of the three families, over all pairs."""
    families: tuple[Callable[[Pair], Sequence[Difference]], ...] = (
        lambda pair: pair.metrics[:1],
        lambda pair: pair.metrics[1:],
        lambda pair: pair.classes,
    )
    main, others, classes = (
        iter(holm([difference.p_alone for pair in pairs for difference in family(pair)]))
        for family in families
    )
    return tuple(
        replace(
            pair,
            metrics=tuple(
                replace(metric, p=next(others if place else main))
                for place, metric in enumerate(pair.metrics)
            ),
            classes=tuple(replace(recall, p=next(classes)) for recall in pair.classes),
        )
        for pair in pairs
    )


def _not_the_same() -> ValueError:
    return ValueError("only predictions of the same images can be compared")
