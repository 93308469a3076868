"""Cross-validate a probe: the head of every fold is fitted on features that were computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.duplicates import clusters
from tellapart.catalog.splits import make_folds
from tellapart.catalog.table import Catalog
from tellapart.evaluation.calibration import fit_scaling
from tellapart.evaluation.rule import AnswerRule, Costs
from tellapart.experiments.fold_plan import FoldPlan, repeat_seed
from tellapart.experiments.out_of_fold import OutOfFold
from tellapart.modelfile.familiarity import Subspace, measure_terms
from tellapart.modelfile.layers import Layers
from tellapart.options import HeadOptions
from tellapart.probe.familiarity import fit_standards, fit_subspace
from tellapart.probe.fit import fit_probe, num_folds
from tellapart.probe.head import CalibratedHead, answer_weights
from tellapart.progress import Advance


@dataclass(frozen=True)
class FoldProbes:
    """The heads of the folds, and their answers to the images that they never saw.

    Args:
        heads: one a fold.
        biases: (folds, C) what calibration added to the logits of each head.
        out: their answers.
    """

    heads: tuple[CalibratedHead, ...]
    biases: NDArray[np.float64]
    out: OutOfFold

    @property
    def layers(self) -> tuple[Layers, ...]:
        """The calibrated layers of each head."""
        return tuple(head.layers for head in self.heads)


def fit_fold_probes(
    features: NDArray[np.float32],
    known: NDArray[np.int64],
    catalog: Catalog,
    plan: FoldPlan,
    options: HeadOptions,
    advance: Advance,
    *,
    shares: NDArray[np.float64] | None = None,
    costs: Costs | None = None,
) -> FoldProbes:
    """Fit a head for each fold on the rest of the pool, and apply it to what the fold holds out.

    Folds inside that rest choose the regularisation of the head. The answers of a fold are
    calibrated by the temperature that fits the answers of the other folds. So nothing about an
    image decides how it is answered.

    Args:
        features: (N, D) of the pool.
        known: the rows of these N that subspaces of familiar images are fitted on.
        catalog: the images.
        plan: which fold holds which image out.
        options: of the head.
        advance: called after each fold.
        shares: (C,) of the classes, where the heads are fitted as if they were equal.
        costs: of mistakes, where they decide what is answered.
    """
    labels, num_classes = catalog.labels[plan.rows], len(catalog.classes)
    inner_folds = num_folds(features.shape[1], num_classes, options)
    logits = np.zeros((plan.repeats, len(labels), num_classes), np.float32)
    terms = np.zeros((*logits.shape[:2], 2), np.float32)
    subspaces: dict[tuple[int, int], Subspace] = {}
    fitted: dict[tuple[int, int], Layers] = {}
    facts = {}
    for repeat, fold in plan.each:
        held = plan.fold_of[repeat] == fold
        rest = np.flatnonzero(~held)
        inner = make_folds(catalog, plan.rows[rest], inner_folds, repeat_seed(plan.seed, repeat))
        probe = fit_probe(features[rest], labels[rest], inner, num_classes, options)
        fitted[repeat, fold] = probe.layers
        facts[repeat, fold] = {"train_images": len(rest), "c": probe.c}
        logits[repeat, held] = probe.layers.logits(features[held])
        subspaces[repeat, fold] = fit_subspace(features[known[~held[known]]])
        advance()
    probs, answers, biases = np.zeros_like(logits), np.zeros(logits.shape[:2], np.int64), []
    heads = []
    cluster_of = clusters(catalog)[plan.rows]
    for repeat, fold in plan.each:
        fold_of = plan.fold_of[repeat]
        held, others = fold_of == fold, (fold_of >= 0) & (fold_of != fold)
        scaling = fit_scaling(
            logits[repeat, others],
            labels[others],
            num_clusters=len(np.unique(cluster_of[others])),
            shares=shares,
        )
        probs[repeat, held] = scaling.probabilities(logits[repeat, held])
        bias = tuple(scaling.bias.tolist()) if scaling.bias.any() else ()
        rule = AnswerRule(weights=answer_weights(bias, costs))
        answers[repeat, held] = rule.answers(probs[repeat, held])
        biases.append(scaling.bias)
        layers = fitted[repeat, fold].scaled(scaling.temperature, bias)
        heads.append(CalibratedHead(layers, rule))
        terms[repeat, held] = measure_terms(
            subspaces[repeat, fold], features[held], scaling.scaled(logits[repeat, held])
        )
        facts[repeat, fold]["temperature"] = scaling.temperature
    answered = plan.fold_of >= 0
    standards = fit_standards(terms[answered])
    out = OutOfFold(
        plan=plan,
        labels=labels,
        clusters=cluster_of,
        probs=probs,
        logits=logits,
        answered=answered,
        distances=standards.scores(terms.reshape(-1, 2)).reshape(answered.shape),
        answers=answers,
        facts=facts,
        standards=dict.fromkeys(plan.each, standards),
    )
    return FoldProbes(tuple(heads), np.stack(biases), out)
