"""The sizes and aspect ratios of the images, in words and drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.table import Catalog
from tellapart.report.parts import figures
from tellapart.report.parts.wording import percent

# The aspect axis in doublings: from four times as tall as wide to four times as wide as tall.
_SPAN = 2.0
_LONG = 2.0  # above this aspect, more than half of an image lies outside its largest square
_SQUARE = 1.03  # up to this aspect, an image counts as square


@dataclass(frozen=True)
class Shapes:
    """The section on sizes. `lines` are sentences; images of a single size have no diagrams."""

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
            "", aspects, (-_SPAN, _SPAN), ("4 times as tall", "square", "4 times as wide")
        ),
    )


def _range_line(widths: NDArray[np.int64], heights: NDArray[np.int64]) -> str:
    sizes, counts = np.unique(np.stack([widths, heights]), axis=1, return_counts=True)
    most = int(counts.argmax())
    commonest = f"{sizes[0, most]:,} × {sizes[1, most]:,}"
    if len(counts) == 1:
        return f"All images are {commonest} pixels."
    areas = widths * heights
    least, largest = int(areas.argmin()), int(areas.argmax())
    low, high = np.percentile(np.minimum(widths, heights), [25, 75]).astype(int)
    shorter = (
        f"half of them have a shorter side of {low:,} to {high:,}."
        if low < high
        else f"most of them have a shorter side of about {low:,}."
    )
    line = (
        f"The images have {widths[least]:,} × {heights[least]:,} to {widths[largest]:,} ×"
        f" {heights[largest]:,} pixels; {shorter}"
    )
    share = counts[most] / len(widths)
    return line + (f" {percent(share)} have exactly {commonest}." if share >= 0.1 else "")


def _enlarged_line(widths: NDArray[np.int64], heights: NDArray[np.int64], input_px: int) -> str:
    small = int(np.count_nonzero(np.minimum(widths, heights) < input_px))
    if not small:
        return ""
    fate = f"a side shorter than the network’s {input_px} pixels and will be enlarged"
    if small == len(widths):
        return f"All images have {fate}: they hold less detail than the network could use."
    return f"{small:,} of {len(widths):,} images {'has' if small == 1 else 'have'} {fate}."


def _shape_line(widths: NDArray[np.int64], heights: NDArray[np.int64]) -> str:
    aspects = widths / heights
    wide, tall = float((aspects > _SQUARE).mean()), float((aspects < 1 / _SQUARE).mean())
    shares = {"wider than tall": wide, "taller than wide": tall, "square": 1 - wide - tall}
    shapes_there = {name: share for name, share in shares.items() if share > 1e-9}
    if len(shapes_there) == 1:
        line = f"All images are {next(iter(shapes_there))}."
    else:
        words = [f"{percent(share)} are {name}" for name, share in shapes_there.items()]
        line = f"{', '.join(words)}."
    long = int(np.count_nonzero(np.maximum(aspects, 1 / aspects) > _LONG))
    if long:
        verb = "image is" if long == 1 else "images are"
        line += (
            f" {long:,} {verb} more than twice as long as wide: more than half of such an image lies"
            " outside its largest square."
        )
    return line
