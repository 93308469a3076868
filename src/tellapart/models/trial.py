"""Images to try a network on."""

from __future__ import annotations

import torch
from torch import Tensor

from tellapart.modelfile.preprocessing import Preprocessing


def trial_tensor(*shape: int) -> Tensor:
    """float32 of this shape, rising from -1 to 1: no two values are equal, so none can be mistaken
    for another.

    >>> trial_tensor(1, 1, 1, 5).flatten().tolist()
    [-1.0, -0.5, 0.0, 0.5, 1.0]
    """
    count = 1
    for side in shape:
        count *= side
    return torch.linspace(-1, 1, count).reshape(shape)


def trial_images(preprocessing: Preprocessing, count: int = 1) -> Tensor:
    """(count, C, S, S) float32 of the size that a network takes."""
    side = preprocessing.size_px
    return trial_tensor(count, preprocessing.channels, side, side)
