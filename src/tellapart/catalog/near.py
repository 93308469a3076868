"""Near-duplicates: the same image saved again, resized, slightly cropped or brightened.

    thumbnails ──▶ _describe ──▶ _nearest ──▶ _align ──▶ _stands_out ──▶ pairs
               what a crop    proposals    one laid    far closer than
               leaves alone                on the      what else is
                                           other       like them

The descriptor only proposes. Links between similar hashes chain in a uniform set (solar cells,
scans, parts on a belt) until one cluster holds most of it. So the pixels decide: one thumbnail must
become the other by shift, scale, gain and offset alone, and the two must be much closer to each
other than either is to anything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from hashlib import blake2b
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tellapart.catalog.thumbnails import GREY_BYTES, GREY_SIDE, THUMBNAIL_BYTES
from tellapart.threads import map_ahead

Floats = NDArray[np.floating[Any]]  # single precision wherever there are many
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

PROPOSALS = 8
CROWDED_PROPOSALS = (
    64,
    512,
)  # one after the other, for images that fit all that were proposed to them
MOST_CROWDED_FITS = (
    400_000  # half a minute of one core; a kind of image that is more uniform stays as it is
)

# How much of an image's contrast the other may leave unexplained, as a fraction of its standard
# deviation. A cropped JPEG of quality 40 of a photo leaves a twentieth, of an image no larger than
# its thumbnail an eighth.
MAX_RESIDUAL = 0.15
# How many times further away the next image must be that is no copy. Where images vary in D
# independent ways, one is this much closer than all others by chance once in CONTRAST ** D.
CONTRAST = 2.5
MIN_RESIDUAL = (
    0.01  # the rounding to whole grey levels; below it nothing is closer than anything else
)

# 1.1 to 0.9 of the brightness is 1.22; the rest is contrast that half the size costs a small image
MAX_GAIN = 1.35
MAX_OFFSET = 40  # grey levels from mean to mean: from 0.9 to 1.1 of a bright image
MAX_SCALE = 1.13  # 5 % cropped on both sides is 1.11
MAX_SHIFT = 1.9  # thumbnail pixels; 5 % cropped on one side is 1.6 at that edge
MAX_ASPECT = 0.12  # of log(width / height): 10 % of one side cropped and none of the other is 0.105
# Colour may differ by two levels and half of its strength: at quality 40 a small JPEG loses most of
# its colour detail.
COLOUR_OFFSET, COLOUR_SHARE = 2.0, 0.5

# grey levels of standard deviation under which an image is flat; the blocks of JPEG reach half of
# it
MIN_DETAIL = 3.0
FLAT_GROUP = 8  # a flat colour that more images than this share is a kind of image, not one image

_LENGTH = 32  # of the descriptor
_BORDER = 2  # thumbnail pixels that are not compared: a crop may have taken their counterparts
# how far apart copies may lie on one axis, in standard deviations of copies: never met by chance
_REACH = 10.0
# likewise on all axes together: copies are some 6 apart, the worst crops of small images 12
_RADIUS = 17.0
# residual of the fit at half size, without any resampling, beyond which no better fit is tried
_FAR = 0.6
_ROWS = 128  # images taken at a time: some 30 MB a thread
# Of gain, shifts and growths, in squared grey levels: what little an image says of a shift along
# its stripes is noise.
_RIDGE = np.array([0, 1, 1, 1, 1])
_HALVING = np.kron(np.eye(GREY_SIDE // 2, dtype=np.float32), np.full((1, 2), 0.5, np.float32))


def near_pairs(thumbnails: NDArray[np.uint8], widths: Integers, heights: Integers) -> Integers:
    """Pairs of rows that show the same image, changed by no more than saving, resizing and slight
    edits change it.

    Found are JPEG quality 40 and up, half the size and up, up to 5 % cropped on a side, a tenth
    brighter or darker, and all of these together; not found are mirrored or turned copies, other
    crops and other colours. Images without detail prove nothing: they pair only if their colour is
    equal, and only if few images in the set are like that.

    Of many copies of one image not every two are paired, but chains of pairs join them.

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
    parts = _parts(len(order), 4096)
    flat = np.concatenate(
        [np.zeros(0, np.bool_), *(_detail(thumbnails[order[part]]) < MIN_DETAIL for part in parts)]
    )
    with threadpool_limits(
        1
    ):  # the threads are ours; with BLAS's own beside them it takes half as long again
        flats, others = (
            _flat_pairs(thumbnails, aspects, order[flat]),
            _detailed_pairs(thumbnails, aspects, order[~flat]),
        )
    pairs = np.concatenate([flats, others])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def _detailed_pairs(thumbnails: NDArray[np.uint8], aspects: Floats, order: Integers) -> Integers:
    """Pairs among the images in `order` that have detail to compare: (P, 2) rows of `thumbnails`."""
    if len(order) < 2:
        return np.zeros((0, 2), np.int64)
    points = _describe(thumbnails, aspects, order)
    by_first = np.argsort(points[:, 0], kind="stable")
    points, order = points[by_first], order[by_first]
    later = _nearest(points, PROPOSALS)
    small = np.concatenate(
        [_small(_grey(thumbnails, order[part])) for part in _parts(len(order), 4096)]
    )
    _resamplings()  # made once, before threads ask for it

    def align(rows: Integers, proposals: Integers) -> _Fits:
        parts = list(_parts(len(rows), max(1, _ROWS * PROPOSALS // proposals.shape[1])))
        fits = map_ahead(
            lambda part: _align(thumbnails, order, small, rows[part], proposals[part]), parts
        )
        return _joined(list(fits))

    worth = _within_reach(points, later)
    if not len(worth):
        return np.zeros((0, 2), np.int64)
    fits = align(worth, later[worth])
    for count in CROWDED_PROPOSALS:
        crowded = _crowded(fits, len(order))
        if not len(crowded) or len(crowded) * count > MOST_CROWDED_FITS:
            break
        more = align(crowded, _nearest_of_all(points, crowded, min(count, len(order) - 1)))
        fits = _joined([fits, more])
    first, second, residual, possible = fits
    found = possible & _stands_out(first, second, residual, len(order))
    pairs = np.stack([order[first[found]], order[second[found]]], axis=1)
    return pairs[_alike_otherwise(thumbnails, aspects, pairs)]


def _flat_pairs(thumbnails: NDArray[np.uint8], aspects: Floats, order: Integers) -> Integers:
    """Pairs among flat images: of one colour, give or take a level, that few others have: (P, 2)
    rows of `thumbnails`.
    """
    if len(order) < 2:
        return np.zeros((0, 2), np.int64)
    colours = np.concatenate(
        [_mean_colours(thumbnails[order[part]]) for part in _parts(len(order), 4096)]
    )
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
    later = _nearest(colours.astype(np.float32), FLAT_GROUP)
    first, slot = np.nonzero(later >= 0)
    second = later[first, slot]
    near = np.abs(colours[first] - colours[second]).max(1) <= 1
    pairs = np.stack([order[first[near]], order[second[near]]], axis=1)
    return pairs[_alike_otherwise(thumbnails, aspects, pairs)]


def _alike_otherwise(thumbnails: NDArray[np.uint8], aspects: Floats, pairs: Integers) -> Flags:
    """(P,) whether shape, brightness and colours, which alignment does not look at, allow that two
    are one.
    """
    first, second = pairs.T
    shape = np.abs(aspects[first] - aspects[second]) <= MAX_ASPECT
    a, b = thumbnails[first].astype(np.float32), thumbnails[second].astype(np.float32)
    offset = np.abs(a[:, :GREY_BYTES].mean(1) - b[:, :GREY_BYTES].mean(1))
    a, b = a[:, GREY_BYTES:] - 128, b[:, GREY_BYTES:] - 128
    strength = np.maximum(_root_mean_square(a), _root_mean_square(b))
    colour = _root_mean_square(a - b) <= COLOUR_OFFSET + COLOUR_SHARE * strength
    alike: Flags = shape & (offset <= MAX_OFFSET) & colour
    return alike


# ── proposals ──


def _describe(thumbnails: NDArray[np.uint8], aspects: Floats, order: Integers) -> Floats:
    """(N, 33): in what the images of this very set differ from each other, and survives a crop.

    Linear discriminant analysis of the thumbnails at half size, in which crops made of up to a
    thousand of them stand for the copies. In a uniform set it looks away from what all have in
    common. One unit is the spread within copies.
    """
    some = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), 1000)).astype(np.int64))]
    grey = _grey(thumbnails, some)
    plain = _normalised(grey)
    crops = [
        _resampling(scale, shift) for scale, shift in ((1, 0), (0.95, -0.8), (0.95, 0.8), (0.9, 0))
    ]
    moved = [
        _normalised(down @ grey @ across.T) - plain for down, across in product(crops, repeat=2)
    ]
    change = np.concatenate(moved)
    within = (change.T @ change).astype(np.float64) / len(change)
    # The other changes, and too few images to tell: some spread in every direction.
    within += np.eye(len(within)) * (0.05 * np.trace(within) / len(within) + 1e-9)
    values, vectors = np.linalg.eigh(within)
    whiten = vectors / np.sqrt(values)
    centre = plain.mean(0)
    spread = ((plain - centre) @ whiten).astype(np.float64)
    directions = np.linalg.eigh(spread.T @ spread / len(spread))[1][:, ::-1][:, :_LENGTH]
    project = (whiten @ directions).astype(np.float32)
    points = np.empty((len(order), _LENGTH + 1), np.float32)
    for part in _parts(len(order), 4096):
        points[part, :-1] = (_normalised(_grey(thumbnails, order[part])) - centre) @ project
    points[:, -1] = aspects[order] / (MAX_ASPECT / 4)
    return points


