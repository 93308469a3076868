"""The flips and turns under which a set of images stays what it is: measured with the probe.

A cat is rarely seen upside down, a solar cell has no top, and a digit flipped left-right is another
sign. The probe was fitted on images as they are. Where flipped images are as familiar to it, its
loss on val stays the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tellapart.images.batches import Group, Inputs
from tellapart.models.classifier import Classifier
from tellapart.options import AugmentationOptions
from tellapart.training.losses import probabilities

MOST_IMAGES = 200  # the most val images that are measured
AT_ONCE = 16
MOST_RISE = 0.02  # the largest rise of the mean loss, in nats
MOST_DEVIATIONS = 2.0  # the largest rise in its own standard errors
CHANCE = 0.5  # the probability of an invariant move

MOVES: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "flip": ("left-right flips", lambda images: images.flip(3)),
    "flip_vertical": ("upside-down flips", lambda images: images.flip(2)),
    "quarter_turn": ("quarter turns", lambda images: images.rot90(1, (2, 3))),
}


def invariant_moves(classifier: Classifier, inputs: Inputs, count: int) -> list[str]:
    """The moves that do not raise the loss of a classifier, by their names in
    `AugmentationOptions`.

    Args:
        classifier: fitted on other images, as they are.
        inputs: labelled images.
        count: the number of these images.
    """
    chosen = np.linspace(0, count - 1, min(count, MOST_IMAGES)).astype(np.int64)
    groups = [Group(chosen[start : start + AT_ONCE]) for start in range(0, len(chosen), AT_ONCE)]
    classifier.eval()
    with torch.no_grad():
        batches = [
            (batch.inputs, batch.labels) for batch in inputs.batches(groups) if len(batch.labels)
        ]
        plain = _losses(classifier, batches, lambda images: images)
        return [
            name
            for name, (_, move) in MOVES.items()
            if _invariant(_losses(classifier, batches, move) - plain)
        ]


def with_moves(augmentation: AugmentationOptions, moves: list[str]) -> AugmentationOptions:
    """The augmentation with these moves added where the recipe does not set their probability."""
    added: dict[str, Any] = {name: getattr(augmentation, name) or CHANCE for name in moves}
    return replace(augmentation, **added)


def _losses(
    classifier: Classifier, batches: list[tuple[Tensor, Tensor]], move: Callable[[Tensor], Tensor]
) -> NDArray[np.float64]:
    label_probs = [
        probabilities(classifier(move(inputs))).gather(1, labels[:, None])
        for inputs, labels in batches
    ]
    return -np.log(np.maximum(torch.cat(label_probs).cpu().numpy()[:, 0].astype(np.float64), 1e-7))


def _invariant(rises: NDArray[np.float64]) -> bool:
    """Whether the mean rise is small, and no larger than chance would make it.

    >>> _invariant(np.array([0.01, -0.01, 0.0])), _invariant(np.array([0.3, 0.1, 0.2]))
    (True, False)
    """
    error = float(rises.std()) / len(rises) ** 0.5
    return bool(rises.mean() <= min(MOST_RISE, max(MOST_DEVIATIONS * error, 1e-6)))
