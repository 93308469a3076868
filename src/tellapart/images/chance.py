"""Random numbers drawn from an image's own key, so that other images have no influence on them.

All functions take `keys`, (N,) uint64, one for each image, and the purpose of the numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tellapart.keyed import keyed_uniform


def fractions(keys: NDArray[np.uint64], purpose: str, columns: int = 1) -> NDArray[np.float64]:
    """(N, columns), uniform in [0, 1)."""
    return keyed_uniform(keys, f"augment: {purpose}", columns)


def chosen(keys: NDArray[np.uint64], purpose: str, probability: float) -> NDArray[np.bool_]:
    """(N,) whether it happens to each image."""
    if not probability:
        return np.zeros(len(keys), np.bool_)
    return fractions(keys, purpose)[:, 0] < probability


def around(
    keys: NDArray[np.uint64], purpose: str, centre: float, spread: float
) -> NDArray[np.float64]:
    """(N,) uniform in centre ± spread."""
    return centre + spread * (2 * fractions(keys, purpose)[:, 0] - 1)


def generator_of(key: np.uint64, purpose: str) -> np.random.Generator:
    """A stream of numbers for an image that needs more than a few."""
    seed = int(fractions(np.array([key]), purpose)[0, 0] * 2**53)
    return np.random.Generator(np.random.Philox(key=seed))
