"""How unlike the training images an image is: the arithmetic that the model file holds.

No training image's embedding is in it, only what all of them have in common.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.standards import Standards

LEAST_LENGTH = 1e-12  # of an embedding: one of zeros has no direction
_ROWS = 8192  # embeddings taken at a time, so that memory stays bounded


@dataclass(frozen=True)
class Subspace:
    """The directions in which the embeddings of the training images vary most.

    Args:
        mean: (D,) float32, of the embeddings at unit length.
        components: (K, D) float32, orthonormal. Where nothing varies there is one row of zeros.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]

    def residuals(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,) how far embeddings (N, D), at unit length, are from the subspace.

        >>> line = Subspace(np.zeros(3, np.float32), np.eye(3, dtype=np.float32)[:1])
        >>> print(line.residuals(np.array([[2.0, 0, 0], [3.0, 4.0, 0]], np.float32)))
        [0.  0.8]
        """
        lengths = np.empty(len(features), np.float32)
        for start in range(0, len(features), _ROWS):
            centred = directions(features[start : start + _ROWS]) - self.mean
            rest = centred - (centred @ self.components.T) @ self.components
            lengths[start : start + _ROWS] = np.linalg.norm(rest, axis=1)
        return lengths


@dataclass(frozen=True)
class Familiarity:
    """All that the model file needs to measure unfamiliarity.

    Args:
        subspace: of the training images.
        standards: what is usual for images like them.
        limit: the score that counts as unfamiliarity 1.
    """

    subspace: Subspace
    standards: Standards
    limit: float

    def unfamiliarity(
        self, features: NDArray[np.float32], logits: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """(N,) 0 or more; above 1 an image is unfamiliar.

        Args:
            features: (N, D) embeddings.
            logits: (N, C) of the head, with its temperature.
        """
        terms = measure_terms(self.subspace, features, logits)
        return np.asarray(self.standards.scores(terms) / self.limit, np.float32)


def measure_terms(
    subspace: Subspace, features: NDArray[np.float32], logits: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(N, 2) float32: the residual and the evenness of images."""
    return np.stack([subspace.residuals(features), evenness(logits)], axis=1)


def evenness(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) the mean logarithm of the classes' probabilities, from logits (N, C).

    It is largest, −log C, where all classes are equally likely. It is the energy of logits whose
    mean is 0, so a constant that is added to all of them does not count.

    Source: Liu et al. 2020, https://arxiv.org/abs/2010.03759 (energy).

    >>> print(evenness(np.array([[0.0, 0.0], [5.0, 5.0], [9.0, -9.0]], np.float32)).round(2))
    [-0.69 -0.69 -9.  ]
    """
    above = logits - logits.max(axis=1, keepdims=True)
    logs = above - np.log(np.exp(above).sum(axis=1, keepdims=True))
    return np.asarray(logs.mean(axis=1), np.float32)


def directions(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, D) embeddings at unit length.

    >>> print(directions(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)))
    [[0.6 0.8]
     [0.  0. ]]
    """
    lengths = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), LEAST_LENGTH)
    return np.asarray(features / lengths, np.float32)
