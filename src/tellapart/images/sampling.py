"""The order of an epoch's images: a function of seed, epoch and image alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.keyed import keyed_numbers, keyed_uniform, mixed_keys
from tellapart.options import TrainingOptions

_ORDER, _SAMPLE, _DRAW = 1, 2, 3


@dataclass(frozen=True)
class Epoch:
    """One epoch: the positions of its samples in their order, and a key for each sample's random
    decisions.

    Args:
        positions: (M,) int64 into the images of train.
        keys: (M,) uint64.
    """

    positions: NDArray[np.int64]
    keys: NDArray[np.uint64]


def batch_bounds(count: int, size: int) -> list[tuple[int, int]]:
    """The beginnings and ends of an epoch's batches.

    A last batch of a single sample joins the one before it: alone, it would give BatchNorm nothing
    to measure.

    >>> batch_bounds(9, 4), batch_bounds(10, 4)
    ([(0, 4), (4, 9)], [(0, 4), (4, 8), (8, 10)])
    """
    starts = list(range(0, count, size))
    if len(starts) > 1 and count - starts[-1] == 1 < size:
        del starts[-1]
    return list(zip(starts, [*starts[1:], count], strict=True))


def image_keys(seed: int, paths: Iterable[str]) -> NDArray[np.uint64]:
    """(N,) the key of each image, from which its random decisions begin."""
    return keyed_numbers(seed, "picture", paths)


def sample_keys(images: NDArray[np.uint64], epoch: int, occurrence: int = 0) -> NDArray[np.uint64]:
    """(N,) the keys of images in an epoch.

    `occurrence` counts how often an image came in the epoch before.
    """
    return mixed_keys(images, _SAMPLE, epoch, occurrence)


def plan_epoch(
    images: NDArray[np.uint64],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    epoch: int,
    options: TrainingOptions,
) -> Epoch:
    """The samples of an epoch: every image once, or as many drawn with replacement.

    Args:
        images: (N,) keys, from `image_keys`.
        labels: (N,) int64.
        weights: (N,) not negative, for sampling=weighted.
        epoch: the number of the epoch, from 0.
        options: `sampling`.
    """
    if options.sampling == "shuffled":
        order = np.argsort(mixed_keys(images, _ORDER, epoch), kind="stable")
        return Epoch(order, sample_keys(images[order], epoch))
    if options.sampling == "balanced":
        weights = 1 / np.bincount(labels)[labels]
    draws = mixed_keys(np.arange(len(images), dtype=np.uint64), int(images[0]), _DRAW, epoch)
    reach = np.cumsum(weights / weights.sum())
    positions = np.searchsorted(reach, keyed_uniform(draws, "draw")[:, 0] * reach[-1], side="right")
    occurrence = _occurrences(positions)
    keys = np.empty(len(positions), np.uint64)
    for count in np.unique(occurrence).tolist():
        same = occurrence == count
        keys[same] = sample_keys(images[positions[same]], epoch, count)
    return Epoch(positions, keys)


def _occurrences(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each value came before, place by place.

    >>> _occurrences(np.array([5, 2, 5, 5, 2])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = np.argsort(positions, kind="stable")
    _, first, counts = np.unique(positions[order], return_index=True, return_counts=True)
    occurrence = np.empty(len(positions), np.int64)
    occurrence[order] = np.arange(len(positions)) - np.repeat(first, counts)
    return occurrence
