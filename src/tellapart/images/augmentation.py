"""Train images, changed by chance: uint8 in, what the network sees out.

    images ─▶ moved ─▶ resampled ─▶ coloured ─▶ by a policy ─▶ punched, erased ─▶ by the user's own
     uint8      whole     at most                                                   transforms, then
                pixels    once                                                      mixed (see mixup.py)

An image's changes are a function of its key alone: not of its batch, its place there, or any
generator's state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tellapart.extensions import Transform
from tellapart.images.colours import by_policy, coloured
from tellapart.images.geometry import moved, resampled
from tellapart.images.holes import erased, punched
from tellapart.images.mixup import mix
from tellapart.images.transforms import by_transforms
from tellapart.options import AugmentationOptions

__all__ = ["augment", "mix"]


def augment(
    images: Tensor,
    keys: NDArray[np.uint64],
    options: AugmentationOptions,
    fill: tuple[float, float, float],
    transforms: Sequence[tuple[str, Transform]] = (),
) -> Tensor:
    """All that the options ask for, but for mixing.

    Shifts, flips and quarter turns move whole pixels and come first. A crop and a rotation are one
    interpolation, so that a rotation shows what lies around the crop before it shows what lies
    beyond the border.

    Args:
        images: (B, 3, S, S) uint8, on any device, contiguous or channels-last; not changed.
        keys: (B,) uint64, one for each image and epoch, from `sample_keys`.
        fill: R, G, B in [0, 1], for what a rotation or a policy uncovers: the mean that is
            subtracted later.
        transforms: the user's own, by name, in the order of `augmentation.transforms`.

    Returns:
        (B, 3, S, S) float32 in [0, 1], on the same device and in the same memory format; exactly
        images / 255 where nothing changes an image.
    """
    last = images.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    seen = moved(images, keys, options).to(torch.float32, memory_format=layout).div_(255)
    if options.crop_area is not None or options.rotate:
        seen = resampled(seen, keys, options, fill)
    seen = coloured(seen, keys, options)
    if options.policy != "none":
        seen = by_policy(seen, keys, options.policy, fill)
    if options.dropout:
        seen = punched(seen, keys, options)
    if options.erase:
        seen = erased(seen, keys, options)
    if transforms:
        seen = by_transforms(seen, keys, transforms)
    return seen.contiguous(memory_format=layout)
