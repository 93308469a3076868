"""Near-duplicates: the same image saved again, resized, slightly cropped or brightened.

    thumbnails ──▶ describe ──▶ nearest_later ──▶ align ──▶ _stands_out ──▶ pairs
                   what a crop   proposals         one laid   far closer than
                   leaves alone                    on the     what else is
                                                   other      like them

The descriptor only proposes. In a uniform set (solar cells, scans, parts on a belt), links between
similar hashes chain until one cluster holds most of it. So the pixels decide: one thumbnail must
become the other by shift, scale, gain and offset alone, and the two must be much closer to each
other than either is to anything else.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import product

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tellapart.catalog.alignment import MAX_RESIDUAL, Fits, align, halved, joined, resamplings
from tellapart.catalog.descriptors import (
    MAX_ASPECT,
    describe,
    nearest_later,
    nearest_of_all,
    within_reach,
)
from tellapart.catalog.thumbnails import (
    GREY_BYTES,
    THUMBNAIL_BYTES,
    Flags,
    Floats,
    Integers,
    batches,
    detail_of,
    grey_of,
    mean_colours,
    root_mean_square,
)
from tellapart.threads import map_ahead

PROPOSALS = 8  # for each image
# Tried one after the other for images that fit all that were proposed to them.
CROWDED_PROPOSALS = (64, 512)
# Half a minute of one core. A kind of image that is more uniform keeps the proposals that it has.
MOST_CROWDED_FITS = 400_000

# How many times further away the next image must be that is no copy. Where images vary in D
# independent ways, one is this much closer than all others by chance once in CONTRAST ** D.
CONTRAST = 2.5
# The rounding to whole grey levels. Below it nothing is closer than anything else.
MIN_RESIDUAL = 0.01

MAX_OFFSET = 40  # grey levels from mean to mean: from 0.9 to 1.1 of a bright image
# Colour may differ by two levels and half of its strength: at quality 40 a small JPEG loses most of
# its colour detail.
COLOUR_OFFSET, COLOUR_SHARE = 2.0, 0.5

# Grey levels of standard deviation under which an image is flat. The blocks of JPEG reach half of
# it.
MIN_DETAIL = 3.0
FLAT_GROUP = 8  # a flat colour that more images than this share is a kind of image, not one image

_ROWS = 128  # images taken at a time: some 30 MB a thread


def near_pairs(thumbnails: NDArray[np.uint8], widths: Integers, heights: Integers) -> Integers:
    """Pairs of rows that show the same image, changed by no more than saving, resizing and slight
    edits change it.

    It finds JPEG copies of quality 40 and up, half the size and up, up to 5 % cropped on a side, a
    tenth brighter or darker, and all of these together. It does not find mirrored or turned copies,
    other crops and other colours. Images without detail prove nothing: they pair only if their
    colour is equal, and only if few images in the set are like that.

    Not every two of many copies are paired, but chains of pairs join them all.

    Args:
        thumbnails: (N, THUMBNAIL_BYTES) from `make_thumbnail`, of files that differ.
        widths: (N,) of the images, in pixels.
        heights: (N,) likewise.

    Returns:
        (P, 2) rows i < j, sorted. Which images are paired does not depend on the order of the rows.
    """
    assert thumbnails.shape == (len(widths), THUMBNAIL_BYTES) and len(widths) == len(heights)
    aspects = np.log(widths / heights).astype(np.float32)
    # In an order that only the contents decide. It also scatters whatever lay side by side.
    keys = (int.from_bytes(blake2b(row.tobytes(), digest_size=8).digest()) for row in thumbnails)
    order = np.lexsort((aspects, np.fromiter(keys, np.uint64)))
    details = [detail_of(thumbnails[order[batch]]) for batch in batches(len(order), 4096)]
    flat = np.concatenate([np.zeros(0), *details]) < MIN_DETAIL
    # The threads are ours; with BLAS's own beside them it takes half as long again.
    with threadpool_limits(1):
        flats = _flat_pairs(thumbnails, aspects, order[flat])
        others = _detailed_pairs(thumbnails, aspects, order[~flat])
    pairs = np.concatenate([flats, others])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def _detailed_pairs(thumbnails: NDArray[np.uint8], aspects: Floats, order: Integers) -> Integers:
    """(P, 2) rows of `thumbnails`: pairs among the images in `order` that have detail."""
    if len(order) < 2:
        return np.zeros((0, 2), np.int64)
    points = describe(thumbnails, aspects, order)
    by_first = np.argsort(points[:, 0], kind="stable")
    points, order = points[by_first], order[by_first]
    later = nearest_later(points, PROPOSALS)
    halves = [halved(grey_of(thumbnails, order[batch])) for batch in batches(len(order), 4096)]
    small = np.concatenate(halves)
    resamplings()  # made once, before threads ask for it

    def fits_of(rows: Integers, proposals: Integers) -> Fits:
        def fit(batch: slice) -> Fits:
            return align(thumbnails, order, small, rows[batch], proposals[batch])

        size = max(1, _ROWS * PROPOSALS // proposals.shape[1])
        return joined(list(map_ahead(fit, batches(len(rows), size))))

    worth = within_reach(points, later)
    if not len(worth):
        return np.zeros((0, 2), np.int64)
    fits = fits_of(worth, later[worth])
    for count in CROWDED_PROPOSALS:
        crowded = _crowded(fits, len(order))
        if not len(crowded) or len(crowded) * count > MOST_CROWDED_FITS:
            break
        nearest = nearest_of_all(points, crowded, min(count, len(order) - 1))
        fits = joined([fits, fits_of(crowded, nearest)])
    first, second, residual, possible = fits
    found = possible & _stands_out(first, second, residual, len(order))
    pairs = np.stack([order[first[found]], order[second[found]]], axis=1)
    return pairs[_alike_otherwise(thumbnails, aspects, pairs)]


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
    return pairs[_alike_otherwise(thumbnails, aspects, pairs)]


def _alike_otherwise(thumbnails: NDArray[np.uint8], aspects: Floats, pairs: Integers) -> Flags:
    """(P,) whether shape, brightness and colours allow that two images are one. Alignment does not
    compare these.
    """
    first, second = pairs.T
    shape = np.abs(aspects[first] - aspects[second]) <= MAX_ASPECT
    a, b = thumbnails[first].astype(np.float32), thumbnails[second].astype(np.float32)
    offset = np.abs(a[:, :GREY_BYTES].mean(1) - b[:, :GREY_BYTES].mean(1))
    a, b = a[:, GREY_BYTES:] - 128, b[:, GREY_BYTES:] - 128
    strength = np.maximum(root_mean_square(a), root_mean_square(b))
    colour = root_mean_square(a - b) <= COLOUR_OFFSET + COLOUR_SHARE * strength
    alike: Flags = shape & (offset <= MAX_OFFSET) & colour
    return alike


def _crowded(fits: Fits, count: int) -> Integers:
    """Rows whose every proposal fits. They are copies of one image, or a uniform kind of image, and
    more proposals will show which.
    """
    row = np.concatenate([fits.first, fits.second])
    worst = np.zeros(count)
    np.maximum.at(worst, row, np.concatenate([fits.residual, fits.residual]))
    full = np.bincount(row, minlength=count) >= PROPOSALS
    crowded: Integers = np.flatnonzero(full & (worst <= MAX_RESIDUAL))
    return crowded


def _stands_out(first: Integers, second: Integers, residual: Floats, count: int) -> Flags:
    """(E,) whether each fit lies, for both its images, on the near side of a wide gap among all
    their fits.
    """
    row = np.concatenate([first, second])
    value = np.maximum(np.concatenate([residual, residual]), MIN_RESIDUAL)
    by_row = np.lexsort((value, row))
    row, value = row[by_row], value[by_row]
    # Nothing follows the last one, unless as many were found as were wanted: then more may follow.
    beyond = np.where(np.bincount(row, minlength=count)[row] < PROPOSALS, np.inf, 0)
    following = np.where(np.diff(row, append=-1) == 0, np.append(value[1:], 0), beyond)
    gap = (value <= MAX_RESIDUAL) & (following >= CONTRAST * value)
    reach = np.zeros(count, np.float32)
    np.maximum.at(reach, row[gap], value[gap])
    alone: Flags = np.maximum(residual, MIN_RESIDUAL) <= np.minimum(reach[first], reach[second])
    return alone
