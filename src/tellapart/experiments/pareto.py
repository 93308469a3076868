"""Backbones weighed against each other: accuracy, time and size, and which one to take. Arithmetic
and words only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tellapart.evaluation.comparison import SIGNIFICANT, Comparison, compare, p_in_words
from tellapart.evaluation.metrics import Metrics
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.significance import holm

# a difference in accuracy that matters: a paired interval that reaches further leaves it open
TELLING = 0.02
AS_FAST = 1.1  # times the shortest latency: less is within the noise of a machine


@dataclass(frozen=True)
class Latency:
    """Milliseconds an image, for a whole model file, one image at a time.

    Args:
        median: of all runs.
        low, high: their quartiles.
        threads: that worked on one image.
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
        metrics: of these.
        latency: on one thread.
        spread: on all cores; None where there is one.
        megabytes: of the model file, 10^6 bytes.
        parameters: of the network in it, without its head.
        size_px: of the network's input.
        licence, source: of the weights.
        seconds: that measuring it took.
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
    """What the model file may cost: milliseconds an image on one thread, megabytes. None: no
    limit.
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
    """How one candidate stands to the most accurate.

    Args:
        comparison: first the most accurate, second this one, on the same images.
        p: McNemar's, after Holm's correction for all that are compared with the most accurate.
    """

    comparison: Comparison
    p: float

    @property
    def is_worse(self) -> bool:
        """Whether it is measurably worse."""
        return self.p < SIGNIFICANT and self.comparison.difference.value < 0

    @property
    def text(self) -> str:
        """In words: how much worse than the most accurate, and how sure that is."""
        difference = self.comparison.difference
        verdict = (
            "measurably worse"
            if self.is_worse
            else "not measurably worse"
            if difference.value
            else "no worse"
        )
        apart = points(difference.value, difference.low, difference.high)
        return f"{verdict}: {apart}, {p_in_words(self.p)}"

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        one = self.comparison
        counts = {"gained": one.gained, "lost": one.lost, "p": one.p, "p_corrected": self.p}
        return {"difference": one.difference.as_json(), **counts, "worse": self.is_worse}


@dataclass(frozen=True)
class Advice:
    """Which one to take; None where none is within the budget. `lines` say why, a sentence or two
    each.
    """

    chosen: Candidate | None
    lines: tuple[str, ...]


def points(value: float, low: float, high: float) -> str:
    """A difference of two shares in percentage points.

    >>> points(-0.017, -0.06, 0.024)
    '-1.7 points (-6.0 to +2.4)'
    """
    shown = [
        f"{round(100 * one, 1) + 0.0:+.1f}" for one in (value, low, high)
    ]  # + 0.0: no minus before nothing
    return f"{shown[0]} points ({shown[1]} to {shown[2]})"


def most_accurate(candidates: Iterable[Candidate]) -> Candidate:
    """The best by accuracy; of equals the fastest."""
    return max(candidates, key=lambda one: (one.metrics.accuracy.value, -one.latency.median))


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that no other beats in accuracy without being slower, from fast to slow."""

    def beaten(one: Candidate) -> bool:
        mine = one.metrics.accuracy.value, -one.latency.median
        theirs = [(other.metrics.accuracy.value, -other.latency.median) for other in candidates]
        return any(
            other[0] >= mine[0] and other[1] >= mine[1] and other != mine for other in theirs
        )

    return sorted(
        (one for one in candidates if not beaten(one)), key=lambda one: one.latency.median
    )


def standings(candidates: Sequence[Candidate]) -> dict[str, Standing]:
    """Name → how it stands to the most accurate of them, for all the others."""
    best = most_accurate(candidates)
    others = [one for one in candidates if one is not best]
    compared = [compare(best.val, one.val, (best.name, one.name)) for one in others]
    corrected = holm([one.p for one in compared])
    return {
        one.name: Standing(how, p) for one, how, p in zip(others, compared, corrected, strict=True)
    }


def advise(candidates: Sequence[Candidate], budget: Budget) -> Advice:
    """The fastest within the budget that is not measurably worse than the most accurate within it.

    Of those that are about as fast as the fastest it is the most accurate; of equals the one with
    the least log loss.

    Args:
        candidates: at least one, all measured on the same images.
    """
    within = [one for one in candidates if budget.holds(one)]
    if not within:
        return Advice(None, (_nothing_fits(candidates, budget),))
    standing, best = standings(within), most_accurate(within)
    good = [one for one in within if one is best or not standing[one.name].is_worse]
    fastest = min(one.latency.median for one in good)
    fast = [one for one in good if one.latency.median <= AS_FAST * fastest]
    chosen = max(fast, key=lambda one: (one.metrics.accuracy.value, -one.metrics.log_loss.value))
    others = (
        _against_best(chosen, best, standing[chosen.name])
        if chosen is not best
        else _rivals(standing)
    )
    return Advice(
        chosen,
        (
            *_why(chosen, best, within, budget),
            *others,
            *_beyond(chosen, candidates, within),
            _LATER,
        ),
    )


