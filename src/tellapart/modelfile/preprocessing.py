"""From an image of any size to the network's square input: decided once, and stored with the
model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LUMINANCE = (0.299, 0.587, 0.114)  # of R, G and B: ITU-R BT.601, as Pillow's "L", but not rounded


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How pixels become the network's input.

    The graph of the model file does the same, with the same integers.

    Args:
        mode: "crop" cuts out the centre square and resizes it. "squash" resizes the whole image,
            which changes its shape. "pad" adds grey bars until the image is square.
        share_permille: thousandths of the short side that "crop" keeps. It is an integer, so that
            Python and the graph round alike.
        spare_small: whether "crop" leaves at least `size_px` of the short side, or all that there
            is. An image that is smaller than the network's input then loses nothing.
        size_px: the side of the square that the network takes.
        filter: the filter of the resize, with antialiasing.
        mean: the mean of each RGB channel, for pixels in [0, 1].
        std: the standard deviation of each RGB channel, for pixels in [0, 1].
        grey: whether the network takes one channel, the luminance. Its mean and std are the means
            over the three channels.

    >>> print(Preprocessing(share_permille=875))
    centre square, 87.5 % of the short side, bicubic to 224 px
    """

    mode: Literal["crop", "squash", "pad"] = "crop"
    share_permille: int = 1000
    spare_small: bool = False
    size_px: int = 224
    filter: Literal["bicubic", "bilinear"] = "bicubic"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    grey: bool = False

    @property
    def bar_level(self) -> int:
        """The grey level of the bars of "pad", which is near zero after normalisation."""
        return round(255 * sum(self.mean) / 3)

    @property
    def level(self) -> float:
        """What one level of 255 comes to in the network's input, where it is least."""
        return 1 / (255 * max(self.channel_std))

    @property
    def channels(self) -> int:
        """How many channels the network takes."""
        return 1 if self.grey else 3

    @property
    def channel_mean(self) -> tuple[float, ...]:
        """The mean of each channel that the network takes."""
        return (sum(self.mean) / 3,) if self.grey else self.mean

    @property
    def channel_std(self) -> tuple[float, ...]:
        """The standard deviation of each channel that the network takes."""
        return (sum(self.std) / 3,) if self.grey else self.std

    def resized(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 → (S, S, 3) uint8, by Pillow.

        The parity gate compares the graph with this.

        >>> Preprocessing(size_px=32).resized(np.zeros((48, 64, 3), np.uint8)).shape
        (32, 32, 3)
        """
        square = self._square(pixels)
        method = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[
            self.filter
        ]
        # Across, then down, as the graph does it: Pillow alone would begin with a tall image's
        # height, and the rounding between the passes would differ.
        across = Image.fromarray(square).resize((self.size_px, square.shape[0]), method)
        return np.asarray(across.resize((self.size_px, self.size_px), method))

    def normalised(self, resized: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(S, S, 3) uint8 → (C, S, S) float32, as the network takes it.

        C is 3, or 1 if the network takes grey images.

        >>> Preprocessing(grey=True).normalised(np.zeros((32, 32, 3), np.uint8)).shape
        (1, 32, 32)
        """
        mean, std = np.array(self.channel_mean, np.float32), np.array(self.channel_std, np.float32)
        levels = resized.astype(np.float32)
        if self.grey:
            levels = (levels * np.array(LUMINANCE, np.float32)).sum(axis=2, keepdims=True)
        scaled = (levels / np.float32(255) - mean) / std
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))

    def square(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of what the network sees of an image, in its pixels. With
        "pad" it reaches beyond the image.

        >>> Preprocessing(share_permille=875).square(100, 200)
        (6, 56, 88, 88)
        >>> Preprocessing(mode="pad").square(100, 200)
        (-50, 0, 200, 200)
        """
        if self.mode == "squash":
            return 0, 0, height, width
        if self.mode == "pad":
            side = max(height, width)
            return -((side - height) // 2), -((side - width) // 2), side, side
        short = min(height, width)
        side = max(1, (short * self.share_permille + 500) // 1000)
        if self.spare_small:
            side = max(side, min(short, self.size_px))
        return (height - side) // 2, (width - side) // 2, side, side

    def _square(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = pixels.shape[:2]
        top, left, down, across = self.square(height, width)
        if self.mode == "pad":
            padding = ((-top, down - height + top), (-left, across - width + left), (0, 0))
            return np.pad(pixels, padding, constant_values=self.bar_level)
        return np.ascontiguousarray(pixels[top : top + down, left : left + across])

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values, for the model file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The preprocessing whose `as_json` gave these values."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})

    def __str__(self) -> str:
        small = " (small images whole)" if self.spare_small else ""
        cut = {
            "crop": f"centre square, {self.share_permille / 10:g} % of the short side{small}",
            "squash": "whole image",
        }
        square = f"{cut.get(self.mode, 'padded to a square')}, {self.filter} to {self.size_px} px"
        return f"{square}, one channel of luminance" if self.grey else square
