"""Thumbnails laid on each other by any affine map: turned a little, cropped, mirrored, stretched.

Many pairs are registered at once. Each begins at several maps and is refined by Gauss-Newton steps
from coarse to fine; gain and offset of the brightness are free, and what sticks out weighs little.
"""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

# Where a registration begins: mirrored or not, at three angles and three scales.
_ANGLES, _SCALES = (-13.0, 0.0, 13.0), (0.8, 1.0, 1.25)
# The share of the second image that the first must cover.
LEAST_OVERLAP = 0.45
# The share of the pixels that are compared. The corners that a turn fills with black, a caption or
# a date do not make another image.
_COMPARED = 0.85
_LARGEST_STEP = 0.3  # of an entry of the map, in half-widths


def similarities(first: Tensor, second: Tensor) -> Tensor:
    """How well one image agrees with another, once they are registered.

    Args:
        first: (E, S, S) grey levels; S is a multiple of 16.
        second: likewise.

    Returns:
        (E,) the correlation, up to 1; -1 where too little overlaps.
    """
    one, two = first[:, None].float(), second[:, None].float()
    starts = _starts()
    coarse_one, coarse_two = (
        _blurred(functional.adaptive_avg_pool2d(image, 16)) for image in (one, two)
    )
    tiny_one, tiny_two = (
        functional.adaptive_avg_pool2d(image, 8) for image in (coarse_one, coarse_two)
    )
    maps = starts.repeat(len(one), 1, 1)
    maps = _refined(*_each(len(starts), tiny_one, tiny_two), maps, steps=4)
    maps = _best(coarse_one, coarse_two, maps, keep=3)
    maps = _refined(*_each(3, coarse_one, coarse_two), maps, steps=5)
    maps = _best(coarse_one, coarse_two, maps, keep=1)
    maps = _refined(_blurred(one), _blurred(two), maps, steps=5)
    return _agreement(one, two, maps)


def _starts() -> Tensor:
    """(18, 2, 3) affine maps from places in the second image to places in the first."""
    maps = []
    for mirror, angle, scale in product((1.0, -1.0), _ANGLES, _SCALES):
        cos, sin = math.cos(math.radians(angle)) * scale, math.sin(math.radians(angle)) * scale
        maps.append([[cos * mirror, -sin, 0.0], [sin * mirror, cos, 0.0]])
    return torch.tensor(maps)


