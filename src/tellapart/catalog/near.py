"""Near-duplicates: the same image saved again, resized, slightly cropped, mirrored or turned.

    thumbnails ──▶ describe ──▶ nearest_later ──▶ align ──▶ stands_out ──▶ pairs
                   what a crop   proposals         one laid   far closer than
                   leaves alone                    on the     what else is
                                                   other      like them

The descriptor only proposes. In a uniform set (solar cells, scans, parts on a belt), links between
similar hashes chain until one cluster holds most of it. So the pixels decide: one thumbnail must
become the other by shift, scale, gain and offset alone, and the two must be much closer to each
other than either is to anything else.

All this happens twice. A second descriptor is the same for an image and its seven mirrored and
turned forms; what it proposes is laid on in the best of the eight. Of every two images the best fit
counts when it is judged what stands out, so an image that looks the same mirrored proves nothing.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tellapart.catalog.alignment import joined
from tellapart.catalog.crowds import compare_more, scenes
from tellapart.catalog.descriptors import nearest_later
from tellapart.catalog.fitting import Fitting, best_of_pairs, chosen, stands_out, that_matter
from tellapart.catalog.orientations import turned as turned_by
from tellapart.catalog.shares import Tell, silent, within
from tellapart.catalog.thumbnails import (
    BORDER,
    COLOUR_SIDE,
    GREY_BYTES,
    MAX_ASPECT,
    THUMBNAIL_BYTES,
    Flags,
    Floats,
    Integers,
    batches,
    detail_of,
    mean_colours,
    root_mean_square,
)

MAX_OFFSET = 40  # grey levels from mean to mean: from 0.9 to 1.1 of a bright image
# Colour may differ by two levels and half of its strength: at quality 40 a small JPEG loses most of
# its colour detail.
COLOUR_OFFSET, COLOUR_SHARE = 2.0, 0.5

# Grey levels of standard deviation under which an image is flat. The blocks of JPEG reach half of
# it.
MIN_DETAIL = 3.0
_UPRIGHT = 0.4  # of the time goes into the search for upright copies, about
FLAT_GROUP = 8  # a flat colour that more images than this share is a kind of image, not one image


class NearDuplicates(NamedTuple):
    """What a search found.

    Args:
        pairs: (P, 2) rows i < j that show the same image, sorted.
        uncompared: rows of images that look like so many others that not all of these were
            compared with them.
    """

    pairs: Integers
    uncompared: Integers


def near_duplicates(
    thumbnails: NDArray[np.uint8],
    widths: Integers,
    heights: Integers,
    among: Integers | None = None,
    tell: Tell = silent,
) -> NearDuplicates:
    """Pairs of rows that show the same image, changed by no more than saving, resizing, mirroring,
    quarter turns and slight edits change it.

    It finds JPEG copies of quality 40 and up, half the size and up, up to 5 % cropped on a side, a
    tenth brighter or darker, and all of these together; each also mirrored or turned by quarters.
    It does not find other turns, larger crops and other colours. Images without detail prove
    nothing: they pair only if their colour is equal, and only if few images in the set are like
    that. Those with a frame around no detail do not pair.

    Not every two of many copies are paired, but chains of pairs join them all. Which images are
    paired does not depend on the order of the rows. Among more than EXACT_UP_TO images each is
    compared only with those in the cells around it, and very few copies are missed.

    Args:
        thumbnails: (N, THUMBNAIL_BYTES) from `make_thumbnail`, of files that differ.
        widths: (N,) of the images, in pixels.
        heights: (N,) likewise.
        among: the rows that are compared. None means all.
        tell: is told the share that is done.
    """
    assert thumbnails.shape == (len(widths), THUMBNAIL_BYTES) and len(widths) == len(heights)
    aspects = np.log(widths / heights).astype(np.float32)
    # In an order that only the contents decide. It also scatters whatever lay side by side.
    rows = np.arange(len(thumbnails)) if among is None else among
    keys = (int.from_bytes(blake2b(thumbnails[row], digest_size=8).digest(), "big") for row in rows)
    order = rows[np.lexsort((aspects[rows], np.fromiter(keys, np.uint64, len(rows))))]
    flat, framed = _without_detail(thumbnails, order)
    # The threads are ours; with BLAS's own beside them it takes half as long again.
    with threadpool_limits(1):
        flats = _flat_pairs(thumbnails, aspects, order[flat])
        others, uncompared = _detailed_pairs(thumbnails, aspects, order[~flat & ~framed], tell)
    tell(1.0)
    pairs = np.concatenate([flats, others])
    return NearDuplicates(np.unique(np.sort(pairs, axis=1), axis=0), np.sort(uncompared))


def _without_detail(thumbnails: NDArray[np.uint8], order: Integers) -> tuple[Flags, Flags]:
    """(N,) which images are flat; and which are flat inside a frame, which proves nothing: the
    border is not compared, and many different placeholders have the same one.
    """
    flat, framed = np.zeros(len(order), np.bool_), np.zeros(len(order), np.bool_)
    for batch in batches(len(order), 4096):
        rows = thumbnails[order[batch]]
        flat[batch] = detail_of(rows) < MIN_DETAIL
        framed[batch] = ~flat[batch] & (detail_of(rows, border=BORDER) < MIN_DETAIL)
    return flat, framed


def _detailed_pairs(
    thumbnails: NDArray[np.uint8], aspects: Floats, order: Integers, tell: Tell
) -> tuple[Integers, Integers]:
    """Pairs among the images in `order` that have detail: (P, 2) rows of `thumbnails`; and the rows
    that were not compared with all that may be their copies.
    """
    if len(order) < 2:
        return np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
    fitting = Fitting(thumbnails, aspects, order)
    searches = [
        fitting.upright(within(tell, 0, _UPRIGHT)),
        fitting.in_any_turn(within(tell, _UPRIGHT, 1)),
    ]
    upright, turned = that_matter(searches, len(order))
    best = best_of_pairs(joined([upright, turned]))
    scene, settled = scenes(fitting, best)
    upright, uncompared = compare_more(fitting, upright, settled)
    as_they_are = upright.possible & stands_out(upright, len(order))
    otherwise = best.possible & stands_out(best, len(order)) & (best.turn > 0)
    found = joined([chosen(upright, as_they_are), chosen(best, otherwise), scene])
    pairs = np.stack([fitting.order[found.first], fitting.order[found.second]], axis=1)
    alike = _alike_otherwise(thumbnails, aspects, pairs, found.turn)
    return pairs[alike], fitting.order[uncompared]


def _flat_pairs(thumbnails: NDArray[np.uint8], aspects: Floats, order: Integers) -> Integers:
    """Pairs among flat images of one colour, give or take a level, that few others have: (P, 2)
    rows of `thumbnails`.
    """
    if len(order) < 2:
        return np.zeros((0, 2), np.int64)
    means = [mean_colours(thumbnails[order[batch]]) for batch in batches(len(order), 4096)]
    colours = np.concatenate(means)
    base = 256 ** np.arange(3)
    codes, place, counts = np.unique(colours @ base, return_inverse=True, return_counts=True)
    crowd = np.zeros(len(codes), np.int64)
    for step in product((-1, 0, 1), repeat=3):
        neighbours = codes + np.array(step) @ base
        at = np.searchsorted(codes, neighbours).clip(0, len(codes) - 1)
        crowd += np.where(codes[at] == neighbours, counts[at], 0)
    few = np.flatnonzero(crowd[place] <= FLAT_GROUP)
    few = few[np.argsort(colours[few, 0], kind="stable")]
    order, colours = order[few], colours[few]
    if len(order) < 2:
        return np.zeros((0, 2), np.int64)
    later = nearest_later(colours.astype(np.float32), FLAT_GROUP)
    first, slot = np.nonzero(later >= 0)
    second = later[first, slot]
    near = np.abs(colours[first] - colours[second]).max(1) <= 1
    pairs = np.stack([order[first[near]], order[second[near]]], axis=1)
    return pairs[_alike_otherwise(thumbnails, aspects, pairs, np.zeros(len(pairs), np.int64))]


def _alike_otherwise(
    thumbnails: NDArray[np.uint8], aspects: Floats, pairs: Integers, turns: Integers
) -> Flags:
    """(P,) whether shape, brightness and colours allow that two images are one, the second of them
    turned. Alignment does not compare these.
    """
    first, second = pairs.T
    shape_of_second = np.where(turns & 4, -aspects[second], aspects[second])
    shape = np.abs(aspects[first] - shape_of_second) <= MAX_ASPECT
    a, b = thumbnails[first].astype(np.float32), thumbnails[second].astype(np.float32)
    offset = np.abs(a[:, :GREY_BYTES].mean(1) - b[:, :GREY_BYTES].mean(1))
    colours = b[:, GREY_BYTES:].reshape(-1, COLOUR_SIDE, COLOUR_SIDE)
    a = a[:, GREY_BYTES:] - 128
    b = turned_by(colours, np.repeat(turns, 2)).reshape(a.shape) - 128
    strength = np.maximum(root_mean_square(a), root_mean_square(b))
    colour = root_mean_square(a - b) <= COLOUR_OFFSET + COLOUR_SHARE * strength
    alike: Flags = shape & (offset <= MAX_OFFSET) & colour
    return alike
