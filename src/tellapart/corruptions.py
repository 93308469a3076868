"""Graded changes of an image, as bad light, bad cameras and bad networks make them. Needs no torch.

Every change takes the decoded pixels of an image and gives others. What is measured in pixels is
measured at the scale of the network's input, so that a strength means the same for every image.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels, float, int, int], Pixels]

LARGEST = 3  # times the network's input; a larger image costs seconds and shows the network no more


@dataclass(frozen=True)
class Corruption:
    """One kind of change, at five strengths.

    Args:
        name: what it is called.
        meaning: what it does, in a sentence.
        strengths: from the weakest to the strongest, in the unit of `text`.
        text: a strength in words, with {} for the number.
        change: (pixels, strength, key, size_px) → pixels.
    """

    name: str
    meaning: str
    strengths: tuple[float, ...]
    text: str
    change: Change

    def in_words(self, strength: float) -> str:
        """A strength with its unit.

        >>> CORRUPTIONS[0].in_words(2)
        '2 px'
        """
        words = self.text.format(f"{strength:g}")
        return words.removesuffix("s") if strength == 1 else words

    def apply(self, pixels: Pixels, strength: float, key: int, size_px: int) -> Pixels:
        """The changed image.

        Args:
            pixels: (H, W, 3) uint8 RGB, as `reduced` gives them.
            strength: any number in the unit of `text`.
            key: decides all that is random. The same key moves the same pixels at every strength.
            size_px: the side of the network's input.

        Returns:
            (H', W', 3) uint8 RGB; only crops and smaller images have another size.

        >>> grey = np.full((64, 48, 3), 128, np.uint8)
        >>> [kind.apply(grey, kind.strengths[0], 1, 32).shape for kind in CORRUPTIONS[:2]]
        [(64, 48, 3), (64, 48, 3)]
        """
        return np.ascontiguousarray(self.change(pixels, strength, key, size_px))


def reduced(pixels: Pixels, size_px: int) -> Pixels:
    """An image whose short side is at most `LARGEST` times the network's input.

    >>> reduced(np.zeros((2000, 1000, 3), np.uint8), 100).shape
    (600, 300, 3)
    """
    return _with_short_side(pixels, LARGEST * size_px)


def _with_short_side(pixels: Pixels, side: int) -> Pixels:
    height, width = pixels.shape[:2]
    short = min(height, width)
    if short <= side:
        return pixels
    size = (max(1, round(width * side / short)), max(1, round(height * side / short)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def _blur(pixels: Pixels, strength: float, _: int, size_px: int) -> Pixels:
    radius = strength * min(pixels.shape[:2]) / size_px
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _noise(pixels: Pixels, strength: float, key: int, size_px: int) -> Pixels:
    """Grains as large as a pixel of the network's input; finer ones would vanish in the resize."""
    height, width = pixels.shape[:2]
    scale = min(1.0, size_px / min(height, width))
    down, across = max(1, round(height * scale)), max(1, round(width * scale))
    grains = _generator(key).standard_normal((down, across, 3), np.float32)
    rows, columns = np.arange(height) * down // height, np.arange(width) * across // width
    return _levels(pixels + np.float32(strength) * grains[rows][:, columns])


def _jpeg(pixels: Pixels, strength: float, _: int, __: int) -> Pixels:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=int(strength))
    return np.asarray(Image.open(out).convert("RGB"))


def _exposed(pixels: Pixels, stops: float) -> Pixels:
    """The image with 2 to the power of `stops` times the light, by sRGB's curve.

    Source: IEC 61966-2-1, https://www.w3.org/Graphics/Color/sRGB.
    """
    shown = np.arange(256) / 255
    light = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    light = np.clip(light * 2**stops, 0, 1)
    shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(_levels(255 * shown)[pixels])


def _darker(pixels: Pixels, strength: float, _: int, __: int) -> Pixels:
    return _exposed(pixels, -strength)


def _brighter(pixels: Pixels, strength: float, _: int, __: int) -> Pixels:
    return _exposed(pixels, strength)


def _contrast(pixels: Pixels, strength: float, _: int, __: int) -> Pixels:
    mean = float(pixels.mean())
    levels = np.arange(256)
    return np.asarray(_levels(mean + strength / 100 * (levels - mean))[pixels])


def _crop(pixels: Pixels, strength: float, key: int, _: int) -> Pixels:
    height, width = pixels.shape[:2]
    down, across = (max(1, round(side * strength / 100)) for side in (height, width))
    first, second = _generator(key).random(2)
    top, left = round(first * (height - down)), round(second * (width - across))
    return pixels[top : top + down, left : left + across]


def _turn(pixels: Pixels, strength: float, key: int, _: int) -> Pixels:
    """Turned about the middle, to either side. Corners show the image mirrored, as black ones would
    tell that it was turned.
    """
    height, width = pixels.shape[:2]
    room = math.ceil((math.hypot(height, width) - min(height, width)) / 2) + 1
    padded = np.pad(pixels, ((room, room), (room, room), (0, 0)), mode="symmetric")
    angle = strength if _generator(key).random() < 0.5 else -strength
    turned = Image.fromarray(padded).rotate(angle, Image.Resampling.BICUBIC)
    return np.asarray(turned)[room : room + height, room : room + width]


def _smaller(pixels: Pixels, strength: float, _: int, __: int) -> Pixels:
    return _with_short_side(pixels, int(strength))


def _levels(values: NDArray[np.floating]) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _generator(key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


# The kinds follow Hendrycks & Dietterich 2019, https://arxiv.org/abs/1903.12261. Light is given in
# stops, as photographers do.
CORRUPTIONS = (
    Corruption(
        "blur",
        "Gaussian blur; a pixel is one of the network's input.",
        (0.5, 1, 2, 3, 5),
        "{} px",
        _blur,
    ),
    Corruption(
        "noise", "Gaussian noise, in levels of 255.", (10, 20, 40, 65, 100), "{} levels", _noise
    ),
    Corruption("JPEG", "Saved as JPEG of this quality.", (50, 30, 15, 8, 4), "quality {}", _jpeg),
    Corruption("darker", "Less light; each stop halves it.", (1, 2, 3, 4, 5), "{} stops", _darker),
    Corruption(
        "brighter", "More light; each stop doubles it.", (0.5, 1, 1.5, 2, 3), "{} stops", _brighter
    ),
    Corruption(
        "contrast", "Contrast reduced to this share.", (80, 60, 40, 20, 10), "{} %", _contrast
    ),
    Corruption(
        "crop",
        "A part of the image, of this share of its sides, at any place.",
        (90, 75, 60, 50, 35),
        "{} %",
        _crop,
    ),
    Corruption("turn", "Turned to the left or right.", (5, 10, 20, 45, 90), "{}°", _turn),
    Corruption(
        "smaller",
        "The short side reduced to so many pixels.",
        (160, 112, 80, 56, 32),
        "{} px",
        _smaller,
    ),
)
