"""Which images to label next: those that a model is unsure of, and that are unlike each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def teaching_order(
    probs: NDArray[np.floating], embeddings: NDArray[np.floating], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The images to label next, and what each would teach beside those before it.

    An image scores its uncertainty times its distance from the nearest image that was chosen. The
    uncertainty is 1 less the gap between the two highest probabilities.

    Args:
        probs: (N, C) calibrated.
        embeddings: (N, D) at unit length.
        count: how many images to choose at most.

    Returns:
        (K,) places, the first to label first, and (K,) scores in [0, 1].

    Source: the greedy cover of Sener and Savarese 2018, https://arxiv.org/abs/1708.00489, weighed
    by the margin of Scheffer et al. 2001, https://doi.org/10.1007/3-540-44816-0_31.

    >>> probs = np.array([[0.5, 0.5], [0.5, 0.5], [0.6, 0.4], [1.0, 0.0]])
    >>> embeddings = np.array([[1.0, 0], [1.0, 0], [0, 1.0], [0, 1.0]])
    >>> places, scores = teaching_order(probs, embeddings, 2)
    >>> places.tolist(), scores.round(1).tolist()
    ([0, 2], [1.0, 0.8])
    """
    highest = np.sort(probs, axis=1)[:, -2:].astype(np.float64)
    unsure = 1 - (highest[:, 1] - highest[:, 0])
    distance = np.ones(len(probs))
    places: list[int] = []
    scores: list[float] = []
    for _ in range(min(count, len(probs))):
        gains = unsure * distance
        best = int(gains.argmax())
        if places and gains[best] <= 0:
            break
        places.append(best)
        scores.append(float(gains[best]))
        apart = np.clip(1 - embeddings @ embeddings[best], 0, 1)
        distance = np.minimum(distance, apart)
        distance[best] = 0
    return np.array(places, np.int64), np.array(scores)
