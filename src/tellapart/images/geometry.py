"""Moves that keep every pixel as it is, then at most one interpolation."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from tellapart.images.chance import around, chosen, fractions
from tellapart.options import AugmentationOptions

# Width by height of a crop is between 1 / this and this, as in torchvision's RandomResizedCrop.
CROP_RATIO = 4 / 3
MOST_ATTEMPTS = 10  # if none of so many draws fits, the crop is the whole image


def shift_and_flip(
    images: Tensor, keys: NDArray[np.uint64], options: AugmentationOptions
) -> Tensor:
    """Shift, flip and turn images (B, 3, S, S) of any type by whole pixels. No value changes."""
    flips = chosen(keys, "flip", options.flip)
    upturned = chosen(keys, "flip vertical", options.flip_vertical)
    turned = chosen(keys, "quarter turn", options.quarter_turn)
    turns = turned.astype(np.int64)
    if turned.any():
        turns *= 1 + (3 * fractions(keys, "quarter turns")[:, 0]).astype(np.int64)
    rows = np.flatnonzero(flips | upturned | turned).tolist()
    result = _shifted(images, keys, options.shift_px) if options.shift_px else images
    if rows and result is images:
        result = images.clone()
    # One by one, and only the chosen images: five times as fast as torch.where on all of them.
    for row in rows:
        axes = [2] * int(flips[row]) + [1] * int(upturned[row])
        image = result[row].flip(axes)
        result[row] = image.rot90(int(turns[row]), (1, 2)) if turned[row] else image
    return result


def crop_and_rotate(
    images: Tensor,
    keys: NDArray[np.uint64],
    options: AugmentationOptions,
    fill: tuple[float, float, float],
) -> Tensor:
    """Crop and rotate images (B, 3, S, S) float32 in [0, 1] in place.

    Each image is interpolated once or not at all.
    """
    rotated = chosen(keys, "rotate", options.rotate)
    cropped = np.full(len(keys), options.crop_area is not None)
    filled = rotated & (options.border == "fill")
    for mask, colour in ((filled, fill), ((rotated | cropped) & ~filled, None)):
        rows = np.flatnonzero(mask)
        if len(rows):
            maps = _maps(keys[rows], rotated[rows], options)
            at = torch.from_numpy(rows).to(images.device)
            images[at] = _sampled(images[at], maps, colour)
    return images


def _shifted(images: Tensor, keys: NDArray[np.uint64], most: int) -> Tensor:
    """Cut each image out of a larger one, which is the image reflected at its border."""
    side = images.shape[-1]
    most = min(most, side)
    tall = torch.cat([images[:, :, :most].flip(2), images, images[:, :, -most:].flip(2)], 2)
    wide = torch.cat([tall[..., :most].flip(3), tall, tall[..., -most:].flip(3)], 3)
    corners = (fractions(keys, "shift", 2) * (2 * most + 1)).astype(np.int64).tolist()
    result = torch.empty_like(images)
    for row, (top, left) in enumerate(corners):
        result[row] = wide[row, :, top : top + side, left : left + side]
    return result


def _maps(
    keys: NDArray[np.uint64], rotated: NDArray[np.bool_], options: AugmentationOptions
) -> NDArray[np.float32]:
    """(N, 2, 3) maps from places of the result to places of the image, from -1 to 1."""
    half, centre = crops(keys, options.crop_area)
    angles = np.radians(around(keys, "angle", 0, options.rotate_degrees)) * rotated
    cos, sin = np.cos(angles), np.sin(angles)
    turn = np.stack([np.stack([cos, -sin], 1), np.stack([sin, cos], 1)], 1)
    return np.concatenate([half[:, :, None] * turn, centre[:, :, None]], axis=2).astype(np.float32)


def crops(
    keys: NDArray[np.uint64], least: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 2) half the width and height of each crop, and (N, 2) its centre.

    A whole image has half sides 1, 1 around the centre 0, 0.
    """
    half, centre = np.ones((len(keys), 2)), np.zeros((len(keys), 2))
    open_rows = np.arange(len(keys) if least is not None else 0)
    for attempt in range(MOST_ATTEMPTS):
        if least is None or not len(open_rows):
            break
        draws = fractions(keys[open_rows], f"crop {attempt}", 4)
        area = least + (1 - least) * draws[:, 0]
        ratio = CROP_RATIO ** (2 * draws[:, 1] - 1)
        size = np.sqrt(np.stack([area * ratio, area / ratio], 1))
        fits = (size <= 1).all(axis=1)
        half[open_rows[fits]] = size[fits]
        centre[open_rows[fits]] = ((1 - size) * (2 * draws[:, 2:] - 1))[fits]
        open_rows = open_rows[~fits]
    return half, centre


def _sampled(
    images: Tensor, maps: NDArray[np.float32], fill: tuple[float, float, float] | None
) -> Tensor:
    """Interpolate bilinearly. Beyond the edge lies the reflected image, or the colour `fill`."""
    side = images.shape[-1]
    line = (2 * torch.arange(side, device=images.device) + 1) / side - 1
    across, down, start = torch.from_numpy(maps).to(images.device)[:, :, :, None, None].unbind(2)
    # By hand: a product of matrices (affine_grid) may round differently in a batch than alone.
    grid = (across * line + down * line[:, None] + start).permute(0, 2, 3, 1)
    if fill is None:
        return grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    # grid_sample takes 0 for what lies outside, so the fill is made 0 meanwhile.
    colour = torch.tensor(fill, device=images.device)[:, None, None]
    return (
        grid_sample(images - colour, grid, padding_mode="zeros", align_corners=False)
        .add_(colour)
        .clamp_(0, 1)
    )
