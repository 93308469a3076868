import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.clusters import answers, bounds
from tellapart.evaluation.comparison import compare
from tellapart.evaluation.paired import compare_all
from tellapart.evaluation.paired_shares import compare_shares, mcnemar, sign_flip
from tellapart.evaluation.predictions import Predictions


def two_models(sizes, likeness, seed=0, apart=0.3):
    """Who is right of two equally good models, and the groups of the images."""
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    together = rng.random(len(clusters)) < np.sqrt(likeness)
    alone, common = rng.random(len(clusters)), rng.random(len(sizes))[clusters]
    place = np.where(together, common, alone)
    beyond = (place >= 0.7) & (place < 0.7 + apart / 2)
    return place < 0.7, (place < 0.7 - apart / 2) | beyond, clusters


@given(gained=st.integers(0, 20), lost=st.integers(0, 20))
def test_flipping_the_signs_of_single_images_is_mcnemars_test(gained, lost):
    change = np.repeat([1, -1, 0], [gained, lost, 5])
    assert sign_flip(change, np.arange(len(change))) == mcnemar(gained, lost)


@given(gained=st.integers(0, 20), lost=st.integers(0, 20), copies=st.integers(2, 5))
def test_copies_change_no_p_value(gained, lost, copies):
    change = np.repeat([1, -1, 0], [gained, lost, 5])
    clusters = np.repeat(np.arange(len(change)), copies)
    assert sign_flip(np.repeat(change, copies), clusters) == mcnemar(gained, lost)


def test_the_signs_of_whole_groups_are_flipped():
    change, clusters = np.array([1, 1, 1, 1, 1, -1]), np.array([0, 0, 0, 1, 1, 2])
    sums = [abs(a + b + c) for a in (3, -3) for b in (2, -2) for c in (1, -1)]
    assert sign_flip(change, clusters) == np.mean(np.array(sums) >= 4)


def test_groups_without_a_change_say_nothing():
    assert sign_flip(np.zeros(6, int), np.arange(6) // 2) == 1
    assert sign_flip(np.array([1, -1, 0, 0]), np.array([0, 0, 1, 1])) == 1


def test_the_normal_distribution_takes_over_where_groups_are_many(monkeypatch):
    change = np.random.default_rng(0).choice([1, 1, 0, -1], 3000)
    exact = sign_flip(change, np.arange(3000) // 3)
    monkeypatch.setattr("tellapart.evaluation.paired_shares.MOST_STEPS", 0)
    assert sign_flip(change, np.arange(3000) // 3) == pytest.approx(exact, rel=0.3)


@pytest.mark.parametrize("likeness", [0, 0.5, 1])
def test_equal_models_are_told_apart_at_most_5_times_in_100(likeness):
    pairs = [compare_shares(*two_models([5] * 60, likeness, seed)) for seed in range(400)]
    assert np.mean([pair.p < 0.05 for pair in pairs]) < 0.075
    held = np.mean([pair.difference.low <= 0 <= pair.difference.high for pair in pairs])
    assert held > 0.925


def test_images_of_their_own_are_compared_by_mcnemar():
    first, second, _ = two_models([1] * 50, 0)
    pair = compare_shares(first, second, np.arange(50))
    assert (pair.test, pair.p) == ("mcnemar", mcnemar(pair.gained, pair.lost))
    assert pair.differing == pair.gained + pair.lost


# Whole comparisons


def both_models(copies):
    return answers(copies=copies), answers(copies=copies, seed=3)


def test_five_copies_of_every_image_are_compared_like_one():
    ones, fives = (compare(*both_models(copies)) for copies in (1, 5))
    assert fives.p == ones.p
    assert bounds(fives.difference) == pytest.approx(bounds(ones.difference))


def test_every_metric_of_five_copies_is_compared_like_one():
    ones, fives = (compare_all(both_models(copies), "AB").pairs[0] for copies in (1, 5))
    expected = [(metric.name, *bounds(metric.difference), metric.p) for metric in ones.metrics]
    assert [(metric.name, *bounds(metric.difference), metric.p) for metric in fives.metrics] == [
        (name, *(pytest.approx(number) for number in numbers)) for name, *numbers in expected
    ]


def test_as_many_groups_are_needed_for_copies_as_images_for_one():
    ones, fives = (compare_all(both_models(copies), "AB").pairs[0].main for copies in (1, 5))
    assert fives.smallest_found == pytest.approx(ones.smallest_found)
    assert fives.images_needed == pytest.approx(5 * ones.images_needed)


def test_a_comparison_counts_images_and_groups():
    text = " ".join(compare(*both_models(5)).lines())
    assert text.startswith("On the same 300 images, 60 groups: first ")
    assert " groups (second correct on " in text


def test_the_test_over_groups_has_its_name():
    pair = compare_all(both_models(5), "AB").pairs[0]
    assert {metric.test for metric in pair.metrics} == {"sign-flip", "bootstrap"}
    assert not pair.classes_as_json()[0]["trusted"]


def test_a_few_changed_groups_are_no_certainty():
    first = answers(count=60, copies=5)
    flipped = first.probs.copy()
    flipped[:5] = np.roll(flipped[:5], 1, axis=1)
    second = Predictions(flipped, first.labels, first.paths, first.classes, clusters=first.clusters)
    balanced = compare_all((first, second), "AB").pairs[0].metrics[1]
    assert (balanced.name, balanced.p_alone) == ("balanced_accuracy", 1)
