"""Accuracy by slice: among images of one camera, of one folder, or in the dark. Those that fail are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.intervals import CONFIDENCE
from tellapart.evaluation.metrics import Score, share
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.significance import holm
from tellapart.evaluation.slice_cuts import Cut, cut
from tellapart.evaluation.slice_tests import lower_by, worse_p
from tellapart.phrases import count_of, in_words

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
        p_answered: as `p`, for the share that is answered. Both kinds are corrected together.
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
    p_answered: float | None = None
    rows: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(0, np.int64), repr=False, compare=False
    )

    @property
    def fails(self) -> bool:
        """Whether the slice is worse than the rest, and chance does not explain it."""
        return self.p < 1 - CONFIDENCE

    @property
    def answered_less(self) -> bool:
        """Whether fewer of its images are answered than of the rest, beyond chance."""
        return self.p_answered is not None and self.p_answered < 1 - CONFIDENCE

    @property
    def title(self) -> str:
        """The column and the value."""
        return f"{self.name}: {self.value}"

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
            "p_answered": self.p_answered,
            "answered_less": self.answered_less,
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
            f"Images with {entry.name} {entry.value} are right less often: {entry.accuracy},"
            f" {-100 * entry.difference.value:.1f} points below the rest (p = {entry.p:.2g})."
            for entry in self.failing
        ]
        lines += [
            f"Images with {entry.name} {entry.value} are answered less often than the rest:"
            f" {entry.answered} (p = {entry.p_answered:.2g})."
            for entry in self.tested
            if entry.answered_less
        ]
        if not self.tested:
            lines = ["No slice has enough images to be tested."]
        elif not lines:
            lines = [f"None of {count} by {columns} is worse than the rest beyond chance."]
        reasons = dict.fromkeys(self.skipped.values())
        untested = [
            f"{in_words([name for name, why in self.skipped.items() if why == reason])} ({reason})"
            for reason in reasons
        ]
        return [*lines, f"Not tested: {'; '.join(untested)}."] if untested else lines

    def as_json(self) -> dict[str, Any]:
        """The JSON object of `--json`."""
        return {
            "failing": [entry.title for entry in self.failing],
            "answered_less": [entry.title for entry in self.tested if entry.answered_less],
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

    Where `answered` is given, the same is asked of the share that is answered.

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
    slices = _measured(predictions, found, answered)
    slices.sort(key=lambda entry: (entry.p, entry.p_answered or 1.0, entry.difference.value))
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


def _measured(
    predictions: Predictions,
    found: Sequence[tuple[str, Cut]],
    answered: NDArray[np.bool_] | None,
) -> list[Slice]:
    """The slices with their scores. Slices of the same images are one look."""
    looks = {part.rows.tobytes(): part.rows for _, part in found}
    outcomes = [predictions.correct] if answered is None else [predictions.correct, answered]
    alone = [
        worse_p(outcome, predictions.clusters, rows)
        for outcome in outcomes
        for rows in looks.values()
    ]
    corrected = holm(alone)
    ps = dict(zip(looks, corrected, strict=False))
    ps_answered = dict(zip(looks, corrected[len(looks) :], strict=False))
    return [
        _slice(
            predictions,
            name,
            part,
            ps[part.rows.tobytes()],
            ps_answered.get(part.rows.tobytes()),
            len(looks),
            answered,
        )
        for name, part in found
    ]


def _slice(
    predictions: Predictions,
    name: str,
    part: Cut,
    p: float,
    p_answered: float | None,
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
        lower_by(predictions.correct, clusters, rows, looks),
        p,
        float(predictions.confidence[rows].mean()),
        None if answered is None else share(answered[rows], clusters[rows]),
        p_answered,
        np.flatnonzero(rows),
    )