_LATER = (
    "The val images chose it, so its score is a little too good. Training it measures it on the"
    " test images, which played no part here."
)


def _nothing_fits(candidates: Sequence[Candidate], budget: Budget) -> str:
    fastest = min(candidates, key=lambda one: one.latency.median)
    smallest = min(candidates, key=lambda one: one.megabytes)
    return (
        f"None of the measured is within {budget}: the fastest, {fastest.name}, takes"
        f" {fastest.cost}; the smallest, {smallest.name}, {smallest.cost}."
    )


def _why(
    chosen: Candidate, best: Candidate, within: Sequence[Candidate], budget: Budget
) -> list[str]:
    limit = f"within {budget} " if str(budget) else ""
    if len(within) == 1:
        reason = f"{limit}it is the only one that was measured"
    elif chosen is best:
        reason = f"{limit}none is more accurate"
    else:
        reason = f"{limit}no faster one is as good, as far as the images tell"
    right = (
        f"Its probe is right on {chosen.metrics.accuracy} of val; the model file takes"
        f" {chosen.cost}."
    )
    return [f"Take {chosen.name}: {reason}.", right]


def _against_best(chosen: Candidate, best: Candidate, standing: Standing) -> list[str]:
    """Why the most accurate one is not taken."""
    difference = standing.comparison.difference
    gain = points(-difference.value, -difference.high, -difference.low)
    said = [
        f"{best.name} is {_times(best, chosen)} and not measurably better: {gain},"
        f" {p_in_words(standing.p)}."
    ]
    if difference.low < -TELLING:
        said.append(
            f"{difference.count:,} val images are too few to be sure: {best.name} may be better by"
            f" up to {-100 * difference.low:.1f} points. More val images would tell."
        )
    return said


def _rivals(standing: Mapping[str, Standing]) -> list[str]:
    """Which others may be better than the most accurate by more than matters."""
    reach = {
        name: one.comparison.difference.high for name, one in standing.items() if not one.is_worse
    }
    rivals = [name for name, high in reach.items() if high > TELLING]
    if not rivals:
        return []
    count = next(iter(standing.values())).comparison.difference.count
    said = (
        f"{count:,} val images are too few to tell it from {' or '.join(rivals)}, which may be"
        " better by up to"
    )
    return [f"{said} {100 * max(reach.values()):.1f} points. More val images would tell."]


def _beyond(
    chosen: Candidate, candidates: Sequence[Candidate], within: Sequence[Candidate]
) -> list[str]:
    """What the budget costs."""
    best = most_accurate(candidates)
    if best in within:
        return []
    standing = standings(candidates)[chosen.name]
    difference = standing.comparison.difference
    gain = points(-difference.value, -difference.high, -difference.low)
    verdict = "measurably" if standing.is_worse else "not measurably"
    return [
        f"Beyond it, {best.name} is {verdict} better ({gain}, {p_in_words(standing.p)}), at"
        f" {best.cost}."
    ]


def _times(one: Candidate, other: Candidate) -> str:
    """How much slower one is than the other.

    It is never faster by more than `AS_FAST`, for else it would have been chosen.
    """
    ratio = one.latency.median / other.latency.median
    return "about as fast" if ratio <= AS_FAST else f"{ratio:.1f} times slower"


def as_json(one: Candidate, standing: Standing | None) -> dict[str, Any]:
    """A candidate as plain values; `standing` is None for the most accurate."""
    metrics = {
        name: getattr(one.metrics, name).as_json()
        for name in ("accuracy", "balanced_accuracy", "log_loss")
    }
    return {
        "name": one.name,
        "weights": one.source,
        "licence": one.licence,
        **metrics,
        "latency_ms": one.latency.as_json(),
        "latency_all_cores_ms": one.spread and one.spread.as_json(),
        "megabytes": round(one.megabytes, 2),
        "parameters": one.parameters,
        "size_px": one.size_px,
        "seconds": round(one.seconds, 1),
        "against_best": standing and standing.as_json(),
    }