def _nearest(points: Floats, count: int) -> Integers:
    """For each point the `count` nearest among the later ones: (N, count) rows, -1 where there is
    none.

    Exact, but for points more than _REACH away. From one block of products after another only the
    best of every 32 is kept; the nearest lie in the best of these groups. Only later ones: half the
    work, and it still joins all copies.

    Args:
        points: (N, D), in ascending order of their first coordinate.
        count: how many of the nearest to return.
    """
    size, group, block, tile = len(points), 32, 512, 4096
    known = np.zeros((size + -size % group, points.shape[1] + 1), np.float32)
    known[:size, :-1] = points
    known[:size, -1] = (
        np.einsum("ij,ij->i", points, points) / -2
    )  # so that a product ranks like the distance
    known[size:, -1] = -np.finfo(np.float32).max / 4

    def search(start: int) -> Integers:
        query = np.ones((min(block, size - start), known.shape[1]), np.float32)
        query[:, :-1] = points[start : start + block]
        rows = len(query)
        stop = int(np.searchsorted(points[:, 0], query[-1, 0] + _REACH, "right"))
        stop += -stop % group
        best = []
        for first in range(start, stop, tile):
            score = known[first : min(first + tile, stop)] @ query.T
            if first == start:
                score[:rows][
                    np.triu(np.ones((rows, rows), np.bool_))
                ] = -np.inf  # itself, and earlier ones
            best.append(score.reshape(-1, group, rows).max(1))
        ranks = np.concatenate(best).T
        keep = min(count, ranks.shape[1])
        groups = np.argpartition(-ranks, keep - 1, axis=1)[:, :keep]
        members = (
            known[start:].reshape(-1, group, known.shape[1])[groups].reshape(rows, keep * group, -1)
        )
        score = (members @ query[:, :, None])[:, :, 0]
        place = (start + groups[:, :, None] * group + np.arange(group)).reshape(rows, -1)
        score[(place <= np.arange(start, start + rows)[:, None]) | (place >= size)] = -np.inf
        chosen = np.argpartition(-score, count - 1, axis=1)[:, :count]
        place, score = np.take_along_axis(place, chosen, 1), np.take_along_axis(score, chosen, 1)
        return np.where(np.isfinite(score), place, -1)

    found: Integers = np.concatenate(list(map_ahead(search, range(0, size, block))))
    return found


