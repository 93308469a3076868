"""Crowds: images that fit more others than are proposed to each.

They are one image saved very often, a scene before a fixed camera, or a uniform kind of image. One
of them is compared with far more of the others. If a wide gap shows around it, all within the gap
are one image, and none of them has to be compared itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tellapart.catalog.alignment import MAX_RESIDUAL, Fits, joined
from tellapart.catalog.fitting import Fitting, chosen, crowded, reach_of
from tellapart.catalog.thumbnails import Flags, Floats, Integers
from tellapart.catalog.unions import united

# How many others a leader is compared with, until some do not fit. All that there are come last.
LEADER_PROPOSALS = (64, 512, 4096)
# What is left when leaders see no gap gets as many proposals as this.
CROWDED_PROPOSALS = (64, 512)
# Half a minute of one core, for leaders and for the rest each.
MOST_CROWDED_FITS = 400_000
# So many leaders of a crowd may see no gap, beside two for each one that does. Then it is a kind.
VAIN_LEADERS = 8


def scenes(fitting: Fitting, fits: Fits) -> tuple[Fits, Flags]:
    """Work off the crowds: compare leaders with many others.

    Args:
        fitting: the images.
        fits: in any orientation, as far as they were proposed.

    Returns:
        What is one image: each leader with all within the gap around it. And for each image whether
        it is settled by that.
    """
    count = len(fitting.order)
    waiting = np.zeros(count, np.bool_)
    waiting[crowded(fits, count)] = True
    settled, found = np.zeros(count, np.bool_), []
    fitting_pairs = np.stack([fits.first, fits.second], axis=1)[fits.possible]
    crowd_of = united(count, fitting_pairs.tolist())
    rank = _middle_first(fits, count)
    vain = np.zeros(count, np.int64)  # by crowd
    spent = 0
    while spent < MOST_CROWDED_FITS:
        rows = np.flatnonzero(waiting & (vain[crowd_of] < VAIN_LEADERS))
        if not len(rows):
            break
        rows = rows[np.argsort(rank[rows])]
        leaders = rows[np.unique(crowd_of[rows], return_index=True)[1]]
        waiting[leaders] = False
        for compared in _compared(fitting, leaders):
            spent += len(compared.first)
            reach = reach_of(compared.first, compared.residual, count)
            within = compared.possible & (compared.residual <= reach[compared.first])
            inside = chosen(compared, within)
            found.append(inside)
            members = np.concatenate([inside.first, inside.second])
            waiting[members], settled[members] = False, True
            done = np.unique(compared.first)
            vain[crowd_of[done]] += np.where(reach[done] > 0, -2, 1)
    return joined([chosen(fits, np.zeros(len(fits.first), np.bool_)), *found]), settled


def compare_more(fitting: Fitting, fits: Fits, settled: Flags) -> tuple[Fits, Integers]:
    """More proposals for what is crowded and not settled, as far as time allows.

    Args:
        fitting: the images.
        fits: of images as they are.
        settled: (N,) which images need none.

    Returns:
        The fits with more; and the images that may have copies which were not compared with them.
    """
    total = len(fitting.order)
    rows = _unsettled(fits, settled)
    for count in CROWDED_PROPOSALS:
        if not len(rows) or len(rows) * count > MOST_CROWDED_FITS:
            break
        fits = joined([fits, fitting.with_nearest(rows, min(count, total - 1))])
        rows = _unsettled(fits, settled)
        if count >= total - 1:
            return fits, rows[:0]
    return fits, rows


def _unsettled(fits: Fits, settled: Flags) -> Integers:
    rows = crowded(fits, len(settled))
    return rows[~settled[rows]]


def _middle_first(fits: Fits, count: int) -> Integers:
    """(count,) the rank of each image by how well it fits its proposals: a gap is widest as seen
    from the middle of a scene.
    """
    row = np.concatenate([fits.first, fits.second])
    total = np.bincount(row, np.concatenate([fits.residual, fits.residual]), count)
    mean: Floats = total / np.maximum(np.bincount(row, minlength=count), 1)
    rank = np.empty(count, np.int64)
    rank[np.lexsort((np.arange(count), mean))] = np.arange(count)
    return rank


def _compared(fitting: Fitting, leaders: Integers) -> Iterator[Fits]:
    """The fits of the leaders with as many others as it takes until some do not fit."""
    most = len(fitting.order) - 1
    for count in (*LEADER_PROPOSALS, most):
        if not len(leaders):
            return
        fits = fitting.with_nearest_turned(leaders, min(count, most))
        worst = np.zeros(most + 1)
        np.maximum.at(worst, fits.first, fits.residual)
        full = worst[leaders] <= MAX_RESIDUAL if count < most else np.zeros(len(leaders), np.bool_)
        done = np.isin(fits.first, leaders[~full])
        yield chosen(fits, done)
        leaders = leaders[full]
