"""What is answered: weights, a threshold, or costs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tellapart import UserError
from tellapart.evaluation.rule import AnswerRule, Costs, read_costs

PROBS = np.array([[0.9, 0.1], [0.7, 0.3], [0.55, 0.45]], np.float32)


def test_without_weights_the_most_probable_class_is_the_answer():
    assert AnswerRule().answers(PROBS).tolist() == [0, 0, 0]


def test_weights_choose_another_class():
    assert AnswerRule(weights=(1.0, 3.0)).answers(PROBS).tolist() == [0, 1, 1]


def test_the_threshold_is_held_against_the_probability_of_the_answer():
    rule = AnswerRule(threshold=0.4, weights=(1.0, 3.0))
    assert rule.decide(PROBS, None).tolist() == ["answered", "unsure", "answered"]


def test_costs_answer_where_that_is_cheaper():
    rule = AnswerRule(costs=Costs((5.0, 5.0), (1.0, 1.0)))  # pays off from 80 % on
    assert rule.decide(PROBS, None).tolist() == ["answered", "unsure", "unsure"]


def test_a_class_that_is_dear_to_miss_is_answered_sooner():
    costs = Costs((1.0, 8.0), (2.0, 2.0))
    rule = AnswerRule(weights=costs.wrong, costs=costs)
    assert rule.answers(PROBS).tolist() == [0, 1, 1]
    assert rule.decide(PROBS, None).tolist() == ["answered", "answered", "answered"]


def test_costs_have_the_lowest_expected_cost_of_all_rules_on_calibrated_probabilities():
    rng = np.random.default_rng(0)
    share = rng.random(20_000)
    probs, truth = np.stack([1 - share, share], axis=1), rng.random(20_000) < share
    costs = Costs((1.0, 9.0), (0.6, 0.6))

    def cost(rule: AnswerRule) -> float:
        answered = rule.decide(probs, None) == "answered"
        wrong = (rule.answers(probs) != truth) * np.where(truth, 9.0, 1.0)
        return float(np.where(answered, wrong, 0.6).mean())

    best = cost(AnswerRule(weights=costs.wrong, costs=costs))
    others = [AnswerRule(t, w) for t in (0.5, 0.7, 0.9) for w in ((), (1.0, 9.0))]
    assert best < min(map(cost, others))


def test_an_unfamiliar_image_is_never_answered_and_nan_is_no_answer():
    probs = np.array([[1.0, 0.0], [np.nan, np.nan]], np.float32)
    assert AnswerRule(0.5).decide(probs, np.array([1.5, 0.1])).tolist() == ["unfamiliar", "unsure"]


def test_a_rule_comes_back_from_json():
    rule = AnswerRule(0.8, (1.0, 2.0), Costs((1.0, 2.0), (0.5, 0.5)))
    assert AnswerRule.from_json(json.loads(json.dumps(rule.as_json()))) == rule


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["wrong"], "cannot hold 'wrong'"),
        (["wrong=dear"], "cannot hold 'wrong=dear'"),
        (["wrong=-1", "unanswered=1"], "cannot hold 'wrong=-1'"),
        (["late=1"], "cannot hold 'late=1'"),
        (["wrong=1"], "does not say what an image of class 'cat' costs if it is not answered"),
        (["wrong:cow=1", "unanswered=1"], "'cow'"),
    ],
)
def test_costs_that_cannot_be_read_are_refused(entries: list[str], message: str):
    with pytest.raises(UserError, match=message):
        read_costs(entries, ["cat", "dog"])
