"""Unfamiliarity: what embeddings have in common, what is usual for them, and what is left over."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.evaluation.standards import UNMEASURED, Standard, Standards
from tellapart.modelfile.familiarity import Familiarity, evenness
from tellapart.probe.familiarity import (
    COMPONENTS,
    fit_limit,
    fit_standards,
    fit_subspace,
    out_of_fold_scores,
    out_of_fold_terms,
)

STANDARDS = Standards(Standard(0.5, 0.1), Standard(-2.0, 0.5))


def embeddings(count: int, width: int = 40, rank: int = 6, seed: int = 0) -> np.ndarray:
    """Embeddings that vary in few directions, with a little noise."""
    directions = np.random.default_rng(99).normal(size=(rank, width))
    rng = np.random.default_rng(seed)
    noise = 0.1 * rng.normal(size=(count, width))
    return (3 + rng.normal(size=(count, rank)) @ directions + noise).astype(np.float32)


# ── the subspace ──


def test_the_subspace_is_that_of_a_whole_decomposition():
    features = embeddings(200)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    _, _, turns = np.linalg.svd(centred, full_matrices=False)
    rest = centred - centred @ turns[:20].T @ turns[:20]
    found = fit_subspace(features).residuals(features)
    assert (found**2).sum() == pytest.approx((rest**2).sum(), rel=0.01)


def test_an_image_of_another_kind_is_far_from_the_subspace():
    features, new = embeddings(200), embeddings(50, seed=1)
    strange = np.random.default_rng(2).normal(size=(50, 40)).astype(np.float32)
    subspace = fit_subspace(features)
    assert subspace.residuals(new).max() < subspace.residuals(strange).min()


def test_the_length_of_an_embedding_does_not_count():
    features = embeddings(30)
    subspace = fit_subspace(features)
    assert subspace.residuals(7 * features) == pytest.approx(subspace.residuals(features), abs=1e-5)


@pytest.mark.parametrize("count", [1, 2, 5, 70])
@pytest.mark.parametrize("width", [1, 2, 3, 200])
def test_any_number_of_images_and_any_width_has_a_subspace(count: int, width: int):
    subspace = fit_subspace(embeddings(count, width))
    kept = max(1, min(count - 1, width // 2, COMPONENTS))
    assert subspace.components.shape[0] <= kept
    assert np.isfinite(subspace.residuals(embeddings(9, width, seed=1))).all()


def test_directions_are_orthonormal():
    components = fit_subspace(embeddings(100)).components
    assert components @ components.T == pytest.approx(np.eye(len(components)), abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_embeddings_have_a_subspace_of_no_direction(value: float):
    features = np.full((8, 10), value, np.float32)
    subspace = fit_subspace(features)
    assert (subspace.components == 0).all()
    assert subspace.residuals(features) == pytest.approx(0, abs=1e-6)


def test_the_same_images_give_the_same_subspace():
    first, second = (fit_subspace(embeddings(50)).components for _ in range(2))
    assert (first == second).all()


# ── evenness ──


def test_one_class_is_always_as_even():
    assert (evenness(np.array([[3.0], [-9.0]], np.float32)) == 0).all()


def test_evenness_bears_logits_of_any_size():
    assert np.isfinite(evenness(np.array([[1e30, -1e30, 0.0]], np.float32))).all()


# ── standards and scores ──


def test_what_is_usual_scores_the_same_by_either_measurement():
    usual = STANDARDS.scores(np.array([[0.5, -2.0]], np.float32))
    assert usual == pytest.approx(2 * np.log(2))


def test_a_sure_answer_makes_a_far_image_no_more_familiar():
    far, far_and_sure = STANDARDS.scores(np.array([[1.5, -2.0], [1.5, -30.0]], np.float32))
    assert far_and_sure == pytest.approx(far, abs=0.7)
    assert far_and_sure > 9


def test_a_measurement_that_never_changes_does_not_count():
    standards = fit_standards(np.array([[0.1, 0.0], [0.3, 0.0]], np.float32))
    assert (standards.evenness.weight, standards.tell) == (0, True)


def test_without_any_spread_there_is_no_limit():
    assert not UNMEASURED.tell
    assert fit_limit(UNMEASURED, np.ones(5, np.float32), 0.99) is None


def test_standards_come_back_from_plain_values():
    values = {"residual": {"mean": 0.5, "spread": 0.1}, "evenness": {"mean": -2.0, "spread": 0.5}}
    assert Standards.from_json(values) == STANDARDS


def test_an_embedding_that_is_not_finite_is_never_familiar():
    familiarity = Familiarity(fit_subspace(embeddings(20)), STANDARDS, 4.0)
    features = np.full((1, 40), np.nan, np.float32)
    assert not familiarity.unfamiliarity(features, np.zeros((1, 2), np.float32))[0] <= 1


# ── out of fold ──


def test_a_held_out_image_is_measured_by_the_others_alone():
    features, logits = embeddings(40), np.zeros((40, 2), np.float32)
    folds = np.arange(40) % 4
    terms = out_of_fold_terms(features, logits, folds)
    others = fit_subspace(features[folds != 1])
    assert terms[folds == 1, 0] == pytest.approx(others.residuals(features[folds == 1]), abs=1e-6)


def test_images_that_no_fold_holds_out_have_no_score():
    features, logits = embeddings(30), np.zeros((30, 2), np.float32)
    folds = np.where(np.arange(30) < 10, -1, np.arange(30) % 2)
    standards, scores = out_of_fold_scores(features, logits, folds)
    assert np.isnan(scores[:10]).all() and np.isfinite(scores[10:]).all()
    assert standards.evenness.spread == 0


def test_only_known_images_make_the_subspace():
    features, logits = embeddings(30), np.zeros((30, 2), np.float32)
    folds, known = np.arange(30) % 2, np.arange(20)
    changed = np.where(np.arange(30)[:, None] < 20, features, 1).astype(np.float32)
    terms, after = (out_of_fold_terms(rows, logits, folds, known) for rows in (features, changed))
    assert (terms[:20] == after[:20]).all()


def test_new_images_are_unfamiliar_as_rarely_as_the_held_out_ones():
    features, logits = embeddings(300), np.zeros((300, 2), np.float32)
    standards, scores = out_of_fold_scores(features, logits, np.arange(300) % 5)
    limit = fit_limit(standards, scores, 0.9)
    assert limit is not None
    familiarity = Familiarity(fit_subspace(features), standards, limit)
    new = familiarity.unfamiliarity(embeddings(500, seed=5), np.zeros((500, 2), np.float32))
    assert np.mean(new <= 1) == pytest.approx(0.9, abs=0.05)
