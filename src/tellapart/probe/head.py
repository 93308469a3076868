"""From fitted layers to the head of the model file, with its calibration and thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.abstention import fit_unfamiliarity_scale
from tellapart.evaluation.calibration import Calibration, Scaling, fit_scaling
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.threshold import fit_threshold
from tellapart.export.compose import Head
from tellapart.modelfile.layers import Layers
from tellapart.options import AnswerOptions

NEIGHBOURS = 5  # the mean of several is less noisy than the nearest alone


@dataclass(frozen=True)
class HeldAnswers:
    """What a head says of images that it was not fitted on: of val, or out of fold.

    Args:
        logits: (N, C) float32, not calibrated; N may be 0.
        labels: (N,) int64, the truth.
        clusters: (N,) int64, as in `Predictions`.
        distances: (N,) float32 to the training images. None means that they were not measured.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    clusters: NDArray[np.int64]
    distances: NDArray[np.float32] | None

    def predictions(self, scaling: Scaling) -> Predictions:
        """The calibrated answers."""
        count, num_classes = self.logits.shape
        return Predictions(
            scaling.probabilities(self.logits),
            self.labels,
            tuple(map(str, range(count))),
            tuple(map(str, range(num_classes))),
            clusters=self.clusters,
        )


def calibrate(
    answers: HeldAnswers, options: AnswerOptions, shares: NDArray[np.float64] | None = None
) -> Calibration:
    """Fit the temperature and the thresholds of confidence and distance.

    Args:
        answers: to images that the head was not fitted on.
        options: the accuracy that answers should reach, and the share of images that is familiar.
        shares: (C,) the shares of the classes, where the head was fitted as if they were equal.
    """
    if not len(answers.labels):
        return Calibration(1.0, 0, None, None)
    num_clusters = len(np.unique(answers.clusters))
    scaling = fit_scaling(answers.logits, answers.labels, num_clusters=num_clusters, shares=shares)
    far = answers.distances
    return Calibration(
        temperature=scaling.temperature,
        count=len(answers.labels),
        threshold=fit_threshold(answers.predictions(scaling), options.target_accuracy),
        unfamiliar_distance=(
            None if far is None else fit_unfamiliarity_scale(far, options.familiar_share)
        ),
        bias=tuple(scaling.bias.tolist()) if scaling.bias.any() else (),
        num_clusters=num_clusters,
    )


def build_head(layers: Layers, reference: NDArray[np.float16], calibration: Calibration) -> Head:
    """The head of the model file, with the temperature and the bias folded in."""
    return Head(
        layers=layers.scaled(calibration.temperature, calibration.bias),
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
