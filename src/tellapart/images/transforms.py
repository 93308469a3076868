"""The user's own transforms of train images, image by image, as reproducible as ours."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tellapart.errors import UserError
from tellapart.extensions import Transform
from tellapart.images.chance import fractions


def apply_transforms(
    images: Tensor, keys: NDArray[np.uint64], transforms: Sequence[tuple[str, Transform]]
) -> Tensor:
    """Images through the user's transforms, one after the other.

    Each transform takes an image (3, S, S) uint8, and gives uint8 or float in [0, 1]. What it draws
    by chance is a function of the image's key and the transform's name.

    Args:
        images: (B, 3, S, S) float32 in [0, 1]; changed in place.
        keys: (B,) uint64.
        transforms: their names, and what they do.

    Raises:
        UserError: a transform gives no image of the same shape.
    """
    for name, transform in transforms:
        seeds = (fractions(keys, f"transform {name}")[:, 0] * 2**53).astype(np.int64).tolist()
        levels = images.mul(255).round_().to(torch.uint8)
        with _generators_kept():
            for row, seed in enumerate(seeds):
                _seed(seed)
                images[row] = _as_float(transform(levels[row]), levels[row], name)
    return images


def _as_float(image: object, before: Tensor, name: str) -> Tensor:
    if not isinstance(image, Tensor) or image.shape != before.shape:
        given = list(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise UserError(
            f"transforms={{{name!r}: …}} makes {given} of an image {list(before.shape)}.",
            "Return a tensor of the same shape: uint8, or float in [0, 1].",
        )
    if image.dtype == torch.uint8:
        return image.float().div_(255)
    if not image.is_floating_point():
        raise UserError(
            f"transforms={{{name!r}: …}} gives an image of {image.dtype}.",
            "Return uint8, or float in [0, 1].",
        )
    return image


@contextmanager
def _generators_kept() -> Iterator[None]:
    """The generators that transforms draw from, put back after: nothing else is to feel them."""
    numpy_state, state = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(state)


def _seed(seed: int) -> None:
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every device too
    np.random.seed(seed % 2**32)
    random.seed(seed)
