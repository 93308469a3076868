"""Randomness by key, never by stream.

Every random decision is a function of the seed, its purpose, and the image. So the number of workers,
a resume, or one more image in the folder never changes what happens to the other images.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def keyed_numbers(seed: int, purpose: str, keys: Iterable[str]) -> NDArray[np.uint64]:
    """A random number for each key, which does not depend on the other keys.

    Returns:
        (N,) uint64, uniform over the whole range.

    >>> first, second = keyed_numbers(0, "split", ["a", "b"])
    >>> bool(first == keyed_numbers(0, "split", ["c", "a"])[1] != second)
    True
    """
    start = blake2b(f"{seed}\0{purpose}\0".encode(), digest_size=8)

    def number(key: str) -> int:
        hasher = start.copy()
        hasher.update(key.encode())
        return int.from_bytes(hasher.digest(), "little")

    return np.fromiter((number(key) for key in keys), np.uint64)


def mixed_keys(keys: NDArray[np.uint64], *numbers: int) -> NDArray[np.uint64]:
    """A new key for each key, mixed with all the numbers. New keys are as different as random ones.

    Source: the finaliser of SplitMix64, Steele et al. 2014,
    https://doi.org/10.1145/2660193.2660195.

    >>> keys = keyed_numbers(0, "order", ["a", "b"])
    >>> bool((mixed_keys(keys, 1) != mixed_keys(keys, 2)).all())
    True
    """
    mixed = keys.astype(np.uint64)
    for number in numbers:
        mixed = mixed + np.uint64(number * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15 & _ALL)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed


def keyed_uniform(keys: NDArray[np.uint64], purpose: str, columns: int = 1) -> NDArray[np.float64]:
    """Random fractions for each key: (N, columns) float64, uniform in [0, 1).

    >>> keys = keyed_numbers(0, "order", ["a", "b"])
    >>> bool((keyed_uniform(keys, "flip", 2)[1:] == keyed_uniform(keys[1:], "flip", 2)).all())
    True
    """
    start = int.from_bytes(blake2b(purpose.encode(), digest_size=8).digest(), "little")
    numbers = np.stack([mixed_keys(keys, start, column) for column in range(columns)], axis=1)
    # As many bits as a float64 holds.
    return (numbers >> np.uint64(11)).astype(np.float64) / 2.0**53


_ALL = 2**64 - 1
