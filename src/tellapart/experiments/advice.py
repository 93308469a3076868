"""Recommend one of the backbones that were measured, and say why in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tellapart.experiments.pareto import (
    Budget,
    Candidate,
    Standing,
    most_accurate,
    standings,
)
from tellapart.phrases import in_groups

# A difference in accuracy that matters: a paired interval that reaches further leaves it open.
TELLING = 0.02
AS_FAST = 1.1  # times the shortest latency: a smaller ratio is within the noise of a machine


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

    A faster one is recommended only if the images show that it is at most `NEGLIGIBLE` worse.
    Images that cannot tell two candidates apart do not show that these are equal.

    Args:
        candidates: at least one, all measured on the same images.
        budget: what the model file may cost.
    """
    within = [candidate for candidate in candidates if budget.holds(candidate)]
    if not within:
        return Advice(None, (_nothing_fits(candidates, budget),))
    standing, best = standings(within), most_accurate(within)
    equals = [
        candidate
        for candidate in within
        if candidate is best or standing[candidate.name].is_as_good
    ]
    chosen = _fastest(equals)
    reasons = [_price(best, within, standing), _rivals(standing)]
    if chosen is not best:
        reasons = [_negligible(chosen, best, standing[chosen.name])]
    return Advice(
        chosen,
        (
            f"Take {chosen.name}: {_reason(chosen, best, within, budget)}.",
            f"Its probe is correct on {chosen.metrics.accuracy} of val;"
            f" the model file takes {chosen.cost}.",
            *filter(None, [*reasons, _beyond(chosen, candidates, within)]),
            _LATER,
        ),
    )


_LATER = (
    "The val images were used to choose it, so this score is optimistic. Training it measures it on"
    " the test images, which played no part here."
)


def _fastest(candidates: Sequence[Candidate]) -> Candidate:
    """The fastest; of those that are about as fast, the most accurate, then the least log loss."""
    shortest = min(candidate.latency.median for candidate in candidates)
    return max(
        (item for item in candidates if item.latency.median <= AS_FAST * shortest),
        key=lambda item: (item.metrics.accuracy.value, -item.metrics.log_loss.value),
    )


def _nothing_fits(candidates: Sequence[Candidate], budget: Budget) -> str:
    fastest = min(candidates, key=lambda candidate: candidate.latency.median)
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
        return f"{limit}none is more accurate"
    return f"{limit}it is the fastest of those that are as accurate as the best"


def _negligible(chosen: Candidate, best: Candidate, standing: Standing) -> str:
    """Why the most accurate one is not worth its time."""
    return (
        f"{best.name} is {_times(best, chosen)}, and its gain is too small to matter:"
        f" {standing.gain}."
    )


def _price(
    best: Candidate, within: Sequence[Candidate], standing: Mapping[str, Standing]
) -> str | None:
    """What the time of the most accurate one buys, against the fastest that may be as good."""
    faster = [
        candidate
        for candidate in within
        if candidate is not best
        and AS_FAST * candidate.latency.median < best.latency.median
        and not standing[candidate.name].is_worse
    ]
    if not faster:
        return None
    other = _fastest(faster)
    pair = standing[other.name]
    extra = best.latency.median - other.latency.median
    return (
        f"{other.name} takes {other.latency.median:.3g} ms. The other {extra:.3g} ms buy"
        f" {pair.gain}, which {_val_images(pair)} cannot confirm"
        f" ({pair.p_text}). If time matters more, set --max-ms."
    )


def _rivals(standing: Mapping[str, Standing]) -> str | None:
    """Which others may be better than the most accurate by more than matters."""
    reach = {
        name: pair.comparison.difference.high
        for name, pair in standing.items()
        if not pair.is_worse and pair.comparison.difference.high > TELLING
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
    difference = standing.comparison.difference
    return in_groups(difference.count, difference.clusters, "val image")


def _times(slower: Candidate, faster: Candidate) -> str:
    """How much slower one candidate is than the other.

    It is never faster by more than `AS_FAST`, or else it would have been chosen.
    """
    ratio = slower.latency.median / faster.latency.median
    return "about as fast" if ratio <= AS_FAST else f"{ratio:.1f} times slower"
