"""Prediction sets hold the truth as often as they say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tellapart.evaluation.calibration import softmax
from tellapart.evaluation.conformal import MOST_SCORES, SetScores, fit_sets
from tellapart.evaluation.predictions import Predictions


def simulated(count: int, seed: int, copies: int = 1) -> Predictions:
    """Answers of a model that is too sure of itself, each as often as there are copies."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, count)
    logits = rng.normal(size=(count, 5)) + 1.5 * np.eye(5)[labels]
    rows = np.repeat(np.arange(count), copies)
    paths = tuple(f"{row}.jpg" for row in range(len(rows)))
    return Predictions(
        softmax(3 * logits)[rows], labels[rows], paths, tuple("abcde"), clusters=rows
    )


def coverage(scores: SetScores, level: float) -> float:
    """How often sets hold the truth on new images."""
    new = simulated(20_000, 99)
    sets = scores.sets(new.probs, new.answers, level)
    return float(sets[np.arange(len(new)), new.labels].mean())


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("count", [60, 400])
def test_sets_hold_the_truth_as_often_as_they_say_on_average(level: float, count: int):
    held = [coverage(fit_sets(simulated(count, seed)), level) for seed in range(40)]
    assert level - 0.01 <= np.mean(held) <= level + 0.03


def test_five_copies_of_each_image_give_the_sets_of_one():
    assert fit_sets(simulated(200, 1, copies=5)) == fit_sets(simulated(200, 1))


def test_too_few_images_give_sets_of_all_classes():
    new = simulated(10, 2)
    assert fit_sets(simulated(10, 1)).sets(new.probs, new.answers, 0.95).all()


def test_the_answer_is_always_in_the_set():
    scores, new = SetScores((0.0,) * 100, 100), simulated(50, 3)
    sets = scores.sets(new.probs, new.answers, 0.5)
    assert sets[np.arange(50), new.answers].all()


def test_many_scores_are_thinned_out_and_never_promise_less():
    scores = fit_sets(simulated(3 * MOST_SCORES + 7, 4))
    assert len(scores.scores) == MOST_SCORES
    assert coverage(scores, 0.9) > 0.89
    assert SetScores.from_json(json.loads(json.dumps(scores.as_json()))) is not None


def test_a_level_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match=r"level must be in \(0, 1\)"):
        SetScores((0.5,), 1).sets(np.ones((1, 2)), np.zeros(1, int), 95)
