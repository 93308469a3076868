"""Several models on the same images: every score compared, corrected for how many questions are
asked.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.run_folders import answers
from tellapart.evaluation.comparison import compare
from tellapart.evaluation.metrics import measure
from tellapart.evaluation.paired import Difference, Pair, aligned, compare_all
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.significance import balanced_reach, bootstrap_p, holm

CHANGED = {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier"}


def noisy(seed: int, sharpness: float = 2.0, count: int = 300, num_classes: int = 3) -> Predictions:
    """Answers whose labels are the same for every seed."""
    logits = np.random.default_rng(seed).normal(size=(count, num_classes))
    labels = np.arange(count) % num_classes
    logits[np.arange(count), labels] += sharpness
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    paths = tuple(f"{row:04}.png" for row in range(count))
    return Predictions(probs.astype(np.float32), labels, paths, tuple(map(str, range(num_classes))))


def of(differences: tuple[Difference, ...], name: str) -> Difference:
    return next(one for one in differences if one.name == name)


def test_holm_is_the_published_method():
    # Holm 1979: p (m - rank), never less than the one before, never above 1.
    assert holm([0.01, 0.02, 0.03, 0.005, 0.9]) == pytest.approx([0.04, 0.06, 0.06, 0.025, 0.9])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_p_of_a_bootstrap_fits_its_interval():
    rng = np.random.default_rng(0)
    for value in (0.0, 0.5, 1.9, 2.1, -1.9, -2.1, 4.0):
        resampled = rng.normal(value, 1.0, 1000)
        low, high = np.quantile(resampled - np.median(resampled) + value, [0.025, 0.975])
        assert (bootstrap_p(value, resampled) < 0.05) == (low > 0 or high < 0), value


def test_p_goes_on_where_the_resamples_end():
    resampled = np.random.default_rng(0).normal(7.0, 1.0, 1000)
    assert 0 < bootstrap_p(7.0, resampled) < 1e-8


def test_p_of_equals_is_spread_evenly():
    rng = np.random.default_rng(1)
    ps = np.array(
        [bootstrap_p(value, rng.normal(value, 1.0, 400)) for value in rng.normal(0, 1, 1000)]
    )
    assert [np.mean(ps < level) for level in (0.05, 0.5)] == pytest.approx([0.05, 0.5], abs=0.05)


def test_the_accuracy_is_that_of_the_plain_comparison():
    one, other = noisy(1), noisy(2, 2.5)
    plain, main = compare(one, other), compare_all([one, other], ["a", "b"]).pairs[0].main
    assert (main.name, main.test, main.p) == ("accuracy", "mcnemar", plain.p)
    assert (main.first, main.second, main.difference) == (
        plain.first,
        plain.second,
        plain.difference,
    )


def test_the_scores_are_those_of_each_run_alone():
    one, other = noisy(1), noisy(2)
    paired = compare_all([one, other], ["a", "b"], seed=3)
    assert paired.metrics == (measure(one, seed=3), measure(other, seed=3))
    loss = of(paired.pairs[0].metrics, "log_loss")
    assert loss.difference.value == pytest.approx(loss.second.value - loss.first.value)
    assert loss.difference.low <= loss.difference.value <= loss.difference.high


def test_exchanging_two_models_turns_every_difference_round():
    one, other = noisy(1), noisy(2, 2.4)
    there, back = (compare_all(both, ["a", "b"]).pairs[0] for both in ([one, other], [other, one]))
    for first, second in zip(there.metrics, back.metrics, strict=True):
        turned = (-second.difference.value, -second.difference.high, -second.difference.low)
        assert (
            first.difference.value,
            first.difference.low,
            first.difference.high,
        ) == pytest.approx(turned)
        assert first.p == pytest.approx(second.p)


def test_a_model_does_not_differ_from_itself():
    pair = compare_all([noisy(1), noisy(1)], ["a", "b"]).pairs[0]
    assert all(
        one.p == 1 and one.difference.value == 0 and not one.found
        for one in (*pair.metrics, *pair.classes)
    )
    accuracy, balanced = (
        of(pair.metrics, "accuracy").difference,
        of(pair.metrics, "balanced_accuracy").difference,
    )
    assert balanced.low == pytest.approx(accuracy.low, abs=0.003)
    assert balanced.low < 0 < balanced.high


def test_pairs_are_compared_more_closely_than_strangers_would_be():
    one = noisy(1)
    probs = (0.9 * one.probs + 0.1 * noisy(2).probs).astype(np.float32)
    near = Predictions(probs, one.labels, one.paths, one.classes)
    loss = of(compare_all([one, near], ["a", "b"]).pairs[0].metrics, "log_loss")
    assert loss.difference.high - loss.difference.low < 0.4 * (loss.first.high - loss.first.low)


def test_a_handful_of_changes_is_no_certainty():
    worse = answers([True] * 86 + [False] * 4)
    pair = compare_all([worse, answers([True] * 90)], ["a", "b"]).pairs[0]
    assert pair.main.p == 0.125
    balanced = of(pair.metrics, "balanced_accuracy")
    assert balanced.p_alone >= 0.125
    assert balanced.difference.low < 0


def test_a_large_difference_is_found_in_every_score_it_is_in():
    pair = compare_all([noisy(1, 1.0), noisy(2, 3.0)], ["a", "b"]).pairs[0]
    assert {one.name for one in pair.metrics if one.found} >= CHANGED
    assert all(one.gain > 0 for one in pair.metrics if one.name in CHANGED)


def test_every_two_of_several_are_compared_those_with_the_first_before_the_others():
    models = [noisy(seed, sharpness) for seed, sharpness in ((1, 2.0), (2, 2.0), (3, 2.3))]
    pairs = compare_all(models, ["a", "b", "c"]).pairs
    assert [pair.names for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [pair.main.p for pair in pairs] == holm([pair.main.p_alone for pair in pairs])
    others = [one for pair in pairs for one in pair.metrics[1:]]
    assert [one.p for one in others] == holm([one.p_alone for one in others])


def test_two_models_are_asked_one_main_question():
    main = compare_all([noisy(1), noisy(2)], ["a", "b"]).pairs[0].main
    assert main.p == main.p_alone


def test_uneven_classes_are_judged_by_balanced_accuracy():
    labels = np.array([0] * 90 + [1] * 10)
    probs = np.tile(np.array([0.9, 0.1], np.float32), (100, 1))
    one = Predictions(probs, labels, tuple(map(str, range(100))), ("ant", "bee"))
    other = Predictions(
        probs[:, ::-1], *(getattr(one, name) for name in ("labels", "paths", "classes"))
    )
    assert compare_all([one, other], ["a", "b"]).pairs[0].main.name == "balanced_accuracy"


@pytest.mark.parametrize("counts", [(100, 4, 4, 4), (60, 8)])
def test_equals_of_uneven_classes_are_seldom_called_different(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    pairs = [equals(seed, labels) for seed in range(60)]
    assert {pair.main.name for pair in pairs} == {"balanced_accuracy"}
    assert (
        sum(pair.main.found for pair in pairs) <= 4
    )  # 13 and 6 where p knows nothing of what widens the interval
    asked = [one for pair in pairs for one in (*pair.metrics, *pair.classes)]
    assert not [
        one
        for one in asked
        if one.p_alone < 0.05 and one.difference.low <= 0 <= one.difference.high
    ]


def equals(seed: int, labels: NDArray[np.int64]) -> Pair:
    """Two models that are right on 7 of 10 images, largely on the same ones."""
    rng, count, num_classes = np.random.default_rng(seed), len(labels), labels.max() + 1
    hard, own, alike = rng.random(count), rng.random((2, count)), rng.random((2, count)) < 0.6
    predicted = np.where(
        np.where(alike, hard, own) < 0.7,
        labels,
        (labels + rng.integers(1, num_classes)) % num_classes,
    )
    paths, classes = (
        tuple(f"{row:03}.png" for row in range(count)),
        tuple(map(str, range(num_classes))),
    )
    shares = np.where(
        np.eye(num_classes, dtype=bool)[predicted], 0.8, 0.2 / (num_classes - 1)
    ).astype(np.float32)
    return compare_all(
        [Predictions(probs, labels, paths, classes) for probs in shares], ["a", "b"], seed=seed
    ).pairs[0]


def test_the_reach_of_balanced_classes_is_that_of_the_accuracy():
    one, other = noisy(1), noisy(2)
    difference = compare(one, other).difference
    down, up = balanced_reach(one.correct, other.correct, one.labels, one.clusters)
    assert (difference.value + down, difference.value + up) == pytest.approx(
        (difference.low, difference.high)
    )


def test_classes_are_compared_and_small_ones_marked():
    right = [row % 3 != 2 or row > 45 for row in range(99)]
    pair = compare_all([answers([True] * 99), answers(right)], ["a", "b"]).pairs[0]
    assert [one.name for one in pair.classes if one.found] == ["cat"]
    assert all(entry["trusted"] for entry in pair.classes_as_json())
    small = compare_all([answers([True] * 60), answers([True] * 60)], ["a", "b"]).pairs[0]
    assert [entry["trusted"] for entry in small.classes_as_json()] == [False] * 3


def test_a_class_may_be_called_like_a_loss():
    right = [row % 3 != 0 for row in range(99)]
    classes = ("ece", "brier", "log_loss")
    pair = compare_all([answers([True] * 99, classes), answers(right, classes)], ["a", "b"]).pairs[
        0
    ]
    assert pair.classes[0].gain == -1.0


def test_top_five_is_compared_where_there_are_more_classes():
    names = [
        one.name for one in compare_all([noisy(1, num_classes=6)] * 2, ["a", "b"]).pairs[0].metrics
    ]
    assert names[-1] == "top5_accuracy"


def test_images_and_classes_are_put_in_order():
    one = noisy(1)
    rows, columns = np.random.default_rng(0).permutation(300), [2, 0, 1]
    turned = Predictions(
        one.probs[rows][:, columns],
        np.argsort(columns)[one.labels[rows]],
        tuple(one.paths[row] for row in rows),
        tuple(one.classes[column] for column in columns),
    )
    back = aligned(turned, like=one)
    assert np.array_equal(back.probs, one.probs)
    assert np.array_equal(back.labels, one.labels)


def test_other_images_classes_and_labels_are_not_put_in_order():
    one = answers([True] * 6)
    moved = Predictions(one.probs, (one.labels + 1) % 3, one.paths, one.classes)
    for other in (answers([True] * 7), answers([True] * 6, ("ant", "bee", "dog")), moved):
        with pytest.raises(ValueError, match="same images"):
            aligned(other, like=one)
        with pytest.raises(ValueError, match="same images"):
            compare_all([one, other], ["a", "b"])


def test_one_image_is_no_comparison():
    with pytest.raises(ValueError, match="at least 2 images, got 1"):
        compare_all([answers([True])] * 2, ["a", "b"])


def test_more_images_find_smaller_differences():
    few, many = (
        compare_all([noisy(1, count=n), noisy(2, count=n)], ["a", "b"]).pairs[0].main
        for n in (100, 900)
    )
    assert many.smallest_found < 0.5 * few.smallest_found
    assert few.images_needed > 100


def test_the_same_seed_gives_the_same_numbers_and_the_json_is_plain():
    first, again, other = (
        json.dumps(
            compare_all([noisy(1), noisy(2)], ["a", "b"], seed=seed).pairs[0].metrics_as_json(),
            allow_nan=False,
        )
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert {"metric", "difference", "low", "high", "p", "count", "first", "second"} <= json.loads(
        first
    )[0].keys()
