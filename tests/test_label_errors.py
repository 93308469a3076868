"""Label errors: planted ones come first, and the audit knows how many it finds."""

from __future__ import annotations

import numpy as np

from tellapart.evaluation.label_errors import (
    error_order,
    expect_errors,
    label_margins,
    measure_power,
    plant_errors,
    proposals,
    rounds_for,
    taken_for,
)
from tellapart.probe.held_out import ASIDE, HeldOutHeads


def clouds(count: int, classes: int, *, apart: float, seed: int = 0):
    """Features (N, 16) of classes that lie apart, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = rng.normal(0, apart, (classes, 16))
    return (centres[labels] + rng.normal(0, 1, (count, 16))).astype(np.float32), labels


def keys(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**63, count).astype(np.uint64)


def margins_of(features, labels, classes: int, c: float = 0.01):
    fold_of = np.random.default_rng(0).integers(0, 5, len(labels))
    _, logits = HeldOutHeads(features, fold_of, classes).logits(labels, (c,))
    return label_margins(logits, labels), logits


def test_a_fifth_wrong_label_in_twenty_images_is_planted_once():
    labels = np.arange(400) % 4
    planted = plant_errors(labels, keys(400), 4, chance="a")
    assert (planted != labels).sum() == 20
    assert set(planted[planted != labels]) <= set(range(4))


def test_another_draw_plants_other_errors_and_the_same_draw_the_same_ones():
    labels = np.arange(400) % 4
    first, again, other = (
        plant_errors(labels, keys(400), 4, chance=chance) for chance in ("a", "a", "b")
    )
    assert (first == again).all() and (first != other).any()


def test_an_error_between_similar_classes_has_the_label_of_the_most_similar_one():
    labels = np.arange(300) % 3
    planted = plant_errors(labels, keys(300), 3, chance="a", similar=np.array([1, 2, 0]))
    changed = planted != labels
    assert (planted[changed] == (labels[changed] + 1) % 3).all()


def test_a_class_is_taken_for_the_one_that_its_images_are_nearest_to():
    logits = np.array([[5.0, 4, 0], [5, 4, 0], [3, 5, 0], [0, 1, 5]])
    assert taken_for(logits, np.array([0, 0, 1, 2])).tolist() == [1, 0, 1]


def test_images_that_no_head_answered_are_in_no_order():
    logits = np.array([[np.nan, np.nan], [0.0, 2.0], [2.0, 0.0]])
    margins = label_margins(logits, np.array([0, 0, 0]))
    assert error_order(margins).tolist() == [1, 2]
    assert proposals(logits[1:], np.array([0, 0])).tolist() == [1, 1]


def test_planted_errors_come_first():
    features, labels = clouds(400, 4, apart=2)
    planted = plant_errors(labels, keys(400), 4, chance="a")
    margins, _ = margins_of(features, planted, 4)
    clean, _ = margins_of(features, labels, 4)
    power = measure_power("random", [(margins, planted != labels)], clean)
    assert power and power.planted == 20
    assert power.share >= 0.9


def test_a_minority_class_does_not_flood_the_first_places():
    features, labels = clouds(1100, 2, apart=2)
    kept = (labels == 0) | (np.arange(1100) % 20 == 1)  # one in eleven is of the minority
    features, labels = features[kept], labels[kept]
    planted = plant_errors(labels, keys(len(labels)), 2, chance="a")
    margins, _ = margins_of(features, planted, 2)
    first = error_order(margins)[: (planted != labels).sum()]
    unchanged = first[planted[first] == labels[first]]
    assert (labels[unchanged] == 1).sum() <= 3


def test_images_of_test_are_judged_by_heads_of_all_others():
    features, labels = clouds(200, 2, apart=2)
    fold_of = np.where(np.arange(200) < 50, ASIDE, np.arange(200) % 5)
    heads = HeldOutHeads(features, fold_of, 2)
    changed = np.where(fold_of == ASIDE, 1 - labels, labels)
    _, logits = heads.logits(changed, (0.01,))
    assert np.isfinite(logits).all()
    assert (logits.argmax(axis=1) == labels).mean() > 0.95  # their labels had no part in it


def test_several_values_of_c_are_chosen_from_by_the_folds():
    features, labels = clouds(200, 2, apart=2)
    c, _ = HeldOutHeads(features, np.arange(200) // 2 % 5, 2).logits(labels, (1e-3, 1e-1))
    assert c in (1e-3, 1e-1)


def expected_of(share: float) -> float:
    """What the audit expects where such a share of the labels is wrong, for 1,000 images."""
    features, labels = clouds(1000, 4, apart=1.2)
    wrong = plant_errors(labels, keys(1000, 5), 4, chance="real", share=share)
    wrong = wrong if share else labels
    margins, _ = margins_of(features, wrong, 4)
    planted = plant_errors(wrong, keys(1000, 9), 4, chance="test")
    again, _ = margins_of(features, planted, 4)
    power = measure_power("random", [(again, planted != wrong)], margins)
    assert power
    return expect_errors(margins, power).expected


def test_the_expected_number_of_errors_is_about_the_true_one():
    assert 35 <= expected_of(0.05) <= 75
    assert 75 <= expected_of(0.1) <= 140


def test_few_errors_are_expected_in_clean_labels():
    assert expected_of(0.0) <= 12


def test_errors_that_are_there_already_do_not_lower_the_power():
    margins = np.concatenate([np.linspace(-5, -3, 50), np.linspace(1, 9, 950)])
    again = np.where(np.arange(1000) >= 950, -2.0, margins)  # planted behind the real ones
    power = measure_power("random", [(again, np.arange(1000) >= 950)], margins)
    assert power and power.share == 1


def test_reading_ends_behind_the_errors():
    margins = np.concatenate([np.linspace(-5, -3, 50), np.linspace(1, 9, 950)])
    power = measure_power("random", [(margins, np.arange(1000) < 50)], margins)
    assert power
    reading = expect_errors(margins, power)
    assert reading.stop == 50 and reading.expected == 50
    assert reading.precision[:50].min() == 1 and reading.precision[50:].max() == 0


def test_nothing_is_to_be_read_where_no_label_is_wrong():
    clean = np.linspace(1, 9, 500)
    power = measure_power("random", [(np.linspace(-5, -3, 50), np.ones(50, bool))], clean[:50])
    assert power
    reading = expect_errors(clean, power)
    assert (reading.expected, reading.stop) == (0, 0)


def test_there_is_no_power_without_a_margin():
    assert measure_power("random", [(np.full(3, np.nan), np.ones(3, bool))], np.zeros(3)) is None


def test_small_sets_are_planted_more_often():
    assert rounds_for(100) > rounds_for(1000) >= rounds_for(100_000) == 1
