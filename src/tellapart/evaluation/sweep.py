"""What each threshold would do: how many images go to a person, and how many answers are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Sweep:
    """The images that each threshold leaves to a person, and the wrong answers that are left.

    Args:
        count: how many images there are.
        thresholds: T confidences, ascending. An image below is not answered.
        unanswered: T counts of images that go to a person, unfamiliar ones among them.
        wrong: T counts of wrong answers among the others.

    >>> Sweep(200, (0.7,), (12,), (3,)).line(0)
    'At 70 %, 12 of 200 images go to a person, and 3 of 188 answers are wrong.'
    """

    count: int
    thresholds: tuple[float, ...]
    unanswered: tuple[int, ...]
    wrong: tuple[int, ...]

    def place(self, threshold: float | None) -> int:
        """The place of a threshold, or of the nearest one; that of the lowest where there is none."""
        grid = np.array(self.thresholds)
        return int(np.abs(grid - (0.0 if threshold is None else threshold)).argmin())

    def line(self, place: int) -> str:
        """The consequence of one threshold in words."""
        asked, wrong = self.unanswered[place], self.wrong[place]
        answered, percent = self.count - asked, f"{100 * self.thresholds[place]:.3g}"
        goes, are = ("goes" if asked == 1 else "go"), ("is" if wrong == 1 else "are")
        left = f"{asked:,} of {self.count:,} images {goes} to a person"
        if not answered:
            return f"At {percent} %, {left}, and none is answered."
        return f"At {percent} %, {left}, and {wrong:,} of {answered:,} answers {are} wrong."

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "images": self.count,
            "threshold": list(self.thresholds),
            "to_a_person": list(self.unanswered),
            "wrong": list(self.wrong),
        }


def sweep(predictions: Predictions, shipped: float | None = None) -> Sweep:
    """Try every threshold from 0 to 99 % in steps of one, and the shipped one.

    Unfamiliar images go to a person at every threshold.

    Args:
        predictions: the predictions that are reported.
        shipped: the threshold of the model file. None means that it has none.

    >>> probs = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
    >>> predictions = Predictions(probs, np.array([0, 1]), ("a.jpg", "b.jpg"), ("cat", "dog"))
    >>> found = sweep(predictions, 0.8)
    >>> found.line(found.place(0.8))
    'At 80 %, 1 of 2 images goes to a person, and 0 of 1 answers are wrong.'
    """
    steps = np.arange(100) / 100
    grid = steps if shipped is None else np.unique(np.append(steps, shipped))
    familiar: NDArray[np.bool_] = np.ones(len(predictions), bool)
    if predictions.unfamiliarity is not None:
        familiar = predictions.unfamiliarity <= 1
    confidence, wrong = predictions.confidence[familiar], ~predictions.correct[familiar]
    order = np.argsort(confidence, kind="stable")
    mistakes = np.append(0, wrong[order].cumsum())
    # float32 confidences against the same number in float64 would differ in the last digit.
    first = np.searchsorted(confidence[order], grid.astype(np.float32), side="left")
    unanswered = first + int(np.count_nonzero(~familiar))
    left = mistakes[-1] - mistakes[first]
    return Sweep(
        len(predictions),
        tuple(grid.tolist()),
        tuple(unanswered.tolist()),
        tuple(left.tolist()),
    )
