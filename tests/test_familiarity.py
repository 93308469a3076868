"""Unfamiliarity: what embeddings have in common, what is usual for them, and what is left over."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.evaluation.standards import UNMEASURED, Standard, Standards
from tellapart.modelfile.familiarity import Familiarity, evenness, measure_terms
from tellapart.probe.familiarity import (
    COMPONENTS,
    fit_limit,
    fit_standards,
    fit_subspace,
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


# ── the limit ──


def test_new_images_are_unfamiliar_as_rarely_as_the_held_out_ones():
    subspace, none = fit_subspace(embeddings(300)), np.zeros((500, 2), np.float32)
    terms = measure_terms(subspace, embeddings(500, seed=4), none)
    standards = fit_standards(terms)
    limit = fit_limit(standards, standards.scores(terms), 0.9)
    assert limit is not None
    familiarity = Familiarity(subspace, standards, limit)
    new = familiarity.unfamiliarity(embeddings(500, seed=5), none)
    assert np.mean(new <= 1) == pytest.approx(0.9, abs=0.05)


def test_without_any_image_all_are_as_far():
    subspace = fit_subspace(np.zeros((0, 40), np.float32))
    assert subspace.residuals(embeddings(3)) == pytest.approx(1)
