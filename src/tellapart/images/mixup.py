"""Two images in one, and their labels likewise."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tellapart.images.chance import chosen, generator_of
from tellapart.options import AugmentationOptions


def mix(
    images: Tensor, targets: Tensor, keys: NDArray[np.uint64], options: AugmentationOptions
) -> tuple[Tensor, Tensor]:
    """MixUp or CutMix, once for the whole batch; where both are wanted, the key of its first image
    says which.

    An image is mixed with the one before it, the first with the last. So its partner is always from
    the tensor given here, which is a part of the batch where a batch is worked on in parts or by
    several processes.

    Args:
        images: (B, 3, S, S) float32.
        targets: (B, C) float, what each image is: rows that sum to 1.
        keys: (B,) uint64. The first decides how much is mixed, and where.

    Returns:
        Both mixed, as new tensors; the very same ones where the options want nothing mixed.

    Source: Zhang et al. 2018, https://arxiv.org/abs/1710.09412, and Yun et al. 2019,
    https://arxiv.org/abs/1905.04899; what is drawn and how as torchvision's MixUp and CutMix.
    """
    if not len(keys) or not (options.mixup or options.cutmix):
        return images, targets
    generator = generator_of(keys[0], "mixed")
    cut = options.cutmix and (not options.mixup or chosen(keys[:1], "mixup or cutmix", 0.5)[0])
    own = (
        generator.beta(options.cutmix, options.cutmix)
        if cut
        else generator.beta(options.mixup, options.mixup)
    )
    partners = images.roll(1, 0)
    if not cut:
        return partners.lerp_(images, own), torch.lerp(targets.roll(1, 0), targets, own)
    side = images.shape[-1]
    down, across = _box(generator, side, own)
    mixed = images.clone()
    mixed[:, :, down, across] = partners[:, :, down, across]
    own = 1 - (down.stop - down.start) * (across.stop - across.start) / side**2
    return mixed, torch.lerp(targets.roll(1, 0), targets, own)


def _box(generator: np.random.Generator, side: int, own: float) -> tuple[slice, slice]:
    """A square of the share 1 - own, its centre anywhere, cut off at the border: its rows and its
    columns.
    """
    half = int(0.5 * math.sqrt(1 - own) * side)
    centres = generator.integers(side, size=2).tolist()
    down, across = (slice(max(at - half, 0), min(at + half, side)) for at in centres)
    return down, across
