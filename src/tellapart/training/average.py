"""The exponential moving average of a network's weights, which is evaluated and shipped in their place.

The last steps of a training scatter around a minimum, and their mean lies nearer to it than any of
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_PREFIX = "average/"


class WeightAverage:
    """The average of a network's weights over the steps of a training.

    The running statistics of BatchNorm are averaged as the weights are. What is no float is copied.

    Args:
        network: whose weights are averaged, in their memory layout.
        decay: the share of the average that stays in a step, in (0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay = network, decay
        self._mean = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after a step into the average.

        Args:
            step: how many steps are done. In the first ones the average forgets faster, so that it
                does not hold on to where it began.

        Source: the warm-up is that of TensorFlow's ExponentialMovingAverage.
        """
        decay = min(self._decay, (1 + step) / (10 + step))
        floats: tuple[list[Tensor], list[Tensor]] = ([], [])
        for name, value in self._network.state_dict().items():
            if value.is_floating_point():
                floats[0].append(self._mean[name])
                floats[1].append(value)
            else:
                self._mean[name].copy_(value)
        torch._foreach_lerp_(*floats, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average into the network for a while."""
        own = {name: value.detach().clone() for name, value in self._network.state_dict().items()}
        self.put()
        try:
            yield
        finally:
            self._network.load_state_dict(own)

    def put(self) -> None:
        """Put the average into the network."""
        self._network.load_state_dict(self._mean)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The average for a checkpoint, by names that the network's own tensors do not have."""
        return {f"{_PREFIX}{name}": value for name, value in self._mean.items()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on with what `tensors` gave, in the memory layout that the network has here."""
        for name, value in self._mean.items():
            value.copy_(tensors[f"{_PREFIX}{name}"])


def averaged(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's tensors of a checkpoint: their average where it has one."""
    means = {
        name.removeprefix(_PREFIX): value
        for name, value in tensors.items()
        if name.startswith(_PREFIX)
    }
    return {**tensors, **means}
