"""Checks of heat maps that users can see: other weights, and a cue planted in another image.

A map that looks the same whatever the model has learned explains nothing. Source: Adebayo et al.
2018, "Sanity Checks for Saliency Maps", https://arxiv.org/abs/1810.03292.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.explain.explainer import Explainer
from tellapart.explain.seen_square import framed
from tellapart.keyed import keyed_numbers, keyed_uniform

HEADS = 20  # random ones
ALIKE = 0.8  # a mean correlation above which a map hardly depends on the head
CUE_SHARE = 1 / 3  # of the side of the square that the network sees


@dataclass(frozen=True)
class RandomHeads:
    """What is left of a map when the weights of the head are random.

    Args:
        correlation: the mean correlation of the map with those of random heads, without its sign.
        example: (h, w) the map of one of them.
    """

    correlation: float
    example: NDArray[np.float32]

    @property
    def passed(self) -> bool:
        """Whether the map depends on the head."""
        return self.correlation < ALIKE


@dataclass(frozen=True)
class PlantedCue:
    """What happens to the map of a class when its most telling part is put into another image.

    Args:
        name: of the class.
        planted: (S, S, 3) uint8, the other image with the cue.
        before: the explanation of the other image for the class: its map (h, w).
        after: (h, w) the same with the cue.
        inside: the share of what was gained that lies on the cue, in [0, 1].
        area: the share of the image that the cue covers.
        gain: by how much the map of the class gained on the cue.
    """

    name: str
    planted: NDArray[np.uint8]
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    inside: float
    area: float
    gain: float

    @property
    def passed(self) -> bool:
        """Whether the class gained on the cue, more than its area alone would have."""
        return self.gain > 0 and self.inside > self.area


def random_heads(explainer: Explainer, pixels: NDArray[np.uint8], label: int) -> RandomHeads | None:
    """Hold the map of a class against those of heads with random weights.

    Args:
        explainer: of the model.
        pixels: (H, W, 3) uint8 RGB.
        label: the position of the class.

    Returns:
        None where the map has a single place, or the same value at all places.
    """
    places = explainer.method.places(pixels)
    height, width, numbers = places.shape
    own = _at(explainer.method.maps(pixels, [label])[0], height, width)
    keys = keyed_numbers(0, "random head", map(str, range(HEADS)))
    # Sums of uniform numbers: near enough to normal ones, and keyed.
    weights = keyed_uniform(keys, "weights", numbers) - 0.5
    others = np.einsum("hwd,kd->khw", places, weights.astype(np.float32))
    if own.size < 2 or own.std() < 1e-9:
        return None
    found = [abs(_correlation(own, other)) for other in others]
    return RandomHeads(float(np.mean(found)), others[0])


def plant_cue(
    explainer: Explainer,
    pixels: NDArray[np.uint8],
    label: int,
    other: NDArray[np.uint8],
) -> PlantedCue | None:
    """Put the most telling part of an image into another one, where the class has least there.

    Args:
        explainer: of the model.
        pixels: (H, W, 3) uint8 RGB of the image that has the cue.
        label: the position of the class.
        other: (H, W, 3) uint8 RGB of the image that gets it.

    Returns:
        None where the map is too coarse to say where anything is.
    """
    take = explainer.predictor.card.preprocessing
    source, target = take.resized(pixels), take.resized(other)
    own, before = _map(explainer, source, label), _map(explainer, target, label)
    cells = max(1, round(CUE_SHARE * len(own)))
    if len(own) < 2 * cells + 1:
        return None
    here, there = _best(own, cells), _best(-before, cells)
    # Both are of one size: where cells have unequal numbers of pixels, the smallest of them counts.
    side = cells * len(source) // len(own)
    (top, left), (down, across) = (
        [place * len(source) // len(own) for place in corner] for corner in (here, there)
    )
    planted = target.copy()
    planted[down : down + side, across : across + side] = source[
        top : top + side, left : left + side
    ]
    after = _map(explainer, planted, label)
    rise = np.maximum(after - before, 0)
    place = tuple(slice(start, start + cells) for start in there)
    return PlantedCue(
        name=explainer.predictor.classes[label],
        planted=planted,
        before=before,
        after=after,
        inside=float(rise[place].sum() / max(float(rise.sum()), 1e-9)),
        area=cells**2 / own.size,
        gain=float((after - before)[place].sum()),
    )


def _map(explainer: Explainer, square: NDArray[np.uint8], label: int) -> NDArray[np.float32]:
    image = framed(square, explainer.predictor.card.preprocessing)
    return np.asarray(explainer.method.maps(image, [label])[0])


def _best(values: NDArray[np.float32], cells: int) -> tuple[int, int]:
    """Top and left of the square of cells that has the largest sum."""
    windows = np.lib.stride_tricks.sliding_window_view(values, (cells, cells)).sum(axis=(2, 3))
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return int(top), int(left)


def _at(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """A map on a coarser grid: the sums of its blocks."""
    down, across = len(values) // height, values.shape[1] // width
    return np.asarray(values.reshape(height, down, width, across).sum(axis=(1, 3)))


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])
