"""Nearest neighbours among very many points: within coarse cells, so that the time grows like their
number.

    points ──▶ cells, of some ──▶ each point looks into the ──▶ the nearest of
               2,048 points       cells whose middles are        all that it saw
                                  nearest to it

Two copies are far nearer to each other than to most other points. So they see nearly the same middles,
and one of them nearly always looks into the cell of the other. This is the inverted file of Jégou et
al. 2011, https://inria.hal.science/inria-00514462, without its compression: what lies in the cells is
compared exactly.
"""

from __future__ import annotations

import numpy as np

from tellapart.catalog.shares import Tell, silent, told
from tellapart.catalog.thumbnails import Floats, Integers, batches
from tellapart.threads import map_ahead

CELL = 2048  # points of a cell, on average
# Of 40,000 photos, 0.9995 of the copies and near-copies lie in these.
PROBES = 8  # cells that each point looks into
_SAMPLED = 32  # points of each cell that its middle is found by
_ROUNDS = 5  # in which the middles are moved; they need not be the best
_ROWS = 512  # points that look into a cell together
_GROUP = 32  # of these only the best is ranked at first


def nearest_in_cells(points: Floats, count: int, tell: Tell = silent) -> Integers:
    """For each point the nearest among the later ones in its PROBES nearest cells: (N, count) rows,
    -1 where there is none.

    Args:
        points: (N, D), in an order that their contents decide.
        count: how many of the nearest to return.
        tell: is told the share that is done.
    """
    middles = _middles(points)
    probed = _nearest_middles(points, middles)
    members = _rows_by_value(probed[:, 0], len(middles))
    visitors = _rows_by_value(probed, len(middles))
    place = np.full((len(points), count), -1, np.int32)
    score = np.full((len(points), count), -np.inf, np.float32)

    def look(cell: int) -> tuple[Integers, Integers, Floats]:
        rows = visitors[cell]
        return rows, *_nearest_members(points, rows, members[cell], count)

    # In the order of the cells, so that equals always come out alike.
    looked = map_ahead(look, range(len(middles)))
    for rows, found, likeness in told(looked, len(middles), tell):
        every = np.concatenate([place[rows], found], axis=1)
        value = np.concatenate([score[rows], likeness], axis=1)
        best = np.argsort(-value, axis=1, kind="stable")[:, :count]
        place[rows] = np.take_along_axis(every, best, 1)
        score[rows] = np.take_along_axis(value, best, 1)
    nearest: Integers = place.astype(np.int64)
    return nearest


def _middles(points: Floats) -> Floats:
    """(K, D) the middles of the cells: k-means of a sample that is spread evenly."""
    count = max(1, len(points) // CELL)
    some = points[np.linspace(0, len(points) - 1, count * _SAMPLED).astype(np.int64)]
    middles = some[::_SAMPLED].copy()
    for _ in range(_ROUNDS):
        nearest = np.concatenate(
            [_distances(some[part], middles).argmin(1) for part in batches(len(some), 4096)]
        )
        sizes = np.bincount(nearest, minlength=count)
        for axis in range(points.shape[1]):
            total = np.bincount(nearest, some[:, axis], count)
            middles[:, axis] = np.where(sizes, total / np.maximum(sizes, 1), middles[:, axis])
    return middles


def _nearest_middles(points: Floats, middles: Floats) -> Integers:
    """(N, PROBES) the cells whose middles are nearest to each point, its own first."""
    probes = min(PROBES, len(middles))

    def search(part: slice) -> Integers:
        distances = _distances(points[part], middles)
        some = np.argpartition(distances, probes - 1, axis=1)[:, :probes]
        nearest = np.argsort(np.take_along_axis(distances, some, 1), axis=1, kind="stable")
        cells: Integers = np.take_along_axis(some, nearest, 1)
        return cells

    return np.concatenate(list(map_ahead(search, batches(len(points), 4096))))


def _distances(points: Floats, middles: Floats) -> Floats:
    """Squared, and less the length of each point, which is the same for all middles."""
    lengths = np.einsum("ij,ij->i", middles, middles)
    distances: Floats = lengths - 2 * (points @ middles.T)
    return distances


def _rows_by_value(values: Integers, count: int) -> list[Integers]:
    """The rows in which each value from 0 to count - 1 stands, in ascending order."""
    each = values.reshape(len(values), -1)
    order = np.argsort(each.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(each.ravel(), minlength=count))
    return np.split(order // each.shape[1], ends[:-1])


def _nearest_members(
    points: Floats, rows: Integers, members: Integers, count: int
) -> tuple[Integers, Floats]:
    """For each of some points the nearest members of a cell that are later: (M, count) rows, -1
    where there is none, and how near they are.
    """
    size = len(members) + -len(members) % _GROUP
    known = np.zeros((size, points.shape[1] + 1), np.float32)
    known[: len(members), :-1] = points[members]
    # So that a product ranks like the distance.
    known[: len(members), -1] = np.einsum("ij,ij->i", points[members], points[members]) / -2
    number = np.full(size, -1, np.int64)  # which is earlier than any row
    number[: len(members)] = members
    found = np.full((len(rows), count), -1, np.int64)
    likeness = np.full((len(rows), count), -np.inf, np.float32)
    for part in batches(len(rows), _ROWS):
        some = rows[part]
        # Both are in ascending order, so all members before this place are earlier.
        start = int(np.searchsorted(members, some[0])) // _GROUP * _GROUP
        if start == size:
            continue
        query = np.ones((len(some), known.shape[1]), np.float32)
        query[:, :-1] = points[some]
        score = known[start:] @ query.T
        mixed = int(np.searchsorted(members, some[-1], "right")) - start
        score[:mixed][number[start : start + mixed, None] <= some] = -np.inf
        score[len(members) - start :] = -np.inf
        ranks = score.reshape(-1, _GROUP, len(some)).max(1).T
        keep = min(count, ranks.shape[1])
        groups = np.argpartition(-ranks, keep - 1, axis=1)[:, :keep]
        place = (groups[:, :, None] * _GROUP + np.arange(_GROUP)).reshape(len(some), -1)
        value = score[place, np.arange(len(some))[:, None]]
        best = np.argpartition(-value, count - 1, axis=1)[:, :count]
        value = np.take_along_axis(value, best, 1)
        chosen = number[start + np.take_along_axis(place, best, 1)]
        found[part] = np.where(np.isfinite(value), chosen, -1)
        likeness[part] = value
    return found, likeness
