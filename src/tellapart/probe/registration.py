"""Thumbnails laid on each other by any affine map: turned a little, cropped, mirrored, stretched.

Many pairs are registered at once. Each begins at several maps and is refined by Gauss-Newton steps
from coarse to fine; gain and offset of the brightness are free, and what sticks out weighs little.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

# Where a registration begins: mirrored or not, at three angles and three scales.
_ANGLES, _SCALES = (-13.0, 0.0, 13.0), (0.8, 1.0, 1.25)
# The share of the second image that the first must cover.
LEAST_OVERLAP = 0.45
# The share of the pixels that are compared. The corners that a turn fills with black, a caption or
# a date do not make another image.
_COMPARED = 0.85
_LARGEST_STEP = 0.3  # of an entry of the map, in half-widths


def similarities(first: Floats, second: Floats) -> Floats:
    """How well one image agrees with another, once they are registered.

    Args:
        first: (E, S, S) grey levels; S is a multiple of 16.
        second: likewise.

    Returns:
        (E,) the correlation, up to 1; -1 where too little overlaps.
    """
    one, two = (_blurred(_pooled(image, image.shape[-1] // 16)) for image in (first, second))
    starts = _starts()
    maps = np.tile(starts, (len(first), 1, 1))
    maps = _refined(*_each(len(starts), _pooled(one, 2), _pooled(two, 2)), maps, steps=4)
    maps = _best(one, two, maps, keep=3)
    maps = _refined(*_each(3, one, two), maps, steps=5)
    maps = _best(one, two, maps, keep=1)
    maps = _refined(_blurred(first), _blurred(second), maps, steps=5)
    return _agreement(first, second, maps)


def _starts() -> Floats:
    """(18, 2, 3) affine maps from places in the second image to places in the first."""
    maps = []
    for mirror, angle, scale in product((1.0, -1.0), _ANGLES, _SCALES):
        cos, sin = math.cos(math.radians(angle)) * scale, math.sin(math.radians(angle)) * scale
        maps.append([[cos * mirror, -sin, 0.0], [sin * mirror, cos, 0.0]])
    return np.array(maps, np.float32)


def _each(times: int, first: Floats, second: Floats) -> tuple[Floats, Floats]:
    return first.repeat(times, axis=0), second.repeat(times, axis=0)


def _best(first: Floats, second: Floats, maps: Floats, keep: int) -> Floats:
    """The `keep` maps of each pair that make it agree best; all maps of a pair follow each other."""
    pairs = len(first)
    times = len(maps) // pairs
    scores = _agreement(*_each(times, first, second), maps).reshape(pairs, times)
    chosen = np.argsort(-scores, axis=1, kind="stable")[:, :keep]
    rows = np.arange(pairs)[:, None]
    return maps.reshape(pairs, times, 2, 3)[rows, chosen].reshape(-1, 2, 3)


def _refined(first: Floats, second: Floats, maps: Floats, *, steps: int) -> Floats:
    """The maps after some Gauss-Newton steps."""
    stack = np.stack([first, *_slopes(first)], axis=-1)
    x, y = _places(first.shape[-1])
    seen = _flat(second)
    for _ in range(steps):
        moved, inside = _moved(stack, maps)
        grey, along_x, along_y = np.moveaxis(moved, -1, 0)
        share = np.maximum(inside.sum(1, keepdims=True), 1)
        grey = grey - _sum(grey * inside) / share
        wanted = seen - _sum(seen * inside) / share
        gain = _sum(grey * wanted * inside) / (_sum(grey**2 * inside) + 1e-3)
        gain = gain.clip(0.3, 3)
        rest = wanted - gain * grey
        usual = _sum(np.abs(rest) * inside) * 1.5 / share + 1e-3
        weight = inside / (1 + (rest / usual) ** 2)
        slopes = [along_x * x, along_x * y, along_x, along_y * x, along_y * y, along_y]
        moves = [gain * slope for slope in slopes]
        terms = np.stack([*moves, grey, np.ones_like(grey)], axis=1)
        weighted = terms * weight[:, None]
        products = weighted @ terms.transpose(0, 2, 1)
        # A plain image has no slopes, so that every step would solve the system.
        diagonal = np.arange(products.shape[1])
        products[:, diagonal, diagonal] += 1e-3 * products[:, diagonal, diagonal] + 1e-3
        step = np.linalg.solve(products, weighted @ rest[..., None])[:, :6, 0]
        maps = maps + step.reshape(-1, 2, 3).clip(-_LARGEST_STEP, _LARGEST_STEP)
    return maps


def _places(side: int) -> tuple[Floats, Floats]:
    """x and y of the middle of each pixel, (side²,) each; the image reaches from -1 to 1."""
    middle = (2 * np.arange(side, dtype=np.float32) + 1) / side - 1
    return np.tile(middle, side), middle.repeat(side)


def _moved(stack: Floats, maps: Floats) -> tuple[Floats, Floats]:
    """(E, P, K) images (E, S, S, K) moved by maps, and (E, P) which places lie inside the image
    that is moved. What is between pixels is interpolated; beyond the edge the edge goes on.
    """
    count, side = stack.shape[:2]
    x, y = _places(side)
    places = maps @ np.stack([x, y, np.ones_like(x)])
    inside: Floats = np.asarray((np.abs(places) <= 1).all(axis=1), np.float32)
    pixels = (((places + 1) * side - 1) / 2).clip(0, side - 1)
    low = np.minimum(pixels.astype(np.int64), side - 2)
    (right, down), (left, top) = (
        (pixels - low).transpose(1, 0, 2)[..., None],
        low.transpose(1, 0, 2),
    )
    corner = (np.arange(count)[:, None] * side + top) * side + left
    levels = stack.reshape(count * side * side, -1)
    upper = levels[corner] * (1 - right) + levels[corner + 1] * right
    lower = levels[corner + side] * (1 - right) + levels[corner + side + 1] * right
    moved: Floats = upper * (1 - down) + lower * down
    return moved, inside


def _agreement(first: Floats, second: Floats, maps: Floats) -> Floats:
    """(E,) how well images agree where they overlap: in fine structure, and in all; the lesser of
    the two. -1 where they overlap too little.
    """
    scores, inside = [], np.ones(0, np.float32)
    for see in (_fine, _blurred):
        moved, inside = _moved(see(first)[..., None], maps)
        scores.append(_correlation(moved[..., 0], _flat(see(second)), inside))
    return np.where(inside.mean(1) < LEAST_OVERLAP, np.float32(-1), np.minimum(*scores))


def _correlation(one: Floats, two: Floats, inside: Floats) -> Floats:
    """(E,) the correlation of (E, P) values, without those that differ most."""
    one, two = _without_mean(one, inside), _without_mean(two, inside)
    gain = np.sqrt(_sum(two**2 * inside) / np.maximum(_sum(one**2 * inside), 1e-6))
    rest = np.where(inside > 0, np.abs(two - gain * one), np.float32(np.inf))
    count = np.maximum((inside.sum(1, keepdims=True) * _COMPARED).astype(np.int64), 1)
    limit = np.take_along_axis(np.sort(rest, axis=1), count - 1, axis=1)
    near = inside * (rest <= limit)
    one, two = _without_mean(one, near), _without_mean(two, near)
    strengths = (one**2 * near).sum(1) * (two**2 * near).sum(1)
    found: Floats = (one * two * near).sum(1) / np.sqrt(np.maximum(strengths, 1e-6))
    return found


def _without_mean(values: Floats, where: Floats) -> Floats:
    return values - _sum(values * where) / np.maximum(_sum(where), 1)


def _sum(values: Floats) -> Floats:
    """(E, 1) over the places of each image."""
    total: Floats = values.sum(axis=1, keepdims=True)
    return total


def _flat(images: Floats) -> Floats:
    return images.reshape(len(images), -1)


def _fine(images: Floats) -> Floats:
    """The structure of images without the light that falls over them, and without noise."""
    soft = _blurred(images)
    wide = soft
    for _ in range(images.shape[-1] // 8):
        wide = _blurred(wide)
    return soft - wide


def _pooled(images: Floats, times: int) -> Floats:
    """Images (E, S, S) at a smaller size, each pixel the mean of times x times others."""
    count, side = len(images), images.shape[-1] // times
    pooled: Floats = images.reshape(count, side, times, side, times).mean(axis=(2, 4))
    return pooled


def _blurred(images: Floats) -> Floats:
    """Weights of a quarter, a half and a quarter, down and across."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    down = (padded[:, :-2] + padded[:, 2:]) * np.float32(0.25) + padded[:, 1:-1] * np.float32(0.5)
    return (down[..., :-2] + down[..., 2:]) * np.float32(0.25) + down[..., 1:-1] * np.float32(0.5)


def _slopes(images: Floats) -> tuple[Floats, Floats]:
    """The slopes along x and y, in grey levels per half-width."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    scale = np.float32(images.shape[-1] / 4)
    along_x = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    along_y = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    return along_x * scale, along_y * scale
