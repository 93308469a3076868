"""Augmentation: train images changed by chance, uint8 in and floats for the network out.

    uint8 ─▶ shift and flip ─▶ crop and rotate ─▶ colours ─▶ policy ─▶ holes ─▶ the user's own
             whole pixels      at most one                                     then mixed, a batch
                               interpolation                                   at a time: mixup.py

An image's changes are a function of its key alone. Its batch, its place there and the state of any
generator have no influence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tellapart.extensions import Transform
from tellapart.images.colours import apply_policy, change_colours
from tellapart.images.geometry import crop_and_rotate, shift_and_flip
from tellapart.images.holes import erase_rectangles, punch_holes
from tellapart.images.mixup import mix
from tellapart.images.transforms import apply_transforms
from tellapart.options import AugmentationOptions

__all__ = ["augment", "mix"]


def augment(
    images: Tensor,
    keys: NDArray[np.uint64],
    options: AugmentationOptions,
    fill: tuple[float, float, float],
    transforms: Sequence[tuple[str, Transform]] = (),
) -> Tensor:
    """Apply all that the options ask for, except mixing.

    Shifts, flips and quarter turns move whole pixels and come first. A crop and a rotation share
    one interpolation. So a rotation shows what lies around the crop, and only then what lies beyond
    the border.

    Args:
        images: (B, 3, S, S) uint8, on any device, contiguous or channels-last. They stay as they
            are.
        keys: (B,) uint64, one for each image and epoch, from `sample_keys`.
        options: what is applied.
        fill: R, G, B in [0, 1], for what a rotation or a policy uncovers: the mean that is
            subtracted later.
        transforms: the user's own, by name, in the order of `augmentation.transforms`.

    Returns:
        (B, 3, S, S) float32 in [0, 1], on the same device and in the same memory format. An image
        that nothing changes is exactly image / 255.
    """
    last = images.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    floats = shift_and_flip(images, keys, options).to(torch.float32, memory_format=layout).div_(255)
    if options.crop_area is not None or options.rotate:
        floats = crop_and_rotate(floats, keys, options, fill)
    floats = change_colours(floats, keys, options)
    if options.policy != "none":
        floats = apply_policy(floats, keys, options.policy, fill)
    if options.dropout:
        floats = punch_holes(floats, keys, options)
    if options.erase:
        floats = erase_rectangles(floats, keys, options)
    if transforms:
        floats = apply_transforms(floats, keys, transforms)
    return floats.contiguous(memory_format=layout)
