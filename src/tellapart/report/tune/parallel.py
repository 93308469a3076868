"""Parallel coordinates: each trial is a line across its settings to its score."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tellapart.evaluation.scores import LOWER_IS_BETTER, better
from tellapart.evaluation.trial_row import TrialRow
from tellapart.report.parts.axes import LinearAxis, LogAxis, Tick
from tellapart.report.tune.trial_table import score_text, setting, short

# In SVG units. A trial without a setting crosses that setting's rail at UNUSED.
TOP, BOTTOM, UNUSED, HEIGHT = 34, 214, 236, 256
LEFT, LETTER = 84, 6.5  # the least room before the first rail; the width of a letter of a label
WIDEST, NARROWEST, ROOM = 132, 96, 860  # between two rails; for all rails of a wide page
MOST_KEYS = 8
MOST_TRIALS = 200  # the best ones; more lines would be a blot
BEST_SHARE = 0.2  # the share of the lines that is drawn in colour
_LONGEST = 20  # characters of a label


@dataclass(frozen=True)
class Rail:
    """The axis of one setting. `unused` says whether some trial does not have the setting."""

    name: str
    x: int
    ticks: tuple[Tick, ...]
    unused: bool


@dataclass(frozen=True)
class Strand:
    """One trial: the points of a polyline, its words, and how it is drawn: best, good or other."""

    points: str
    text: str
    kind: str


@dataclass(frozen=True)
class Parallel:
    """The whole plot. The best strands are the last, so that they lie on top."""

    rails: tuple[Rail, ...]
    strands: tuple[Strand, ...]
    width: int
    height: int = HEIGHT
    top: int = TOP
    bottom: int = BOTTOM
    unused_at: int = UNUSED


def parallel(
    rows: Sequence[TrialRow],
    keys: Sequence[str],
    logs: frozenset[str],
    metric: str,
    best: TrialRow | None,
) -> Parallel | None:
    """The plot of the trials that have a score. None where there are fewer than two.

    Args:
        rows: the trials.
        keys: the searched settings, the most important first. The first `MOST_KEYS` are drawn.
        logs: the settings on a logarithmic rail.
        metric: the metric of the last rail, where higher is better.
        best: the best trial, or None.
    """
    ranked = _ranked([row for row in rows if math.isfinite(row.value)], metric)[:MOST_TRIALS]
    if len(ranked) < 2:
        return None
    values_of = {key: [row.settings[key] for row in ranked if key in row.settings] for key in keys}
    drawn = [key for key in keys if values_of[key]][:MOST_KEYS]
    axes = [_axis(values_of[key], key in logs) for key in drawn]
    longest = max((len(tick.text) for _, ticks in axes[:1] for tick in ticks), default=0)
    left = max(LEFT, round(LETTER * (longest + 1)))
    apart = max(NARROWEST, min(WIDEST, (ROOM - left - LEFT // 2) // max(len(drawn), 1)))
    rails, places = [], []
    for position, (key, (place, ticks)) in enumerate(zip(drawn, axes, strict=True)):
        x = left + apart * position
        rails.append(Rail(short(key), x, ticks, unused=len(values_of[key]) < len(ranked)))
        places.append((key, x, place))
    x = left + apart * len(drawn)
    up, ticks = _value_rail([row.value for row in ranked], metric)
    rails.append(Rail(f"val {metric}", x, ticks, unused=False))
    strands = []
    for rank, row in enumerate(ranked):
        points = [
            (at, place(row.settings[key]) if key in row.settings else UNUSED)
            for key, at, place in places
        ]
        words = ", ".join(f"{short(key)} {setting(value)}" for key, value in row.settings.items())
        kind = "good" if rank < BEST_SHARE * len(ranked) and row.state == "finished" else "other"
        strands.append(
            Strand(
                " ".join(
                    f"{at},{round(height, 1)}" for at, height in [*points, (x, up(row.value))]
                ),
                f"trial {row.number}: {score_text(metric, row.value)}; {words}",
                "best" if best is not None and row.number == best.number else kind,
            )
        )
    return Parallel(tuple(rails), tuple(reversed(strands)), width=x + LEFT // 2)


def _ranked(rows: Sequence[TrialRow], metric: str) -> list[TrialRow]:
    """The best first."""
    lower = metric.endswith(LOWER_IS_BETTER)
    return sorted(rows, key=lambda row: (row.value if lower else -row.value, row.number))


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _axis(values: Sequence[Any], log: bool) -> tuple[Callable[[Any], float], tuple[Tick, ...]]:
    """Where each value stands, and the labels."""
    return _numbers(values, log) if _are_numbers(values) else _names(values)


def _numbers(values: Sequence[float], log: bool) -> tuple[Callable[[Any], float], tuple[Tick, ...]]:
    low, high = min(values), max(values)
    if low == high:
        middle = (TOP + BOTTOM) / 2
        return lambda value: middle, (Tick(middle, setting(low)),)
    axis = LogAxis(low, high, BOTTOM, TOP) if log else LinearAxis(low, high, BOTTOM, TOP)
    ends = (Tick(axis.at(low), setting(low)), Tick(axis.at(high), setting(high)))
    between = [tick for tick in axis.ticks if all(abs(tick.at - end.at) > 16 for end in ends)]
    return axis.at, (*ends, *between)


def _names(values: Sequence[Any]) -> tuple[Callable[[Any], float], tuple[Tick, ...]]:
    """An axis of settings that are not numbers, at even steps."""

    def order(value: Any) -> tuple[bool, float, str]:
        is_number = _are_numbers([value])
        return not is_number, float(value) if is_number else 0.0, setting(value)

    distinct = sorted({repr(value): value for value in values}.values(), key=order)
    step = (BOTTOM - TOP) / max(len(distinct) - 1, 1)
    start = BOTTOM if len(distinct) > 1 else (TOP + BOTTOM) / 2
    heights = {repr(value): start - step * number for number, value in enumerate(distinct)}
    ticks = tuple(Tick(round(heights[repr(value)], 1), _cut(setting(value))) for value in distinct)
    return lambda value: heights[repr(value)], ticks


def _value_rail(
    values: Sequence[float], metric: str
) -> tuple[Callable[[float], float], tuple[Tick, ...]]:
    worst = best = values[0]
    for value in values:
        best = value if better(metric, value, best) else best
        worst = value if better(metric, worst, value) else worst
    if worst == best:
        middle = (TOP + BOTTOM) / 2
        return lambda value: middle, (Tick(middle, score_text(metric, best)),)

    def at(value: float) -> float:
        return round(BOTTOM + (value - worst) / (best - worst) * (TOP - BOTTOM), 1)

    return at, tuple(
        Tick(at(value), score_text(metric, value)) for value in (worst, (worst + best) / 2, best)
    )


def _cut(text: str) -> str:
    # Names of one family of networks differ at their ends, so the end stays.
    return text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"
