"""What a preset chose among candidates, and why: the most accurate, and how sure its gain is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.comparison import SIGNIFICANT, p_in_words
from tellapart.evaluation.metrics import Score, share
from tellapart.evaluation.simultaneous import joint_difference
from tellapart.experiments.pareto import points
from tellapart.phrases import in_groups
from tellapart.progress import Console


@dataclass(frozen=True)
class Measured:
    """A candidate of a preset.

    Args:
        name: what it is called.
        accuracy: of its probe, out of fold, on train images.
        ms: milliseconds from the bytes of an image file to the embedding, on one thread.
    """

    name: str
    accuracy: Score
    ms: float

    def __str__(self) -> str:
        return f"{self.name}: {self.accuracy}, {self.ms:.3g} ms an image"


@dataclass(frozen=True)
class HeldOutAnswers:
    """How a probe answers train images out of fold.

    Args:
        rows: (M,) rows of the catalog.
        right: (M,) whether each is answered correctly.
        clusters: (M,) the cluster of each.
    """

    rows: NDArray[np.int64]
    right: NDArray[np.bool_]
    clusters: NDArray[np.int64]

    @property
    def accuracy(self) -> Score:
        """The share of correct answers."""
        return share(self.right, self.clusters)


@dataclass(frozen=True, kw_only=True)
class PresetChoice:
    """What a preset chose, and why.

    Args:
        preset: one of `PRESETS`.
        chosen: the backbone.
        why: the reason in a sentence.
        measured: the candidates that were measured, from fast to slow.
        skipped: name → why it was not measured.
    """

    preset: str
    chosen: str
    why: str
    measured: tuple[Measured, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for metrics.json and run.json."""
        rows = [
            {"name": row.name, "accuracy": row.accuracy.as_json(), "ms": round(row.ms, 3)}
            for row in self.measured
        ]
        facts = {"preset": self.preset, "chosen": self.chosen, "why": self.why}
        return {**facts, "measured": rows, "skipped": dict(self.skipped)}

    def tell(self, console: Console) -> None:
        """Say what was measured and chosen."""
        if self.measured:
            console.say("Accuracy on train images, out of fold, and time of an image:")
        for row in self.measured:
            console.say(f"  {row}")
        for name, reason in self.skipped.items():
            console.say(f"  {name}: not measured. {reason}")
        console.say(f"Preset {self.preset}: {self.why}")


def reason_for(judged: Mapping[str, HeldOutAnswers], chosen: str, default: str) -> str:
    """Why it was chosen, and how sure its gain over the default is."""
    if not judged:
        return f"{chosen} is the default, as there are too few images to compare others on."
    best = judged[chosen]
    images = in_groups(best.accuracy.count, best.accuracy.clusters, "train image")
    reason = f"{chosen} is the most accurate of {len(judged)} on {images}, out of fold"
    other = judged.get(default)
    if chosen == default or other is None or not np.array_equal(other.rows, best.rows):
        return f"{reason}."
    pair = joint_difference(other.right, best.right, best.clusters, comb(len(judged), 2))
    sure = "measurable" if pair.p < SIGNIFICANT else "which these images cannot confirm"
    gain = points(pair.score.value, pair.score.low, pair.score.high)
    return f"{reason}: {gain} over {default}, {sure} ({p_in_words(pair.p)})."
