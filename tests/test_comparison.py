"""Two models on the same images: the interval covers, the test is exact, the words fit the
numbers.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from tellapart.evaluation.comparison import compare
from tellapart.evaluation.paired_shares import mcnemar, paired_interval
from tellapart.evaluation.predictions import Predictions


def predictions(right: list[bool]) -> Predictions:
    """Two classes, all labels the first one."""
    probs = np.array([[0.9, 0.1] if one else [0.2, 0.8] for one in right], np.float32).reshape(
        -1, 2
    )
    return Predictions(
        probs, np.zeros(len(right), np.int64), tuple(map(str, range(len(right)))), ("cat", "dog")
    )


def pair(both: int, gained: int, lost: int, neither: int) -> tuple[Predictions, Predictions]:
    first = [True] * both + [False] * gained + [True] * lost + [False] * neither
    second = [True] * (both + gained) + [False] * (lost + neither)
    return predictions(first), predictions(second)


def test_the_images_are_counted_by_who_is_right():
    comparison = compare(*pair(36, 12, 2, 5))
    assert (comparison.gained, comparison.lost) == (12, 2)
    assert (comparison.first.value, comparison.second.value) == (38 / 55, 48 / 55)
    assert comparison.difference.value == pytest.approx(10 / 55)


def test_the_interval_is_that_of_newcombes_table():
    # Newcombe 1998, Statistics in Medicine 17:2635, table II, method 10.
    assert paired_interval(both=36, gained=12, lost=2, count=50) == pytest.approx(
        (0.0569, 0.3404), abs=5e-5
    )


def test_exchanging_the_two_turns_the_interval_round():
    low, high = paired_interval(both=80, gained=9, lost=4, count=100)
    assert paired_interval(both=80, gained=4, lost=9, count=100) == pytest.approx((-high, -low))


@pytest.mark.parametrize(
    ("both", "gained", "lost"), [(0.8, 0.08, 0.04), (0.9, 0.02, 0.02), (0.4, 0.2, 0.1)]
)
def test_the_interval_holds_the_truth_nineteen_times_of_twenty(
    both: float, gained: float, lost: float
):
    drawn = np.random.default_rng(0).multinomial(
        150, [both, gained, lost, 1 - both - gained - lost], 10_000
    )
    bounds = [paired_interval(*map(int, one[:3]), 150) for one in drawn]
    held = np.mean([low <= gained - lost <= high for low, high in bounds])
    assert 0.94 <= held <= 0.99


def test_pairs_that_agree_give_a_narrower_interval_than_pairs_that_do_not():
    narrow, wide = (
        paired_interval(both, changed, changed, 200) for both, changed in ((150, 5), (120, 35))
    )
    assert narrow[1] - narrow[0] < 0.6 * (wide[1] - wide[0])


def test_equal_models_differ_by_nothing_and_by_chance_only():
    comparison = compare(*pair(20, 0, 0, 3))
    assert (comparison.difference.value, comparison.p) == (0.0, 1.0)
    assert comparison.difference.low < 0 < comparison.difference.high


@pytest.mark.parametrize(
    ("gained", "lost"), [(0, 0), (5, 0), (12, 2), (7, 7), (30, 51), (900, 1000)]
)
def test_mcnemar_is_the_binomial_test(gained: int, lost: int):
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected)


def test_other_images_are_refused():
    first, second = pair(5, 1, 1, 1)
    with pytest.raises(ValueError, match="same images"):
        compare(first, replace(second, paths=("other", *second.paths[1:])))
    with pytest.raises(ValueError, match="same images"):
        compare(first, replace(second, labels=1 - second.labels))


def test_the_lines_say_scores_difference_time_and_what_is_shipped():
    comparison = compare(
        *pair(530, 50, 24, 52), ("probe", "fine-tuned"), seconds=372.0, shipped="fine-tuned"
    )
    scores, pairs, shipped = comparison.lines()
    assert scores.startswith(
        "On the same 656 images: probe 84.5 % (81.5 to 87.0), fine-tuned 88.4 % ("
    )
    assert "; difference +4.0 points (+1.4 to +6.6)." in scores
    assert (
        pairs
        == "They differ on 74 images (fine-tuned correct on 50, probe on 24): a real difference (p ="
        f" {binomtest(24, 74).pvalue:.2g})."
    )
    assert shipped == "6 min 12 s spent; shipped: fine-tuned."


def test_a_difference_that_chance_makes_is_called_that():
    assert "no evidence of a difference" in compare(*pair(50, 3, 2, 5)).lines()[1]
    assert "p < 0.0001" in compare(*pair(50, 30, 0, 5)).lines()[1]


def test_without_images_nothing_is_claimed():
    comparison = compare(predictions([]), predictions([]), ("probe", "fine-tuned"), shipped="probe")
    assert math.isnan(comparison.difference.value)
    assert comparison.lines() == [
        "There are no images to compare probe and fine-tuned on.",
        "shipped: probe.",
    ]
    assert comparison.as_json()["difference"]["value"] is None


def test_the_json_is_plain_and_finite():
    values = json.loads(
        json.dumps(compare(*pair(5, 2, 1, 1), shipped="second").as_json(), allow_nan=False)
    )
    assert values["difference"]["count"] == 9
    assert (values["gained"], values["lost"], values["shipped"]) == (2, 1, "second")
