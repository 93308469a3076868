import numpy as np
import pytest

from tellapart.evaluation.abstention import (
    familiar_promise,
    fit_unfamiliarity_scale,
    selective,
)
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.rule import DECISIONS, AnswerRule


def two_classes(confidence, correct, unfamiliarity=None):
    """Images of two classes that were answered "0" with this confidence."""
    confidence = np.asarray(confidence, np.float32)
    probs = np.stack([confidence, 1 - confidence], axis=1)
    labels = 1 - np.asarray(correct, np.int64)
    return Predictions(
        probs,
        labels,
        tuple(f"{row}.jpg" for row in range(len(probs))),
        ("cat", "dog"),
        unfamiliarity,
    )


def test_the_unfamiliarity_scale_leaves_99_in_100_familiar():
    distances = np.random.default_rng(0).gamma(4, size=1000)
    assert np.mean(distances / fit_unfamiliarity_scale(distances) <= 1) == pytest.approx(
        0.99, abs=0.0015
    )


def test_of_few_images_the_farthest_is_the_scale():
    assert fit_unfamiliarity_scale(np.array([0.3, 0.1, 0.2])) == 0.3


@pytest.mark.parametrize(
    ("count", "decides"), [(98, 98), (99, 99), (100, 100), (101, 101), (199, 198)]
)
def test_the_scale_is_the_conformal_quantile(count: int, decides: int):
    assert fit_unfamiliarity_scale(np.arange(1.0, count + 1)) == decides


def test_new_images_stay_familiar_as_often_as_promised():
    rng = np.random.default_rng(0)
    shares = [
        np.mean(rng.gamma(4, size=200) <= fit_unfamiliarity_scale(rng.gamma(4, size=60), 0.9))
        for _ in range(400)
    ]
    assert np.mean(shares) == pytest.approx(familiar_promise(60, 0.9), abs=0.01)


def test_few_images_promise_less_than_was_asked_for():
    assert familiar_promise(30) == 30 / 31
    assert familiar_promise(0) == 0


def test_a_cluster_counts_once_by_its_farthest_image():
    distances, clusters = np.array([5.0, 1.0, 2.0, 3.0, 4.0]), np.array([7, 7, 7, 8, 9])
    assert fit_unfamiliarity_scale(distances, 0.5, clusters) == 4


def test_the_scale_can_always_be_divided_by():
    assert fit_unfamiliarity_scale(np.zeros(5)) > 0


@pytest.mark.parametrize("distances", [[], [0.1, np.nan]])
def test_no_distance_or_one_that_is_not_finite_is_refused(distances):
    with pytest.raises(ValueError, match="distances must be finite"):
        fit_unfamiliarity_scale(np.array(distances))


def test_unfamiliar_comes_before_unsure_and_unsure_before_answered():
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.6, 0.4], [0.9, 0.1]])
    decisions = AnswerRule(0.8).decide(probs, np.array([0.2, 1.0, 0.2, 3.0, 3.0]))
    assert decisions.tolist() == ["answered", "answered", "unsure", "unfamiliar", "unfamiliar"]


def test_without_thresholds_everything_is_answered():
    assert set(AnswerRule().decide(np.full((4, 2), 0.5), None)) == {"answered"}


def test_a_number_that_is_nan_never_leads_to_an_answer():
    familiar = AnswerRule().decide(np.array([[0.9, 0.1]]), np.array([np.nan]))
    assert familiar.tolist() == ["unfamiliar"]
    assert AnswerRule(0.5).decide(np.array([[np.nan, np.nan]]), None).tolist() == ["unsure"]


def test_decisions_are_the_named_ones_and_one_for_each_image():
    probs = np.random.default_rng(0).dirichlet([1, 1, 1], 500)
    decisions = AnswerRule(0.6).decide(probs, np.linspace(0, 2, 500))
    assert set(decisions) == set(DECISIONS)
    assert AnswerRule(0.6).decide(probs[:0], None).shape == (0,)


def test_selective_counts_what_is_answered_and_what_of_it_is_right():
    unfamiliarity = np.array([0.1, 0.1, 0.1, 0.1, 5.0], np.float32)
    result = selective(
        two_classes([0.9, 0.9, 0.9, 0.6, 0.9], [1, 1, 0, 1, 1], unfamiliarity), AnswerRule(0.8)
    )
    assert (result.coverage.value, result.coverage.count) == (3 / 5, 5)
    assert (result.accuracy_answered.value, result.accuracy_answered.count) == (2 / 3, 3)
    assert result.unfamiliar == 1


def test_answering_nothing_is_a_number_too():
    result = selective(two_classes([0.6, 0.7], [1, 1]), AnswerRule(0.99)).as_json()
    assert result["coverage"]["value"] == 0
    assert result["accuracy_answered"] == {
        "value": None,
        "low": 0,
        "high": 1,
        "count": 0,
        "clusters": 0,
    }


def test_a_higher_threshold_answers_less_and_is_right_more_often():
    confidence = np.random.default_rng(0).uniform(0.5, 1, 4000)
    test = two_classes(confidence, np.random.default_rng(1).random(4000) < confidence)
    strict, lenient = selective(test, AnswerRule(0.9)), selective(test, AnswerRule(0.6))
    assert strict.coverage.high < lenient.coverage.low
    assert strict.accuracy_answered.low > lenient.accuracy_answered.high
