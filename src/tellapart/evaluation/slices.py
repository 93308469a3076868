"""Accuracy by slice: among images of one camera, of one folder, or in the dark. Those that fail are named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.clusters import design_effect
from tellapart.evaluation.intervals import CONFIDENCE, wilson
from tellapart.evaluation.metrics import Score, share
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.significance import holm
from tellapart.evaluation.slice_cuts import Cut, cut
from tellapart.phrases import count_of

LEAST_CLUSTERS = 10  # of a slice and of the rest; fewer cannot tell

Column = Sequence[Any] | NDArray[Any]


@dataclass(frozen=True)
class Slice:
    """The images that share a value of one column, and how well they are answered.

    Args:
        name: the column.
        value: what the images share, as "night" or "12 to 63".
        images: how many there are.
        clusters: how many these are if copies and the images of a group count once.
        accuracy: of these images, with its 95 % interval.
        difference: the accuracy less that of all other images. The intervals of all slices together
            hold the truth in 95 of 100 cases.
        p: how often a slice as bad as this appears anywhere among all if none is worse than the
            rest. It is corrected for the number of slices by Holm's method.
        confidence: the mean probability of the answers; above the accuracy they are too sure.
        answered: the share that is answered. None where no rule was given.
        rows: (images,) the places of the images in the predictions.
    """

    name: str
    value: str
    images: int
    clusters: int
    accuracy: Score
    difference: Score
    p: float
    confidence: float
    answered: Score | None = None
    rows: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(0, np.int64), repr=False, compare=False
    )

    @property
    def fails(self) -> bool:
        """Whether the slice is worse than the rest, and chance does not explain it."""
        return self.p < 1 - CONFIDENCE

    def as_json(self) -> dict[str, Any]:
        """Plain values, without the rows."""
        return {
            "name": self.name,
            "value": self.value,
            "images": self.images,
            "clusters": self.clusters,
            "accuracy": self.accuracy.as_json(),
            "difference": self.difference.as_json(),
            "p": self.p,
            "fails": self.fails,
            "confidence": self.confidence,
            "answered": self.answered and self.answered.as_json(),
        }


@dataclass(frozen=True)
class Slices:
    """All slices that were tested, those that fail first.

    Args:
        tested: the slices, the least p value first.
        columns: names of the columns that gave at least one of them.
        skipped: column → why it gave none.
    """

    tested: tuple[Slice, ...]
    columns: tuple[str, ...]
    skipped: Mapping[str, str]

    @property
    def failing(self) -> tuple[Slice, ...]:
        """The slices that fail."""
        return tuple(entry for entry in self.tested if entry.fails)

    @property
    def lines(self) -> list[str]:
        """The result in sentences: what fails, and what was not tested."""
        count = count_of(len(self.tested), "slice")
        columns = count_of(len(self.columns), "column")
        lines = [
            f"{entry.name}: {entry.value} fails: {entry.accuracy} are right,"
            f" {-100 * entry.difference.value:.1f} points fewer than of the rest (p = {entry.p:.2g})"
            for entry in self.failing
        ]
        if not self.tested:
            lines = ["No slice has enough images to be tested."]
        elif not lines:
            lines = [f"None of {count} by {columns} is worse than the rest beyond chance."]
        return lines + [f"{name} is not tested: {why}." for name, why in self.skipped.items()]

    def as_json(self) -> dict[str, Any]:
        """The JSON object of `--json`."""
        return {
            "failing": [f"{entry.name}: {entry.value}" for entry in self.failing],
            "tested": [entry.as_json() for entry in self.tested],
            "columns": list(self.columns),
            "skipped": dict(self.skipped),
        }


def failing_slices(predictions: Predictions, columns: Mapping[str, Column]) -> list[Slice]:
    """The slices that are answered worse than the rest, the surest first.

    Args:
        predictions: of images that the model was not fitted on.
        columns: name → (N,) values in the order of the predictions, as `slice_cuts.cut` takes them.

    >>> labels = np.zeros(200, np.int64)
    >>> probs = np.tile(np.array([[0.9, 0.1]], np.float32), (200, 1))
    >>> probs[:15] = 0.1, 0.9
    >>> answers = Predictions(probs, labels, tuple(map(str, range(200))), ("cat", "dog"))
    >>> light = ["night"] * 50 + ["day"] * 150
    >>> [(entry.name, entry.value) for entry in failing_slices(answers, {"light": light})]
    [('light', 'night')]
    """
    return list(measure_slices(predictions, columns).failing)


def measure_slices(
    predictions: Predictions,
    columns: Mapping[str, Column],
    answered: NDArray[np.bool_] | None = None,
) -> Slices:
    """Accuracy of every slice of some columns, and whether it is worse than that of the rest.

    Each slice is compared with all other images by Fisher's exact test on one side. Copies and the
    images of a group count as many independent images as they are worth. Slices of the same images
    are tested once. Columns are cut without a look at the answers, so the correction holds.

    Args:
        predictions: of images that the model was not fitted on.
        columns: name → (N,) values in the order of the predictions.
        answered: (N,) whether the model answers each image. None leaves coverage out.

    Source: Fisher 1935, "The Logic of Inductive Inference", https://doi.org/10.2307/2342435; Holm
    1979, https://www.jstor.org/stable/4615733.
    """
    found: list[tuple[str, Cut]] = []
    skipped: dict[str, str] = {}
    for name, values in columns.items():
        cuts = cut(values)
        usable = [part for part in cuts if _can_tell(predictions.clusters, part.rows)]
        found += [(name, part) for part in usable]
        if not usable:
            skipped[name] = _why_skipped(cuts, len(predictions))
    ps = _ps(predictions, [part.rows for _, part in found])
    looks = len({part.rows.tobytes() for _, part in found})
    slices = [
        _measured(predictions, name, part, p, looks, answered)
        for (name, part), p in zip(found, ps, strict=True)
    ]
    slices.sort(key=lambda entry: (entry.p, entry.difference.value))
    names = tuple(dict.fromkeys(name for name, _ in found))
    return Slices(tuple(slices), names, skipped)


def _why_skipped(cuts: Sequence[Cut], count: int) -> str:
    if not cuts:
        return "no image has a value"
    if len(cuts) == 1 and cuts[0].rows.sum() == count:
        return "all images have the same value"
    return (
        f"no value has {LEAST_CLUSTERS} images beside {LEAST_CLUSTERS} others, groups counted once"
    )


def _can_tell(clusters: NDArray[np.int64], rows: NDArray[np.bool_]) -> bool:
    """Whether a slice and the rest have enough clusters each."""
    sides = (clusters[rows], clusters[~rows])
    return all(len(np.unique(side)) >= LEAST_CLUSTERS for side in sides)


def _ps(predictions: Predictions, slices: Sequence[NDArray[np.bool_]]) -> list[float]:
    """The corrected p value of each slice. Slices of the same images are one look."""
    looks = {rows.tobytes(): rows for rows in slices}
    alone = [worse_p(predictions.correct, predictions.clusters, rows) for rows in looks.values()]
    corrected = dict(zip(looks, holm(alone), strict=True))
    return [corrected[rows.tobytes()] for rows in slices]


def worse_p(
    correct: NDArray[np.bool_], clusters: NDArray[np.int64], rows: NDArray[np.bool_]
) -> float:
    """How often a slice as bad as this is drawn if it is no worse than the rest: one-sided.

    Args:
        correct: (N,) whether each answer is right.
        clusters: (N,) the cluster of each image.
        rows: (N,) whether each image is in the slice.

    >>> correct = np.array([False] * 3 + [True] * 3)
    >>> round(worse_p(correct, np.arange(6), ~correct), 6)
    0.05
    """
    wrong, count = _effective(correct[rows], clusters[rows])
    wrong_rest, count_rest = _effective(correct[~rows], clusters[~rows])
    # Parts of an image are rounded to the safe side: fewer errors in the slice, more in the rest.
    errors, size = math.floor(wrong + 1e-9), math.ceil(count - 1e-9)
    errors_rest, size_rest = math.ceil(wrong_rest - 1e-9), math.floor(count_rest + 1e-9)
    return _fisher(errors, size, min(errors_rest, size_rest), size_rest)


def _effective(correct: NDArray[np.bool_], clusters: NDArray[np.int64]) -> tuple[float, float]:
    """Errors and images, at the number of independent images that they are worth."""
    effect = design_effect(correct, clusters)
    return float((~correct).sum()) / effect, len(correct) / effect


def _fisher(errors: int, size: int, errors_rest: int, size_rest: int) -> float:
    """The chance of so many errors in the slice or more, given how many there are in all."""
    total, count = errors + errors_rest, size + size_rest
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])

    def choose(n: int, k: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(logs[n] - logs[k] - logs[n - k])

    drawn = np.arange(errors, min(total, size) + 1)
    drawn = drawn[total - drawn <= size_rest]
    chances = choose(size, drawn) + choose(size_rest, total - drawn)
    whole = logs[count] - logs[total] - logs[count - total]
    return float(min(np.exp(chances - whole).sum(), 1.0))


def _measured(
    predictions: Predictions,
    name: str,
    part: Cut,
    p: float,
    looks: int,
    answered: NDArray[np.bool_] | None,
) -> Slice:
    rows, clusters = part.rows, predictions.clusters
    accuracy = share(predictions.correct[rows], clusters[rows])
    return Slice(
        name,
        part.value,
        accuracy.count,
        accuracy.clusters,
        accuracy,
        _difference(predictions.correct, clusters, rows, looks),
        p,
        float(predictions.confidence[rows].mean()),
        None if answered is None else share(answered[rows], clusters[rows]),
        np.flatnonzero(rows),
    )


def _difference(
    correct: NDArray[np.bool_], clusters: NDArray[np.int64], rows: NDArray[np.bool_], looks: int
) -> Score:
    """The accuracy in a slice less that of the rest, with Newcombe's interval at Bonferroni's
    level.

    Source: Newcombe 1998, https://pubmed.ncbi.nlm.nih.gov/9595617/ (method 10).
    """
    confidence = 1 - (1 - CONFIDENCE) / looks
    values, lows, highs = [], [], []
    for side in (rows, ~rows):
        wrong, count = _effective(correct[side], clusters[side])
        low, high = wilson(count - wrong, count, confidence)
        values.append(1 - wrong / count)
        lows.append(low)
        highs.append(high)
    value = values[0] - values[1]
    low = value - math.hypot(values[0] - lows[0], highs[1] - values[1])
    high = value + math.hypot(highs[0] - values[0], values[1] - lows[1])
    return Score(value, low, high, int(rows.sum()), len(np.unique(clusters[rows])))
