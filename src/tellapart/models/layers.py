"""A head as numbers: what the probe fits, what training ends with, and what the model file holds. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layers:
    """A head as numbers.

    Args:
        hidden: (weight (H, D), bias (H,)) of each layer before the last one, float32; a ReLU follows each.
        weight: (C, H) float32, of the last layer. bias: (C,) float32.
    """

    hidden: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D) → (N, C)."""
        for weight, bias in self.hidden:
            features = np.maximum(features @ weight.T + bias, 0)
        return features @ self.weight.T + self.bias

    def scaled(self, temperature: float) -> Layers:
        """The head whose logits are these, divided by the temperature."""
        weight, bias = (np.asarray(values / temperature, np.float32) for values in (self.weight, self.bias))
        return replace(self, weight=weight, bias=bias)
