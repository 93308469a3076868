"""The learning curve: accuracy over the number of images, and what twice as many would bring about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tellapart.evaluation.learning_curve import LearningCurve
from tellapart.report.parts.axes import BOTTOM, LEFT, RIGHT, TOP, LinearAxis, LogAxis
from tellapart.report.parts.curves import polyline
from tellapart.report.parts.figures import Diagram, Dot, floor_below
from tellapart.report.parts.wording import percent


@dataclass(frozen=True)
class Bar:
    """The interval of one size, as a vertical line."""

    x: float
    low: float
    high: float


def section(curve: LearningCurve | None) -> dict[str, Any]:
    """What the template draws.

    Args:
        curve: how the accuracy grows with the number of images. None where it was not measured.
    """
    if curve is None:
        return {"growth": None}
    lows = [score.low for score in curve.accuracies]
    across = LogAxis(curve.sizes[0] / 1.2, 2 * curve.images * 1.2, LEFT, RIGHT)
    up = LinearAxis(floor_below(min(lows)), 1, BOTTOM, TOP, 100)
    points = [
        (float(size), score.value)
        for size, score in zip(curve.sizes, curve.accuracies, strict=True)
    ]
    twice = (float(2 * curve.images), curve.doubled.value)
    bars = [
        Bar(across.at(size), up.at(score.low), up.at(score.high))
        for size, score in zip(
            (*curve.sizes, 2 * curve.images), (*curve.accuracies, curve.doubled), strict=True
        )
    ]
    dots = tuple(
        Dot(across.at(size), up.at(value), 4.0, f"{size:,.0f} images: {percent(value)}")
        for size, value in (*points, twice)
    )
    ahead = [(float(curve.images), curve.now), twice]
    return {
        "growth": curve,
        "growth_line": curve.line,
        "growth_plot": Diagram(across, up, dots, polyline(across, up, points)),
        "growth_ahead": polyline(across, up, ahead),
        "growth_bars": bars,
        "growth_rows": list(zip(curve.sizes, curve.accuracies, strict=True)),
    }
