"""Where things stand in the report's two diagrams. The template draws them as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

# The plot inside its picture, in SVG units; the margins hold the axis labels.
WIDTH, HEIGHT = 340, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 328, 12, 204

_FLOORS = (0.98, 0.96, 0.92, 0.8, 0.6, 0.2)  # where an axis may begin; each gives even ticks
_LARGEST_RADIUS, _SMALLEST_RADIUS = 11.0, 2.5


@dataclass(frozen=True)
class Tick:
    """One grid line and its label: where it stands, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """Fractions from `low` to 1 along one side of the plot."""

    low: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a fraction stands, in SVG units.

        >>> Axis(0.5, 0, 100).at(0.75)
        50.0
        """
        share = (min(max(value, self.low), 1.0) - self.low) / (1 - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    @property
    def ticks(self) -> list[Tick]:
        """Five even steps."""
        values = [self.low + step / 4 * (1 - self.low) for step in range(5)]
        return [Tick(self.at(value), f"{100 * value:.4g}") for value in values]


@dataclass(frozen=True)
class Dot:
    """A mark in the plot, and what it stands for."""

    x: float
    y: float
    radius: float
    text: str


@dataclass(frozen=True)
class Diagram:
    """A plot of one fraction against another."""

    across: Axis
    up: Axis
    dots: tuple[Dot, ...]
    line: str = ""  # the points of a polyline


def reliability_diagram(bins: Iterable[tuple[float, float, int]]) -> Diagram:
    """Accuracy over confidence. A dot's area is its share of the pictures, so rare bins look slight.

    Args:
        bins: mean confidence, accuracy, count; empty bins are left out.
    """
    across, up = Axis(0, LEFT, RIGHT), Axis(0, BOTTOM, TOP)
    filled = [one for one in bins if one[2]]
    most = max((count for _, _, count in filled), default=1)
    dots = tuple(
        Dot(
            across.at(confidence),
            up.at(accuracy),
            round(max(_LARGEST_RADIUS * math.sqrt(count / most), _SMALLEST_RADIUS), 2),
            f"{100 * confidence:.0f} % sure, {100 * accuracy:.0f} % right, {count:,} pictures",
        )
        for confidence, accuracy, count in filled
    )
    return Diagram(across, up, dots)


def coverage_diagram(curve: Iterable[tuple[float, float]], chosen: tuple[float, float] | None) -> Diagram:
    """Accuracy of the answered over the share that is answered.

    Args:
        curve: share answered, accuracy of those; in order of the share.
        chosen: the same two at the model's threshold, or None.
    """
    points = list(curve)
    # A handful of pictures decides the far left of the curve: where it is low there, it is cut off.
    heights = [accuracy for share, accuracy in points if share >= 0.05] + ([chosen[1]] if chosen else [])
    lowest = min(heights, default=0.0)
    # A model that is right 99 % of the time would be a flat line on an axis from 0.
    low = next((floor for floor in _FLOORS if lowest >= floor + (1 - floor) / 8), 0.0)
    across, up = Axis(0, LEFT, RIGHT), Axis(low, BOTTOM, TOP)
    line = " ".join(f"{across.at(share)},{up.at(accuracy)}" for share, accuracy in _thinned(points))
    dots: tuple[Dot, ...] = ()
    if chosen:
        share, accuracy = chosen
        text = f"{100 * share:.1f} % answered, {100 * accuracy:.1f} % of them right"
        dots = (Dot(across.at(share), up.at(accuracy), 5.0, text),)
    return Diagram(across, up, dots, line)


def _thinned(points: list[tuple[float, float]], most: int = 400) -> list[tuple[float, float]]:
    """At most about `most` points: a plot is not wider than that."""
    step = max(len(points) // most, 1)
    return points[::step] + (points[-1:] if (len(points) - 1) % step else [])
