"""Two models on the same images: which is better, by how much, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.evaluation.intervals import wilson
from tellapart.evaluation.metrics import Score, proportion
from tellapart.evaluation.predictions import Predictions
from tellapart.progress import duration

SIGNIFICANT = 0.05  # below, a difference is called real


@dataclass(frozen=True)
class Comparison:
    """Two accuracies on the same images.

    Args:
        names: what the two are called.
        first, second: their accuracies, each with Wilson's interval.
        difference: second less first, a fraction in [-1, 1], with its paired 95 % interval.
        gained: images that only the second got right.
        lost: that only the first did.
        p: of McNemar's exact test, two-sided: how often equals would differ by as much.
        seconds: what the second took beyond the first; None if that is not known.
        shipped: the name of the one that is in the model file; "" if neither is.
        split: which images these are: "val", "test", or "" where nobody said.
    """

    names: tuple[str, str]
    first: Score
    second: Score
    difference: Score
    gained: int
    lost: int
    p: float
    seconds: float | None = None
    shipped: str = ""
    split: str = ""

    def as_json(self) -> dict[str, Any]:
        """A plain dict, null where there was nothing to measure."""
        scores = {name: getattr(self, name).as_json() for name in ("first", "second", "difference")}
        counts = {"gained": self.gained, "lost": self.lost, "p": self.p}
        facts = {
            "split": self.split,
            "seconds": self.seconds,
            "shipped": self.shipped,
            "text": self.lines(),
        }
        return {"names": list(self.names), **scores, **counts, **facts}

    def lines(self) -> list[str]:
        """What the comparison says, a sentence each."""
        spent = "" if self.seconds is None else f"{duration(self.seconds)} spent; "
        shipped = [f"{spent}shipped: {self.shipped}."] if self.shipped else []
        images = self.first.count
        if not images:
            return [
                f"There are no images to compare {self.names[0]} and {self.names[1]} on.",
                *shipped,
            ]
        (one, other), noun = self.names, f"{self.split} image{'' if images == 1 else 's'}".strip()
        points = " to ".join(
            f"{100 * bound:+.1f}" for bound in (self.difference.low, self.difference.high)
        )
        return [
            (
                f"On the same {images:,} {noun}: {one} {_share(self.first)}, {other}"
                f" {_share(self.second)}; difference {100 * self.difference.value:+.1f} points"
                f" ({points})."
            ),
            (
                f"Only {other} is right on {self.gained:,}, only {one} on {self.lost:,}:"
                f" {self._verdict}."
            ),
            *shipped,
        ]

    @property
    def _verdict(self) -> str:
        """What McNemar's test says of the difference."""
        real = self.p < SIGNIFICANT
        return (
            f"{'a real difference' if real else 'which chance alone would do too'}"
            f" ({p_in_words(self.p)})"
        )


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
        first, second: predictions of the same images in the same order, with the same labels.
        names, seconds, shipped, split: see `Comparison`.

    Raises:
        ValueError: these are not the same images.

    >>> probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)
    >>> good = Predictions(probs, np.array([0, 1, 0]), ("a.jpg", "b.jpg", "c.jpg"), ("cat", "dog"))
    >>> bad = Predictions(probs[::-1], np.array([0, 1, 0]), ("a.jpg", "b.jpg", "c.jpg"), ("cat", "dog"))
    >>> compare(bad, good).difference.value
    0.0
    """
    same = first.paths == second.paths and first.classes == second.classes
    if not same or not np.array_equal(first.labels, second.labels):
        raise ValueError("only predictions of the same images can be compared")
    count = len(first)
    gained = int((second.correct & ~first.correct).sum())
    lost = int((first.correct & ~second.correct).sum())
    both = int((first.correct & second.correct).sum())
    value = (gained - lost) / count if count else math.nan
    return Comparison(
        names=names,
        first=proportion(both + lost, count),
        second=proportion(both + gained, count),
        difference=Score(value, *paired_interval(both, gained, lost, count), count),
        gained=gained,
        lost=lost,
        p=mcnemar(gained, lost),
        seconds=seconds,
        shipped=shipped,
        split=split,
    )


def p_in_words(p: float) -> str:
    """A p value, as it is to be read.

    >>> p_in_words(0.0312), p_in_words(1e-9)
    ('p = 0.031', 'p < 0.0001')
    """
    return f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001"


def paired_interval(both: float, gained: float, lost: float, count: float) -> tuple[float, float]:
    """The 95 % interval of the difference of two shares of the same images.

    Args:
        both: right in both.
        gained: right in the second only.
        lost: in the first only.
        count: images, not always a whole number (an effective number of images is not), as it is
            with `wilson`.

    Returns:
        low and high of second less first; (-1, 1) without images.

    Source: Newcombe 1998, https://pubmed.ncbi.nlm.nih.gov/9839354/, method 10: Wilson's intervals
    of both shares, put together by the correlation of the two, which is corrected for continuity.

    >>> [round(bound, 4) for bound in paired_interval(both=36, gained=12, lost=2, count=50)]
    [0.0569, 0.3404]
    """
    if not count:
        return -1.0, 1.0
    neither = max(count - both - gained - lost, 0.0)
    rights, others = (
        min(both + gained, count),
        min(both + lost, count),
    )  # rounding must not make them more than all
    better, worse = rights / count, others / count
    better_low, better_high = wilson(rights, count)
    worse_low, worse_high = wilson(others, count)
    correlation = _correlation(both, gained, lost, neither)

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(one**2 - 2 * correlation * one * other + other**2, 0.0))

    difference = better - worse
    return (
        max(difference - reach(better - better_low, worse_high - worse), -1.0),
        min(difference + reach(better_high - better, worse - worse_low), 1.0),
    )


def mcnemar(gained: int, lost: int) -> float:
    """McNemar's exact test, two-sided: of the images on which two models differ, half favour either
    by chance.

    Returns:
        p in (0, 1]; 1 where they never differ.

    Source: McNemar 1947, https://doi.org/10.1007/BF02295996, with the binomial distribution itself.

    >>> mcnemar(8, 1), mcnemar(3, 3)
    (0.0390625, 1.0)
    """
    count, term, total = gained + lost, 1, 0
    for successes in range(min(gained, lost) + 1):
        total += term
        term = term * (count - successes) // (successes + 1)
    return float(min(2 * total / 2**count, 1.0))


def _correlation(both: float, gained: float, lost: float, neither: float) -> float:
    """Phi of the two answers, its numerator smaller by half the images where it is positive."""
    product = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if not product:
        return 0.0
    numerator = float(both * neither - gained * lost)
    if numerator > 0:
        numerator = max(numerator - (both + gained + lost + neither) / 2, 0.0)
    return numerator / math.sqrt(product)


def _share(score: Score) -> str:
    return f"{100 * score.value:.1f} % ({100 * score.low:.1f} to {100 * score.high:.1f})"