def _each(times: int, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    return first.repeat_interleave(times, 0), second.repeat_interleave(times, 0)


def _best(first: Tensor, second: Tensor, maps: Tensor, keep: int) -> Tensor:
    """The `keep` maps of each pair that make it agree best; all maps of a pair follow each other."""
    pairs = len(first)
    times = len(maps) // pairs
    scores = _agreement(*_each(times, first, second), maps).reshape(pairs, times)
    chosen = scores.topk(keep, 1)[1]
    kept = maps.reshape(pairs, times, 2, 3).gather(1, chosen[..., None, None].expand(-1, -1, 2, 3))
    return kept.reshape(-1, 2, 3)


def _refined(first: Tensor, second: Tensor, maps: Tensor, *, steps: int) -> Tensor:
    """The maps after some Gauss-Newton steps."""
    side = first.shape[-1]
    stack = torch.cat([first, *_slopes(first)], 1)
    places = functional.affine_grid(torch.eye(2, 3)[None], [1, 1, side, side], align_corners=False)
    x, y = places[0].reshape(-1, 2).T
    seen = second.flatten(1)
    for _ in range(steps):
        moved, inside = _moved(stack, maps)
        grey, along_x, along_y = moved.flatten(2).unbind(1)
        share = inside.sum(1, keepdim=True).clamp(min=1)
        grey = grey - (grey * inside).sum(1, keepdim=True) / share
        wanted = seen - (seen * inside).sum(1, keepdim=True) / share
        gain = (grey * wanted * inside).sum(1, keepdim=True)
        gain = (gain / ((grey**2 * inside).sum(1, keepdim=True) + 1e-3)).clamp(0.3, 3)
        rest = wanted - gain * grey
        usual = (rest.abs() * inside).sum(1, keepdim=True) * 1.5 / share + 1e-3
        weight = inside / (1 + (rest / usual) ** 2)
        slopes = [along_x * x, along_x * y, along_x, along_y * x, along_y * y, along_y]
        terms = torch.stack([*(gain * slope for slope in slopes), grey, torch.ones_like(grey)], 2)
        weighted = terms * weight[..., None]
        products = weighted.transpose(1, 2) @ terms
        # A plain image has no slopes, so that every step would solve the system.
        ridge = 1e-3 * products.diagonal(dim1=1, dim2=2) + 1e-3
        products = products + torch.diag_embed(ridge)
        step = torch.linalg.solve(products, (weighted * rest[..., None]).sum(1))[:, :6]
        maps = maps + step.reshape(-1, 2, 3).clamp(-_LARGEST_STEP, _LARGEST_STEP)
    return maps


def _moved(stack: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Images moved by maps, and (E, S²) which places lie inside the image that is moved."""
    grid = functional.affine_grid(maps, list(stack.shape), align_corners=False)
    moved = functional.grid_sample(stack, grid, padding_mode="border", align_corners=False)
    return moved, (grid.abs() <= 1).all(-1).flatten(1).float()


def _agreement(first: Tensor, second: Tensor, maps: Tensor) -> Tensor:
    """(E,) how well images agree where they overlap: in fine structure, and in all; the lesser of
    the two. -1 where they overlap too little.
    """
    scores = []
    for see in (_fine, _blurred):
        moved, inside = _moved(see(first), maps)
        scores.append(_correlation(moved.flatten(1), see(second).flatten(1), inside))
    return torch.minimum(*scores).masked_fill(inside.mean(1) < LEAST_OVERLAP, -1.0)


def _correlation(one: Tensor, two: Tensor, inside: Tensor) -> Tensor:
    """(E,) the correlation of (E, P) values, without those that differ most."""
    one, two = _without_mean(one, inside), _without_mean(two, inside)
    gain = ((two**2 * inside).sum(1) / (one**2 * inside).sum(1).clamp(min=1e-6)).sqrt()
    rest = (two - gain[:, None] * one).abs().masked_fill(inside == 0, torch.inf)
    count = (inside.sum(1) * _COMPARED).long().clamp(min=1)
    limit = rest.sort(1)[0].gather(1, count[:, None] - 1)
    near = inside * (rest <= limit)
    one, two = _without_mean(one, near), _without_mean(two, near)
    strengths = (one**2 * near).sum(1) * (two**2 * near).sum(1)
    return (one * two * near).sum(1) / strengths.clamp(min=1e-6).sqrt()


def _without_mean(values: Tensor, where: Tensor) -> Tensor:
    return values - (values * where).sum(1, keepdim=True) / where.sum(1, keepdim=True).clamp(min=1)


def _fine(images: Tensor) -> Tensor:
    """The structure of images without the light that falls over them, and without noise."""
    soft = _blurred(images)
    wide = soft
    for _ in range(images.shape[-1] // 8):
        wide = _blurred(wide)
    return soft - wide


def _blurred(images: Tensor) -> Tensor:
    row = torch.tensor([0.25, 0.5, 0.25])
    return functional.conv2d(
        functional.pad(images, (1, 1, 1, 1), "replicate"), torch.outer(row, row)[None, None]
    )


def _slopes(images: Tensor) -> tuple[Tensor, Tensor]:
    """The slopes along x and y, in grey levels per half-width."""
    padded = functional.pad(images, (1, 1, 1, 1), "replicate")
    scale = images.shape[-1] / 4
    along_x = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    along_y = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    return along_x * scale, along_y * scale
