"""From kept images to what the network takes: augmented, mixed, normalised, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tellapart.errors import choose
from tellapart.extensions import Transform
from tellapart.images.augmentation import augment, mix
from tellapart.images.store import Images
from tellapart.modelfile.preprocessing import LUMINANCE, Preprocessing
from tellapart.options import AugmentationOptions

# Small batches are joined up to so many pixels, so that the fixed cost of each is paid once.
JOINED_PIXELS = 2**17


@dataclass(frozen=True)
class Group:
    """The samples of one batch that this process takes.

    Args:
        positions: (B,) into the images.
        keys: (B,) uint64, from which the augmentation is drawn. None means no augmentation.
        view: the number of the kept view that it shows. None means the image as it is.
    """

    positions: NDArray[np.int64]
    keys: NDArray[np.uint64] | None = None
    view: int | None = None


@dataclass(frozen=True)
class Batch:
    """The inputs and targets of one step.

    Args:
        inputs: (B, …) float32.
        labels: (B,) int64.
        targets: the labels, or (B, C) shares of the classes where images were mixed.
        present: (B,) bool, which samples of the group are in it; the others are lost.
    """

    inputs: Tensor
    labels: Tensor
    targets: Tensor
    present: NDArray[np.bool_]


class Inputs(Protocol):
    """A source of batches."""

    def batches(self, groups: Sequence[Group]) -> Iterator[Batch]:
        """One batch for each group; a lost image is missing from its own."""
        ...


class ImageInputs:
    """Batches of images.

    Args:
        images: the images of one split.
        preprocessing: gives mean, std and grey. The images are resized already.
        augmentation: applied to groups with keys.
        device: where the batches are needed.
        memory_format: the memory layout of their inputs.
        transforms: the user's own, by name.

    Raises:
        UserError: `augmentation.transforms` names one that is not there.
    """

    def __init__(
        self,
        images: Images,
        preprocessing: Preprocessing,
        augmentation: AugmentationOptions,
        device: torch.device,
        memory_format: torch.memory_format,
        transforms: Mapping[str, Transform] | None = None,
    ) -> None:
        own = transforms or {}
        self._transforms = [
            (name, own[choose("transform", name, own)]) for name in augmentation.transforms
        ]
        self._images = images
        self._labels = torch.from_numpy(images.labels)
        self._augmentation = augmentation if augmentation.changes_anything else None
        self._mixes = bool(augmentation.mixup or augmentation.cutmix)
        # Images; those of joined batches would be mixed with each other's.
        self._at_once = 1 if self._mixes else JOINED_PIXELS // preprocessing.size_px**2
        self._device, self._memory_format = device, memory_format
        self._fill = preprocessing.mean
        self._mean, self._std = (
            torch.tensor(values, device=device).reshape(1, -1, 1, 1)
            for values in (preprocessing.channel_mean, preprocessing.channel_std)
        )
        luminance = torch.tensor(LUMINANCE, device=device).reshape(1, 3, 1, 1)
        self._luminance = luminance if preprocessing.grey else None

    def batches(self, groups: Sequence[Group]) -> Iterator[Batch]:
        """One batch for each group; a lost image is missing from its own."""
        joined = list(_joined(groups, self._at_once))
        decoded = self._images.batches([group.positions for group, _ in joined])
        for (group, sizes), (pixels, present) in zip(joined, decoded, strict=True):
            labels = self._labels[group.positions[present]].to(self._device)
            keys = None if group.keys is None else group.keys[present]
            yield from _split(self._batch(torch.from_numpy(pixels), labels, keys, present), sizes)

    def _batch(
        self,
        pixels: Tensor,
        labels: Tensor,
        keys: NDArray[np.uint64] | None,
        present: NDArray[np.bool_],
    ) -> Batch:
        # A permutation alone: in memory, the channels stay last.
        images = pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        targets = labels
        if self._augmentation is None or keys is None or not len(labels):
            floats = images.float().div_(255)
        else:
            floats = augment(images, keys, self._augmentation, self._fill, self._transforms)
            if self._mixes:
                shares = torch.nn.functional.one_hot(labels, len(self._images.classes)).float()
                floats, targets = mix(floats, shares, keys, self._augmentation)
        if self._luminance is not None:
            floats = (floats * self._luminance).sum(dim=1, keepdim=True)
        inputs = (
            floats.sub(self._mean).div_(self._std).contiguous(memory_format=self._memory_format)
        )
        return Batch(inputs, labels, targets, present)


def _joined(groups: Sequence[Group], most: int) -> Iterator[tuple[Group, list[int]]]:
    """Join groups that follow each other, up to `most` samples; give each with its groups' sizes.

    Augmentation depends on an image's key alone, so the samples are the same to the last bit.
    """
    waiting: list[Group] = []
    for group in groups:
        if waiting and sum(len(other.positions) for other in waiting) + len(group.positions) > most:
            yield _merged(waiting)
            waiting = []
        waiting.append(group)
    if waiting:
        yield _merged(waiting)


def _merged(groups: Sequence[Group]) -> tuple[Group, list[int]]:
    keys = [group.keys for group in groups if group.keys is not None]
    positions = np.concatenate([group.positions for group in groups])
    return Group(positions, np.concatenate(keys) if keys else None), [
        len(group.positions) for group in groups
    ]


def _split(batch: Batch, sizes: Sequence[int]) -> Iterator[Batch]:
    """The batches of the groups that had been joined."""
    if len(sizes) == 1:
        yield batch
        return
    end = 0
    for present in np.split(batch.present, np.cumsum(sizes)[:-1]):
        begin, end = end, end + int(present.sum())
        yield Batch(
            batch.inputs[begin:end], batch.labels[begin:end], batch.targets[begin:end], present
        )
