"""Holes: parts of an image that are blackened or replaced by noise."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tellapart.images.chance import chosen, fractions, generator_of
from tellapart.options import AugmentationOptions

# The share of the image, and height by width, as in torchvision's RandomErasing.
ERASED_AREA = (0.02, 0.33)
ERASED_RATIO = (0.3, 3.3)
MOST_ATTEMPTS = 10  # if no rectangle of so many draws fits, none is erased


def punch_holes(images: Tensor, keys: NDArray[np.uint64], options: AugmentationOptions) -> Tensor:
    """Blacken square holes in place, as albumentations' CoarseDropout does.

    Each hole lies wholly inside the image. A hole larger than the image covers it.
    """
    side = images.shape[-1]
    hole = min(options.dropout_px, side)
    rows = np.flatnonzero(chosen(keys, "dropout", options.dropout))
    places = fractions(keys[rows], "dropout places", 2 * options.dropout_holes) * (side - hole + 1)
    corners = places.astype(np.int64).reshape(len(rows), options.dropout_holes, 2)
    for row, holes in zip(rows.tolist(), corners.tolist(), strict=True):
        for top, left in holes:
            images[row, :, top : top + hole, left : left + hole] = 0
    return images


def erase_rectangles(
    images: Tensor, keys: NDArray[np.uint64], options: AugmentationOptions
) -> Tensor:
    """Replace one rectangle by noise in place, each value uniform in [0, 1).

    Source: Zhong et al. 2017, https://arxiv.org/abs/1708.04896.
    """
    side = images.shape[-1]
    for row in np.flatnonzero(chosen(keys, "erase", options.erase)).tolist():
        generator = generator_of(keys[row], "erased")
        height, width = _rectangle(generator, side)
        top, left = generator.integers(side - height + 1), generator.integers(side - width + 1)
        noise = torch.from_numpy(generator.random((3, height, width), np.float32))
        images[row, :, top : top + height, left : left + width] = noise.to(images.device)
    return images


def _rectangle(generator: np.random.Generator, side: int) -> tuple[int, int]:
    """Height and width, both below `side`. 0, 0 means that no draw fits."""
    for _ in range(MOST_ATTEMPTS):
        area = side * side * generator.uniform(*ERASED_AREA)
        ratio = math.exp(generator.uniform(math.log(ERASED_RATIO[0]), math.log(ERASED_RATIO[1])))
        height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if height < side and width < side:
            return height, width
    return 0, 0
