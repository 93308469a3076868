"""Accuracy by slice: what is planted is named, and chance is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.slice_cuts import cut
from tellapart.evaluation.slice_tests import worse_p
from tellapart.evaluation.slices import failing_slices, measure_slices


def answers(correct: NDArray[np.bool_], clusters: NDArray[np.int64] | None = None) -> Predictions:
    """Predictions of which some are right."""
    count = len(correct)
    probs = np.where(correct[:, None], [0.9, 0.1], [0.1, 0.9]).astype(np.float32)
    own = np.arange(count) if clusters is None else clusters
    paths = tuple(map(str, range(count)))
    return Predictions(probs, np.zeros(count, np.int64), paths, ("cat", "dog"), None, own)


def table(seed: int, loss: float = 0.0) -> tuple[Predictions, dict[str, Any]]:
    """400 images and their columns; at night the accuracy is lower by `loss`."""
    rng = np.random.default_rng(seed)
    columns = {
        "light": rng.choice(["day", "night", "dusk"], 400, p=[0.6, 0.25, 0.15]),
        "brightness": rng.normal(120, 40, 400),
        "site": rng.integers(0, 5, 400).astype(str),
    }
    chance = np.where(columns["light"] == "night", 0.95 - loss, 0.95)
    return answers(rng.random(400) < chance), columns


def named(seed: int, loss: float = 0.0) -> list[str]:
    return [f"{entry.name}: {entry.value}" for entry in failing_slices(*table(seed, loss))]


# ── what is named ──


def test_a_planted_failing_slice_is_named_in_nine_of_ten_tables():
    assert sum("light: night" in named(seed, 0.25) for seed in range(20)) >= 18


def test_nothing_is_named_where_nothing_is_planted():
    assert sum(bool(named(seed)) for seed in range(100, 120)) <= 1


def test_a_few_failing_groups_are_no_failing_slice():
    clusters = np.repeat(np.arange(60), 20)
    correct = ~np.isin(clusters, [0, 1])
    camera = np.where(clusters < 15, "old", "new")
    assert failing_slices(answers(correct, clusters), {"camera": camera}) == []
    assert failing_slices(answers(correct), {"camera": camera})[0].value == "old"


def test_a_slice_that_is_better_than_the_rest_does_not_fail():
    correct = np.arange(200) % 2 == 0
    camera = np.where(correct, "new", "old")
    assert [entry.value for entry in failing_slices(answers(correct), {"camera": camera})] == [
        "old"
    ]


# ── how it is measured ──


def test_its_p_is_fishers():
    correct, rows = np.arange(100) % 7 > 0, np.arange(100) < 30
    counts = [[(~correct & rows).sum(), (correct & rows).sum()]]
    counts += [[(~correct & ~rows).sum(), (correct & ~rows).sum()]]
    expected = fisher_exact(counts, alternative="greater").pvalue
    assert worse_p(correct, np.arange(100), rows) == pytest.approx(expected)


def test_copies_make_nothing_surer():
    correct, rows = np.arange(40) % 3 > 0, np.arange(40) < 14
    once = worse_p(correct, np.arange(40), rows)
    copied = worse_p(np.repeat(correct, 5), np.repeat(np.arange(40), 5), np.repeat(rows, 5))
    assert copied == pytest.approx(once)


def test_columns_that_say_the_same_are_one_look():
    predictions, columns = table(0, 0.1)
    alone = measure_slices(predictions, {"light": columns["light"]})
    twice = measure_slices(predictions, {"light": columns["light"], "lamp": columns["light"]})
    assert {entry.p for entry in twice.tested} == {entry.p for entry in alone.tested}


def test_each_further_look_makes_it_less_sure():
    predictions, columns = table(0, 0.12)
    first = measure_slices(predictions, {"light": columns["light"]}).tested[0]
    among = measure_slices(predictions, columns).tested
    assert next(entry for entry in among if entry.value == first.value).p > first.p


def test_a_slice_tells_how_many_of_its_images_are_answered():
    predictions, columns = table(0)
    answered = columns["light"] == "day"
    slices = measure_slices(predictions, {"light": columns["light"]}, answered)
    coverage = {entry.value: entry.answered and entry.answered.value for entry in slices.tested}
    assert coverage == {"day": 1.0, "night": 0.0, "dusk": 0.0}


def test_a_slice_that_is_hardly_answered_is_told_though_its_answers_are_right():
    light = np.array(["day", "night"]).repeat([150, 50])
    slices = measure_slices(answers(np.ones(200, bool)), {"light": light}, light == "day")
    assert slices.failing == ()
    assert slices.as_json()["answered_less"] == ["light: night"]
    assert "Images with light night are answered less often than the rest: 0.0 %" in slices.lines[0]


def test_a_column_that_cannot_tell_says_why():
    columns = {"same": ["a"] * 50, "none": [""] * 50, "own": [str(n) + "x" for n in range(50)]}
    skipped = measure_slices(answers(np.ones(50, bool)), columns).skipped
    assert skipped == {
        "same": "all images have the same value",
        "none": "no image has a value",
        "own": "no value has 10 images beside 10 others, groups counted once",
    }


def test_few_images_are_told():
    slices = measure_slices(answers(np.ones(8, bool)), {"light": ["day"] * 4 + ["night"] * 4})
    assert slices.lines[0] == "No slice has enough images to be tested."


# ── how columns are cut ──


def test_numbers_are_cut_into_bins_of_equally_many_images():
    parts = cut(np.random.default_rng(0).normal(size=500))
    assert [int(part.rows.sum()) for part in parts] == [100] * 5


def test_equal_numbers_are_in_one_bin():
    parts = cut([0] * 70 + list(range(1, 31)))
    assert parts[0].value == "0"
    assert sum(part.rows for part in parts).tolist() == [1] * 100


def test_few_numbers_are_names():
    assert [part.value for part in cut(["1", "2", "2", "3"])] == ["1", "2", "3"]


def test_images_without_a_value_are_a_slice():
    parts = cut([1.5, None, float("nan"), 2.5])
    assert (parts[-1].value, parts[-1].rows.tolist()) == ("not stated", [False, True, True, False])


def test_moments_are_cut_by_date_and_by_time_of_day():
    moments = [f"2026-01-{day:02}T{hour:02}:10:00" for day in range(1, 11) for hour in (2, 14)]
    values = {part.value: int(part.rows.sum()) for part in cut(moments)}
    assert values["2026-01-01 to 2026-01-02"] == 4
    assert (values["night, 0 to 6 h"], values["afternoon, 12 to 18 h"]) == (10, 10)


def test_dates_have_no_time_of_day():
    days = [f"2026-01-{day:02}" for day in range(1, 21)]
    assert cut(days)[0].value == "2026-01-01 to 2026-01-04"
    assert not [part for part in cut(days) if "night" in part.value]
