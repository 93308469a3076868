from dataclasses import replace

import numpy as np
import pytest

from tellapart.evaluation.calibration import (
    confidence_bins,
    fit_scaling,
    fit_temperature,
    reliability,
    softmax,
)
from tellapart.evaluation.metrics import measure
from tellapart.evaluation.predictions import Predictions


def simulated(count, num_classes=4, seed=0):
    """Logits that are calibrated as they are, and labels drawn from them."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.normal(size=(count, num_classes))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return logits, labels


def predictions_of(probs, labels):
    paths, classes = (tuple(f"{row}.jpg" for row in range(size)) for size in probs.shape)
    return Predictions(probs, labels, paths, classes)


@pytest.mark.parametrize("planted", [0.25, 1.0, 1.7, 6.0])
def test_the_planted_temperature_is_found(planted):
    logits, labels = simulated(20_000)
    assert fit_temperature(logits * planted, labels) == pytest.approx(planted, rel=0.05)


def test_the_temperature_is_where_the_smoothed_cross_entropy_is_lowest():
    logits, labels = simulated(50)
    grid = np.geomspace(0.5, 20, 2001)
    target = np.full((50, 4), 0.5 / 51 / 3)
    target[np.arange(50), labels] = 1 - 0.5 / 51
    losses = [-(target * np.log(softmax(logits, t).astype(float))).sum() for t in grid]
    assert fit_temperature(logits, labels) == pytest.approx(grid[np.argmin(losses)], rel=0.005)


@pytest.mark.parametrize("size", [0.1, 1, 10])
def test_the_size_of_the_logits_does_not_matter(size):
    logits, labels = simulated(40)
    assert fit_temperature(size * logits, labels) == pytest.approx(
        size * fit_temperature(logits, labels), rel=1e-6
    )


def rare_and_balanced(ratio, count=4000):
    """Logits of a balanced model over two classes of which the second is rare, and labels."""
    rng = np.random.default_rng(0)
    labels = (rng.random(count) < 1 / (ratio + 1)).astype(np.int64)
    score = 1.5 * (2 * labels - 1) + rng.normal(scale=1.5, size=count)
    evidence = 2 * score * 1.5 / 1.5**2  # the log odds of two classes that are equally frequent
    return np.stack([-evidence, evidence], axis=1) / 2, labels


@pytest.mark.parametrize("ratio", [5, 20])
def test_after_balanced_training_the_mean_probability_of_a_class_is_its_share(ratio):
    logits, labels = rare_and_balanced(ratio)
    shares = np.bincount(labels) / len(labels)
    plain = softmax(logits, fit_temperature(logits, labels)).mean(axis=0)
    scaled = fit_scaling(logits, labels, shares=shares).probabilities(logits).mean(axis=0)
    assert plain[1] > 1.5 * shares[1]
    assert scaled[1] == pytest.approx(shares[1], rel=0.02)


def test_without_balancing_there_is_no_bias():
    logits, labels = simulated(300)
    assert not fit_scaling(logits, labels).bias.any()


def test_calibration_makes_the_calibration_error_of_new_images_smaller():
    logits, labels = simulated(4000)
    temperature = fit_temperature(5 * logits[:2000], labels[:2000])
    before, after = (
        measure(predictions_of(softmax(5 * logits[2000:], t), labels[2000:]))
        for t in (1.0, temperature)
    )
    assert after.ece.value < before.ece.value / 3
    assert after.log_loss.value < before.log_loss.value


@pytest.mark.parametrize("count", [2, 10, 30])
def test_a_tiny_val_that_is_all_right_asks_for_no_certainty(count):
    labels = np.arange(count) % 2
    assert 0.5 < fit_temperature(6 * np.eye(2)[labels], labels) < 10


def test_temperature_is_kept_within_its_bounds():
    logits, labels = simulated(200)
    assert fit_temperature(0.01 * np.repeat(logits, 500, axis=0), np.repeat(labels, 500)) == 1 / 20
    assert fit_temperature(1e3 * logits, labels) == 20
    assert fit_temperature(logits, (labels + 1) % 4) == 20


@pytest.mark.parametrize("shape", [(0, 3), (5, 1), (4, 2)])
def test_nothing_to_learn_leaves_the_logits_as_they_are(shape):
    assert fit_temperature(np.zeros(shape), np.zeros(shape[0], np.int64)) == 1


def test_adding_a_constant_to_a_image_changes_no_temperature():
    logits, labels = simulated(300)
    shifted = logits + np.linspace(-500, 500, 300)[:, None]
    assert fit_temperature(shifted, labels) == pytest.approx(
        fit_temperature(logits, labels), rel=1e-6
    )


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (np.zeros((2, 3)), np.array([0]), r"labels \(N,\)"),
        (np.zeros((2, 3)), np.array([0, 3]), r"in \[0, 3\)"),
        (np.full((1, 2), np.nan), np.array([0]), "finite"),
    ],
)
def test_unusable_logits_or_labels_are_refused(logits, labels, words):
    with pytest.raises(ValueError, match=words):
        fit_temperature(logits, labels)


def test_softmax_survives_huge_logits_and_sums_to_one():
    probs = softmax(np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4]]))
    assert probs.dtype == np.float32
    assert probs.sum(axis=1) == pytest.approx(1)


def test_temperature_changes_confidence_and_never_the_answer():
    logits, _ = simulated(100)
    assert np.array_equal(softmax(logits, 7).argmax(axis=1), logits.argmax(axis=1))
    assert softmax(logits, 7).max(axis=1).mean() < softmax(logits).max(axis=1).mean()


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="temperature must be above 0"):
        softmax(np.zeros((1, 2)), 0)


def test_the_calibration_error_is_the_gap_of_the_reliability_bins():
    logits, labels = simulated(500)
    predictions = predictions_of(softmax(2 * logits), labels)
    bins = reliability(predictions)
    gap = (bins.counts * np.abs(bins.confidence - bins.accuracy)).sum() / 500
    assert measure(predictions).ece.value == pytest.approx(gap)


def test_every_image_is_in_one_bin_also_the_certain_one():
    assert confidence_bins(np.array([0, 1 / 15, 0.999, 1], np.float32)).tolist() == [0, 1, 14, 14]


def test_bins_without_images_are_zero_not_nan():
    empty = replace(predictions_of(np.zeros((0, 0), np.float32), np.zeros(0, np.int64)), classes=())
    assert (
        np.array(
            [reliability(empty).counts, reliability(empty).confidence, reliability(empty).accuracy]
        ).sum()
        == 0
    )
