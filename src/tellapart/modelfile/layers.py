"""A head as numbers: what the probe fits, what training ends with, and what the model file holds.
No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layers:
    """A head as numbers.

    Args:
        hidden: (weight (H, D), bias (H,)) of each layer before the last one, float32; a ReLU
            follows each.
        weight: (C, H) float32, of the last layer.
        bias: (C,) float32.
    """

    hidden: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D) → (N, C)."""
        for weight, bias in self.hidden:
            features = np.maximum(features @ weight.T + bias, 0)
        return features @ self.weight.T + self.bias

    def softened(self) -> Layers:
        """The same answers by weights of the size of a new layer's, so hardly surer than chance.

        What gradient training begins with: large weights would pass large, ill-directed changes
        down to a network that they were not learned with. The size is that of torch's `nn.Linear`,
        uniform in ± 1 / sqrt(inputs).

        >>> sure = Layers((), np.array([[-3.0], [4.0]], np.float32), np.zeros(2, np.float32))
        >>> (100 * sure.softened().weight).astype(int).tolist()
        [[-48], [65]]
        """
        size, new = float(np.sqrt(np.mean(self.weight**2))), 1 / np.sqrt(3 * self.weight.shape[1])
        return self.scaled(max(1.0, size / new))

    def scaled(self, temperature: float) -> Layers:
        """The head whose logits are these, divided by the temperature."""
        weight, bias = (
            np.asarray(values / temperature, np.float32) for values in (self.weight, self.bias)
        )
        return replace(self, weight=weight, bias=bias)
