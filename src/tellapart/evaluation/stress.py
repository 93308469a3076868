"""What a change of the images does to a model: accuracy, coverage and promise at each strength."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.clusters import design_effect
from tellapart.evaluation.intervals import CONFIDENCE
from tellapart.evaluation.metrics import Score, share
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.rule import AnswerRule
from tellapart.evaluation.significance import holm
from tellapart.evaluation.threshold import chance_of_luck


@dataclass(frozen=True)
class StressPoint:
    """How images that are changed by one strength are answered.

    Args:
        strength: in words, as "2 px"; "none" for the images as they are.
        accuracy: over all of them, answered or not.
        coverage: the share that is answered.
        accuracy_answered: the share of those answers that is right. NaN where nothing is answered.
        unsure: the share whose confidence is below the threshold.
        unfamiliar: the share that is unlike the training images.
        lost: how many images were right unchanged and are wrong now.
        gained: how many were wrong unchanged and are right now.
        p: how often so few of the answers are right, if they keep the promise. It is corrected for
            the number of changes and strengths. None where nothing is answered or promised.
    """

    strength: str
    accuracy: Score
    coverage: Score
    accuracy_answered: Score
    unsure: Score
    unfamiliar: Score
    lost: int
    gained: int
    p: float | None = None

    @property
    def breaks(self) -> bool:
        """Whether fewer answers are right than was promised, and chance does not explain it. Who
        answers nothing breaks nothing.
        """
        return self.p is not None and self.p < 1 - CONFIDENCE

    def as_json(self) -> dict[str, Any]:
        """Plain values, null where a number does not exist."""
        scores = {
            name: value.as_json() for name, value in vars(self).items() if isinstance(value, Score)
        }
        counts = {"lost": self.lost, "gained": self.gained, "p": self.p}
        return {"strength": self.strength, **scores, **counts}


@dataclass(frozen=True)
class StressCurve:
    """One kind of change from none to the strongest.

    Args:
        name: of the change.
        meaning: what it does.
        points: the first is for the images as they are.
        target: the accuracy of answers that the model was made for. None where it has none.
    """

    name: str
    meaning: str
    points: tuple[StressPoint, ...]
    target: float | None

    @property
    def breaks_at(self) -> str | None:
        """The weakest strength at which the promise is broken beyond chance. None: at none."""
        return next((point.strength for point in self.points if point.breaks), None)

    @property
    def misses_at(self) -> str | None:
        """The weakest strength at which it is missed in the sample. None means at none."""
        if self.target is None:
            return None
        shares = ((point.strength, point.accuracy_answered) for point in self.points)
        missed = (name for name, share in shares if share.count and share.value < self.target)
        return next(missed, None)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "meaning": self.meaning,
            "breaks_at": self.breaks_at,
            "misses_at": self.misses_at,
            "points": [point.as_json() for point in self.points],
        }


def stress_point(
    strength: str,
    changed: Predictions,
    unchanged: Predictions,
    rule: AnswerRule,
    target: float | None = None,
) -> StressPoint:
    """Measure the answers to images that are changed by one strength.

    Args:
        strength: in words.
        changed: the answers to the changed images.
        unchanged: the answers to the same images as they are, in the same order.
        rule: what the model answers.
        target: the accuracy that answers should have. The p value is not corrected yet.

    >>> probs = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
    >>> before = Predictions(probs, np.array([0, 0]), ("a.jpg", "b.jpg"), ("cat", "dog"))
    >>> after = Predictions(probs[:, ::-1], before.labels, before.paths, before.classes)
    >>> point = stress_point("2 px", after, before, AnswerRule(0.8))
    >>> point.lost, point.coverage.value, point.accuracy_answered.value
    (2, 0.5, 0.0)
    """
    decisions = rule.decide(changed.probs, changed.unfamiliarity)
    clusters, answered = changed.clusters, decisions == "answered"
    return StressPoint(
        strength=strength,
        accuracy=share(changed.correct, clusters),
        coverage=share(answered, clusters),
        accuracy_answered=share(changed.correct[answered], clusters[answered]),
        unsure=share(decisions == "unsure", clusters),
        unfamiliar=share(decisions == "unfamiliar", clusters),
        lost=int(np.sum(unchanged.correct & ~changed.correct)),
        gained=int(np.sum(~unchanged.correct & changed.correct)),
        p=_broken_p(changed.correct[answered], clusters[answered], target),
    )


def corrected(points: Sequence[StressPoint]) -> list[StressPoint]:
    """The points with p values that are corrected for how many of them there are, by Holm's method.

    Args:
        points: all that are looked at together, each once.
    """
    tested = [place for place, point in enumerate(points) if point.p is not None]
    ps = dict(zip(tested, holm([points[place].p or 0.0 for place in tested]), strict=True))
    return [replace(point, p=ps.get(place)) for place, point in enumerate(points)]


def _broken_p(
    correct: NDArray[np.bool_], clusters: NDArray[np.int64], target: float | None
) -> float | None:
    """The chance of so many errors or more if each answer is right with the chance `target`."""
    if target is None or not len(correct):
        return None
    effect = design_effect(correct, clusters)
    # Parts of an image are rounded to the safe side.
    count = math.ceil(len(correct) / effect - 1e-9)
    errors = math.floor(float((~correct).sum()) / effect + 1e-9)
    return 1.0 if not errors else max(1 - chance_of_luck(count, errors - 1, target), 0.0)


def promise_line(curves: Sequence[StressCurve]) -> str:
    """Which changes break the promise, in a sentence.

    >>> promise_line([])
    'The model promises no accuracy, so no change can break its promise.'
    """
    target = next((curve.target for curve in curves if curve.target is not None), None)
    if target is None:
        return "The model promises no accuracy, so no change can break its promise."
    broken = [f"{curve.name} from {curve.breaks_at}" for curve in curves if curve.breaks_at]
    promise = f"Of what it answers, {100 * target:.3g} % should be right."
    if not broken:
        return f"{promise} No change breaks this beyond chance."
    return f"{promise} These changes break it: {', '.join(broken)}."
