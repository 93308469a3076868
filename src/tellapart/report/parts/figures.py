"""The geometry of diagrams and histograms. The templates draw it as SVG."""

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
class Band:
    """A range of heights over a stretch of the axis, as a rectangle."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Diagram:
    """A plot of one number against another."""

    across: LinearAxis | LogAxis
    up: LinearAxis | LogAxis
    dots: tuple[Dot, ...]
    line: str = ""  # points of a polyline
    bands: tuple[Band, ...] = ()  # behind the rest
    width: int = WIDTH
    height: int = HEIGHT


def reliability_diagram(
    bins: Iterable[tuple[float, float, int]],
    chance: Iterable[tuple[float, float, float, float]] = (),
) -> Diagram:
    """Accuracy over confidence. A dot's area is its share of the images, so rare bins look slight.

    Args:
        bins: the mean confidence, accuracy and count of each bin. Empty bins are left out.
        chance: the two edges of each bin, and the bounds of the accuracy that chance alone gives.
    """
    across, up = LinearAxis(0, 1, LEFT, RIGHT, 100), LinearAxis(0, 1, BOTTOM, TOP, 100)
    filled = [bin_ for bin_ in bins if bin_[2]]
    most = max((count for _, _, count in filled), default=1)
    dots = tuple(
        Dot(
            across.at(confidence),
            up.at(accuracy),
            round(max(_LARGEST_RADIUS * math.sqrt(count / most), _SMALLEST_RADIUS), 2),
            f"confidence {100 * confidence:.0f} %, accuracy {100 * accuracy:.0f} %, {count:,} images",
        )
        for confidence, accuracy, count in filled
    )
    bands = tuple(
        Band(
            across.at(left),
            up.at(high),
            round(across.at(right) - across.at(left), 2),
            round(up.at(low) - up.at(high), 2),
        )
        for left, right, low, high in chance
    )
    return Diagram(across, up, dots, bands=bands)


def coverage_diagram(
    curve: Iterable[tuple[float, float]], chosen: tuple[float, float] | None
) -> Diagram:
    """Accuracy of the answered images over the share that is answered.

    Args:
        curve: the share answered and the accuracy of those, in order of the share.
        chosen: the same two numbers at the model's threshold, or None.
    """
    points = list(curve)
    # A handful of images decides the far left of the curve. A low start must not set the axis.
    heights = [accuracy for share, accuracy in points if share >= 0.05] + (
        [chosen[1]] if chosen else []
    )
    lowest = min(heights, default=0.0)
    # On an axis from 0, a model with 99 % accuracy would be a flat line.
    low = floor_below(lowest)
    across, up = LinearAxis(0, 1, LEFT, RIGHT, 100), LinearAxis(low, 1, BOTTOM, TOP, 100)
    line = " ".join(f"{across.at(share)},{up.at(accuracy)}" for share, accuracy in _thinned(points))
    dots: tuple[Dot, ...] = ()
    if chosen:
        share, accuracy = chosen
        text = f"{100 * share:.1f} % answered, {100 * accuracy:.1f} % of them correct"
        dots = (Dot(across.at(share), up.at(accuracy), 5.0, text),)
    return Diagram(across, up, dots, line)


def floor_below(lowest: float) -> float:
    """Where an axis of shares begins whose lowest value this is.

    >>> floor_below(0.97), floor_below(0.1)
    (0.96, 0.0)
    """
    return next((floor for floor in _FLOORS if lowest >= floor + (1 - floor) / 8), 0.0)


def size_map(widths: NDArray[np.int64], heights: NDArray[np.int64]) -> Diagram:
    """Height over width, both on one logarithmic scale. A dot's area is the number of images of
    about that size.
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
    # A dot stands at the mean of its cell's images, not at the middle of the cell. Images of one
    # size so get their dot exactly there.
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
    """The histogram of one group of images, drawn as steps.

    Args:
        name: the group.
        count: the images of the group.
        steps: the data of an SVG path.
        outline: the same for all images; "" where the group is all images.
        ends: text below the left end, the middle and the right end of the axis; each may be "".
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
    """The histogram of `values` over a span. Values outside it count at its ends; NaN is left out.

    Args:
        name: the group of images that the values belong to.
        values: (M,).
        span: the first and the last value of the axis.
        ends: text below the axis: left, middle, right.
        among: (N,) all values, drawn as an outline for comparison. None draws no outline.
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
    """At most about `most` points, because a plot has no more pixels than that."""
    step = max(len(points) // most, 1)
    return points[::step] + (points[-1:] if (len(points) - 1) % step else [])