def _within_reach(points: Floats, later: Integers) -> Integers:
    """Rows with a proposal near enough to be their copy, and such proposals; of the rest no pixels
    are compared.
    """
    near = np.zeros(later.shape, np.bool_)
    for part in _parts(len(points), 4096):
        away = points[later[part]] - points[part, None]
        near[part] = np.einsum("ijk,ijk->ij", away, away) <= _RADIUS**2
    near &= later >= 0
    return np.union1d(np.flatnonzero(near.any(1)), later[near])


def _nearest_of_all(points: Floats, rows: Integers, count: int) -> Integers:
    """For some points the `count` nearest of all others: (len(rows), count) rows."""
    lengths = np.einsum("ij,ij->i", points, points)

    def search(part: slice) -> Integers:
        chosen = rows[part]
        distance = lengths - 2 * (points[chosen] @ points.T)
        distance[np.arange(len(chosen)), chosen] = np.inf  # itself
        nearest: Integers = np.argpartition(distance, count - 1, axis=1)[:, :count]
        return nearest

    return np.concatenate(list(map_ahead(search, _parts(len(rows), _ROWS))))


# ── decision ──


class _Fits(NamedTuple):
    """What became of the proposals of some images that were worth a look."""

    first: Integers
    second: Integers
    residual: Floats  # the share of the second's contrast that the first does not explain, 0 to 1
    possible: Flags  # whether residual and gain are those of a copy


