"""From fitted layers to the head of the model file, with the calibration and thresholds of val."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.abstention import fit_confidence_threshold, fit_unfamiliarity_scale
from tellapart.evaluation.calibration import Calibration, fit_temperature, softmax
from tellapart.evaluation.predictions import Predictions
from tellapart.export.compose import Head
from tellapart.modelfile.layers import Layers
from tellapart.options import AnswerOptions

NEIGHBOURS = 5  # the mean of several is less noisy than the nearest alone


def calibrate(
    layers: Layers,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    reference: NDArray[np.float16],
    options: AnswerOptions,
) -> Calibration:
    """Fit the temperature and the thresholds of confidence and distance on val.

    Args:
        layers: the fitted head, not calibrated yet.
        features: (N, D) embeddings of val; N may be 0.
        labels: (N,) int64, the truth.
        reference: (K, D) as in the head.
        options: the accuracy that answers should reach, and the share of val that is familiar.
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
            distances(features, reference), options.familiar_share
        ),
    )


def build_head(layers: Layers, reference: NDArray[np.float16], calibration: Calibration) -> Head:
    """The head of the model file, with the temperature folded in."""
    return Head(
        layers=layers.scaled(calibration.temperature),
        reference=reference,
        neighbours=min(NEIGHBOURS, len(reference)),
        distance_scale=calibration.unfamiliar_distance or 1.0,
    )


def reference_directions(features: NDArray[np.float32]) -> NDArray[np.float16]:
    """(K, D) embeddings at unit length, in half the bytes, as the head holds them.

    >>> reference_directions(np.array([[3.0, 4.0]], np.float32)).round(2).tolist()
    [[0.60009765625, 0.7998046875]]
    """
    lengths = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return np.asarray(features / lengths, np.float16)


def distances(features: NDArray[np.float32], reference: NDArray[np.float16]) -> NDArray[np.float32]:
    """(N,) how far images are from the training images, in [0, 2].

    The distance is 1 − mean cosine to the nearest reference embeddings.

    Args:
        features: (N, D) embeddings.
        reference: (K, D) as `reference_directions` gives it.

    Source: Sun et al. 2022, https://arxiv.org/abs/2204.06507: the distance to the nearest
    neighbours, at unit length.

    >>> reference = reference_directions(np.eye(2, dtype=np.float32)[:1])
    >>> distances(np.array([[2.0, 0.0], [0.0, 3.0]], np.float32), reference).tolist()
    [0.0, 1.0]
    """
    lengths = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    count = min(NEIGHBOURS, len(reference))
    cosines = (features / lengths) @ reference.astype(np.float32).T
    return np.asarray(1 - np.sort(cosines, axis=1)[:, -count:].mean(axis=1), np.float32)
