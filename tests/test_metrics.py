import json
import math
from dataclasses import asdict, astuple, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from helpers.predictions import with_probs
from tellapart.evaluation.calibration import softmax
from tellapart.evaluation.metrics import Score, confusion, measure, proportion
from tellapart.evaluation.predictions import Predictions


def simulated(count=300, num_classes=7, seed=0):
    """A middling model: right about three times in four, classes of uneven size."""
    rng = np.random.default_rng(seed)
    labels = np.minimum(rng.geometric(0.3, count) - 1, num_classes - 1)
    logits = rng.normal(size=(count, num_classes)) + 2 * np.eye(num_classes)[labels]
    paths = tuple(f"{row:05d}.jpg" for row in range(count))
    return Predictions(
        softmax(logits), labels, paths, tuple(f"class-{k}" for k in range(num_classes))
    )


def all_right(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    probs = np.eye(len(sizes), dtype=np.float32)[labels]
    paths = tuple(map(str, range(len(labels))))
    return Predictions(probs, labels, paths, tuple(map(str, range(len(sizes)))))


def numbers(metrics):
    return np.array(
        [astuple(score) for score in vars(metrics).values() if isinstance(score, Score)]
    )


@pytest.fixture(scope="module")
def predictions():
    return simulated()


@pytest.fixture(scope="module")
def metrics(predictions):
    return measure(predictions, baseline_label=0)


# Agreement with scikit-learn


def test_accuracy_agrees_with_sklearn(predictions, metrics):
    assert metrics.accuracy.value == sklearn_metrics.accuracy_score(
        predictions.labels, predictions.predicted
    )


def test_balanced_accuracy_agrees_with_sklearn(predictions, metrics):
    expected = sklearn_metrics.balanced_accuracy_score(predictions.labels, predictions.predicted)
    assert metrics.balanced_accuracy.value == pytest.approx(expected)


def test_macro_f1_agrees_with_sklearn(predictions, metrics):
    expected = sklearn_metrics.f1_score(predictions.labels, predictions.predicted, average="macro")
    assert metrics.macro_f1.value == pytest.approx(expected)


def test_log_loss_agrees_with_sklearn(predictions, metrics):
    assert metrics.log_loss.value == pytest.approx(
        sklearn_metrics.log_loss(predictions.labels, predictions.probs)
    )


def test_brier_score_agrees_with_sklearn(predictions, metrics):
    expected = sklearn_metrics.brier_score_loss(predictions.labels, predictions.probs)
    assert metrics.brier.value == pytest.approx(expected)


def test_top5_accuracy_agrees_with_sklearn(predictions, metrics):
    expected = sklearn_metrics.top_k_accuracy_score(predictions.labels, predictions.probs, k=5)
    assert metrics.top5_accuracy.value == pytest.approx(expected)


def test_the_scores_of_each_class_agree_with_sklearn(predictions, metrics):
    expected = sklearn_metrics.precision_recall_fscore_support(
        predictions.labels, predictions.predicted
    )
    found = np.array(
        [(c.precision.value, c.recall.value, c.f1, c.count) for c in metrics.per_class]
    )
    assert found == pytest.approx(np.array(expected).T)


def test_confusion_agrees_with_sklearn(predictions):
    expected = sklearn_metrics.confusion_matrix(predictions.labels, predictions.predicted)
    assert np.array_equal(confusion(predictions), expected)


# What must not matter


def test_renaming_the_classes_changes_no_number(predictions, metrics):
    renamed = measure(replace(predictions, classes=tuple("abcdefg")), baseline_label=0)
    anonymous = tuple(replace(c, name="") for c in metrics.per_class)
    assert tuple(replace(c, name="") for c in renamed.per_class) == anonymous
    assert replace(renamed, per_class=()) == replace(metrics, per_class=())


def test_numbering_the_classes_differently_changes_no_number(predictions, metrics):
    order = np.array([3, 0, 6, 1, 5, 2, 4])
    classes = tuple(predictions.classes[k] for k in order)
    permuted = replace(
        predictions,
        probs=predictions.probs[:, order],
        labels=order.argsort()[predictions.labels],
        answers=np.zeros(0, np.int64),
    )
    found = measure(replace(permuted, classes=classes), baseline_label=1)
    assert numbers(found) == pytest.approx(numbers(metrics))
    assert tuple(found.per_class[k] for k in order.argsort()) == metrics.per_class


def test_the_order_of_the_images_changes_no_number(predictions, metrics):
    shuffled = predictions.rows(np.random.default_rng(1).permutation(len(predictions)))
    assert measure(shuffled, baseline_label=0) == metrics


def test_another_seed_moves_the_bounds_a_little_and_the_values_not_at_all(predictions, metrics):
    other = measure(predictions, seed=7)
    assert other.log_loss.value == metrics.log_loss.value
    assert other.log_loss.low != metrics.log_loss.low
    assert other.log_loss.low == pytest.approx(metrics.log_loss.low, rel=0.05)


# What the intervals promise


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_every_interval_holds_its_value_and_every_json_number_is_finite(count, num_classes, seed):
    metrics = measure(simulated(count, num_classes, seed))
    scores = [score for score in vars(metrics).values() if isinstance(score, Score) and count > 1]
    assert all(0 <= s.low <= s.value + 1e-12 <= s.high + 2e-12 for s in scores)
    assert json.loads(json.dumps(metrics.as_json(), allow_nan=False)) == metrics.as_json()


def test_the_interval_of_balanced_accuracy_holds_the_truth_about_19_times_in_20():
    rng, labels = np.random.default_rng(0), np.repeat([0, 1, 2], [100, 20, 10])
    recalls, blank = np.array([0.95, 0.8, 0.6]), all_right([100, 20, 10])
    answers = np.where(rng.random((200, 130)) < recalls[labels], labels, (labels + 1) % 3)
    scores = [
        measure(with_probs(blank, np.eye(3, dtype=np.float32)[a])).balanced_accuracy
        for a in answers
    ]
    assert np.mean([s.low <= recalls.mean() <= s.high for s in scores]) == pytest.approx(
        0.95, abs=0.035
    )


def test_with_classes_of_equal_size_balanced_accuracy_is_accuracy():
    predictions = simulated(400)
    equal = predictions.rows(
        np.concatenate([np.flatnonzero(predictions.labels == k)[:20] for k in range(4)]),
    )
    metrics = measure(equal)
    assert metrics.balanced_accuracy.value == pytest.approx(metrics.accuracy.value)
    assert metrics.balanced_accuracy.low == pytest.approx(metrics.accuracy.low, abs=0.02)


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_no_mistake_on_ten_images_is_no_proof_of_perfection(name):
    score = getattr(measure(all_right([5, 5])), name)
    assert (score.value, score.high) == (1, 1)
    assert score.low == pytest.approx(0.7225, abs=5e-5)


def test_the_calibration_error_of_a_calibrated_model_has_a_low_bound_near_zero():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 400).astype(np.float32)
    labels = (rng.random(400) > confidence).astype(np.int64)
    calibrated = replace(
        all_right([200, 200]), probs=np.stack([confidence, 1 - confidence], 1), labels=labels
    )
    assert measure(calibrated).ece.low < 0.02 < measure(calibrated).ece.value


