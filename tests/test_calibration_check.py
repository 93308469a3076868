"""The check of the confidences: true ones pass, false ones do not, copies count once."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.evaluation.calibration_check import check_calibration
from tellapart.evaluation.metrics import measure
from tellapart.evaluation.predictions import Predictions


def answers(count: int, seed: int, boldness: float = 1.0, copies: int = 1) -> Predictions:
    """Images of two classes; at boldness 1 the confidences are true."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(2, 1.5, count)
    right = rng.random(count) < 1 / (1 + np.exp(-logit))
    said = 1 / (1 + np.exp(-boldness * logit))
    probs = np.stack([said, 1 - said], axis=1).astype(np.float32)
    rows = np.repeat(np.arange(count), copies)
    paths = tuple(f"{row}.jpg" for row in range(len(rows)))
    return Predictions(
        probs[rows], (~right[rows]).astype(np.int64), paths, ("cat", "dog"), clusters=rows
    )


@pytest.mark.parametrize("copies", [1, 5])
def test_true_confidences_pass_nearly_always_also_where_copies_count_once(copies: int):
    passed = [check_calibration(answers(200, seed, copies=copies)).passed for seed in range(60)]
    assert sum(passed) >= 50


def test_a_model_that_is_too_sure_of_itself_is_found_out():
    passed = [check_calibration(answers(400, seed, boldness=3)).passed for seed in range(20)]
    assert sum(passed) <= 2


def test_the_binned_error_is_that_of_the_metrics():
    predictions = answers(300, 0)
    check = check_calibration(predictions)
    assert check is not None
    assert check.ece == pytest.approx(measure(predictions).ece.value, abs=1e-6)


def test_few_images_make_a_large_error_by_chance_alone():
    few, many = (check_calibration(answers(count, 1)) for count in (50, 5000))
    assert few is not None and many is not None
    assert few.ks_by_chance > 5 * many.ks_by_chance
    assert few.ece_by_chance > 5 * many.ece_by_chance


def test_the_order_of_the_images_changes_nothing():
    predictions = answers(100, 2)
    shuffled = predictions.rows(np.random.default_rng(0).permutation(100))
    assert check_calibration(shuffled) == pytest.approx(check_calibration(predictions))


def test_without_images_there_is_nothing_to_check():
    assert check_calibration(answers(0, 0)) is None
