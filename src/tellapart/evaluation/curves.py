"""Each class against the others: precision-recall and ROC curves, and what each threshold finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.left_out import chance_to_stand_out
from tellapart.evaluation.predictions import Predictions

MOST_POINTS = 100  # of one curve; a plot has no more pixels than that shows
STEPS = np.arange(1, 100) / 100  # thresholds that a page offers


@dataclass(frozen=True)
class ClassCurve:
    """One class against all others.

    Args:
        name: the class.
        positives: how many images are of the class.
        negatives: how many are not.
        average_precision: the area below the precision-recall curve, in steps, in [0, 1].
        auroc: the chance that an image of the class has a higher probability of it than another.
        recall: (P,) the share of the class that is found, ascending.
        precision: (P,) the share of those called the class that are of it, at the same thresholds.
        false_alarms: (P,) the share of the other images that are called the class.
        found: (99,) images of the class whose probability of it is at least 0.01, 0.02, …
        others: (99,) other images, likewise.
    """

    name: str
    positives: int
    negatives: int
    average_precision: float
    auroc: float
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    false_alarms: NDArray[np.float64]
    found: NDArray[np.int64]
    others: NDArray[np.int64]

    def as_json(self) -> dict[str, Any]:
        """Plain values, rounded to four digits."""
        columns = ("recall", "precision", "false_alarms")
        return {
            "name": self.name,
            "images": self.positives,
            "other_images": self.negatives,
            "average_precision": round(self.average_precision, 6),
            "auroc": round(self.auroc, 6),
            **{name: getattr(self, name).round(4).tolist() for name in columns},
            "found": self.found.tolist(),
            "others_found": self.others.tolist(),
        }


def class_curves(predictions: Predictions, most: int) -> list[ClassCurve]:
    """The curves of the classes that are told apart worst, by their average precision.

    Args:
        predictions: the predictions that are reported.
        most: how many classes there are room for.

    Returns:
        At most `most` curves, the lowest average precision first. A class without images, or
        without other images, has none.

    Source: Saito & Rehmsmeier 2015, https://doi.org/10.1371/journal.pone.0118432.

    >>> probs = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], np.float32)
    >>> predictions = Predictions(probs, np.array([0, 0, 1]), ("a.jpg", "b.jpg", "c.jpg"), ("cat", "dog"))
    >>> [(curve.name, curve.average_precision) for curve in class_curves(predictions, 2)]
    [('cat', 1.0), ('dog', 1.0)]
    """
    counts = np.bincount(predictions.labels, minlength=len(predictions.classes))
    known = np.flatnonzero((counts > 0) & (counts < len(predictions))).tolist()
    areas = {label: _ranked(predictions, label).average_precision for label in known}
    worst = sorted(known, key=lambda label: areas[label])[:most]
    return [_curve(predictions, label) for label in worst]


@dataclass(frozen=True)
class _Ranked:
    """The images by falling probability of a class; equal ones end together."""

    ends: NDArray[np.int64]
    found: NDArray[np.int64]
    positives: int

    @property
    def average_precision(self) -> float:
        return float((np.diff(self.found, prepend=0) * self.found / (self.ends + 1)).sum()) / (
            self.positives
        )


def _ranked(predictions: Predictions, label: int) -> _Ranked:
    scores = predictions.probs[:, label]
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], predictions.labels[order] == label
    # Images of equal probability are found together, so a threshold ends at the last of them.
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    return _Ranked(ends, hits.cumsum()[ends], int(hits.sum()))


def _curve(predictions: Predictions, label: int) -> ClassCurve:
    scores, of_class = predictions.probs[:, label], predictions.labels == label
    ranked = _ranked(predictions, label)
    ends, found, positives = ranked.ends, ranked.found, ranked.positives
    negatives, called = len(predictions) - positives, ends + 1
    kept = np.unique(np.linspace(0, len(ends) - 1, min(len(ends), MOST_POINTS)).round().astype(int))
    above = [
        len(part) - np.searchsorted(np.sort(part), STEPS.astype(np.float32), side="left")
        for part in (scores[of_class], scores[~of_class])
    ]
    return ClassCurve(
        predictions.classes[label],
        positives,
        negatives,
        ranked.average_precision,
        chance_to_stand_out(scores[~of_class], scores[of_class]),
        (found / positives)[kept],
        (found / called)[kept],
        ((called - found) / negatives)[kept],
        *above,
    )
