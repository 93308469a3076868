"""Files of identical content: one picture, however often it is there."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.table import Catalog


@dataclass(frozen=True)
class Duplicates:
    """Rows of one catalog that hold the same bytes. Each inner tuple is one picture's rows, two or more.

    Args:
        same_class: copies under one label.
        conflicts: copies under different labels: at least one of the labels is wrong.
    """

    same_class: tuple[tuple[int, ...], ...]
    conflicts: tuple[tuple[int, ...], ...]


def find_duplicates(catalog: Catalog) -> Duplicates:
    """Exact duplicates among the usable pictures, found by content hash."""
    rows_of = defaultdict(list)
    for row in np.flatnonzero(catalog.ok):
        rows_of[catalog.digests[row]].append(int(row))
    copies = [tuple(rows) for rows in rows_of.values() if len(rows) > 1]
    conflicting = [len({int(catalog.labels[row]) for row in rows}) > 1 for rows in copies]
    return Duplicates(
        same_class=tuple(rows for rows, conflict in zip(copies, conflicting, strict=True) if not conflict),
        conflicts=tuple(rows for rows, conflict in zip(copies, conflicting, strict=True) if conflict),
    )


def clusters(catalog: Catalog) -> NDArray[np.int64]:
    """(N,) a number for each row; rows that must stay on one side of every split share it.

    Rows belong together that hold the same bytes or are of one group, directly or through a chain of such rows.
    """
    parent = list(range(len(catalog)))

    def top(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for column in (catalog.digests, catalog.groups):
        first_row: dict[str, int] = {}
        for row in np.flatnonzero(catalog.ok & (column != "")).tolist():
            parent[top(row)] = top(first_row.setdefault(column[row], row))
    return np.array([top(row) for row in range(len(catalog))], np.int64)
