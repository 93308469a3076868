"""Weigh backbones against each other by accuracy, time and size.

This file holds arithmetic only; nothing here reads an image or runs a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

from tellapart.evaluation.comparison import SIGNIFICANT, p_in_words
from tellapart.evaluation.metrics import Metrics
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.simultaneous import JointDifference, joint_difference


@dataclass(frozen=True)
class Latency:
    """Milliseconds per image, one image at a time.

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
        latency: of the model file for a decoded image, on one thread.
        decoding: of the file of an image; the same for each candidate.
        spread: as latency, on all cores; None on a machine with one core.
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
    decoding: Latency
    spread: Latency | None
    megabytes: float
    parameters: int
    size_px: int
    licence: str
    source: str
    seconds: float

    @property
    def ms(self) -> float:
        """Milliseconds from the bytes of an image file to the answer."""
        return self.decoding.median + self.latency.median

    @property
    def cost(self) -> str:
        """Time and size in words."""
        decoding, network = self.decoding.median, self.latency.median
        shares = f" (decoding {decoding:.2g} ms + network {network:.3g} ms)" if decoding else ""
        return f"{self.ms:.3g} ms an image{shares} and {self.megabytes:.3g} MB"


@dataclass(frozen=True)
class Budget:
    """What the model file may cost. None means no limit.

    Args:
        max_ms: milliseconds per image on one thread, decoding included.
        max_mb: megabytes.
        ms_worth: points of accuracy that a millisecond per image is worth. None means that time
            counts for nothing.
    """

    max_ms: float | None = None
    max_mb: float | None = None
    ms_worth: float | None = None

    def holds(self, candidate: Candidate) -> bool:
        """Whether a candidate stays within it."""
        fast = self.max_ms is None or candidate.ms <= self.max_ms
        return fast and (self.max_mb is None or candidate.megabytes <= self.max_mb)

    def value(self, candidate: Candidate) -> float:
        """Points of accuracy, less what the time of a candidate is worth."""
        return 100 * candidate.metrics.accuracy.value - (self.ms_worth or 0.0) * candidate.ms

    def __str__(self) -> str:
        """The limits in words; "" without one."""
        limits = ((self.max_ms, "ms an image"), (self.max_mb, "MB"))
        return " and ".join(f"{limit:g} {unit}" for limit, unit in limits if limit is not None)


@dataclass(frozen=True)
class Standing:
    """How one candidate compares with the most accurate, as one of all pairs of candidates.

    Args:
        pair: the most accurate comes first, this candidate second, on the same images.
    """

    pair: JointDifference

    @property
    def is_worse(self) -> bool:
        """Whether it is measurably worse."""
        return self.pair.p < SIGNIFICANT and self.pair.score.value < 0

    @property
    def gain(self) -> str:
        """What the most accurate one gains over it, in points."""
        score = self.pair.score
        return points(-score.value, -score.high, -score.low)

    @property
    def p_text(self) -> str:
        """The p value, with the number of comparisons that it is corrected for."""
        corrected = f", corrected for {self.pair.comparisons} comparisons"
        return p_in_words(self.pair.p) + (corrected if self.pair.comparisons > 1 else "")

    @property
    def text(self) -> str:
        """How much worse than the most accurate it is, and how sure that is."""
        score = self.pair.score
        if self.is_worse:
            verdict = "measurably worse"
        elif score.value:
            verdict = "not measurably worse"
        else:
            verdict = "no worse"
        return f"{verdict}: {points(score.value, score.low, score.high)}, {self.p_text}"

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        pair = self.pair
        return {
            "difference": pair.score.as_json(),
            "gained": pair.gained,
            "lost": pair.lost,
            "p": pair.p_alone,
            "p_corrected": pair.p,
            "pairs": pair.comparisons,
            "worse": self.is_worse,
        }


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
        key=lambda candidate: (candidate.metrics.accuracy.value, -candidate.ms),
    )


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that no other beats in accuracy without being slower, from fast to slow."""

    def beaten(candidate: Candidate) -> bool:
        mine = candidate.metrics.accuracy.value, -candidate.ms
        theirs = [(other.metrics.accuracy.value, -other.ms) for other in candidates]
        return any(
            other[0] >= mine[0] and other[1] >= mine[1] and other != mine for other in theirs
        )

    best = [candidate for candidate in candidates if not beaten(candidate)]
    return sorted(best, key=lambda candidate: candidate.ms)


def standings(candidates: Sequence[Candidate]) -> dict[str, Standing]:
    """Map the name of each other candidate to its comparison with the most accurate.

    The most accurate of several equals is the one that chance favours. The intervals and p values
    are therefore those of all pairs of candidates, any of which chance might have put first and
    last.

    Source: Hsu 1996, "Multiple Comparisons: Theory and Methods", chapters 4 and 5 (comparisons with
    the observed best follow from all pairs).
    """
    best, pairs = most_accurate(candidates), comb(len(candidates), 2)
    return {
        other.name: Standing(
            joint_difference(best.val.correct, other.val.correct, other.val.clusters, pairs)
        )
        for other in candidates
        if other is not best
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
        "ms": round(candidate.ms, 3),
        "decoding_ms": candidate.decoding.as_json(),
        "latency_ms": candidate.latency.as_json(),
        "latency_all_cores_ms": spread.as_json() if spread else None,
        "megabytes": round(candidate.megabytes, 2),
        "parameters": candidate.parameters,
        "size_px": candidate.size_px,
        "seconds": round(candidate.seconds, 1),
        "against_best": standing.as_json() if standing else None,
    }
