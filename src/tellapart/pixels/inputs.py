"""From kept pictures to what the network takes: augmented, mixed, normalised, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tellapart.modelfile.preprocessing import LUMINANCE, Preprocessing
from tellapart.options import AugmentationOptions
from tellapart.pixels.augmentation import augment, mix
from tellapart.pixels.pictures import Pictures


@dataclass(frozen=True)
class Group:
    """The samples of one batch that this process takes.

    Args:
        positions: (B,) into the pictures. keys: (B,) uint64, for what chance decides; None: nothing by chance.
        view: which of the kept views it shows, where views are kept; None: the picture as it is.
    """

    positions: NDArray[np.int64]
    keys: NDArray[np.uint64] | None = None
    view: int | None = None


@dataclass(frozen=True)
class Batch:
    """What one step learns from.

    Args:
        inputs: (B, …) float32. labels: (B,) int64.
        targets: the labels, or (B, C) shares of the classes where pictures were mixed.
        there: (B,) bool, which samples of the group these are.
    """

    inputs: Tensor
    labels: Tensor
    targets: Tensor
    there: NDArray[np.bool_]


class Inputs(Protocol):
    """Where batches come from."""

    def batches(self, groups: Sequence[Group]) -> Iterator[Batch]:
        """One batch for each group; a lost picture is missing from its own."""
        ...


class PictureInputs:
    """Batches of pictures.

    Args:
        pictures: of one split.
        preprocessing: its mean, std and grey; the pictures are resized already.
        augmentation: what groups with keys go through.
    """

    def __init__(
        self,
        pictures: Pictures,
        preprocessing: Preprocessing,
        augmentation: AugmentationOptions,
        device: torch.device,
        memory_format: torch.memory_format,
    ) -> None:
        self._pictures = pictures
        self._labels = torch.from_numpy(pictures.labels)
        self._augmentation = augmentation if augmentation.changes_anything else None
        self._device, self._memory_format = device, memory_format
        self._fill = preprocessing.mean
        self._mean, self._std = (
            torch.tensor(values, device=device).reshape(1, -1, 1, 1)
            for values in (preprocessing.channel_mean, preprocessing.channel_std)
        )
        luminance = torch.tensor(LUMINANCE, device=device).reshape(1, 3, 1, 1)
        self._luminance = luminance if preprocessing.grey else None

    def batches(self, groups: Sequence[Group]) -> Iterator[Batch]:
        """One batch for each group; a lost picture is missing from its own."""
        decoded = self._pictures.batches([group.positions for group in groups])
        for group, (pixels, there) in zip(groups, decoded, strict=True):
            labels = self._labels[group.positions[there]].to(self._device)
            keys = None if group.keys is None else group.keys[there]
            yield self._batch(torch.from_numpy(pixels), labels, keys, there)

    def _batch(
        self, pixels: Tensor, labels: Tensor, keys: NDArray[np.uint64] | None, there: NDArray[np.bool_]
    ) -> Batch:
        pictures = pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2)  # channels last in memory
        targets = labels
        if self._augmentation is None or keys is None or not len(labels):
            floats = pictures.float().div_(255)
        else:
            floats = augment(pictures, keys, self._augmentation, self._fill)
            if self._augmentation.mixup or self._augmentation.cutmix:
                shares = torch.nn.functional.one_hot(labels, len(self._pictures.classes)).float()
                floats, targets = mix(floats, shares, keys, self._augmentation)
        if self._luminance is not None:
            floats = (floats * self._luminance).sum(dim=1, keepdim=True)
        inputs = floats.sub(self._mean).div_(self._std).contiguous(memory_format=self._memory_format)
        return Batch(inputs, labels, targets, there)