# The edges


def test_a_split_without_images_is_measured_as_unknown():
    metrics = measure(simulated(0), baseline_label=2)
    assert metrics.accuracy.as_json() == {
        "value": None,
        "low": 0,
        "high": 1,
        "count": 0,
        "clusters": 0,
    }
    assert metrics.log_loss.as_json() == {
        "value": None,
        "low": None,
        "high": None,
        "count": 0,
        "clusters": 0,
    }
    assert [c.name for c in metrics.per_class] == [f"class-{k}" for k in range(7)]


def test_one_image_has_values_and_no_bootstrap():
    score = measure(simulated(1)).log_loss
    assert np.isfinite(score.value)
    assert score.as_json()["low"] is None


def test_a_class_without_images_is_listed_and_left_out_of_the_means(predictions):
    metrics = measure(predictions.rows(predictions.labels != 3))
    present = [c for c in metrics.per_class if c.count]
    assert metrics.per_class[3].as_json()["recall"] == {
        "value": None,
        "low": 0,
        "high": 1,
        "count": 0,
        "clusters": 0,
    }
    assert metrics.balanced_accuracy.value == pytest.approx(
        np.mean([c.recall.value for c in present])
    )
    assert metrics.macro_f1.value == pytest.approx(np.mean([c.f1 for c in present]))


