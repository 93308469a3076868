"""How large the images are and how long they are against how wide, in words and drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.table import Catalog
from tellapart.report.parts import figures
from tellapart.report.parts.wording import percent

# of the aspect axis, in doublings: from four times as high as wide to four times as wide as high
_SPAN = 2.0
_LONG = 2.0  # from this aspect on, half of an image lies outside its largest square
_SQUARE = 1.03  # up to this aspect, an image counts as square


@dataclass(frozen=True)
class Shapes:
    """What the section on sizes shows. `lines` are sentences; there are no diagrams of a single
    size.
    """

    lines: tuple[str, ...]
    map: figures.Diagram | None
    aspects: figures.Histogram | None


def shapes(catalog: Catalog, input_px: int) -> Shapes:
    """Sizes and shapes of the usable images.

    Args:
        catalog: the data, scanned.
        input_px: the side of the network's square input; 0 where it is not known.
    """
    known = catalog.ok & (catalog.widths > 0) & (catalog.heights > 0)
    widths, heights = catalog.widths[known], catalog.heights[known]
    if not len(widths):
        return Shapes((), None, None)
    lines = [_range_line(widths, heights), _enlarged_line(widths, heights, input_px)]
    if np.ptp(widths) == np.ptp(heights) == 0:  # nothing to draw
        return Shapes(tuple(filter(None, lines)), None, None)
    lines.append(_shape_line(widths, heights))
    aspects = np.log2(widths / heights)
    return Shapes(
        tuple(filter(None, lines)),
        figures.size_map(widths, heights),
        figures.histogram(
            "", aspects, (-_SPAN, _SPAN), ("4 times as high", "square", "4 times as wide")
        ),
    )


def _range_line(widths: NDArray[np.int64], heights: NDArray[np.int64]) -> str:
    sizes, counts = np.unique(np.stack([widths, heights]), axis=1, return_counts=True)
    most = int(counts.argmax())
    commonest = f"{sizes[0, most]:,} × {sizes[1, most]:,}"
    if len(counts) == 1:
        return f"All are {commonest} pixels."
    areas = widths * heights
    least, largest = int(areas.argmin()), int(areas.argmax())
    low, high = np.percentile(np.minimum(widths, heights), [25, 75]).astype(int)
    half = (
        f"side of half of them is {low:,} to {high:,}."
        if low < high
        else f"side of most is about {low:,}."
    )
    line = (
        f"From {widths[least]:,} × {heights[least]:,} to {widths[largest]:,} × {heights[largest]:,}"
        f" pixels; the shorter {half}"
    )
    share = counts[most] / len(widths)
    return line + (f" {percent(share)} are exactly {commonest}." if share >= 0.1 else "")


def _enlarged_line(widths: NDArray[np.int64], heights: NDArray[np.int64], input_px: int) -> str:
    small = int(np.count_nonzero(np.minimum(widths, heights) < input_px))
    if not small:
        return ""
    goal = f"shorter than the network’s {input_px} pixels and will be enlarged"
    if small == len(widths):
        return f"All have a side {goal}: they hold less than the network could see."
    return f"{small:,} of {len(widths):,} {'has' if small == 1 else 'have'} a side {goal}."


def _shape_line(widths: NDArray[np.int64], heights: NDArray[np.int64]) -> str:
    aspects = widths / heights
    wide, high = float((aspects > _SQUARE).mean()), float((aspects < 1 / _SQUARE).mean())
    parts = [(wide, "wider than high"), (high, "higher than wide"), (1 - wide - high, "square")]
    said = [f"{percent(share)} {name}" for share, name in parts if share > 1e-9]
    line = (
        "All are " + said[0].split("\u202f% ", 1)[1] + "."
        if len(said) == 1
        else ", ".join(said) + "."
    )
    if long := int(np.count_nonzero(np.maximum(aspects, 1 / aspects) > _LONG)):
        are = "is" if long == 1 else "are"
        line += (
            f" {long:,} {are} more than twice as long as wide: much of such an image lies outside a"
            " square."
        )
    return line