def _align(
    thumbnails: NDArray[np.uint8],
    order: Integers,
    small: Floats,
    rows: Integers,
    proposals: Integers,
) -> _Fits:
    """Lay the proposals of some images on them: by least squares at half size, then, moved
    accordingly, in full.
    """
    first, slot = np.nonzero(proposals >= 0)
    second = proposals[first, slot]
    blurred = _BLUR @ _grey(thumbnails, order[rows]) @ _BLUR.T
    amounts, residual = _fit(*_basis(_HALVING @ blurred @ _HALVING.T), first, small[second])
    hopeful = np.flatnonzero(residual <= _FAR)
    moved = _moved(_grey(thumbnails, order[second[hopeful]]), amounts[hopeful])
    amounts[hopeful], residual[hopeful] = _fit(*_basis(blurred), first[hopeful], moved)
    gain = amounts[:, 0]
    possible = (residual <= MAX_RESIDUAL) & (gain >= 1 / MAX_GAIN) & (gain <= MAX_GAIN)
    return _Fits(rows[first], second, residual, possible)


def _joined(fits: list[_Fits]) -> _Fits:
    first, second, residual, possible = (
        np.concatenate(column) for column in zip(*fits, strict=True)
    )
    return _Fits(first, second, residual, possible)


def _crowded(fits: _Fits, count: int) -> Integers:
    """Rows whose every proposal fits: copies of one image, or one of a uniform kind; more of them
    will tell.
    """
    row = np.concatenate([fits.first, fits.second])
    worst = np.zeros(count)
    np.maximum.at(worst, row, np.concatenate([fits.residual, fits.residual]))
    many: Integers = np.flatnonzero(
        (np.bincount(row, minlength=count) >= PROPOSALS) & (worst <= MAX_RESIDUAL)
    )
    return many


def _basis(grey: Floats) -> tuple[Floats, Floats]:
    """What small changes of gain, position and size add to each of (M, S, S) images, and the same
    orthonormal.

    Returns:
        (M, 5, S'²) orthonormal rows, and (M, 5, 5) that turns products with them into amounts of
        the five changes.
    """
    side = grey.shape[1]
    edge = side * _BORDER // GREY_SIDE
    inner, before, after = (
        slice(edge, side - edge),
        slice(edge - 1, side - edge - 1),
        slice(edge + 1, side - edge + 1),
    )
    u = ((np.arange(side, dtype=np.float32) - (side - 1) / 2) / (side / 2))[
        inner
    ]  # -1 to 1 over the whole image
    along_x = (grey[:, inner, after] - grey[:, inner, before]) * np.float32(side / 4)
    along_y = (grey[:, after, inner] - grey[:, before, inner]) * np.float32(side / 4)
    terms = np.stack(
        [grey[:, inner, inner], along_x, along_y, along_x * u, along_y * u[:, None]], axis=1
    )
    terms = terms.reshape(len(grey), len(_RIDGE), -1)
    terms -= terms.mean(2, keepdims=True)  # any offset is free
    products = (terms @ terms.transpose(0, 2, 1)).astype(np.float64)
    products += (
        np.eye(len(_RIDGE))
        * (_RIDGE * terms.shape[2] + 1e-5 * np.einsum("mii->mi", products))[:, None]
    )
    inverse = np.linalg.inv(np.linalg.cholesky(products)).astype(np.float32)
    return inverse @ terms, inverse.transpose(0, 2, 1)


def _fit(basis: Floats, solve: Floats, first: Integers, values: Floats) -> tuple[Floats, Floats]:
    """Least squares of (E, P) values on the bases numbered `first`.

    Returns:
        (E, 5) gain, shifts along x and y as parts of the half-width, growths along x and y; and
        (E,) residuals.
    """
    values = values - values.mean(1, keepdims=True)
    products = (basis[first] @ values[:, :, None])[:, :, 0]
    total = np.maximum(np.einsum("ep,ep->e", values, values), 1e-6)
    explained = np.einsum("et,et->e", products, products) / total
    amounts = (solve[first] @ products[:, :, None])[:, :, 0]
    gain = amounts[:, :1]
    amounts[:, 1:] /= np.where(np.abs(gain) < 0.1, 0.1, gain)
    return amounts, np.sqrt(np.maximum(1 - explained, 0))


def _stands_out(first: Integers, second: Integers, residual: Floats, count: int) -> Flags:
    """(E,) whether each fit is, seen from both its images, on the near side of a wide gap among all
    their fits.
    """
    row = np.concatenate([first, second])
    value = np.maximum(np.concatenate([residual, residual]), MIN_RESIDUAL)
    by_row = np.lexsort((value, row))
    row, value = row[by_row], value[by_row]
    # After the last one lies emptiness, unless as many were found as were asked for: then more may
    # follow.
    beyond = np.where(np.bincount(row, minlength=count)[row] < PROPOSALS, np.inf, 0)
    following = np.where(np.diff(row, append=-1) == 0, np.append(value[1:], 0), beyond)
    gap = (value <= MAX_RESIDUAL) & (following >= CONTRAST * value)
    reach = np.zeros(count, np.float32)
    np.maximum.at(reach, row[gap], value[gap])
    alone: Flags = np.maximum(residual, MIN_RESIDUAL) <= np.minimum(reach[first], reach[second])
    return alone


