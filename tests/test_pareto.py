"""Which backbone to take: the front, the gains that are proved, and a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tellapart.evaluation.metrics import measure, proportion
from tellapart.evaluation.predictions import Predictions
from tellapart.experiments.advice import Advice, advise
from tellapart.experiments.pareto import Budget, Candidate, Latency, front, points, standings

FEW = measure(
    Predictions(np.eye(2, dtype=np.float32), np.arange(2), ("a.jpg", "b.jpg"), ("ant", "bee"))
)


def candidate(
    name: str,
    wrong: Sequence[int],
    ms: float,
    *,
    count: int = 200,
    megabytes: float = 10.0,
    decoding: float = 0.0,
) -> Candidate:
    """One that is wrong on some of the rows of `count` images of two classes."""
    labels = np.arange(count) % 2
    answers = labels.copy()
    answers[list(wrong)] ^= 1
    probs = np.where(np.arange(2) == answers[:, None], 0.9, 0.1).astype(np.float32)
    val = Predictions(probs, labels, tuple(f"{row}.jpg" for row in range(count)), ("ant", "bee"))
    return Candidate(
        name=name,
        val=val,
        metrics=replace(FEW, accuracy=proportion(count - len(wrong), count)),
        latency=Latency(ms, 0.9 * ms, 1.1 * ms, 1),
        decoding=Latency(decoding, decoding, decoding, 1),
        spread=None,
        megabytes=megabytes,
        parameters=1_000_000,
        size_px=224,
        licence="Apache-2.0",
        source="here",
        seconds=1.0,
    )


def taken(advice: Advice) -> str | None:
    return advice.chosen and advice.chosen.name


def test_the_front_holds_those_that_none_beats():
    fast, slow = candidate("fast", range(20), 5), candidate("slow", range(5), 20)
    beaten = candidate("beaten", range(30), 10)
    assert front([slow, beaten, fast]) == [fast, slow]


def test_of_two_that_are_equal_in_both_neither_beats_the_other():
    assert len(front([candidate("one", range(9), 5), candidate("two", range(9), 5)])) == 2


def test_a_measurably_better_one_is_taken_although_it_is_slower():
    advice = advise([candidate("fast", range(40), 5), candidate("slow", range(5), 20)], Budget())
    assert taken(advice) == "slow"
    assert advice.lines[0] == "Take slow: none is more accurate on val."


def test_a_gain_that_is_not_proved_is_no_reason_to_take_the_worse_one():
    small = [
        candidate("fast", range(25), 10, count=89),
        candidate("slow", range(15, 32), 18, count=89),
    ]
    advice = advise(small, Budget())
    assert taken(advice) == "slow"
    assert advice.lines[2].startswith("8 ms more an image than fast buy +9.0 points (")
    assert "89 val images cannot confirm this gain (p = " in advice.lines[2]
    assert advice.lines[2].endswith("--ms-worth 1.2 takes fast.")


def test_a_gain_that_may_be_chance_is_said_to_be_unconfirmed():
    advice = advise([candidate("fast", range(8), 5), candidate("slow", range(1, 8), 10)], Budget())
    assert taken(advice) == "slow"
    assert "+0.5 points" in advice.lines[2]
    assert "200 val images cannot confirm this gain (p = 1)." in advice.lines[2]


def test_a_proved_gain_is_said_to_be_measurable_and_has_its_price_too():
    advice = advise([candidate("fast", range(40), 5), candidate("slow", range(5), 20)], Budget())
    assert "15 ms more an image than fast buy +17.5 points (" in advice.lines[2]
    assert "This gain is measurable (p < 0.0001)." in advice.lines[2]
    assert "cannot confirm" not in " ".join(advice.lines)


def test_without_a_worth_of_time_even_a_tiny_gain_decides():
    many = [
        candidate("fast", range(51), 5, count=5000),
        candidate("slow", range(50), 10, count=5000),
    ]
    assert taken(advise(many, Budget())) == "slow"


def test_a_millisecond_that_is_worth_something_takes_the_faster_one():
    both = [candidate("fast", range(25), 10), candidate("slow", range(15, 32), 18)]
    advice = advise(both, Budget(ms_worth=1))
    assert advice.lines[0] == (
        "Take fast: no other accuracy is worth its time, at 1 point a millisecond."
    )
    assert advice.lines[2].startswith(
        "slow takes 8 ms more an image, which cost 8 points at that rate. It buys +4.0 points ("
    )


def test_the_rate_that_is_named_turns_the_choice_and_a_little_less_does_not():
    both = [candidate("fast", range(25), 10), candidate("slow", range(15, 32), 18)]
    assert advise(both, Budget()).lines[2].endswith("--ms-worth 0.51 takes fast.")
    assert taken(advise(both, Budget(ms_worth=0.51))) == "fast"
    assert taken(advise(both, Budget(ms_worth=0.49))) == "slow"


def test_of_several_the_one_that_the_choice_would_turn_to_first_is_named():
    three = [
        candidate("fast", range(40), 5),
        candidate("near", range(6), 12),
        candidate("slow", range(5), 20),
    ]
    assert "8 ms more an image than near buy +0.5 points" in advise(three, Budget()).lines[2]


def test_one_that_is_as_fast_within_the_noise_is_no_saving():
    both = [candidate("one", range(8), 10.0), candidate("best", range(5), 10.5)]
    assert "more an image" not in " ".join(advise(both, Budget()).lines)


def test_of_equals_the_faster_one_is_taken():
    equals = [candidate("slow", range(5), 20), candidate("fast", range(5, 10), 5)]
    assert taken(advise(equals, Budget())) == "fast"


def test_the_time_has_decoding_in_it_and_shows_it_apart():
    only = candidate("only", range(5), 7.9, decoding=4.1)
    (_, score, *_) = advise([only], Budget()).lines
    assert "12 ms an image (decoding 4.1 ms + network 7.9 ms) and 10 MB" in score
    assert taken(advise([only], Budget(max_ms=11))) is None


def test_within_a_limit_the_best_estimate_is_taken():
    advice = advise(
        [candidate("fast", range(8), 5), candidate("slow", range(1, 8), 10)], Budget(max_ms=20)
    )
    assert advice.lines[0] == "Take slow: within 20 ms an image none is more accurate on val."


def test_too_few_images_are_said_to_be_too_few():
    few = [candidate("fast", range(4), 5, count=40), candidate("slow", range(2), 10, count=40)]
    advice = advise(few, Budget())
    assert taken(advice) == "slow"
    assert "40 val images cannot confirm this gain" in " ".join(advice.lines)


def test_the_most_accurate_is_told_from_those_that_may_still_be_better():
    few = [candidate("fast", range(2), 5, count=40), candidate("slow", range(2, 5), 10, count=40)]
    assert "40 val images are too few to rank it against slow" in " ".join(
        advise(few, Budget()).lines
    )


def test_many_images_that_agree_leave_no_doubt():
    many = [
        candidate("fast", range(50), 5, count=5000),
        candidate("slow", range(50), 10, count=5000),
    ]
    assert "too few" not in " ".join(advise(many, Budget()).lines)


@pytest.mark.parametrize("budget", [Budget(max_ms=10), Budget(max_mb=20)])
def test_a_budget_keeps_to_those_within_and_says_what_it_costs(budget: Budget):
    both = [candidate("small", range(40), 5), candidate("large", range(5), 20, megabytes=90)]
    advice = advise(both, budget)
    assert taken(advice) == "small"
    assert f"within {budget} it is the only one" in advice.lines[0]
    assert "Beyond that budget, large is measurably better (+17.5 points (" in " ".join(
        advice.lines
    )


def test_where_nothing_is_within_the_budget_the_nearest_are_named():
    both = [
        candidate("fast", range(9), 5, megabytes=40),
        candidate("small", range(9), 20, megabytes=8),
    ]
    advice = advise(both, Budget(max_ms=1))
    assert taken(advice) is None
    assert advice.lines == (
        (
            "No candidate is within 1 ms an image: the fastest, fast, takes 5 ms an image"
            " and 40 MB; the smallest, small, 20 ms an image and 8 MB."
        ),
    )


def test_p_values_are_corrected_for_all_pairs_of_candidates():
    best, other = candidate("best", range(10), 5), candidate("other", range(5, 26), 6)
    alone = standings([best, other])["other"]
    among = standings(
        [
            best,
            other,
            candidate("third", range(90, 105), 7),
            candidate("fourth", range(120, 136), 8),
        ]
    )
    assert alone.is_worse
    assert among["other"].pair.p == 6 * alone.pair.p > 0.05
    assert among["other"].text.endswith(", corrected for 6 comparisons")
    assert not among["other"].is_worse


def test_an_interval_holds_0_exactly_where_the_corrected_p_calls_it_chance():
    others = [candidate(str(wrong), range(5, 5 + wrong), 6) for wrong in range(8, 40)]
    pairs = [
        standing.pair for standing in standings([candidate("best", range(4), 5), *others]).values()
    ]
    assert [pair.score.high >= 0 for pair in pairs] == [pair.p >= 0.05 for pair in pairs]
    assert {pair.p < 0.05 for pair in pairs} == {True, False}


def equals(count: int, images: int, seed: int) -> list[Candidate]:
    """Candidates that are equally good, each by its own chance, on images that are hard or easy."""
    rng = np.random.default_rng(seed)
    hardness = rng.normal(size=images)
    wrong = hardness + 0.6 * rng.normal(size=(count, images)) > 1
    return [
        candidate(str(place), np.flatnonzero(row).tolist(), 5, count=images)
        for place, row in enumerate(wrong)
    ]


def test_of_ten_equals_none_is_called_worse_in_19_of_20():
    found = [standings(equals(10, 300, seed)).values() for seed in range(100)]
    false = [any(standing.is_worse for standing in others) for others in found]
    assert np.mean(false) <= 0.05


def test_copies_of_the_val_images_make_no_backbone_measurably_worse():
    best, other = candidate("best", range(10), 5), candidate("other", range(5, 20), 6)
    rows = np.repeat(np.arange(200), 5)
    best, other = (
        replace(each, val=replace(each.val.rows(rows), clusters=rows)) for each in (best, other)
    )
    copied = standings([best, other])["other"]
    assert not copied.is_worse
    assert copied.pair.score.clusters == 200


def test_nothing_has_no_minus():
    assert points(-0.0, -0.0004, 0.02) == "+0.0 points (+0.0 to +2.0)"
