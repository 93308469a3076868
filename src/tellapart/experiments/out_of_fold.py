"""Out-of-fold answers: each image is answered by a model that never saw it.

They give the scores of a cross-validation, and the calibration of the final model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.table import Catalog
from tellapart.evaluation.calibration import Calibration
from tellapart.evaluation.fold_scores import FoldScores, score_folds
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.rule import Costs
from tellapart.evaluation.standards import Standards
from tellapart.experiments.fold_plan import FoldPlan
from tellapart.options import AnswerOptions
from tellapart.probe.familiarity import fit_limit
from tellapart.probe.head import HeldAnswers, calibrate, with_rule

TINIEST = np.finfo(np.float32).tiny  # the smallest probability whose logarithm is taken


@dataclass(frozen=True)
class OutOfFold:
    """The answers of the folds' models. R repeats, N images of the pool, C classes.

    Args:
        plan: which fold held which image out.
        labels: (N,) int64, the truth.
        clusters: (N,) int64, the cluster of each image, as in `Predictions`.
        probs: (R, N, C) float32 from the model of the fold, calibrated if that was possible.
        logits: (R, N, C) float32, before any temperature.
        answered: (R, N) whether there is an answer. There is none for an image that no fold held
            out, or that changed meanwhile.
        distances: (R, N) float32, how unfamiliar the model of the fold finds an image, by its own
            standards. None if not measured.
        answers: (R, N) int64 in [0, C), what the models answer.
        facts: (repeat, fold), both counted from 0, → facts about the training of its model.
        standards: (repeat, fold) → the standards of its model. Empty if not measured.
    """

    plan: FoldPlan
    labels: NDArray[np.int64]
    clusters: NDArray[np.int64]
    probs: NDArray[np.float32]
    logits: NDArray[np.float32]
    answered: NDArray[np.bool_]
    distances: NDArray[np.float32] | None
    answers: NDArray[np.int64]
    facts: dict[tuple[int, int], dict[str, Any]]
    standards: Mapping[tuple[int, int], Standards] = field(default_factory=dict)

    def predictions(self, catalog: Catalog, repeat: int) -> Predictions:
        """The answers of one repeat, counted from 0, with at most one per image."""
        answered = self.answered[repeat]
        rows = self.plan.rows[answered]
        return Predictions(
            self.probs[repeat][answered],
            self.labels[answered],
            tuple(catalog.paths[rows]),
            catalog.classes,
            clusters=self.clusters[answered],
            answers=self.answers[repeat][answered],
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
    out: OutOfFold,
    options: AnswerOptions,
    *,
    shares: NDArray[np.float64] | None = None,
    costs: Costs | None = None,
    among: NDArray[np.bool_] | None = None,
) -> Calibration:
    """Temperature and thresholds for the model that is fitted on all of the pool.

    They are fitted on answers to held-out images, as scikit-learn's
    CalibratedClassifierCV(ensemble=False) does,
    https://scikit-learn.org/stable/modules/calibration.html. An image that is answered in several
    repeats counts once.

    Args:
        out: the answers of every repeat.
        options: what the thresholds aim at.
        shares: (C,) of the classes, where the models were fitted as if they were equal.
        costs: of mistakes, where they decide instead of an accuracy.
        among: (R, N) the answers to use. None means all.
    """
    chosen = out.answered if among is None else out.answered & among
    calibration = calibrate(_held(out, chosen, out.logits), options, shares, costs)
    count = int(chosen.any(axis=0).sum())
    return _with_limit(replace(calibration, count=count), out, chosen, options)


def thresholds_out_of_fold(
    out: OutOfFold, options: AnswerOptions, bias: Sequence[float] = (), costs: Costs | None = None
) -> Calibration:
    """Thresholds for the mean of the folds' models.

    Its members are calibrated, so its own temperature is 1.

    Args:
        out: the answers of every repeat.
        options: what the thresholds aim at.
        bias: (C,) the mean bias of the members, where they were balanced.
        costs: of mistakes, where they decide instead of an accuracy.
    """
    held = _held(out, out.answered, logits_of(out.probs, 1.0, bias))
    calibration = with_rule(Calibration(1.0, 0, None, None, tuple(bias)), held, options, costs)
    count = int(out.answered.any(axis=0).sum())
    return _with_limit(replace(calibration, count=count), out, out.answered, options)


def _with_limit(
    calibration: Calibration, out: OutOfFold, chosen: NDArray[np.bool_], options: AnswerOptions
) -> Calibration:
    """The calibration with the limit of what is familiar, and with the mean of the standards of the
    models whose answers are chosen.

    Each model was measured in its own standards, so that the limit suits any of them, although
    their embeddings differ.
    """
    used = [
        out.standards[repeat, fold]
        for repeat, fold in out.plan.each
        if (repeat, fold) in out.standards
        and (chosen[repeat] & (out.plan.fold_of[repeat] == fold)).any()
    ]
    if out.distances is None or not used:
        return calibration
    standards = Standards.mean_of(used)
    clusters = np.broadcast_to(out.clusters, chosen.shape)[chosen]
    limit = fit_limit(standards, out.distances[chosen], options.familiar_share, clusters)
    return replace(calibration, unfamiliar_distance=limit, standards=standards)


def _held(out: OutOfFold, chosen: NDArray[np.bool_], logits: NDArray[np.float32]) -> HeldAnswers:
    """The chosen answers of all repeats, (R, N), one after the other."""

    def spread(column: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.broadcast_to(column, chosen.shape)[chosen]

    return HeldAnswers(
        logits[chosen],
        spread(out.labels),
        spread(out.clusters),
        None,  # distances are measured already
    )


def logits_of(
    probs: NDArray[np.float32], temperature: float, bias: Sequence[float] = ()
) -> NDArray[np.float32]:
    """(…, C) logits that give these probabilities at this temperature and bias.

    They differ from the network's own by a constant per row, which a softmax does not see.
    """
    shift = np.asarray(bias, np.float32) if len(bias) else np.float32(0)
    return np.asarray((np.log(np.maximum(probs, TINIEST)) - shift) * temperature, np.float32)
