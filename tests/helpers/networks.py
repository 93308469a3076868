"""The answers of networks whose true accuracies are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tellapart.evaluation.predictions import Predictions

NUM_CLASSES = 4
OWN = 0.4  # the share of a logit's noise that each network has by itself


def drawn_networks(
    rng: np.random.Generator, count: int, sharpness: Sequence[float]
) -> list[Predictions]:
    """Answers of several networks to the same images; the sharper one is, the more it gets right."""
    labels = np.arange(count) % NUM_CLASSES
    ease = rng.gamma(2.0, 0.5, count)
    shared = rng.normal(size=(count, NUM_CLASSES))
    paths = tuple(f"{number:07}.jpg" for number in range(count))
    networks = []
    for strength in sharpness:
        noise = rng.normal(size=(count, NUM_CLASSES))
        logits = np.sqrt(1 - OWN) * shared + np.sqrt(OWN) * noise
        logits[np.arange(count), labels] += strength * ease
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probs = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        networks.append(Predictions(probs, labels, paths, tuple("abcd")))
    return networks
