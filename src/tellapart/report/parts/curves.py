"""Line charts: a loss over epochs, a loss over rates. `curves.html.jinja` draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tellapart.report.parts.axes import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, LinearAxis, LogAxis
from tellapart.report.parts.figures import Dot

Points = Sequence[tuple[float, float]]

_MOST_DOTS = 30  # of one line; more would hide it


@dataclass(frozen=True)
class Line:
    """One line of a chart: its name in the legend, and the points of a polyline. A faint line is
    background.
    """

    name: str
    points: str
    faint: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines over one axis, and dots on them. `label` is the heading of the chart; `across_name`
    stands below the axis.
    """

    label: str
    across_name: str
    across: LinearAxis | LogAxis
    up: LinearAxis
    lines: tuple[Line, ...]
    dots: tuple[Dot, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def needs_legend(self) -> bool:
        """Whether the heading does not name every line."""
        return any(line.name not in self.label.lower() for line in self.lines)


def chart(
    label: str, across_name: str, lines: Sequence[tuple[str, Points, bool]], unit: float = 1.0
) -> Chart | None:
    """A chart of lines over even steps, for example over epochs. None if there is nothing to draw.

    Args:
        label: the heading.
        across_name: the words below the axis.
        lines: each line's name, its points in order of x, and whether it is faint. Points that are
            not finite are left out. A line by itself is never faint.
        unit: 100 shows fractions as percentages.
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
    across, up = (
        LinearAxis(*_room(xs, 0.0), LEFT, RIGHT),
        LinearAxis(*_room(ys, 0.06), BOTTOM, TOP, unit),
    )
    drawn = tuple(Line(name, polyline(across, up, points), faint) for name, points, faint in known)
    dots = tuple(
        Dot(across.at(x), up.at(y), 3.0, f"{name}: {unit * y:.4g} at {across_name} {x:.4g}")
        for name, points, faint in known
        for x, y in points
        if not faint and len(points) <= _MOST_DOTS
    )
    return Chart(label, across_name, across, up, drawn, dots)


def polyline(across: LinearAxis | LogAxis, up: LinearAxis, points: Points) -> str:
    """The points of a polyline."""
    return " ".join(f"{across.at(x)},{up.at(y)}" for x, y in points)


def _room(values: Sequence[float], share: float) -> tuple[float, float]:
    """The smallest and the largest value with some room around them. The range is never empty.

    Args:
        values: at least one.
        share: the room at each end, as a share of the distance between the two values.
    """
    low, high = min(values), max(values)
    space = (high - low) * share or (0.0 if high > low else abs(high) / 2 or 0.5)
    return low - space, high + space
