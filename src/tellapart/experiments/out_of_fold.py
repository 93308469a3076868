"""Out-of-fold answers: of each image what a model says that never saw it, and what these answers
decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.table import Catalog
from tellapart.evaluation.abstention import fit_confidence_threshold, fit_unfamiliarity_scale
from tellapart.evaluation.calibration import Calibration, fit_temperature, softmax
from tellapart.evaluation.fold_scores import FoldScores, score_folds
from tellapart.evaluation.predictions import Predictions
from tellapart.experiments.fold_plan import FoldPlan
from tellapart.options import AnswerOptions

TINIEST = np.finfo(np.float32).tiny  # below it a probability has no logarithm to speak of


@dataclass(frozen=True)
class OutOfFold:
    """The answers of the folds' models. R repeats, N images of the pool, C classes.

    Args:
        plan: which fold held which image out.
        labels: (N,) int64, the truth.
        probs: (R, N, C) float32, as the model of that fold gives them, calibrated where it could
            be.
        logits: (R, N, C) float32, before any temperature.
        answered: (R, N) whether there is an answer: not for what no fold held out, nor for an image
            that changed.
        distances: (R, N) float32 to the images that the model knows; None where they were not
            measured.
        facts: (repeat, fold), both from 0, → how its model was made.
    """

    plan: FoldPlan
    labels: NDArray[np.int64]
    probs: NDArray[np.float32]
    logits: NDArray[np.float32]
    answered: NDArray[np.bool_]
    distances: NDArray[np.float32] | None
    facts: dict[tuple[int, int], dict[str, Any]]

    def predictions(self, catalog: Catalog, repeat: int) -> Predictions:
        """The answers of one repeat, from 0: of each image at most one."""
        answered = self.answered[repeat]
        paths = tuple(catalog.paths[self.plan.rows[answered]])
        return Predictions(
            self.probs[repeat][answered], self.labels[answered], paths, catalog.classes
        )

    def folds(self, repeat: int) -> NDArray[np.int64]:
        """The fold of each of these answers, from 0."""
        return np.asarray(self.plan.fold_of[repeat][self.answered[repeat]])

    def scores(self, catalog: Catalog) -> FoldScores:
        """What they are worth."""
        repeats = range(self.plan.repeats)
        return score_folds(
            [self.predictions(catalog, repeat) for repeat in repeats],
            [self.folds(repeat) for repeat in repeats],
            self.facts,
            folds=self.plan.folds,
            seed=self.plan.seed,
            class_counts=np.bincount(self.labels, minlength=len(catalog.classes)),
        )


def calibrate_out_of_fold(
    out: OutOfFold, options: AnswerOptions, *, among: NDArray[np.bool_] | None = None
) -> Calibration:
    """Temperature and thresholds for the model that is fitted on all of the pool, from answers to
    what was held out.

    Args:
        among: (R, N) the answers to go by; None: all. Every repeat's answers count.

    Source: as CalibratedClassifierCV(ensemble=False) of scikit-learn, whose calibrator is fitted so
    too, https://scikit-learn.org/stable/modules/calibration.html.
    """
    chosen = out.answered if among is None else out.answered & among
    truth = np.broadcast_to(out.labels, chosen.shape)[chosen]
    logits = out.logits[chosen]
    temperature = fit_temperature(logits, truth)
    return Calibration(
        temperature=temperature,
        count=int(chosen.any(axis=0).sum()),
        confidence_threshold=_threshold(softmax(logits, temperature), truth, options),
        unfamiliar_distance=_unfamiliar(out, chosen, options),
    )


def thresholds_out_of_fold(out: OutOfFold, options: AnswerOptions) -> Calibration:
    """Thresholds for the mean of the folds' models. Its members are calibrated, so its own
    temperature is 1.
    """
    truth = np.broadcast_to(out.labels, out.answered.shape)[out.answered]
    return Calibration(
        temperature=1.0,
        count=int(out.answered.any(axis=0).sum()),
        confidence_threshold=_threshold(out.probs[out.answered], truth, options),
        unfamiliar_distance=_unfamiliar(out, out.answered, options),
    )


def logits_of(probs: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """(N, C) the logits that became these probabilities at that temperature, but for a constant a
    row.
    """
    return np.asarray(np.log(np.maximum(probs, TINIEST)) * temperature, np.float32)


def _threshold(
    probs: NDArray[np.float32], truth: NDArray[np.int64], options: AnswerOptions
) -> float:
    names, classes = map(str, range(len(truth))), map(str, range(probs.shape[1]))
    return fit_confidence_threshold(
        Predictions(probs, truth, tuple(names), tuple(classes)), options.target_accuracy
    )


def _unfamiliar(out: OutOfFold, chosen: NDArray[np.bool_], options: AnswerOptions) -> float | None:
    return (
        None
        if out.distances is None
        else fit_unfamiliarity_scale(out.distances[chosen], options.familiar_share)
    )
