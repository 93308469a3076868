"""Lines over a number: how a loss went, how a rate went. `curves.html.jinja` draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tellapart.report.parts.figures import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Dot, Tick

Points = Sequence[tuple[float, float]]

_MOST_TICKS = 6
_MOST_DOTS = 30  # epochs of which each gets one; more would hide the line


@dataclass(frozen=True)
class Scale:
    """Numbers from `low` to `high` along one side of the plot; `unit` 100 shows fractions as
    percentages.
    """

    low: float
    high: float
    start: float
    end: float
    unit: float = 1.0

    def at(self, value: float) -> float:
        """Where a number stands, in SVG units; beyond the ends at the ends.

        >>> Scale(0, 4, 0, 100).at(1)
        25.0
        """
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    @property
    def ticks(self) -> list[Tick]:
        """Round numbers, at most `_MOST_TICKS`.

        >>> [tick.text for tick in Scale(0.2, 2.3, 0, 100).ticks]
        ['0.5', '1', '1.5', '2']
        """
        step = _round_step(self.high - self.low)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        values = [number * step for number in range(first, last + 1)]
        digits = (
            math.ceil(math.log10(max(abs(self.low), abs(self.high)) / step)) + 1
        )  # as many as tell two apart
        return [Tick(self.at(value), f"{self.unit * value:.{max(digits, 4)}g}") for value in values]


@dataclass(frozen=True)
class Decades:
    """Positive numbers from `low` to `high`, ten times as much the same step everywhere."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a number stands, in SVG units.

        >>> Decades(1e-4, 1, 0, 100).at(1e-3)
        25.0
        """
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return round(self.start + share * (self.end - self.start), 2)

    @property
    def ticks(self) -> list[Tick]:
        """Powers of ten.

        >>> [tick.text for tick in Decades(1e-5, 1, 0, 100).ticks]
        ['1e-5', '1e-4', '1e-3', '0.01', '0.1', '1']
        """
        first, last = (
            math.ceil(math.log10(self.low) - 1e-9),
            math.floor(math.log10(self.high) + 1e-9),
        )
        named = {-2: "0.01", -1: "0.1", 0: "1", 1: "10", 2: "100"}
        return [
            Tick(self.at(10.0**power), named.get(power, f"1e{power}"))
            for power in range(first, last + 1)
        ]


@dataclass(frozen=True)
class Line:
    """One line of a chart: its name in the legend, and the points of a polyline. A faint one is in
    the background.
    """

    name: str
    points: str
    faint: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines over one axis, and dots on them. `label` is its heading, `across_name` stands below the
    axis.
    """

    label: str
    across_name: str
    across: Scale | Decades
    up: Scale
    lines: tuple[Line, ...]
    dots: tuple[Dot, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def needs_legend(self) -> bool:
        """Whether the heading leaves open what a line is."""
        return any(line.name not in self.label.lower() for line in self.lines)


def chart(
    label: str, across_name: str, lines: Sequence[tuple[str, Points, bool]], unit: float = 1.0
) -> Chart | None:
    """Lines over even steps, for example over epochs. What is no finite number is left out; None if
    nothing is left.

    Args:
        label, across_name: see `Chart`.
        lines: name, (x, y) in order of x, and whether it is faint, which one by itself never is.
        unit: 100 for fractions that are shown as percentages.
    """
    known = [
        (name, [point for point in points if math.isfinite(point[1])], faint)
        for name, points, faint in lines
    ]
    known = [line for line in known if line[1]]
    if not known:
        return None
    known = [(name, points, faint and len(known) > 1) for name, points, faint in known]
    xs, ys = zip(*(point for _, points, _ in known for point in points), strict=True)
    across, up = Scale(*_room(xs, 0.0), LEFT, RIGHT), Scale(*_room(ys, 0.06), BOTTOM, TOP, unit)
    drawn = tuple(Line(name, polyline(across, up, points), faint) for name, points, faint in known)
    dots = tuple(
        Dot(across.at(x), up.at(y), 3.0, f"{name}: {unit * y:.4g} at {across_name} {x:.4g}")
        for name, points, faint in known
        for x, y in points
        if not faint and len(points) <= _MOST_DOTS
    )
    return Chart(label, across_name, across, up, drawn, dots)


def polyline(across: Scale | Decades, up: Scale, points: Points) -> str:
    """The points of a polyline."""
    return " ".join(f"{across.at(x)},{up.at(y)}" for x, y in points)


def _room(values: Sequence[float], share: float) -> tuple[float, float]:
    """The least and the largest value, with a share of their distance around them; never an empty
    range.
    """
    low, high = min(values), max(values)
    space = (high - low) * share or (0.0 if high > low else abs(high) / 2 or 0.5)
    return low - space, high + space


def _round_step(span: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that gives at most `_MOST_TICKS`."""
    power = 10.0 ** math.floor(math.log10(span / _MOST_TICKS))
    return next(
        factor * power
        for factor in (1, 2, 5, 10)
        if span / (factor * power) <= _MOST_TICKS - 1 or factor == 10
    )
