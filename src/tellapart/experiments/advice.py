"""Recommend one of the backbones that were measured, and say why in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tellapart.experiments.pareto import (
    Budget,
    Candidate,
    Standing,
    most_accurate,
    standings,
)
from tellapart.modelfile.licences import warning
from tellapart.phrases import in_groups

# A difference in accuracy that matters: a paired interval that reaches further leaves it open.
TELLING = 0.02
AS_FAST = 1.1  # times the shorter time: a smaller ratio is within the noise of a machine


@dataclass(frozen=True)
class Advice:
    """Which candidate to take, and why.

    Args:
        chosen: None if no candidate is within the budget.
        lines: the reasons, a sentence or two each.
    """

    chosen: Candidate | None
    lines: tuple[str, ...]


def advise(candidates: Sequence[Candidate], budget: Budget) -> Advice:
    """Recommend the most accurate candidate within the budget, and say what its time buys.

    A less accurate one is recommended only if the user says what a millisecond is worth, and the
    time that it saves is worth more than the accuracy that it loses. Images that cannot tell two
    candidates apart do not show that these are equal, so the best estimate decides.

    Args:
        candidates: at least one, all measured on the same images.
        budget: what the model file may cost, and what a millisecond is worth.
    """
    within = [candidate for candidate in candidates if budget.holds(candidate)]
    if not within:
        return Advice(None, (_nothing_fits(candidates, budget),))
    standing, best = standings(within), most_accurate(within)
    chosen = most_worth(within, budget)
    if chosen is best:
        reasons = [_price(best, within, standing), _rivals(standing)]
    else:
        reasons = [_not_worth(chosen, best, standing[chosen.name], budget)]
    return Advice(
        chosen,
        (
            f"Take {chosen.name}: {_reason(chosen, best, within, budget)}.",
            f"Its probe is correct on {chosen.metrics.accuracy} of val. It takes {chosen.cost}.",
            *filter(None, [*reasons, _beyond(chosen, candidates, within), warning(chosen.licence)]),
            _LATER,
        ),
    )


def most_worth(candidates: Sequence[Candidate], budget: Budget) -> Candidate:
    """The candidate whose accuracy, less the worth of its time, is highest; of equals the fastest."""
    return max(candidates, key=lambda candidate: (budget.value(candidate), -candidate.ms))


_LATER = (
    "The val images were used to choose it, so this score is optimistic. Training it measures it on"
    " the test images, which played no part here."
)


def _nothing_fits(candidates: Sequence[Candidate], budget: Budget) -> str:
    fastest = min(candidates, key=lambda candidate: candidate.ms)
    smallest = min(candidates, key=lambda candidate: candidate.megabytes)
    return (
        f"No candidate is within {budget}: the fastest, {fastest.name}, takes"
        f" {fastest.cost}; the smallest, {smallest.name}, {smallest.cost}."
    )


def _reason(chosen: Candidate, best: Candidate, within: Sequence[Candidate], budget: Budget) -> str:
    limit = f"within {budget} " if str(budget) else ""
    if len(within) == 1:
        return f"{limit}it is the only one that was measured"
    if chosen is best:
        return f"{limit}none is more accurate on val"
    return f"{limit}no other accuracy is worth its time, at {_rate(budget)}"


def _price(
    best: Candidate, within: Sequence[Candidate], standing: Mapping[str, Standing]
) -> str | None:
    """What the time of the most accurate one buys, and at which worth of time another is better.

    The other is the faster one that is the first to be better as time is worth more.
    """
    faster = [
        candidate
        for candidate in within
        if candidate is not best and AS_FAST * candidate.ms < best.ms
    ]
    if not faster:
        return None
    other = min(faster, key=lambda candidate: _points_per_ms(best, candidate))
    pair, extra = standing[other.name], best.ms - other.ms
    sure = "This gain is measurable"
    if not pair.is_worse:
        sure = f"{_val_images(pair)} cannot confirm this gain"
    worth = _rounded_up(_points_per_ms(best, other))
    return (
        f"{extra:.3g} ms more an image than {other.name} buy {pair.gain}. {sure} ({pair.p_text})."
        f" If a millisecond is worth more to you, --ms-worth {worth:g} takes {other.name}."
    )


def _not_worth(chosen: Candidate, best: Candidate, pair: Standing, budget: Budget) -> str:
    """Why the most accurate one is not worth its time, and how sure its gain is."""
    assert budget.ms_worth is not None
    extra = best.ms - chosen.ms
    sure = "measurable" if pair.is_worse else f"which {_val_images(pair)} cannot confirm"
    return (
        f"{best.name} takes {extra:.3g} ms more an image, which cost"
        f" {budget.ms_worth * extra:.3g} points at that rate. It buys {pair.gain}, {sure}"
        f" ({pair.p_text})."
    )


def _rate(budget: Budget) -> str:
    """What a millisecond is worth, in words."""
    noun = "point" if budget.ms_worth == 1 else "points"
    return f"{budget.ms_worth:g} {noun} a millisecond"


def _points_per_ms(best: Candidate, faster: Candidate) -> float:
    """Points of accuracy that each further millisecond of the most accurate one buys."""
    gain = best.metrics.accuracy.value - faster.metrics.accuracy.value
    return 100 * gain / (best.ms - faster.ms)


def _rounded_up(rate: float) -> float:
    """A rate with two digits that is above it, so that it turns the choice.

    >>> _rounded_up(1.125), _rounded_up(0.0302), _rounded_up(4.0)
    (1.2, 0.031, 4.1)
    """
    step = 10.0 ** (math.floor(math.log10(rate)) - 1) if rate else 0.001
    return round((math.floor(rate / step + 1e-9) + 1) * step, 12)


def _rivals(standing: Mapping[str, Standing]) -> str | None:
    """Which others may be better than the most accurate by more than matters."""
    reach = {
        name: pair.pair.score.high
        for name, pair in standing.items()
        if not pair.is_worse and pair.pair.score.high > TELLING
    }
    if not reach:
        return None
    val_images = _val_images(next(iter(standing.values())))
    return (
        f"{val_images} are too few to rank it against {' or '.join(reach)}, which may be"
        f" better by up to {100 * max(reach.values()):.1f} points. More val images would decide it."
    )


def _beyond(
    chosen: Candidate, candidates: Sequence[Candidate], within: Sequence[Candidate]
) -> str | None:
    """What the budget costs in accuracy."""
    best = most_accurate(candidates)
    if best in within:
        return None
    standing = standings(candidates)[chosen.name]
    verdict = "measurably" if standing.is_worse else "not measurably"
    return (
        f"Beyond that budget, {best.name} is {verdict} better ({standing.gain},"
        f" {standing.p_text}), at {best.cost}."
    )


def _val_images(standing: Standing) -> str:
    """The images of a comparison, with their noun."""
    score = standing.pair.score
    return in_groups(score.count, score.clusters, "val image")
