"""Values of more than 8 bits → 8-bit greys, by a range that is taken once from the whole data set.

    values of each image ─ measure ─▶ Levels ─ range_of_set ─▶ (low, high) ─ to_grey ─▶ 0 to 255

A microscope's 12 bits in a file of 16 use a sixteenth of its range, and come out black where that
range is scaled. One image alone cannot tell this from a dark image, but the set can. A range for
each image would undo what differs between images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["16-bit", "integer", "float"]
KINDS: tuple[Kind, ...] = ("16-bit", "integer", "float")

MOST_SAMPLES = 2**18  # values of an image that are looked at, evenly spread
# Shares that are left out at both ends: of the values of an image, as hot pixels are, then of the
# images of a set, as a wrongly exported one is.
_VALUES_LEFT_OUT = 0.001
_IMAGES_LEFT_OUT = 0.01
_STEPS = 16  # a range of whole numbers that does not begin at 0 is rounded to sixteenths


@dataclass(frozen=True)
class Levels:
    """Between which values an image's pixels lie, a thousandth of them left out at each end.

    Args:
        kind: "16-bit" for 16 bits without a sign, "integer" for other whole numbers, "float".
    """

    kind: Kind
    low: float
    high: float


def measure(values: NDArray[Any], kind: Kind) -> Levels | None:
    """The levels of an image's values. None means that no value is a number."""
    flat = values.reshape(-1)
    flat = flat[:: max(1, flat.size // MOST_SAMPLES)]
    if kind == "float":
        flat = flat[np.isfinite(flat)]
    if not flat.size:
        return None
    left_out = int(flat.size * _VALUES_LEFT_OUT)
    places = [left_out, flat.size - 1 - left_out]
    low, high = np.partition(flat, places)[places].tolist()
    return Levels(kind, float(low), float(high))


def range_of_set(images: Iterable[Levels]) -> tuple[float, float]:
    """The values that become black and white, for images of one kind.

    It is rounded outwards, so that one image more seldom changes it: to a depth of 8, 10, 12, 14 or
    16 bits where the values use one, else to two digits.

    >>> range_of_set([Levels("16-bit", 30.0, 3900.0)])
    (0.0, 4095.0)
    >>> range_of_set([Levels("float", 0.02, 0.97)])
    (0.0, 1.0)
    """
    found = list(images)
    # numpy's nearest values, not means between two, so that a range is made of values that occur.
    low = float(np.quantile([i.low for i in found], _IMAGES_LEFT_OUT, method="lower"))
    high = float(np.quantile([i.high for i in found], 1 - _IMAGES_LEFT_OUT, method="higher"))
    if found[0].kind == "float":
        return _range_of_floats(low, high)
    top = next((2**bits - 1 for bits in (8, 10, 12, 14, 16) if high <= 2**bits - 1), None)
    if low < 0 or top is None:
        return _rounded(low, high)
    # An offset, as of cameras that store 30,000 for black, would leave few greys to the image.
    if high - low < top / 4:
        step = (top + 1) / _STEPS
        return math.floor(low / step) * step, math.ceil((high + 1) / step) * step - 1
    return 0.0, float(top)


def _range_of_floats(low: float, high: float) -> tuple[float, float]:
    for top in (1.0, 255.0):  # as programs write images whose values were 8 bits
        if low >= 0 and top / 4 < high <= top:
            return 0.0, top
    return _rounded(low, high)


def _rounded(low: float, high: float) -> tuple[float, float]:
    """A range that holds both, with two digits of their distance."""
    step = 10.0 ** (math.floor(math.log10(max(high - low, 1e-30))) - 1)
    return math.floor(low / step) * step, math.ceil(high / step) * step


def to_grey(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """(H, W) uint8: `low` and all below is 0, `high` and all above 255."""
    exact = np.float64 if max(abs(low), abs(high)) > 2**24 else np.float32
    scaled: NDArray[Any] = values.astype(exact)
    scaled = (scaled - low) * (255 / max(high - low, 1e-30)) + 0.5
    grey: NDArray[np.uint8] = np.nan_to_num(scaled, nan=0.0).clip(0, 255).astype(np.uint8)
    return grey
