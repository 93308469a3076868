"""The probe: scikit-learn's regression, folded into one linear layer and calibrated on val."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tellapart import UserError
from tellapart.catalog.files import Folder
from tellapart.catalog.splits import make_folds
from tellapart.catalog.table import Catalog, text_column
from tellapart.evaluation.calibration import softmax
from tellapart.modelfile.familiarity import Subspace
from tellapart.options import AnswerOptions, HeadOptions
from tellapart.probe.familiarity import fit_subspace
from tellapart.probe.fit import Probe, fit_probe, num_folds
from tellapart.probe.head import (
    HeldAnswers,
    build_head,
    calibrate,
)

WIDTH = 12
NO_FOLDS = HeadOptions(c_values=(0.1,))


def clouds(counts: list[int], spread: float = 1.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, 12) float32 of overlapping classes, on scales of their own, and labels (N,)."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = np.random.default_rng(99).normal(size=(len(counts), WIDTH))
    points = centres[labels] + spread * rng.normal(size=(len(labels), WIDTH))
    return (points * np.geomspace(0.1, 10, WIDTH) + 3).astype(np.float32), labels


def dealt(labels: np.ndarray, folds: int = 5) -> np.ndarray:
    """Which fold holds a row out: every class dealt round."""
    fold_of = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        fold_of[rows] = np.arange(len(rows)) % folds
    return fold_of


def fitted(features: np.ndarray, labels: np.ndarray, options: HeadOptions | None = None) -> Probe:
    return fit_probe(
        features, labels, dealt(labels), int(labels.max()) + 1, options or HeadOptions()
    )


def catalog_of(labels: list[int], groups: list[str]) -> Catalog:
    """A scanned catalog of as many different images."""
    count = len(labels)
    empty = text_column([""] * count)
    return Catalog(
        files=Folder(Path()),
        source="",
        classes=tuple("abcdefgh"[: max(labels) + 1]),
        paths=text_column(f"{row:03}.jpg" for row in range(count)),
        labels=np.array(labels),
        given_splits=empty,
        groups=text_column(groups),
        weights=np.ones(count),
        statuses=text_column(["ok"] * count),
        details=np.full(count, "", object),
        notes=empty,
        widths=np.ones(count, np.int64),
        heights=np.ones(count, np.int64),
        digests=text_column(f"{row:064x}" for row in range(count)),
        taken=empty,
        copies=np.arange(count),
        splits=empty,
    )


# ── the regression ──


@pytest.mark.parametrize("strength", [0.001, 0.1, 1.0])
def test_it_is_scikit_learns_regression_on_standardised_features(strength: float):
    features, labels = clouds([40, 30, 50])
    reference = LogisticRegression(C=strength, max_iter=2000).fit(
        StandardScaler().fit_transform(features), labels
    )
    probe = fitted(features, labels, HeadOptions(c_values=(strength,)))
    expected = reference.predict_proba(StandardScaler().fit_transform(features))
    assert softmax(probe.layers.logits(features)) == pytest.approx(expected, abs=2e-3)


def test_two_classes_have_two_columns_p_and_one_minus_p():
    features, labels = clouds([30, 40])
    reference = LogisticRegression(C=0.1, max_iter=2000).fit(
        StandardScaler().fit_transform(features), labels
    )
    probe = fitted(features, labels, NO_FOLDS)
    probs = softmax(probe.layers.logits(features))
    assert probe.layers.weight.shape == (2, WIDTH)
    assert probs == pytest.approx(
        reference.predict_proba(StandardScaler().fit_transform(features)), abs=2e-3
    )
    assert probs[:, 0] == pytest.approx(1 - probs[:, 1], abs=1e-6)


def test_standardising_is_folded_into_the_layer():
    features, labels = clouds([40, 40, 40])
    shifted = fitted(features * 100 - 5, labels, NO_FOLDS)
    assert softmax(shifted.layers.logits(features * 100 - 5)) == pytest.approx(
        softmax(fitted(features, labels, NO_FOLDS).layers.logits(features)), abs=2e-3
    )


def test_a_feature_that_never_changes_says_nothing():
    features, labels = clouds([20, 20, 20])
    features[:, 3] = 7
    probe = fitted(features, labels, NO_FOLDS)
    assert np.isfinite(probe.layers.weight).all()
    assert abs(probe.layers.weight[:, 3]).max() < 1e-6


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(wrong: float):
    features, labels = clouds([20, 20])
    features[5, 5] = wrong
    with pytest.raises(UserError, match=r"features that are not finite\. Choose another backbone"):
        fitted(features, labels)


def test_the_same_images_give_the_same_probe():
    one, other = (fitted(*clouds([30, 30, 30])) for _ in range(2))
    assert (one.layers.weight == other.layers.weight).all()
    assert one.fold_losses == other.fold_losses


# ── how strongly it is held back ──


def test_the_chosen_strength_has_the_lowest_loss_on_what_the_folds_held_out():
    probe = fitted(*clouds([40, 40, 40]))
    assert probe.fold_losses[probe.c] == min(probe.fold_losses.values())
    assert set(probe.fold_losses) <= set(HeadOptions().c_values)


def test_classes_far_apart_allow_more_strength_than_noise_does():
    features, labels = clouds([40, 40, 40], spread=0.3)
    shuffled = np.random.default_rng(0).permutation(labels)
    assert fitted(features, labels).c > fitted(features, shuffled).c


def test_a_single_strength_is_taken_without_trying():
    probe = fitted(*clouds([20, 20]), NO_FOLDS)
    assert (probe.c, probe.fold_losses) == (0.1, {})


def test_one_image_a_class_is_enough():
    features, labels = clouds([1, 1, 1])
    probe = fit_probe(features, labels, np.full(3, -1), 3, HeadOptions())
    assert probe.fold_losses == {}
    assert (probe.layers.logits(features).argmax(axis=1) == labels).all()


def test_a_class_of_one_image_is_never_held_out_and_still_learned():
    catalog = catalog_of([0] * 10 + [1] * 10 + [2], [""] * 21)
    fold_of = make_folds(catalog, np.arange(21), 5, seed=0)
    features, labels = clouds([10, 10, 1], spread=0.2)
    probe = fit_probe(features, labels, fold_of, 3, HeadOptions())
    assert fold_of[20] == -1
    assert probe.layers.logits(features)[20].argmax() == 2


def test_images_of_one_group_are_held_out_together():
    groups = [f"{row // 4}" for row in range(40)]
    catalog = catalog_of([row // 20 for row in range(40)], groups)
    fold_of = make_folds(catalog, np.arange(40), 5, seed=0)
    assert all(len(set(fold_of[start : start + 4])) == 1 for start in range(0, 40, 4))


def test_a_class_that_lives_in_two_mixed_groups_is_in_every_fit():
    # Four large groups of one class fill four folds, so that both groups with the rare class would
    # go to the fifth.
    labels = [1] * 40 + [0, 1] * 2 + [2] * 6
    groups = (
        [f"large {row // 10}" for row in range(40)]
        + [f"mixed {row // 2}" for row in range(4)]
        + [""] * 6
    )
    fold_of = make_folds(catalog_of(labels, groups), np.arange(len(labels)), 5, seed=0)
    features = np.random.default_rng(0).normal(size=(len(labels), WIDTH)).astype(np.float32)
    assert fit_probe(features, np.array(labels), fold_of, 3, HeadOptions()).layers.weight.shape == (
        3,
        WIDTH,
    )


# ── rare classes ──


def test_balanced_weighting_finds_more_of_a_rare_class():
    features, labels = clouds([300, 15])
    recall = {
        weighting: (
            (
                fitted(features, labels, HeadOptions(weighting=weighting))
                .layers.logits(features)
                .argmax(axis=1)
                == 1
            )[labels == 1].mean()
        )
        for weighting in ("none", "balanced")
    }
    assert recall["balanced"] > recall["none"]


def test_balanced_weighting_of_even_classes_changes_little():
    features, labels = clouds([30, 30, 30])
    plain, balanced = (
        fitted(features, labels, HeadOptions(c_values=(0.1,), weighting=weighting)).layers.logits(
            features
        )
        for weighting in ("none", "balanced")
    )
    assert softmax(balanced) == pytest.approx(softmax(plain), abs=2e-3)


# ── from the probe to the head ──


def held(probe: Probe, features: np.ndarray, labels: np.ndarray, known: Subspace) -> HeldAnswers:
    """What a probe says of images that it was not fitted on."""
    logits, clusters = probe.layers.logits(features), np.arange(len(labels))
    return HeldAnswers(logits, labels, clusters, known.residuals(features))


def test_without_held_out_images_nothing_is_calibrated():
    features, labels = clouds([10, 10])
    probe, known = fitted(features, labels), fit_subspace(features)
    calibration = calibrate(held(probe, features[:0], labels[:0], known), AnswerOptions())
    assert (calibration.temperature, calibration.count) == (1.0, 0)
    assert calibration.rule.threshold is None
    assert calibration.unfamiliar_distance is None


def test_the_temperature_is_folded_into_the_head():
    features, labels = clouds([30, 30, 30])
    probe = fitted(features, labels, HeadOptions(c_values=(100.0,)))
    known = fit_subspace(features)
    harder = clouds([20, 20, 20], spread=3, seed=1)
    calibration = calibrate(held(probe, *harder, known), AnswerOptions())
    head = build_head(probe.layers, known, calibration)
    assert calibration.temperature > 1.05  # val is harder than train: the probe was too sure
    assert softmax(head.layers.logits(features)) == pytest.approx(
        softmax(probe.layers.logits(features), calibration.temperature), abs=1e-5
    )


def test_the_bias_of_a_balanced_head_is_folded_into_it():
    options = HeadOptions(weighting="balanced")
    (features, labels), (val, val_labels) = clouds([100, 10], 3), clouds([100, 10], 3, seed=1)
    probe, known = fitted(features, labels, options), fit_subspace(features)
    shares = np.array([100, 10]) / 110
    calibration = calibrate(held(probe, val, val_labels, known), AnswerOptions(), shares)
    head = build_head(probe.layers, known, calibration)
    assert softmax(head.layers.logits(val)).mean(axis=0)[1] == pytest.approx(10 / 110, abs=0.02)


def test_the_farthest_val_image_is_at_unfamiliarity_one():
    (features, labels), (val, val_labels) = clouds([30, 30]), clouds([20, 20], seed=1)
    probe, known = fitted(features, labels), fit_subspace(features)
    calibration = calibrate(held(probe, val, val_labels, known), AnswerOptions())
    head = build_head(probe.layers, known, calibration)
    found = head.familiarity.unfamiliarity(val, head.layers.logits(val))
    assert found.max() == pytest.approx(1, abs=1e-3) and found.max() <= 1


def test_images_of_the_same_cluster_decide_once_what_is_familiar():
    (features, labels), (val, val_labels) = clouds([30, 30]), clouds([20, 20], seed=1)
    answers = held(fitted(features, labels), val, val_labels, fit_subspace(features))
    each, whole = (
        calibrate(replace(answers, clusters=clusters), AnswerOptions(familiar_share=0.6))
        for clusters in (answers.clusters, np.zeros(40, np.int64))
    )
    assert each.unfamiliar_distance < whole.unfamiliar_distance


def test_where_all_embeddings_are_equal_nothing_is_unfamiliar():
    features, labels = np.ones((20, 8), np.float32), np.arange(20) % 2
    probe, known = fitted(features, labels), fit_subspace(features)
    calibration = calibrate(held(probe, features, labels, known), AnswerOptions())
    assert calibration.unfamiliar_distance is None
    head = build_head(probe.layers, known, calibration)
    assert (head.familiarity.unfamiliarity(features, head.layers.logits(features)) == 0).all()


# ── out of fold ──


def test_out_of_fold_answers_are_those_of_a_head_that_never_saw_the_image():
    features, labels = clouds([30, 30])
    fold_of, options = dealt(labels), HeadOptions(c_values=(0.1,))
    probe = fit_probe(features, labels, fold_of, 2, options)
    rest = fold_of != 0
    alone = fit_probe(features[rest], labels[rest], np.full(rest.sum(), -1), 2, options)
    mine, theirs = probe.logits[~rest], alone.layers.logits(features[~rest])
    assert (mine.argmax(axis=1) == theirs.argmax(axis=1)).all()
    assert mine == pytest.approx(theirs, abs=0.2)  # only the scale of the features knows the fold


def test_an_image_that_no_fold_holds_out_has_no_answer():
    features, labels = clouds([10, 10])
    fold_of = dealt(labels)
    fold_of[0] = -1
    probe = fit_probe(features, labels, fold_of, 2, HeadOptions())
    assert np.isnan(probe.logits[0]).all()
    assert np.isfinite(probe.logits[1:]).all()


def test_many_classes_have_fewer_folds_of_which_one_searches():
    options = HeadOptions()
    assert num_folds(1280, 2, options) == num_folds(1280, 200, options) == 5
    assert num_folds(1280, 1200, options) < 5
    assert num_folds(1280, 10_000, options) == 2


@pytest.mark.parametrize(("limit", "value"), [("WORK_LIMIT", 1), ("ENOUGH_HELD_OUT", 10)])
def test_where_one_fold_searches_all_folds_answer(
    limit: str, value: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(f"tellapart.probe.fit.{limit}", value)
    features, labels = clouds([20, 20, 20])
    probe = fitted(features, labels)
    assert np.isfinite(probe.logits).all()
    assert (probe.logits.argmax(axis=1) == labels).mean() > 0.5
