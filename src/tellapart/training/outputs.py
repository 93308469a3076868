"""The outputs of a frozen part, which runs once: a few augmented views of each image are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tellapart.images.batches import Batch, Group, ImageInputs
from tellapart.images.sampling import sample_keys

# So many images run at a time, always the same ones together: the outputs then have the same bits
# on every resume.
CHUNK = 16


class KeptInputs:
    """Batches of a trunk's outputs. A view is computed when it is first asked for.

    Args:
        inputs: the images that the trunk takes.
        trunk: the frozen part, images → outputs (N, …).
        keys: (N,) of the images, as `image_keys` gives them.
        labels: (N,) int64.
    """

    def __init__(
        self,
        inputs: ImageInputs,
        trunk: nn.Module,
        keys: NDArray[np.uint64],
        labels: NDArray[np.int64],
    ) -> None:
        self._inputs, self._trunk, self._keys = inputs, trunk, keys
        self._labels = torch.from_numpy(labels)
        self._outputs: dict[int | None, Tensor] = {}
        self._lost = np.zeros(len(keys), bool)

    def batches(self, groups: Sequence[Group]) -> Iterator[Batch]:
        """One batch for each group: the outputs for its view."""
        for group in groups:
            outputs = self._view(group.view)
            present = ~self._lost[group.positions]
            chosen = torch.from_numpy(group.positions[present])
            labels = self._labels[chosen].to(outputs.device)
            inputs = outputs[chosen.to(outputs.device)].contiguous(memory_format=_format(outputs))
            yield Batch(inputs, labels, labels, present)

    def _view(self, view: int | None) -> Tensor:
        if view not in self._outputs:
            self._outputs[view] = self._computed(view)
        return self._outputs[view]

    @torch.no_grad()
    def _computed(self, view: int | None) -> Tensor:
        keys = None if view is None else sample_keys(self._keys, view)
        positions = np.array_split(np.arange(len(self._keys)), -(-len(self._keys) // CHUNK))
        groups = [Group(chunk, None if keys is None else keys[chunk]) for chunk in positions]
        outputs: Tensor | None = None
        for group, batch in zip(groups, self._inputs.batches(groups), strict=True):
            self._lost[group.positions[~batch.present]] = True
            if not batch.present.any():
                continue
            values: Tensor = self._trunk(batch.inputs)
            if outputs is None:
                empty = torch.zeros((len(self._keys), *values.shape[1:]), device=values.device)
                outputs = empty.contiguous(memory_format=_format(values))
            rows = torch.from_numpy(group.positions[batch.present]).to(values.device)
            outputs[rows] = values
        assert outputs is not None, "no image is left"
        return outputs


def _format(values: Tensor) -> torch.memory_format:
    """The memory layout of a batch, in which the layers behind it are fastest."""
    last = values.ndim == 4 and values.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format
