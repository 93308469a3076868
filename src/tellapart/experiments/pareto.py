"""Weigh backbones against each other by accuracy, time and size.

This file holds arithmetic only; nothing here reads an image or runs a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from tellapart.evaluation.comparison import SIGNIFICANT, Comparison, compare, p_in_words
from tellapart.evaluation.metrics import Metrics
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.significance import holm

# A loss of accuracy that nobody would pay time to avoid: a faster candidate is as good as the best
# if its whole paired interval stays within this.
NEGLIGIBLE = 0.01


@dataclass(frozen=True)
class Latency:
    """Milliseconds per image for a whole model file, one image at a time.

    Args:
        median: of all runs.
        low: the lower quartile.
        high: the upper quartile.
        threads: how many worked on one image.
    """

    median: float
    low: float
    high: float
    threads: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: round(value, 3) for name, value in vars(self).items()}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A backbone that was measured.

    Args:
        name: what it is called here.
        val: the probe's predictions of the val images, calibrated on them.
        metrics: measured on these predictions.
        latency: on one thread.
        spread: on all cores; None on a machine with one core.
        megabytes: size of the model file, in 10^6 bytes.
        parameters: numbers in the network without its head.
        size_px: side of the network's input.
        licence: of the weights.
        source: where the weights came from.
        seconds: how long it took to measure it.
    """

    name: str
    val: Predictions
    metrics: Metrics
    latency: Latency
    spread: Latency | None
    megabytes: float
    parameters: int
    size_px: int
    licence: str
    source: str
    seconds: float

    @property
    def cost(self) -> str:
        """Time and size in words."""
        return f"{self.latency.median:.3g} ms an image and {self.megabytes:.3g} MB"


@dataclass(frozen=True)
class Budget:
    """What the model file may cost. None means no limit.

    Args:
        max_ms: milliseconds per image on one thread.
        max_mb: megabytes.
    """

    max_ms: float | None = None
    max_mb: float | None = None

    def holds(self, candidate: Candidate) -> bool:
        """Whether a candidate stays within it."""
        fast = self.max_ms is None or candidate.latency.median <= self.max_ms
        return fast and (self.max_mb is None or candidate.megabytes <= self.max_mb)

    def __str__(self) -> str:
        """In words; "" without a limit."""
        limits = ((self.max_ms, "ms an image"), (self.max_mb, "MB"))
        return " and ".join(f"{limit:g} {unit}" for limit, unit in limits if limit is not None)


@dataclass(frozen=True)
class Standing:
    """How one candidate compares with the most accurate.

    Args:
        comparison: the most accurate comes first, this candidate second, on the same images.
        p: that of the comparison, after Holm's correction for all pairs of candidates.
        comparisons: how many pairs of candidates there are.
    """

    comparison: Comparison
    p: float
    comparisons: int = 1

    @property
    def is_worse(self) -> bool:
        """Whether it is measurably worse."""
        return self.p < SIGNIFICANT and self.comparison.difference.value < 0

    @property
    def is_as_good(self) -> bool:
        """Whether the images show that it is at most `NEGLIGIBLE` worse.

        A wide interval leaves a larger loss possible, so few images never show this.
        """
        return not self.is_worse and self.comparison.difference.low >= -NEGLIGIBLE

    @property
    def gain(self) -> str:
        """What the most accurate one gains over it, in points."""
        difference = self.comparison.difference
        return points(-difference.value, -difference.high, -difference.low)

    @property
    def p_text(self) -> str:
        """The p value, with the number of comparisons that it is corrected for."""
        corrected = f", corrected for {self.comparisons} comparisons"
        return p_in_words(self.p) + (corrected if self.comparisons > 1 else "")

    @property
    def text(self) -> str:
        """How much worse than the most accurate it is, and how sure that is."""
        difference = self.comparison.difference
        if self.is_worse:
            verdict = "measurably worse"
        elif difference.value:
            verdict = "not measurably worse"
        else:
            verdict = "no worse"
        apart = points(difference.value, difference.low, difference.high)
        return f"{verdict}: {apart}, {self.p_text}"

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        pair = self.comparison
        counts = {
            "gained": pair.gained,
            "lost": pair.lost,
            "p": pair.p,
            "p_corrected": self.p,
            "pairs": self.comparisons,
        }
        return {"difference": pair.difference.as_json(), **counts, "worse": self.is_worse}


def points(value: float, low: float, high: float) -> str:
    """A difference of two shares in percentage points.

    >>> points(-0.017, -0.06, 0.024)
    '-1.7 points (-6.0 to +2.4)'
    """
    # + 0.0: no minus sign before a zero
    value, low, high = (round(100 * share, 1) + 0.0 for share in (value, low, high))
    return f"{value:+.1f} points ({low:+.1f} to {high:+.1f})"


def most_accurate(candidates: Iterable[Candidate]) -> Candidate:
    """The candidate with the best accuracy. Of several equals it is the fastest."""
    return max(
        candidates,
        key=lambda candidate: (candidate.metrics.accuracy.value, -candidate.latency.median),
    )


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that no other beats in accuracy without being slower, from fast to slow."""

    def beaten(candidate: Candidate) -> bool:
        mine = candidate.metrics.accuracy.value, -candidate.latency.median
        theirs = [(other.metrics.accuracy.value, -other.latency.median) for other in candidates]
        return any(
            other[0] >= mine[0] and other[1] >= mine[1] and other != mine for other in theirs
        )

    best = [candidate for candidate in candidates if not beaten(candidate)]
    return sorted(best, key=lambda candidate: candidate.latency.median)


def standings(candidates: Sequence[Candidate]) -> dict[str, Standing]:
    """Map the name of each other candidate to its comparison with the most accurate.

    The most accurate of several equals is the one that chance favours. Its p values are therefore
    corrected for all pairs of candidates, any of which chance might have put first and last.

    Source: Hsu 1996, "Multiple Comparisons: Theory and Methods", chapters 4 and 5 (comparisons with
    the observed best follow from all pairs).
    """
    best = most_accurate(candidates)
    others = [candidate for candidate in candidates if candidate is not best]
    pairs = [*((best, other) for other in others), *combinations(others, 2)]
    comparisons = [
        compare(first.val, second.val, (first.name, second.name)) for first, second in pairs
    ]
    corrected = holm([comparison.p for comparison in comparisons])
    return {
        # The pairs of the most accurate come first.
        other.name: Standing(comparisons[place], corrected[place], len(pairs))
        for place, other in enumerate(others)
    }


def as_json(candidate: Candidate, standing: Standing | None) -> dict[str, Any]:
    """A candidate as plain values. The most accurate one has no standing."""
    metrics = {
        name: getattr(candidate.metrics, name).as_json()
        for name in ("accuracy", "balanced_accuracy", "log_loss")
    }
    spread = candidate.spread
    return {
        "name": candidate.name,
        "weights": candidate.source,
        "licence": candidate.licence,
        **metrics,
        "latency_ms": candidate.latency.as_json(),
        "latency_all_cores_ms": spread.as_json() if spread else None,
        "megabytes": round(candidate.megabytes, 2),
        "parameters": candidate.parameters,
        "size_px": candidate.size_px,
        "seconds": round(candidate.seconds, 1),
        "against_best": standing.as_json() if standing else None,
    }
