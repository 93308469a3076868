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

SIGNIFICANT = 0.05  # a difference with a p value below it is called real


@dataclass(frozen=True)
class Comparison:
    """The accuracies of two models on the same images.

    Args:
        names: what the two models are called.
        first: the accuracy of the first, with Wilson's interval.
        second: the accuracy of the second, with Wilson's interval.
        difference: second less first, a fraction in [-1, 1], with its paired 95 % interval.
        gained: how many images only the second got right.
        lost: how many images only the first got right.
        p: how often two equally good models would differ this much, by McNemar's exact two-sided
            test.
        seconds: how much longer the second took; None if that was not measured.
        shipped: the name of the model that is in the model file; "" if neither is.
        split: "val" or "test", whose images these are; "" if that is not stated.
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
        noun = f"{self.split} image{'' if images == 1 else 's'}".strip()
        low, high = (f"{100 * bound:+.1f}" for bound in (self.difference.low, self.difference.high))
        differing = self.gained + self.lost
        plural = "" if differing == 1 else "s"
        return [
            (
                f"On the same {images:,} {noun}: {first} {_share(self.first)}, {second}"
                f" {_share(self.second)}; difference {100 * self.difference.value:+.1f} points"
                f" ({low} to {high})."
            ),
            (
                f"They differ on {differing:,} image{plural} ({second} correct on {self.gained:,},"
                f" {first} on {self.lost:,}): {self._verdict}."
            ),
            *shipped,
        ]

    @property
    def _verdict(self) -> str:
        """What McNemar's test says about the difference."""
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
    """A p value as text.

    >>> p_in_words(0.0312), p_in_words(1e-9)
    ('p = 0.031', 'p < 0.0001')
    """
    return f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001"


def paired_interval(both: float, gained: float, lost: float, count: float) -> tuple[float, float]:
    """The 95 % interval of the difference of two shares of the same images.

    Args:
        both: how many images both models got right.
        gained: how many only the second got right.
        lost: how many only the first got right.
        count: how many images there are. It may be a fraction, since an effective number of images
            is one.

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
    # min: rounding of fractions must not make the successes more than all images.
    first_right, second_right = min(both + lost, count), min(both + gained, count)
    first, second = first_right / count, second_right / count
    first_low, first_high = wilson(first_right, count)
    second_low, second_high = wilson(second_right, count)
    correlation = _correlation(both, gained, lost, neither)

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(a**2 - 2 * correlation * a * b + b**2, 0.0))

    difference = second - first
    return (
        max(difference - reach(second - second_low, first_high - first), -1.0),
        min(difference + reach(second_high - second, first - first_low), 1.0),
    )


def mcnemar(gained: int, lost: int) -> float:
    """McNemar's exact test, two-sided.

    If two models are equally good, half of the images on which they differ favour either.

    Args:
        gained: how many images only the second model got right.
        lost: how many images only the first model got right.

    Returns:
        p in (0, 1]; 1 if the models never differ.

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
    """The phi coefficient of the two models' answers, corrected for continuity."""
    product = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if not product:
        return 0.0
    numerator = float(both * neither - gained * lost)
    if numerator > 0:
        numerator = max(numerator - (both + gained + lost + neither) / 2, 0.0)
    return numerator / math.sqrt(product)


def _share(score: Score) -> str:
    return f"{100 * score.value:.1f} % ({100 * score.low:.1f} to {100 * score.high:.1f})"
