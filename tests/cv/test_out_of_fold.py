"""What is made of the answers out of fold: mean, spread, interval and temperature."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.cross_validation import made_up_predictions
from tellapart.catalog.table import Catalog
from tellapart.evaluation.calibration import fit_temperature, softmax
from tellapart.evaluation.fold_scores import score_folds
from tellapart.evaluation.intervals import wilson
from tellapart.evaluation.standards import Standard, Standards
from tellapart.experiments.fold_plan import FoldPlan
from tellapart.experiments.fold_probes import fit_fold_probes
from tellapart.experiments.out_of_fold import (
    OutOfFold,
    calibrate_out_of_fold,
    logits_of,
    thresholds_out_of_fold,
)
from tellapart.options import AnswerOptions, HeadOptions
from tellapart.probe.familiarity import fit_subspace


def test_mean_and_spread_are_over_folds_and_the_interval_is_of_all_answers():
    labels, held = [0, 1] * 4, np.repeat([0, 1], 4)
    scores = score_folds(
        [made_up_predictions(labels, [1, 1, 1, 1, 1, 1, 0, 0])],
        [held],
        {},
        folds=2,
        seed=0,
        class_counts=np.array([4, 4]),
    )
    assert [score.metrics.accuracy.value for score in scores.each] == [1.0, 0.5]
    assert scores.mean["accuracy"] == 0.75
    assert scores.spread["accuracy"] == pytest.approx(np.std([1.0, 0.5], ddof=1))
    together = scores.together["accuracy"]
    assert (together.low, together.high) == pytest.approx(wilson(6, 8))


def test_repeats_narrow_no_interval():
    labels, held = [0, 1] * 4, np.repeat([0, 1], 4)
    once = made_up_predictions(labels, [1, 1, 1, 1, 1, 1, 0, 0])
    scores = score_folds([once] * 5, [held] * 5, {}, folds=2, seed=0, class_counts=np.array([4, 4]))
    together = scores.together["accuracy"]
    assert (together.low, together.high) == pytest.approx(wilson(6, 8))
    assert together.count == 8
    assert len(scores.as_json()["each_repeat"]) == 5


def test_a_fold_that_holds_nothing_out_has_no_part_in_the_mean():
    scores = score_folds(
        [made_up_predictions([0, 1], [1, 0])],
        [np.array([0, 0])],
        {},
        folds=2,
        seed=0,
        class_counts=np.array([1, 1]),
    )
    assert scores.mean["accuracy"] == 0.5
    assert scores.as_json()["spread"]["accuracy"] is None


STANDARDS = Standards(Standard(0.5, 0.1), Standard(-1.0, 0.2))


def out_of_fold(
    logits: np.ndarray, labels: np.ndarray, distances: np.ndarray | None = None
) -> OutOfFold:
    held = (np.arange(len(labels)) % 2)[None]
    plan = FoldPlan(np.arange(len(labels)), 2, held, 0)
    return OutOfFold(
        plan=plan,
        labels=labels,
        clusters=np.arange(len(labels)),
        probs=softmax(logits)[None],
        logits=logits[None],
        answered=held >= 0,
        distances=distances,
        answers=logits.argmax(axis=1)[None],
        facts={},
        standards=dict.fromkeys(plan.each, STANDARDS) if distances is not None else {},
    )


def test_the_temperature_of_the_last_model_is_that_of_the_answers_out_of_fold():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    logits = (4 * rng.normal(size=(60, 3)) + 3 * np.eye(3)[labels]).astype(np.float32)
    far = rng.random((1, 60)).astype(np.float32)
    found = calibrate_out_of_fold(
        out_of_fold(logits, labels, far), AnswerOptions(familiar_share=0.5)
    )
    assert found.temperature == fit_temperature(logits, labels)
    assert (found.count, found.unfamiliar_distance) == (
        60,
        pytest.approx(np.sort(far[0])[30], rel=1e-3),
    )
    half = np.arange(60)[None] < 30
    assert calibrate_out_of_fold(
        out_of_fold(logits, labels), AnswerOptions(), among=half
    ).temperature == (fit_temperature(logits[:30], labels[:30]))


def test_a_mean_of_calibrated_models_is_not_calibrated_again():
    logits, labels = np.array([[2.0, 0], [0, 2]] * 30, np.float32), np.array([0, 1] * 30)
    found = thresholds_out_of_fold(out_of_fold(logits, labels), AnswerOptions())
    assert (found.temperature, found.count, found.unfamiliar_distance) == (1.0, 60, None)
    assert found.rule.threshold == 0.5


def test_logits_come_back_from_probabilities():
    logits = np.array([[3.0, -1.0, 0.5], [60.0, -20.0, 0.0]], np.float32)
    back = logits_of(softmax(logits, 2.5), 2.5)
    assert np.allclose(back - back[:, :1], logits - logits[:, :1], atol=1e-3)


def test_a_fold_learns_nothing_of_what_it_holds_out(catalog: Catalog, plan: FoldPlan):
    rng = np.random.default_rng(1)
    features = rng.normal(size=(len(plan.rows), 8)).astype(np.float32)
    options, known = HeadOptions(folds=2, c_values=(0.1, 1.0)), np.arange(len(plan.rows))
    before = fit_fold_probes(features, known, catalog, plan, options, lambda: None).out
    held = plan.fold_of[0] == 1
    labels = catalog.labels.copy()
    labels[plan.rows[held]] = np.roll(labels[plan.rows[held]], 5)
    after = fit_fold_probes(
        features, known, catalog.replace(labels=labels), plan, options, lambda: None
    ).out
    assert (before.logits[0, held] == after.logits[0, held]).all()
    assert not (before.logits[0, ~held] == after.logits[0, ~held]).all()


def test_no_image_is_near_because_the_file_holds_it_itself(catalog: Catalog, plan: FoldPlan):
    features = np.random.default_rng(2).normal(size=(len(plan.rows), 8)).astype(np.float32)
    options = HeadOptions(folds=2, c_values=(0.1,))
    out = fit_fold_probes(
        features, np.arange(len(plan.rows)), catalog, plan, options, lambda: None
    ).out
    means = [standards.residual.mean for standards in out.standards.values()]
    assert min(means) > fit_subspace(features).residuals(features).mean()