# ── thumbnails ──


def _parts(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _root_mean_square(values: Floats) -> Floats:
    sizes: Floats = np.sqrt((values**2).mean(1))
    return sizes


def _detail(thumbnails: NDArray[np.uint8]) -> Floats:
    """(M,) standard deviation of the grey levels."""
    return _root_mean_square(
        thumbnails[:, :GREY_BYTES]
        - thumbnails[:, :GREY_BYTES].mean(1, keepdims=True, dtype=np.float32)
    )


def _mean_colours(thumbnails: NDArray[np.uint8]) -> Integers:
    """(M, 3) whole Y, Cb and Cr."""
    grey, colour = (
        thumbnails[:, :GREY_BYTES],
        thumbnails[:, GREY_BYTES:].reshape(len(thumbnails), 2, -1),
    )
    means: Integers = np.rint(np.column_stack([grey.mean(1), colour.mean(2)])).astype(np.int64)
    return means


def _grey(thumbnails: NDArray[np.uint8], rows: Integers) -> Floats:
    """(M, 32, 32), 0 to 255."""
    return thumbnails[rows, :GREY_BYTES].reshape(-1, GREY_SIDE, GREY_SIDE).astype(np.float32)


def _normalised(grey: Floats) -> Floats:
    """(M, 256): the images at half size, without their brightness and contrast."""
    small = (_HALVING @ grey @ _HALVING.T).reshape(len(grey), -1)
    small -= small.mean(1, keepdims=True)
    return small / np.maximum(_root_mean_square(small), 1)[:, None]


def _small(grey: Floats) -> Floats:
    """(M, 196): the images blurred and at half size, without their border."""
    down = (_HALVING @ _BLUR)[_BORDER // 2 : -_BORDER // 2]
    return (down @ grey @ down.T).reshape(len(grey), -1)


def _moved(grey: Floats, amounts: Floats) -> Floats:
    """(E, 784): images blurred and moved back by the amounts of shift and growth, without their
    border.
    """
    scale = 1 / np.maximum(1 + amounts[:, 3:5], 0.5)
    shift = -amounts[:, 1:3] * scale * (GREY_SIDE / 2)
    place = _place(scale, _SCALES) * len(_SHIFTS) + _place(shift, _SHIFTS)
    across, down = _resamplings()[place.T]
    moved: Floats = down @ grey @ across.transpose(0, 2, 1)
    return moved.reshape(len(grey), (GREY_SIDE - 2 * _BORDER) ** 2)


def _place(values: Floats, grid: NDArray[np.float64]) -> Integers:
    """Which number of an even grid is nearest."""
    places: Integers = (
        np.rint((values - grid[0]) / (grid[1] - grid[0])).clip(0, len(grid) - 1).astype(np.int64)
    )
    return places


@cache
def _resamplings() -> Floats:
    """(33 * 39, 28, 32): blur and resampling for every scale and shift allowed. The fit removes
    what lies between.
    """
    moves = product(_SCALES, _SHIFTS)
    return np.stack(
        [(_resampling(scale, shift) @ _BLUR)[_BORDER:-_BORDER] for scale, shift in moves]
    )


def _resampling(scale: float, shift: float) -> Floats:
    """(32, 32): reads a row of pixels at `scale` times their places from its middle, plus `shift`;
    cubic.
    """
    middle = (GREY_SIDE - 1) / 2
    at = np.clip((np.arange(GREY_SIDE) - middle) * scale + middle + shift, 0, GREY_SIDE - 1)
    d = np.abs(at[:, None] - np.arange(GREY_SIDE))
    weights = np.where(
        d < 1, (1.5 * d - 2.5) * d * d + 1, np.where(d < 2, ((2.5 - 0.5 * d) * d - 4) * d + 2, 0)
    )
    matrix: Floats = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return matrix


_SCALES = np.linspace(1 / MAX_SCALE, MAX_SCALE, 33)
_SHIFTS = np.linspace(-MAX_SHIFT, MAX_SHIFT, 39)
# Softens what interpolation gets wrong, and makes derivatives hold over a pixel's distance.
_BLUR = (_resampling(1, -1) + 2 * _resampling(1, 0) + _resampling(1, 1)) / 4
