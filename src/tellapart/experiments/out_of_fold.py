"""Out-of-fold answers: each image is answered by a model that never saw it.

They give the scores of a cross-validation, and the calibration of the final model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.duplicates import clusters
from tellapart.catalog.table import Catalog
from tellapart.evaluation.abstention import fit_confidence_threshold, fit_unfamiliarity_scale
from tellapart.evaluation.calibration import Calibration, fit_temperature, softmax
from tellapart.evaluation.fold_scores import FoldScores, score_folds
from tellapart.evaluation.predictions import Predictions
from tellapart.experiments.fold_plan import FoldPlan
from tellapart.options import AnswerOptions

TINIEST = np.finfo(np.float32).tiny  # the smallest probability whose logarithm is taken


@dataclass(frozen=True)
class OutOfFold:
    """The answers of the folds' models. R repeats, N images of the pool, C classes.

    Args:
        plan: which fold held which image out.
        labels: (N,) int64, the truth.
        probs: (R, N, C) float32 from the model of the fold, calibrated if that was possible.
        logits: (R, N, C) float32, before any temperature.
        answered: (R, N) whether there is an answer. There is none for an image that no fold held
            out, or that changed meanwhile.
        distances: (R, N) float32 to the reference images of the model. None if not measured.
        facts: (repeat, fold), both counted from 0, → facts about the training of its model.
    """

    plan: FoldPlan
    labels: NDArray[np.int64]
    probs: NDArray[np.float32]
    logits: NDArray[np.float32]
    answered: NDArray[np.bool_]
    distances: NDArray[np.float32] | None
    facts: dict[tuple[int, int], dict[str, Any]]

    def predictions(self, catalog: Catalog, repeat: int) -> Predictions:
        """The answers of one repeat, counted from 0, with at most one per image."""
        answered = self.answered[repeat]
        rows = self.plan.rows[answered]
        return Predictions(
            self.probs[repeat][answered],
            self.labels[answered],
            tuple(catalog.paths[rows]),
            catalog.classes,
            clusters=clusters(catalog)[rows],
        )

    def folds(self, repeat: int) -> NDArray[np.int64]:
        """The fold of each of these answers, counted from 0."""
        return np.asarray(self.plan.fold_of[repeat][self.answered[repeat]])

    def scores(self, catalog: Catalog) -> FoldScores:
        """The scores of the folds."""
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
    """Temperature and thresholds for the model that is fitted on all of the pool.

    They are fitted on answers to held-out images, as scikit-learn's
    CalibratedClassifierCV(ensemble=False) does,
    https://scikit-learn.org/stable/modules/calibration.html.

    Args:
        out: the answers of every repeat.
        options: what the thresholds aim at.
        among: (R, N) the answers to use. None means all.
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
    """Thresholds for the mean of the folds' models.

    Its members are calibrated, so its own temperature is 1.
    """
    truth = np.broadcast_to(out.labels, out.answered.shape)[out.answered]
    return Calibration(
        temperature=1.0,
        count=int(out.answered.any(axis=0).sum()),
        confidence_threshold=_threshold(out.probs[out.answered], truth, options),
        unfamiliar_distance=_unfamiliar(out, out.answered, options),
    )


def logits_of(probs: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """(N, C) logits that give these probabilities at this temperature.

    They differ from the network's own by a constant per row, which a softmax does not see.
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
    if out.distances is None:
        return None
    return fit_unfamiliarity_scale(out.distances[chosen], options.familiar_share)
