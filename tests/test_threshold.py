"""The promised accuracy: kept, or not promised."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.threshold import clusters_for, fit_threshold


def answers(confidence: np.ndarray, correct: np.ndarray, copies: int = 1) -> Predictions:
    """Images of two classes that were answered "cat", each as often as there are copies."""
    sure = np.repeat(np.asarray(confidence, np.float32), copies)
    labels = 1 - np.repeat(np.asarray(correct, np.int64), copies)
    paths = tuple(f"{row}.jpg" for row in range(len(sure)))
    probs = np.stack([sure, 1 - sure], axis=1)
    clusters = np.repeat(np.arange(len(confidence)), copies)
    return Predictions(probs, labels, paths, ("cat", "dog"), clusters=clusters)


def simulated(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidences of a calibrated model, and whether it was right."""
    confidence = 1 / (1 + np.exp(-np.abs(rng.normal(2.5, 1.5, count))))
    return confidence, rng.random(count) < confidence


def true_accuracy(threshold: float) -> float:
    """Of the answers of the simulated model to new images, from a threshold on."""
    confidence, correct = simulated(np.random.default_rng(99), 200_000)
    return float(correct[confidence >= threshold].mean())


@pytest.mark.parametrize("count", [60, 300, 1500])
def test_the_promise_is_kept_or_nothing_is_promised(count: int):
    rng = np.random.default_rng(count)
    thresholds = [fit_threshold(answers(*simulated(rng, count))) for _ in range(100)]
    promises = [threshold.confidence for threshold in thresholds if threshold.promised]
    assert sum(true_accuracy(confidence) < 0.95 for confidence in set(promises)) <= 10


def test_a_model_that_is_right_often_enough_answers_whatever_is_likelier_right_than_wrong():
    threshold = fit_threshold(answers(np.full(59, 0.97), np.ones(59)))
    assert (threshold.promised, threshold.confidence, threshold.answered) == (True, 0.5, 59)


def test_one_image_less_promises_nothing_and_says_how_many_it_takes():
    threshold = fit_threshold(answers(np.full(58, 0.97), np.ones(58)), 0.95)
    assert (threshold.promised, threshold.confidence, threshold.needed) == (False, 0.95, 59)


def test_an_error_costs_more_images():
    assert [clusters_for(errors) for errors in range(4)] == [59, 93, 124, 153]
    one_wrong = np.arange(92) > 0
    assert fit_threshold(answers(np.full(92, 0.97), one_wrong)).needed == 93
    assert fit_threshold(answers(np.full(93, 0.97), np.arange(93) > 0)).promised


def test_five_copies_of_each_image_promise_what_one_copy_does():
    confidence, correct = simulated(np.random.default_rng(3), 400)
    assert fit_threshold(answers(confidence, correct, copies=5)) == fit_threshold(
        answers(confidence, correct)
    )


def test_a_model_that_is_never_that_accurate_is_not_helped_by_images():
    threshold = fit_threshold(answers(np.full(500, 0.9), np.arange(500) % 2))
    assert (threshold.promised, threshold.needed) == (False, None)


def test_the_order_of_the_images_changes_nothing():
    predictions = answers(*simulated(np.random.default_rng(0), 300))
    shuffled = predictions.rows(np.random.default_rng(2).permutation(300))
    assert fit_threshold(shuffled) == fit_threshold(predictions)


def test_no_single_image_decides_the_threshold():
    confidence, correct = simulated(np.random.default_rng(5), 1500)
    surest = int(confidence.argmax())
    correct[surest] = True
    right = fit_threshold(answers(confidence, correct))
    correct[surest] = False
    wrong = fit_threshold(answers(confidence, correct))
    assert right.promised and wrong.promised
    assert abs(right.confidence - wrong.confidence) < 0.05


@pytest.mark.parametrize("count", [0, 1, 19])
def test_without_enough_images_the_confidence_itself_is_the_threshold(count: int):
    threshold = fit_threshold(answers(np.full(count, 0.9), np.ones(count)), 0.93)
    assert (threshold.promised, threshold.confidence) == (False, 0.93)


def test_a_model_of_one_class_has_nothing_to_be_unsure_about():
    names = tuple(map(str, range(60)))
    certain = Predictions(np.ones((60, 1), np.float32), np.zeros(60, np.int64), names, ("cat",))
    assert fit_threshold(certain).confidence == 0


def test_a_target_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match=r"target must be in \(0, 1\), got 95"):
        fit_threshold(answers(np.array([0.9]), np.ones(1)), 95)
