"""Two models on the same images: which is better, by how much, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.evaluation.metrics import Score
from tellapart.evaluation.paired_shares import PairedShares, compare_shares
from tellapart.evaluation.predictions import Predictions
from tellapart.phrases import in_groups
from tellapart.progress import duration

SIGNIFICANT = 0.05  # a difference with a p value below it is called real


@dataclass(frozen=True, kw_only=True)
class Comparison(PairedShares):
    """The accuracies of two models on the same images; `first` and `second` are their accuracies.

    Args:
        names: what the two models are called.
        seconds: how much longer the second took; None if that was not measured.
        shipped: the name of the model that is in the model file; "" if neither is.
        split: "val" or "test", whose images these are; "" if that is not stated.
    """

    names: tuple[str, str]
    seconds: float | None = None
    shipped: str = ""
    split: str = ""

    def as_json(self) -> dict[str, Any]:
        """A plain dict, null where there was nothing to measure."""
        scores = {name: getattr(self, name).as_json() for name in ("first", "second", "difference")}
        counts = {
            "gained": self.gained,
            "lost": self.lost,
            "differing_clusters": self.differing,
            "p": self.p,
        }
        facts = {
            "split": self.split,
            "seconds": self.seconds,
            "shipped": self.shipped,
            "text": self.lines(),
        }
        return {"names": list(self.names), **scores, **counts, **facts}

    def lines(self) -> list[str]:
        """The comparison in sentences."""
        spent = "" if self.seconds is None else f"{duration(self.seconds)} spent; "
        shipped = [f"{spent}shipped: {self.shipped}."] if self.shipped else []
        images = self.first.count
        if not images:
            return [
                f"There are no images to compare {self.names[0]} and {self.names[1]} on.",
                *shipped,
            ]
        first, second = self.names
        compared = in_groups(images, self.first.clusters, f"{self.split} image".strip())
        low, high = (f"{100 * bound:+.1f}" for bound in (self.difference.low, self.difference.high))
        differing = in_groups(self.gained + self.lost, self.differing, "image")
        return [
            (
                f"On the same {compared}: {first} {_share(self.first)}, {second}"
                f" {_share(self.second)}; difference {100 * self.difference.value:+.1f} points"
                f" ({low} to {high})."
            ),
            (
                f"They differ on {differing} ({second} correct on {self.gained:,},"
                f" {first} on {self.lost:,}): {self._verdict}."
            ),
            *shipped,
        ]

    @property
    def _verdict(self) -> str:
        """What the test says about the difference."""
        verdict = "a real difference" if self.p < SIGNIFICANT else "no evidence of a difference"
        return f"{verdict} ({p_in_words(self.p)})"


def compare(
    first: Predictions,
    second: Predictions,
    names: tuple[str, str] = ("first", "second"),
    *,
    seconds: float | None = None,
    shipped: str = "",
    split: str = "",
) -> Comparison:
    """Compare two models by their answers to the same images.

    Args:
        first: the predictions of one model.
        second: those of the other, of the same images in the same order, with the same labels.
        names: as in `Comparison`.
        seconds: as in `Comparison`.
        shipped: as in `Comparison`.
        split: as in `Comparison`.

    Raises:
        ValueError: the images, their order or their labels differ.

    >>> probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)
    >>> good = Predictions(probs, np.array([0, 1, 0]), ("a.jpg", "b.jpg", "c.jpg"), ("cat", "dog"))
    >>> bad = Predictions(probs[::-1], np.array([0, 1, 0]), ("a.jpg", "b.jpg", "c.jpg"), ("cat", "dog"))
    >>> compare(bad, good).difference.value
    0.0
    """
    same = first.paths == second.paths and first.classes == second.classes
    if not same or not np.array_equal(first.labels, second.labels):
        raise ValueError("only predictions of the same images can be compared")
    shares = compare_shares(first.correct, second.correct, first.clusters)
    return Comparison(**vars(shares), names=names, seconds=seconds, shipped=shipped, split=split)


def p_in_words(p: float) -> str:
    """A p value as text.

    >>> p_in_words(0.0312), p_in_words(1e-9)
    ('p = 0.031', 'p < 0.0001')
    """
    return f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001"


def _share(score: Score) -> str:
    return f"{100 * score.value:.1f} % ({100 * score.low:.1f} to {100 * score.high:.1f})"
