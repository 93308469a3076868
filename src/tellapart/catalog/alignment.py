"""One thumbnail laid on another: by shift, scale, gain and offset, and what is left unexplained."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.orientations import turned
from tellapart.catalog.thumbnails import (
    BORDER,
    GREY_SIDE,
    Flags,
    Floats,
    Integers,
    grey_of,
    root_mean_square,
)

# How much of an image's contrast the other may leave unexplained, as a fraction of its standard
# deviation. A cropped JPEG of quality 40 of a photo leaves a twentieth, of an image no larger than
# its thumbnail an eighth.
MAX_RESIDUAL = 0.15
# The residual at half size, without any resampling, above which no better fit is tried.
FAR_RESIDUAL = 0.6
# 1.1 to 0.9 of the brightness is 1.22; the rest is the contrast that half the size costs a small
# image.
MAX_GAIN = 1.35
MAX_SCALE = 1.13  # 5 % cropped on both sides is 1.11
MAX_SHIFT = 1.9  # thumbnail pixels; 5 % cropped on one side is 1.6 at that edge

# The steps of scales and shifts that are tried. The fit removes what lies between them.
_SCALES = np.linspace(1 / MAX_SCALE, MAX_SCALE, 33)
_SHIFTS = np.linspace(-MAX_SHIFT, MAX_SHIFT, 39)
# Added to the gain, shifts and growths of a fit, in squared grey levels: what little an image says
# of a shift along its stripes is noise. With a gain of nothing at all, as of one plain colour, the
# system would have no solution.
_RIDGE = np.array([1e-6, 1, 1, 1, 1])
HALVED_PIXELS = ((GREY_SIDE - 2 * BORDER) // 2) ** 2  # of an image at half size, without its border
# (16, 32): averages two pixels into one.
HALVING = np.kron(np.eye(GREY_SIDE // 2, dtype=np.float32), np.full((1, 2), 0.5, np.float32))


class Fits(NamedTuple):
    """E proposals, and how well the one image of each fits the other."""

    first: Integers
    second: Integers
    residual: Floats  # the share of the second's contrast that the first does not explain, 0 to 1
    possible: Flags  # whether residual and gain are those of a copy
    turn: Integers  # the orientation in which the second was laid on the first, as in `turned`


def align(
    thumbnails: NDArray[np.uint8],
    order: Integers,
    small: Floats,
    rows: Integers,
    proposals: Integers,
    turns: Integers | None = None,
) -> Fits:
    """Lay the proposals of some images on them, by least squares: first at half size, then moved
    accordingly and in full.

    Args:
        thumbnails: (N, THUMBNAIL_BYTES) of all images.
        order: the images, as rows of `thumbnails`.
        small: what `halved` makes of all of them, in that order.
        rows: (M,) the images that get proposals, as places in the order.
        proposals: (M, K) likewise, -1 where there is none.
        turns: (M, K) the orientation of each proposal. None means that all are as they are.
    """
    first, slot = np.nonzero(proposals >= 0)
    second = proposals[first, slot]
    turn = np.zeros(len(first), np.int64) if turns is None else turns[first, slot]
    blurred = _blur() @ grey_of(thumbnails, order[rows]) @ _blur().T
    amounts, residual = _fit(
        *_basis(HALVING @ blurred @ HALVING.T), first, _turned_rows(small[second], turn)
    )
    hopeful = np.flatnonzero(residual <= FAR_RESIDUAL)
    moved = _moved(
        turned(grey_of(thumbnails, order[second[hopeful]]), turn[hopeful]), amounts[hopeful]
    )
    amounts[hopeful], residual[hopeful] = _fit(*_basis(blurred), first[hopeful], moved)
    gain = amounts[:, 0]
    possible = (residual <= MAX_RESIDUAL) & (gain >= 1 / MAX_GAIN) & (gain <= MAX_GAIN)
    return Fits(rows[first], second, residual, possible, turn)


def joined(fits: list[Fits]) -> Fits:
    """The fits of several lists as one."""
    none = np.zeros(0, np.int64)
    nothing = Fits(none, none, np.zeros(0, np.float32), np.zeros(0, np.bool_), none)
    return Fits(*(np.concatenate(column) for column in zip(nothing, *fits, strict=True)))


def _turned_rows(small: Floats, turns: Integers) -> Floats:
    """(E, S²): `turned` for images that are rows."""
    side = int(np.sqrt(small.shape[1]))
    return turned(small.reshape(-1, side, side), turns).reshape(small.shape)


def halved(grey: Floats) -> Floats:
    """(M, 196): the images blurred and at half size, without their border."""
    down = (HALVING @ _blur())[BORDER // 2 : -BORDER // 2]
    return (down @ grey @ down.T).reshape(len(grey), -1)


def normalised(grey: Floats) -> Floats:
    """(M, 256): the images at half size, without their brightness and contrast."""
    small = (HALVING @ grey @ HALVING.T).reshape(len(grey), -1)
    small -= small.mean(1, keepdims=True)
    return small / np.maximum(root_mean_square(small), 1)[:, None]


def _basis(grey: Floats) -> tuple[Floats, Floats]:
    """What small changes of gain, position and size add to each of (M, S, S) images, made
    orthonormal.

    Returns:
        (M, 5, S'²) orthonormal rows, and (M, 5, 5) that turns products with them into amounts of
        the five changes.
    """
    side = grey.shape[1]
    edge = side * BORDER // GREY_SIDE
    inner = slice(edge, side - edge)
    before, after = slice(edge - 1, side - edge - 1), slice(edge + 1, side - edge + 1)
    # -1 to 1 over the whole image.
    u = ((np.arange(side, dtype=np.float32) - (side - 1) / 2) / (side / 2))[inner]
    along_x = (grey[:, inner, after] - grey[:, inner, before]) * np.float32(side / 4)
    along_y = (grey[:, after, inner] - grey[:, before, inner]) * np.float32(side / 4)
    terms = np.stack(
        [grey[:, inner, inner], along_x, along_y, along_x * u, along_y * u[:, None]], axis=1
    )
    terms = terms.reshape(len(grey), len(_RIDGE), -1)
    terms -= terms.mean(2, keepdims=True)  # any offset is free
    products = (terms @ terms.transpose(0, 2, 1)).astype(np.float64)
    strengths = 1e-5 * np.einsum("mii->mi", products)
    products += np.eye(len(_RIDGE)) * (_RIDGE * terms.shape[2] + strengths)[:, None]
    inverse = np.linalg.inv(np.linalg.cholesky(products)).astype(np.float32)
    return inverse @ terms, inverse.transpose(0, 2, 1)


def _fit(basis: Floats, solve: Floats, first: Integers, values: Floats) -> tuple[Floats, Floats]:
    """Least squares of (E, P) values on the bases numbered `first`.

    Returns:
        (E, 5) the gain, the shifts along x and y as parts of the half-width, and the growths along
        x and y; and the (E,) residuals.
    """
    values = values - values.mean(1, keepdims=True)
    products = (basis[first] @ values[:, :, None])[:, :, 0]
    total = np.maximum(np.einsum("ep,ep->e", values, values), 1e-6)
    explained = np.einsum("et,et->e", products, products) / total
    amounts = (solve[first] @ products[:, :, None])[:, :, 0]
    gain = amounts[:, :1]
    amounts[:, 1:] /= np.where(np.abs(gain) < 0.1, 0.1, gain)
    return amounts, np.sqrt(np.maximum(1 - explained, 0))


def _moved(grey: Floats, amounts: Floats) -> Floats:
    """(E, 784): images blurred and moved back by the amounts of shift and growth, without their
    border.
    """
    scale = 1 / np.maximum(1 + amounts[:, 3:5], 0.5)
    shift = -amounts[:, 1:3] * scale * (GREY_SIDE / 2)
    place = _place(scale, _SCALES) * len(_SHIFTS) + _place(shift, _SHIFTS)
    across, down = resamplings()[place.T]
    moved: Floats = down @ grey @ across.transpose(0, 2, 1)
    return moved.reshape(len(grey), (GREY_SIDE - 2 * BORDER) ** 2)


def _place(values: Floats, grid: NDArray[np.float64]) -> Integers:
    """The place in an even grid that is nearest to each value."""
    places = np.rint((values - grid[0]) / (grid[1] - grid[0])).clip(0, len(grid) - 1)
    nearest: Integers = places.astype(np.int64)
    return nearest


@cache
def resamplings() -> Floats:
    """(33 * 39, 28, 32): blur and resampling, for every scale and shift that is tried."""
    moves = product(_SCALES, _SHIFTS)
    return np.stack(
        [(resampling(scale, shift) @ _blur())[BORDER:-BORDER] for scale, shift in moves]
    )


def resampling(scale: float, shift: float) -> Floats:
    """(32, 32): reads a row of pixels at `scale` times their distance from its middle, plus
    `shift`, by cubic interpolation.
    """
    middle = (GREY_SIDE - 1) / 2
    at = np.clip((np.arange(GREY_SIDE) - middle) * scale + middle + shift, 0, GREY_SIDE - 1)
    d = np.abs(at[:, None] - np.arange(GREY_SIDE))
    weights = np.where(
        d < 1, (1.5 * d - 2.5) * d * d + 1, np.where(d < 2, ((2.5 - 0.5 * d) * d - 4) * d + 2, 0)
    )
    matrix: Floats = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return matrix


@cache
def _blur() -> Floats:
    """(32, 32): softens what interpolation gets wrong, and makes derivatives hold over a pixel's
    distance.
    """
    blur: Floats = (resampling(1, -1) + 2 * resampling(1, 0) + resampling(1, 1)) / 4
    return blur
