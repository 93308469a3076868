"""The numbers of an epoch: the same as the report's, and as scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from tellapart.evaluation.metrics import measure
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.scores import METRICS, better

NAN = math.nan


def make_predictions(count: int = 60, classes: int = 7, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes - 1, count)  # the last class has no images
    probs = rng.dirichlet(np.ones(classes), count).astype(np.float32)
    probs[np.arange(count), labels] += 0.3
    probs /= probs.sum(axis=1, keepdims=True)
    return Predictions(probs, labels, tuple(map(str, range(count))), tuple("abcdefghij"[:classes]))


@pytest.mark.parametrize(
    ("name", "of_measure"),
    [
        ("accuracy", "accuracy"),
        ("balanced_accuracy", "balanced_accuracy"),
        ("recall", "balanced_accuracy"),
        ("f1", "macro_f1"),
        ("loss", "log_loss"),
        ("top5_accuracy", "top5_accuracy"),
    ],
)
def test_a_score_is_the_reports_value(name: str, of_measure: str):
    predictions = make_predictions()
    assert METRICS[name](predictions) == pytest.approx(
        getattr(measure(predictions), of_measure).value
    )


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_means_over_classes_are_scikit_learns(name: str):
    predictions = make_predictions(classes=5)
    of = getattr(sklearn_metrics, f"{name}_score")
    present = np.unique(predictions.labels)
    expected = of(
        predictions.labels, predictions.predicted, labels=present, average="macro", zero_division=0
    )
    assert METRICS[name](predictions) == pytest.approx(expected)


def test_a_class_that_is_never_the_answer_has_no_precision_and_counts():
    probs = np.array([[1, 0], [1, 0]], np.float32)
    predictions = Predictions(probs, np.array([0, 1]), ("a", "b"), ("cat", "dog"))
    assert METRICS["precision"](predictions) == 0.25


@pytest.mark.parametrize("name", METRICS)
def test_without_images_there_is_no_number(name: str):
    assert math.isnan(METRICS[name](make_predictions(count=0)))


def test_equal_probabilities_rank_in_class_order():
    probs = np.full((2, 8), 1 / 8, np.float32)
    predictions = Predictions(probs, np.array([4, 5]), ("a", "b"), tuple("abcdefgh"))
    assert METRICS["top5_accuracy"](predictions) == 0.5


@pytest.mark.parametrize(
    ("name", "new", "old", "expected"),
    [
        ("accuracy", 0.9, 0.8, True),
        ("accuracy", 0.8, 0.8, False),
        ("loss", 0.1, 0.2, True),
        ("loss", 0.3, 0.2, False),
        ("top1_error", 0.1, 0.2, True),
        ("accuracy", 0.1, None, True),
        ("loss", NAN, None, False),
        ("accuracy", 0.1, NAN, True),
        ("loss", NAN, 0.2, False),
    ],
)
def test_better_knows_the_direction(name: str, new: float, old: float | None, expected: bool):
    assert better(name, new, old) is expected
