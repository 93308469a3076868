"""Transparency → one ground for the whole image, on which its drawing can be seen.

The ground is white, as on most pages. A white icon on transparency would vanish there, so an image
that has almost no contrast on white, but has some on black, is laid on black.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.decoders.rules import OLD_CONTRACT, DecodeRules
from tellapart.decoders.verdict import Trace

# Levels of 255 from the darkest to the lightest thousandth. Below it nothing shows: 12 bits that are
# scaled as 16 reach 16.
VISIBLE = 20
_ON_BLACK = 4 * VISIBLE  # what black has to show more than white, so that noise does not decide
_LEFT_OUT = 0.001  # the share of the pixels at each end


def on_ground(rgba: Image.Image, rules: DecodeRules, trace: Trace) -> Image.Image:
    """Lay an RGBA image on a ground. The hidden colour of fully transparent parts has no effect."""
    alpha = rgba.getchannel("A")
    white = _laid(rgba, alpha, "white")
    if rules.contract <= OLD_CONTRACT or not _is_flat(white):
        trace.notes.append("alpha_on_white")
        return white
    black = _laid(rgba, alpha, "black")
    if contrast_of(black) < _ON_BLACK:
        trace.notes.append("alpha_on_white")
        return white
    trace.notes.append("alpha_on_black")
    trace.decoded_by.append("black ground")
    return black


def contrast_of(img: Image.Image) -> int:
    """How far the darkest and the lightest thousandth of an RGB image are apart, in levels of 255; in
    the channel where it is most.
    """
    counts = np.array(img.histogram()).reshape(3, 256).cumsum(axis=1)
    left_out = int(img.width * img.height * _LEFT_OUT)
    low = (counts <= left_out).sum(axis=1)
    high = (counts < counts[:, -1:] - left_out).sum(axis=1)
    return int((high - low).max())


def lacks_contrast(pixels: NDArray[np.uint8]) -> bool:
    """Whether almost nothing can be seen in (H, W, 3) RGB pixels."""
    # A few pixels decide for nearly every image. As bytes they take microseconds, which counts where
    # a whole image takes a fifth of a millisecond.
    height, width, _ = pixels.shape
    few = pixels[:: height // 8 + 1, :: width // 8 + 1, 1].tobytes()
    if max(few) - min(few) > 2 * VISIBLE:
        return False
    return contrast_of(Image.fromarray(pixels)) < VISIBLE


def _is_flat(img: Image.Image) -> bool:
    return contrast_of(img) < VISIBLE


def _laid(rgba: Image.Image, alpha: Image.Image, colour: str) -> Image.Image:
    canvas = Image.new("RGB", rgba.size, colour)
    canvas.paste(rgba, mask=alpha)
    return canvas
