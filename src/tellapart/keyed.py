"""Randomness by key, never by stream.

Every random decision is a function of the seed, what it is for, and the picture. So the number of workers, a resume,
or a picture more in the folder never changes what happens to the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def keyed_numbers(seed: int, purpose: str, keys: Iterable[str]) -> NDArray[np.uint64]:
    """One random number a key, the same whatever the other keys are.

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
