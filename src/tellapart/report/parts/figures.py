"""Where things stand in the diagrams of the pages. The templates draw them as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.report.parts.axes import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    LinearAxis,
    LogAxis,
)

_FLOORS = (0.98, 0.96, 0.92, 0.8, 0.6, 0.2)  # where an axis may begin; each gives even ticks
_LARGEST_RADIUS, _SMALLEST_RADIUS = 11.0, 2.5
_CELLS = 28  # of the size map, along each side

# A histogram inside its image.
HISTOGRAM_WIDTH, HISTOGRAM_HEIGHT, BINS = 180, 64, 24


@dataclass(frozen=True)
class Dot:
    """A mark in the plot, and what it stands for."""

    x: float
    y: float
    radius: float
    text: str


@dataclass(frozen=True)
class Diagram:
    """A plot of one number against another."""

    across: LinearAxis | LogAxis
    up: LinearAxis | LogAxis
    dots: tuple[Dot, ...]
    line: str = ""  # the points of a polyline
    width: int = WIDTH
    height: int = HEIGHT


def reliability_diagram(bins: Iterable[tuple[float, float, int]]) -> Diagram:
    """Accuracy over confidence. A dot's area is its share of the images, so rare bins look slight.

    Args:
        bins: mean confidence, accuracy, count; empty bins are left out.
    """
    across, up = LinearAxis(0, 1, LEFT, RIGHT, 100), LinearAxis(0, 1, BOTTOM, TOP, 100)
    filled = [one for one in bins if one[2]]
    most = max((count for _, _, count in filled), default=1)
    dots = tuple(
        Dot(
            across.at(confidence),
            up.at(accuracy),
            round(max(_LARGEST_RADIUS * math.sqrt(count / most), _SMALLEST_RADIUS), 2),
            f"{100 * confidence:.0f} % sure, {100 * accuracy:.0f} % right, {count:,} images",
        )
        for confidence, accuracy, count in filled
    )
    return Diagram(across, up, dots)


def coverage_diagram(
    curve: Iterable[tuple[float, float]], chosen: tuple[float, float] | None
) -> Diagram:
    """Accuracy of the answered over the share that is answered.

    Args:
        curve: share answered, accuracy of those; in order of the share.
        chosen: the same two at the model's threshold, or None.
    """
    points = list(curve)
    # A handful of images decides the far left of the curve: where it is low there, it is cut off.
    heights = [accuracy for share, accuracy in points if share >= 0.05] + (
        [chosen[1]] if chosen else []
    )
    lowest = min(heights, default=0.0)
    # A model that is right 99 % of the time would be a flat line on an axis from 0.
    low = next((floor for floor in _FLOORS if lowest >= floor + (1 - floor) / 8), 0.0)
    across, up = LinearAxis(0, 1, LEFT, RIGHT, 100), LinearAxis(low, 1, BOTTOM, TOP, 100)
    line = " ".join(f"{across.at(share)},{up.at(accuracy)}" for share, accuracy in _thinned(points))
    dots: tuple[Dot, ...] = ()
    if chosen:
        share, accuracy = chosen
        text = f"{100 * share:.1f} % answered, {100 * accuracy:.1f} % of them right"
        dots = (Dot(across.at(share), up.at(accuracy), 5.0, text),)
    return Diagram(across, up, dots, line)


def size_map(widths: NDArray[np.int64], heights: NDArray[np.int64]) -> Diagram:
    """Height over width, both on one logarithmic scale. A dot's area is how many images are about
    that large.
    """
    low, high = min(widths.min(), heights.min()) / 1.25, max(widths.max(), heights.max()) * 1.25
    if high < 4 * low:  # wide enough for a few round numbers
        low, high = low * math.sqrt(high / low) / 2, high / math.sqrt(high / low) * 2
    across, up = LogAxis(low, high, LEFT, RIGHT), LogAxis(low, high, BOTTOM, TOP)
    logs = np.log(np.stack([widths, heights]).astype(float))
    cells = ((logs - math.log(low)) / math.log(high / low) * _CELLS).astype(int)
    _, cell_of, counts = np.unique(
        cells[0] * (_CELLS + 1) + cells[1], return_inverse=True, return_counts=True
    )
    # The mean of a cell's images, not its middle: a set of one size gets its dot exactly there.
    middles = [np.exp(np.bincount(cell_of, side) / counts) for side in logs]
    dots = [
        Dot(
            across.at(width),
            up.at(height),
            round(max(_LARGEST_RADIUS * math.sqrt(count / counts.max()), _SMALLEST_RADIUS), 2),
            f"about {width:,.0f} × {height:,.0f}: {count:,}",
        )
        for width, height, count in zip(
            *(middle.tolist() for middle in middles), counts.tolist(), strict=True
        )
    ]
    return Diagram(across, up, tuple(sorted(dots, key=lambda dot: -dot.radius)))


@dataclass(frozen=True)
class Histogram:
    """How often which values are there, as steps; `outline` is that of all images, "" where these
    are all.

    Args:
        name: whose values they are.
        count: how many.
        steps, outline: the data of an SVG path.
        ends: what the left and the right end stand for, as text; the middle one may be "".
    """

    name: str
    count: int
    steps: str
    outline: str
    ends: tuple[str, str, str]


def histogram(
    name: str,
    values: NDArray[np.floating],
    span: tuple[float, float],
    ends: tuple[str, str, str],
    among: NDArray[np.floating] | None = None,
) -> Histogram:
    """The histogram of `values` over a span; what lies outside counts at its ends, NaN not at all.

    Args:
        name: whose values they are.
        values: (M,).
        span: the first and the last value of the axis.
        ends: text below the axis: left, middle, right.
        among: (N,) all values, drawn as an outline for comparison; None for none.
    """
    shares, all_shares = (
        _shares(values, span),
        (np.zeros(BINS) if among is None else _shares(among, span)),
    )
    top = max(shares.max(), all_shares.max(), 1e-9)
    known = int(np.isfinite(values).sum())
    return Histogram(
        name, known, _steps(shares / top), "" if among is None else _steps(all_shares / top), ends
    )


def _shares(values: NDArray[np.floating], span: tuple[float, float]) -> NDArray[np.float64]:
    known = np.clip(values[np.isfinite(values)], *span)
    counts = np.histogram(known, BINS, span)[0]
    shares: NDArray[np.float64] = counts / max(counts.sum(), 1)
    return shares


def _steps(heights: NDArray[np.float64]) -> str:
    """A path along the tops of the bars, from the left end of the axis to the right end."""
    width = HISTOGRAM_WIDTH / BINS
    tops = [
        f"V{HISTOGRAM_HEIGHT * (1 - height):.4g}H{(bin_ + 1) * width:.4g}"
        for bin_, height in enumerate(heights)
    ]
    return f"M0,{HISTOGRAM_HEIGHT}{''.join(tops)}V{HISTOGRAM_HEIGHT}"


def _thinned(points: list[tuple[float, float]], most: int = 400) -> list[tuple[float, float]]:
    """At most about `most` points: a plot is not wider than that."""
    step = max(len(points) // most, 1)
    return points[::step] + (points[-1:] if (len(points) - 1) % step else [])