def test_a_class_that_is_never_the_answer_has_no_precision_and_an_f1_of_zero():
    sheep = with_probs(all_right([3, 3]), np.tile(np.array([0.9, 0.1], np.float32), (6, 1)))
    never = measure(sheep).per_class[1]
    assert (never.as_json()["precision"]["value"], never.recall.value, never.f1) == (None, 0, 0)


def test_one_class_alone_is_always_right():
    metrics = measure(all_right([4]))
    assert (metrics.accuracy.value, metrics.log_loss.value, metrics.ece.value) == (1, 0, 0)


def test_a_certain_mistake_leaves_log_loss_finite():
    wrong = replace(all_right([1, 1]), labels=np.array([1, 0]))
    assert measure(wrong).log_loss.value == pytest.approx(15.94, abs=0.01)
    assert measure(wrong).brier.value == 2


def test_top5_accuracy_exists_only_above_five_classes(metrics):
    assert metrics.top5_accuracy is not None
    assert measure(simulated(50, num_classes=5)).top5_accuracy is None


def test_of_equal_probabilities_the_first_classes_are_the_likelier():
    unsure = with_probs(all_right([1] * 10), np.full((10, 10), 0.1, np.float32))
    assert measure(unsure).top5_accuracy.value == 0.5
    assert measure(unsure).accuracy.value == 0.1


def test_the_majority_baseline_always_answers_the_largest_train_class(predictions, metrics):
    assert metrics.majority_baseline == proportion(int((predictions.labels == 0).sum()), 300)
    assert measure(predictions).majority_baseline is None


@pytest.mark.parametrize(
    ("sizes", "uneven"), [([50, 10], False), ([51, 10], True), ([50, 0, 40], False), ([0], False)]
)
def test_balanced_accuracy_comes_first_beyond_five_to_one(sizes, uneven):
    assert measure(all_right(sizes)).balanced_first is uneven


def test_the_counts_of_train_decide_what_comes_first():
    assert measure(all_right([10, 10]), class_counts=np.array([600, 100])).balanced_first


def test_a_class_is_trusted_from_thirty_images_on():
    assert [c.trusted for c in measure(all_right([29, 30])).per_class] == [False, True]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"baseline_label": 7}, r"in \[0, 7\), got 7"),
        ({"class_counts": np.ones(3, int)}, r"must be \(7,\), got \(3,\)"),
    ],
)
def test_options_that_do_not_fit_the_classes_are_refused(predictions, options, words):
    with pytest.raises(ValueError, match=words):
        measure(predictions, **options)


# How a score reads


def test_a_score_reads_as_a_sentence():
    assert str(proportion(9_920, 10_000)) == "99.2 % (99.0 to 99.4, 10,000 images)"
    assert f"{Score(0.25, 0.1, 0.4, 8):.2f}" == "0.25 (0.10 to 0.40, 8 images)"
    assert str(proportion(0, 0)) == "not measured (0 images)"
    assert f"{Score(0.25, math.nan, math.nan, 1):.2f}" == "0.25 (1 image)"


def test_json_has_every_score_and_every_class(metrics):
    block = metrics.as_json()
    assert set(block) == set(asdict(metrics))
    assert set(block["accuracy"]) == {"value", "low", "high", "count", "clusters"}
    assert set(block["per_class"][0]) == {
        "name",
        "count",
        "predicted_count",
        "recall",
        "precision",
        "f1",
        "trusted",
    }
