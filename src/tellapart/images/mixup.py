"""MixUp and CutMix: two images in one, and the shares of their classes."""

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
    """Apply MixUp or CutMix once for the whole batch. Of both, its first image's key chooses one.

    An image is mixed with the one before it, the first with the last. So its partner is always in
    this tensor, which is a process's share of the batch where several processes train.

    Args:
        images: (B, 3, S, S) float32.
        targets: (B, C) float, the shares of the classes in each image: rows that sum to 1.
        keys: (B,) uint64. The first decides how much is mixed, and where.

    Returns:
        Both mixed, as new tensors. Where the options mix nothing, the same tensors.

    Source: Zhang et al. 2018, https://arxiv.org/abs/1710.09412, and Yun et al. 2019,
    https://arxiv.org/abs/1905.04899. The draws are those of torchvision's MixUp and CutMix.
    """
    if not len(keys) or not (options.mixup or options.cutmix):
        return images, targets
    generator = generator_of(keys[0], "mixed")
    cut = options.cutmix and (not options.mixup or chosen(keys[:1], "mixup or cutmix", 0.5)[0])
    alpha = options.cutmix if cut else options.mixup
    own = generator.beta(alpha, alpha)
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
    """The rows and columns of a square of the share 1 - own.

    Its centre is anywhere, and the border cuts it off.
    """
    half = int(0.5 * math.sqrt(1 - own) * side)
    centres = generator.integers(side, size=2).tolist()
    down, across = (slice(max(at - half, 0), min(at + half, side)) for at in centres)
    return down, across
