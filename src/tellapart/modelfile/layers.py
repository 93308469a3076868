"""The weights of a head: fitted by the probe or trained by gradient, and held by the model file.

No torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layers:
    """The weights of a head.

    Args:
        hidden: (weight (H, D), bias (H,)) float32 of each layer before the last one. A ReLU follows
            each.
        weight: (C, H) float32 of the last layer.
        bias: (C,) float32 of the last layer.

    >>> Layers((), np.eye(2, dtype=np.float32), np.zeros(2, np.float32)).logits(np.ones((1, 2))).tolist()
    [[1.0, 1.0]]
    """

    hidden: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D) embeddings → (N, C) logits."""
        for weight, bias in self.hidden:
            features = np.maximum(features @ weight.T + bias, 0)
        return features @ self.weight.T + self.bias

    def softened(self) -> Layers:
        """The head with the same answers, but with weights as small as those of a new layer.

        Gradient training begins with it. Large weights would send large gradients into a network
        that they were not learned with. The size is that of torch's `nn.Linear`, whose weights are
        uniform in ± 1 / sqrt(inputs).

        >>> sure = Layers((), np.array([[-3.0], [4.0]], np.float32), np.zeros(2, np.float32))
        >>> (100 * sure.softened().weight).astype(int).tolist()
        [[-48], [65]]
        """
        size, new = float(np.sqrt(np.mean(self.weight**2))), 1 / np.sqrt(3 * self.weight.shape[1])
        return self.scaled(max(1.0, size / new))

    def scaled(self, temperature: float, bias: Sequence[float] = ()) -> Layers:
        """The head whose logits are divided by a temperature; then a bias a class is added."""
        weight, before = (
            np.asarray(values / temperature, np.float32) for values in (self.weight, self.bias)
        )
        after = before + np.asarray(bias, np.float32) if len(bias) else before
        return replace(self, weight=weight, bias=after)
