"""From fitted layers to the head of the model file, with its calibration and thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.calibration import Calibration, Scaling, fit_scaling
from tellapart.evaluation.conformal import fit_sets
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.rule import AnswerRule, Costs
from tellapart.evaluation.standards import UNMEASURED
from tellapart.evaluation.threshold import fit_threshold
from tellapart.export.compose import Head
from tellapart.modelfile.familiarity import Familiarity, Subspace, evenness
from tellapart.modelfile.layers import Layers
from tellapart.options import AnswerOptions
from tellapart.probe.familiarity import fit_limit, fit_standards


@dataclass(frozen=True)
class CalibratedHead:
    """A head and its answers.

    Args:
        layers: calibrated: the softmax of their logits is the answer's probability.
        rule: says what is answered.
    """

    layers: Layers
    rule: AnswerRule


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

    def predictions(self, scaling: Scaling, rule: AnswerRule) -> Predictions:
        """The calibrated answers."""
        count, num_classes = self.logits.shape
        probs = scaling.probabilities(self.logits)
        return Predictions(
            probs,
            self.labels,
            tuple(map(str, range(count))),
            tuple(map(str, range(num_classes))),
            clusters=self.clusters,
            answers=rule.answers(probs),
        )


def calibrate(
    answers: HeldAnswers,
    options: AnswerOptions,
    shares: NDArray[np.float64] | None = None,
    costs: Costs | None = None,
) -> Calibration:
    """Fit the temperature, the rule of answers, and the limit of what is familiar.

    Args:
        answers: to images that the head was not fitted on.
        options: the accuracy that answers should reach, and the share of images that is familiar.
        shares: (C,) the shares of the classes, where the head was fitted as if they were equal.
        costs: of mistakes, which then decide instead of an accuracy.
    """
    num_clusters = len(np.unique(answers.clusters))
    scaling = fit_scaling(answers.logits, answers.labels, num_clusters=num_clusters, shares=shares)
    bias = tuple(scaling.bias.tolist()) if scaling.bias.any() else ()
    calibration = with_rule(
        Calibration(scaling.temperature, 0, None, None, bias), answers, options, costs
    )
    if answers.residuals is None or not len(answers.labels):
        return calibration
    even = evenness(scaling.scaled(answers.logits))
    terms = np.stack([answers.residuals, even], axis=1)
    standards = fit_standards(terms)
    limit = fit_limit(standards, standards.scores(terms), options.familiar_share, answers.clusters)
    return replace(calibration, unfamiliar_distance=limit, standards=standards)


def with_rule(
    calibration: Calibration, answers: HeldAnswers, options: AnswerOptions, costs: Costs | None
) -> Calibration:
    """The calibration with its rule and its sets, for a temperature and a bias that are decided.

    Without answers there is no threshold, and no costs can be weighed by uncalibrated
    probabilities.
    """
    if not len(answers.labels):
        return calibration
    weights = answer_weights(calibration.bias, costs)
    held = answers.predictions(calibration.scaling, AnswerRule(weights=weights))
    threshold = None if costs else fit_threshold(held, options.target_accuracy)
    return replace(
        calibration,
        count=len(answers.labels),
        threshold=threshold,
        num_clusters=held.num_clusters,
        rule=AnswerRule(None if threshold is None else threshold.confidence, weights, costs),
        sets=fit_sets(held),
    )


def answer_weights(bias: Sequence[float], costs: Costs | None) -> tuple[float, ...]:
    """(C,) by which an answer is chosen; empty where the most probable class is the answer.

    Costs choose the cheapest answer. Without them a head that was balanced goes on answering as if
    all classes were equally frequent, which is what the bias took off its probabilities.

    >>> answer_weights((), None), answer_weights((0.0, np.log(2)), None)
    ((), (1.0, 0.5))
    """
    if costs is not None:
        return costs.wrong if len(set(costs.wrong)) > 1 else ()
    return tuple(np.exp(-np.asarray(bias)).round(7).tolist())


def build_head(layers: Layers, subspace: Subspace, calibration: Calibration) -> Head:
    """The head of the model file, with the temperature and the bias folded in."""
    standards = calibration.standards or UNMEASURED
    limit = calibration.unfamiliar_distance or math.inf  # nothing is unfamiliar
    return Head(
        layers=layers.scaled(calibration.temperature, calibration.bias),
        familiarity=Familiarity(subspace, standards, limit),
        answer_weights=calibration.rule.weights,
    )
