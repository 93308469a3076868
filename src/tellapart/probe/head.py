"""From fitted layers to the head of the model file, with its calibration and thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.calibration import Calibration, Scaling, fit_scaling
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.standards import UNMEASURED
from tellapart.evaluation.threshold import fit_threshold
from tellapart.export.compose import Head
from tellapart.modelfile.familiarity import Familiarity, Subspace, evenness
from tellapart.modelfile.layers import Layers
from tellapart.options import AnswerOptions
from tellapart.probe.familiarity import fit_limit, fit_standards


@dataclass(frozen=True)
class HeldAnswers:
    """What a head says of images that it was not fitted on: of val, or out of fold.

    Args:
        logits: (N, C) float32, not calibrated; N may be 0.
        labels: (N,) int64, the truth.
        clusters: (N,) int64, as in `Predictions`.
        residuals: (N,) float32 by a subspace that was not fitted on the image. None means that they
            were not measured.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    clusters: NDArray[np.int64]
    residuals: NDArray[np.float32] | None

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
    """Fit the temperature and the thresholds of confidence and familiarity.

    Args:
        answers: to images that the head was not fitted on.
        options: the accuracy that answers should reach, and the share of images that is familiar.
        shares: (C,) the shares of the classes, where the head was fitted as if they were equal.
    """
    if not len(answers.labels):
        return Calibration(1.0, 0, None, None)
    num_clusters = len(np.unique(answers.clusters))
    scaling = fit_scaling(answers.logits, answers.labels, num_clusters=num_clusters, shares=shares)
    calibration = Calibration(
        temperature=scaling.temperature,
        count=len(answers.labels),
        threshold=fit_threshold(answers.predictions(scaling), options.target_accuracy),
        unfamiliar_distance=None,
        bias=tuple(scaling.bias.tolist()) if scaling.bias.any() else (),
        num_clusters=num_clusters,
    )
    if answers.residuals is None:
        return calibration
    even = evenness(scaling.scaled(answers.logits))
    terms = np.stack([answers.residuals, even], axis=1)
    standards = fit_standards(terms)
    limit = fit_limit(standards, standards.scores(terms), options.familiar_share, answers.clusters)
    return replace(calibration, unfamiliar_distance=limit, standards=standards)


def build_head(layers: Layers, subspace: Subspace, calibration: Calibration) -> Head:
    """The head of the model file, with the temperature and the bias folded in."""
    standards = calibration.standards or UNMEASURED
    limit = calibration.unfamiliar_distance or math.inf  # nothing is unfamiliar
    return Head(
        layers=layers.scaled(calibration.temperature, calibration.bias),
        familiarity=Familiarity(subspace, standards, limit),
    )
