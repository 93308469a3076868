"""From fitted layers to the head of the model file: calibrated, with thresholds, fitted on val
alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.abstention import fit_confidence_threshold, fit_unfamiliarity_scale
from tellapart.evaluation.calibration import Calibration, fit_temperature, softmax
from tellapart.evaluation.predictions import Predictions
from tellapart.export.compose import Head
from tellapart.modelfile.layers import Layers
from tellapart.options import AnswerOptions

NEIGHBOURS = 5


def calibrate(
    layers: Layers,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    known: NDArray[np.float16],
    options: AnswerOptions,
) -> Calibration:
    """Temperature, threshold of confidence and threshold of distance.

    Args:
        features: (N, D) of val; N may be 0.
        labels: (N,) int64.
        known: (K, D) as in the head.
    """
    count = len(labels)
    if not count:
        return Calibration(1.0, 0, None, None)
    logits = layers.logits(features)
    temperature = fit_temperature(logits, labels)
    num_classes = logits.shape[1]
    val = Predictions(
        softmax(logits, temperature),
        labels,
        tuple(map(str, range(count))),
        tuple(map(str, range(num_classes))),
    )
    return Calibration(
        temperature=temperature,
        count=count,
        confidence_threshold=fit_confidence_threshold(val, options.target_accuracy),
        unfamiliar_distance=fit_unfamiliarity_scale(
            distances(features, known), options.familiar_share
        ),
    )


def build_head(layers: Layers, known: NDArray[np.float16], calibration: Calibration) -> Head:
    """The head with the temperature folded in."""
    return Head(
        layers=layers.scaled(calibration.temperature),
        known=known,
        neighbours=min(NEIGHBOURS, len(known)),
        distance_scale=calibration.unfamiliar_distance or 1.0,
    )


def reference_directions(features: NDArray[np.float32]) -> NDArray[np.float16]:
    """(K, D) float32 → the same at unit length, in half the bytes."""
    lengths = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return np.asarray(features / lengths, np.float16)


def distances(features: NDArray[np.float32], known: NDArray[np.float16]) -> NDArray[np.float32]:
    """(N,) how far images are from the known ones: 1 − mean cosine to the nearest. In [0, 2].

    Source: Sun et al. 2022, https://arxiv.org/abs/2204.06507: the distance to the nearest
    neighbours, at unit length.
    """
    lengths = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    count = min(NEIGHBOURS, len(known))
    cosines = (features / lengths) @ known.astype(np.float32).T
    return np.asarray(1 - np.sort(cosines, axis=1)[:, -count:].mean(axis=1), np.float32)
