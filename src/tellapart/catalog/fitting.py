"""The images of one search: which are proposed to which, and how well they fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.alignment import (
    HALVED_PIXELS,
    MAX_RESIDUAL,
    Fits,
    align,
    halved,
    joined,
    resamplings,
)
from tellapart.catalog.cells import nearest_in_cells
from tellapart.catalog.descriptors import describe, nearest_later, nearest_of_all, within_reach
from tellapart.catalog.orientations import best_turns, turned_alike
from tellapart.catalog.shares import Tell, silent, told, within
from tellapart.catalog.thumbnails import Flags, Floats, Integers, batches, grey_of
from tellapart.scratch import scratch
from tellapart.threads import map_ahead

PROPOSALS = 8  # for each image
# Among more images the proposals come from coarse cells: to compare each with each would take hours.
EXACT_UP_TO = 300_000

# How many times further away the next image must be that is no copy. Where images vary in D
# independent ways, one is this much closer than all others by chance once in CONTRAST ** D.
CONTRAST = 2.5
# The rounding to whole grey levels. Below it nothing is closer than anything else.
MIN_RESIDUAL = 0.01

_SEARCH = 0.3  # of the time of a search goes into the proposals, about; the rest into the fits
_ROWS = 128  # images taken at a time: some 30 MB a thread


class Fitting:
    """Images that have detail, described and ready to be laid on each other.

    Every row that goes in or comes out is a place in `order`.

    Args:
        thumbnails: (N, THUMBNAIL_BYTES) of all images.
        aspects: (N,) log(width / height) of all images.
        order: the images with detail, as rows of `thumbnails`.
    """

    def __init__(self, thumbnails: NDArray[np.uint8], aspects: Floats, order: Integers) -> None:
        points = describe(thumbnails, aspects, order)
        by_first = np.argsort(points[:, 0], kind="stable")
        self.order = order[by_first]
        self.aspects = aspects[self.order]
        self._points = points[by_first]
        self._thumbnails = thumbnails
        self._turned_points = describe(thumbnails, np.abs(aspects), self.order, turned_alike)
        self._small = scratch((len(order), HALVED_PIXELS), np.float32)
        for batch in batches(len(order), 4096):
            self._small[batch] = halved(grey_of(thumbnails, self.order[batch]))
        resamplings()  # made once, before threads ask for it

    def upright(self, tell: Tell = silent) -> Fits:
        """How well each image fits those that are most like it as they are; packed."""
        later = _proposals(self._points, within(tell, 0, _SEARCH))
        rows = within_reach(self._points, later)
        return self._fits(rows, later[rows], tell=within(tell, _SEARCH, 1))

    def in_any_turn(self, tell: Tell = silent) -> Fits:
        """How well each image fits those that are most like it in any of the eight orientations;
        packed.
        """
        by_first = np.argsort(self._turned_points[:, 0], kind="stable")
        points = self._turned_points[by_first]
        later = _proposals(points, within(tell, 0, _SEARCH))
        rows = within_reach(points, later)
        proposals = np.where(later < 0, -1, by_first[later])[rows]
        return self._fits(by_first[rows], proposals, turn=True, tell=within(tell, _SEARCH, 1))

    def with_nearest(self, rows: Integers, count: int) -> Fits:
        """How well some images fit the `count` others that are most like them as they are."""
        return _unpacked(self._fits(rows, nearest_of_all(self._points, rows, count)))

    def with_nearest_turned(self, rows: Integers, count: int) -> Fits:
        """How well some images fit the `count` others that are most like them in any
        orientation.
        """
        return _unpacked(self._turned_fits(rows, nearest_of_all(self._turned_points, rows, count)))

    def _fits(
        self, rows: Integers, proposals: Integers, *, turn: bool = False, tell: Tell = silent
    ) -> Fits:
        """The fits, packed: `that_matter` unpacks them, or `_unpacked` those of few images."""

        def fit(batch: slice) -> Fits:
            few, others = rows[batch], proposals[batch]
            turns = np.zeros_like(others)
            if turn:
                first = np.broadcast_to(few[:, None], others.shape).ravel()
                best = best_turns(self._small, self.aspects, first, others.ravel())
                turns = best.reshape(others.shape)
                others = np.where(turns < 0, -1, others)
            return _packed(align(self._thumbnails, self.order, self._small, few, others, turns))

        size = max(1, _ROWS * PROPOSALS // proposals.shape[1])
        fitted = map_ahead(fit, batches(len(rows), size))
        return joined(list(told(fitted, -(-len(rows) // size), tell)))

    def _turned_fits(self, rows: Integers, proposals: Integers) -> Fits:
        return self._fits(rows, proposals, turn=True)


def _proposals(points: Floats, tell: Tell) -> Integers:
    if len(points) > EXACT_UP_TO:
        return nearest_in_cells(points, PROPOSALS, tell)
    return nearest_later(points, PROPOSALS, tell)


def _packed(fits: Fits) -> Fits:
    """The fits in a third of the memory: there are eight for each image."""
    first, second, residual, possible, turn = fits
    return Fits(
        first.astype(np.int32), second.astype(np.int32), residual, possible, turn.astype(np.int8)
    )


def that_matter(searches: Sequence[Fits], count: int) -> list[Fits]:
    """The fits of each search that have a say in what is a copy: those of images that some other
    image comes near to. The others, nearly all in most sets, need no memory.
    """
    alike = np.zeros(count, np.bool_)
    for fits in searches:
        near = fits.residual <= MAX_RESIDUAL
        alike[fits.first[near]] = alike[fits.second[near]] = True
    return [_unpacked(chosen(fits, alike[fits.first] | alike[fits.second])) for fits in searches]


def _unpacked(fits: Fits) -> Fits:
    first, second, residual, possible, turn = fits
    return Fits(
        first.astype(np.int64), second.astype(np.int64), residual, possible, turn.astype(np.int64)
    )


def chosen(fits: Fits, which: Flags | Integers) -> Fits:
    """Some of the fits, by flags or by places."""
    return Fits(
        fits.first[which],
        fits.second[which],
        fits.residual[which],
        fits.possible[which],
        fits.turn[which],
    )


def crowded(fits: Fits, count: int) -> Integers:
    """Rows whose every proposal fits. They are copies of one image, or a uniform kind of image, and
    more proposals will show which.
    """
    row = np.concatenate([fits.first, fits.second])
    worst = np.zeros(count)
    np.maximum.at(worst, row, np.concatenate([fits.residual, fits.residual]))
    full = np.bincount(row, minlength=count) >= PROPOSALS
    rows: Integers = np.flatnonzero(full & (worst <= MAX_RESIDUAL))
    return rows


def best_of_pairs(fits: Fits) -> Fits:
    """The best fit of every two images, whichever is the first and however the second is turned."""
    low, high = np.minimum(fits.first, fits.second), np.maximum(fits.first, fits.second)
    order = np.lexsort((fits.turn, fits.residual, high, low))
    low, high = low[order], high[order]
    new = (np.diff(low, prepend=-1) != 0) | (np.diff(high, prepend=-1) != 0)
    return chosen(fits, order[new])


def reach_of(row: Integers, residual: Floats, count: int) -> Floats:
    """(count,) for each row the residual on the near side of its outermost wide gap; 0 without a
    gap.

    Args:
        row: (E,) the row that each fit belongs to.
        residual: (E,) of the fits.
        count: how many rows there are.
    """
    value = np.maximum(residual, MIN_RESIDUAL)
    by_row = np.lexsort((value, row))
    row, value = row[by_row], value[by_row]
    # Nothing follows the last one, unless as many were found as were wanted: then more may follow.
    beyond = np.where(np.bincount(row, minlength=count)[row] < PROPOSALS, np.inf, 0)
    following = np.where(np.diff(row, append=-1) == 0, np.append(value[1:], 0), beyond)
    gap = (value <= MAX_RESIDUAL) & (following >= CONTRAST * value)
    reach = np.zeros(count, np.float32)
    np.maximum.at(reach, row[gap], value[gap])
    return reach


def stands_out(fits: Fits, count: int) -> Flags:
    """(E,) whether each fit lies, for both its images, on the near side of a wide gap among all
    their fits.
    """
    row = np.concatenate([fits.first, fits.second])
    reach = reach_of(row, np.concatenate([fits.residual, fits.residual]), count)
    nearer = np.minimum(reach[fits.first], reach[fits.second])
    alone: Flags = np.maximum(fits.residual, MIN_RESIDUAL) <= nearer
    return alone
