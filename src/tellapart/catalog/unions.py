"""Things that belong together, directly or through a chain of pairs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def united(count: int, pairs: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
    """(count,) the smallest row that each row is connected with through pairs of rows.

    >>> united(5, [(1, 3), (3, 4)]).tolist()
    [0, 1, 2, 1, 1]
    """
    parent = list(range(count))

    def top(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for pair in pairs:
        smaller, larger = sorted(map(top, pair))
        parent[larger] = smaller
    return np.array([top(row) for row in range(count)], np.int64)
