"""Changes of colour: brightness, contrast, saturation and hue, and the published policies.

The formulas are torchvision's, with a factor for each image. Their order is always the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tellapart.images.chance import around
from tellapart.options import AugmentationOptions

# The number and the strength of RandAugment's operations, as torchvision chose them.
RAND_OPERATIONS = 2
RAND_MAGNITUDE = 9


def change_colours(
    images: Tensor, keys: NDArray[np.uint64], options: AugmentationOptions
) -> Tensor:
    """Change the colours of images (B, 3, S, S) float32 in [0, 1], perhaps in place."""
    if options.brightness:
        images.mul_(_factors(images, keys, "brightness", options.brightness)).clamp_(0, 1)
    if options.contrast:
        # Line by line first: torch divides one sum over a whole image among threads, and the
        # rounding would depend on their number.
        mean = _grey(images).mean(dim=3, keepdim=True).mean(dim=2, keepdim=True)
        images = _blended(mean, images, _factors(images, keys, "contrast", options.contrast))
    if options.saturation:
        factors = _factors(images, keys, "saturation", options.saturation)
        images = _blended(_grey(images), images, factors)
    if options.hue:
        images = _turned_hue(images, around(keys, "hue", 0, options.hue))
    return images


def apply_policy(
    images: Tensor,
    keys: NDArray[np.uint64],
    policy: Literal["trivial", "rand"],
    fill: tuple[float, float, float],
) -> Tensor:
    """Apply torchvision's TrivialAugment or RandAugment in place.

    Source: Müller and Hutter 2021, https://arxiv.org/abs/2103.10158, and Cubuk et al. 2019,
    https://arxiv.org/abs/1909.13719.

    Both draw from torch's own generator, which is seeded by each image's key and put back after.
    Nothing else may draw from it meanwhile, as another thread might.
    """
    change = _policy(policy, tuple(255 * value for value in fill))
    levels = images.mul(255).round_().to(torch.uint8)
    with torch.random.fork_rng(devices=[]):
        for row, key in enumerate(keys.tolist()):
            torch.default_generator.manual_seed(key)  # torch.manual_seed would seed all devices
            images[row] = change(levels[row])
    return images.div_(255)


def _factors(images: Tensor, keys: NDArray[np.uint64], purpose: str, spread: float) -> Tensor:
    factors = around(keys, purpose, 1, spread).astype(np.float32)
    return torch.from_numpy(factors).to(images.device)[:, None, None, None]


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)[:, None]


def _blended(base: Tensor, images: Tensor, factors: Tensor) -> Tensor:
    return torch.lerp(base, images, factors).clamp_(0, 1)


def _turned_hue(images: Tensor, turns: NDArray[np.float64]) -> Tensor:
    from torchvision.transforms.v2.functional import adjust_hue

    return torch.stack(
        [adjust_hue(image, turn) for image, turn in zip(images, turns.tolist(), strict=True)]
    )


@cache
def _policy(policy: str, fill: tuple[float, ...]) -> Callable[[Tensor], Tensor]:
    from torchvision.transforms import v2

    shared = {"interpolation": v2.InterpolationMode.BILINEAR, "fill": list(fill)}
    change: Callable[[Tensor], Tensor] = (
        v2.TrivialAugmentWide(**shared)
        if policy == "trivial"
        else v2.RandAugment(RAND_OPERATIONS, RAND_MAGNITUDE, **shared)
    )
    return change
