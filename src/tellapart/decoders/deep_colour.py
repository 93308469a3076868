"""Colours of 16 bits a channel → 8, by the range of the data set.

Pillow has no mode for them: it reads the upper byte of each value and drops the lower one. So the
file is decoded twice, the second time in the other order of bytes, which gives the lower one.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
from PIL import Image

from tellapart.decoders.levels import to_grey
from tellapart.decoders.modes import is_infrared, range_for
from tellapart.decoders.opening import open_image
from tellapart.decoders.rules import FULL_RANGE, OLD_CONTRACT, DecodeRules
from tellapart.decoders.verdict import Trace

_DEEP = re.compile("((?:RGB|RGBX|RGBA);16)([LBN])")
_OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}


def is_deep(img: Image.Image) -> bool:
    """Whether an opened image that is not loaded has colours of 16 bits, of which Pillow reads 8."""
    return bool(_rawmodes(img)) and all(map(_DEEP.fullmatch, _rawmodes(img)))


def scaled(
    img: Image.Image, data: bytes, kind: str, rules: DecodeRules, trace: Trace
) -> Image.Image:
    """A loaded image whose colours are of 16 bits, scaled by the range of the data set.

    Args:
        img: loaded, so that it holds the upper bytes.
        data: the whole file.
        kind: its format.
    """
    if rules.contract <= OLD_CONTRACT:
        return img
    with open_image(data, kind) as lower:
        lower.tile = [tile._replace(args=_in_other_order(tile.args)) for tile in lower.tile]
        lower.load()
        values = np.asarray(img).astype(np.uint16) << 8 | np.asarray(lower)
    low, high = range_for(values[:, :, :3], "16-bit", None, rules, trace)
    trace.notes.append("16_bit_scaled")
    if (low, high) == FULL_RANGE:
        return img
    colours = Image.fromarray(to_grey(values[:, :, :3], low, high))
    if img.mode == "RGBA" and not is_infrared(img, rules):
        colours.putalpha(img.getchannel("A"))
    elif "transparency" in img.info:  # one colour of a PNG
        shown = (values[:, :, :3] != np.array(img.info["transparency"])).any(axis=2)
        colours.putalpha(Image.fromarray(shown.astype(np.uint8) * 255))
    colours.info["icc_profile"] = img.info.get("icc_profile")
    return colours


def _rawmodes(img: Image.Image) -> list[str]:
    args = (tile.args for tile in getattr(img, "tile", ()))
    return [str(arg[0]) if isinstance(arg, tuple) and arg else str(arg) for arg in args]


def _in_other_order(args: tuple[Any, ...] | str | None) -> tuple[Any, ...] | str | None:
    if isinstance(args, tuple):
        return (_swapped(str(args[0])), *args[1:])
    return _swapped(str(args))


def _swapped(rawmode: str) -> str:
    return _DEEP.sub(lambda found: found[1] + _OTHER_ORDER[found[2]], rawmode)
