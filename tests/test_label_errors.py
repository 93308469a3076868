"""Label errors: planted ones come first, and the audit knows how many it finds."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.evaluation.error_count import ErrorCount, count_errors
from tellapart.evaluation.label_errors import (
    error_order,
    label_margins,
    label_scores,
    measure_power,
    proposals,
    read_order,
    scores_of_all,
    taken_for,
)
from tellapart.probe.held_out import ASIDE, HeldOutHeads


def clouds(count: int, classes: int, *, apart: float, seed: int = 0):
    """Features (N, 16) of classes that lie apart, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = rng.normal(0, apart, (classes, 16))
    return (centres[labels] + rng.normal(0, 1, (count, 16))).astype(np.float32), labels


def flipped(labels, classes: int, share: float, seed: int = 0) -> np.ndarray:
    """The labels, of which a share is any other one."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(labels))[: round(share * len(labels))]
    wrong = labels.copy()
    wrong[chosen] = (labels[chosen] + rng.integers(1, classes, len(chosen))) % classes
    return wrong


def margins_of(features, labels, classes: int, c: float = 0.01):
    fold_of = np.random.default_rng(0).integers(0, 5, len(labels))
    _, logits = HeldOutHeads(features, fold_of, classes).logits(labels, (c,))
    return label_margins(logits, labels), logits


def test_a_class_is_taken_for_the_one_that_its_images_are_nearest_to():
    logits = np.array([[5.0, 4, 0], [5, 4, 0], [3, 5, 0], [0, 1, 5]])
    assert taken_for(logits, np.array([0, 0, 1, 2])).tolist() == [1, 0, 1]


def test_images_that_no_head_answered_are_in_no_order():
    logits = np.array([[np.nan, np.nan], [0.0, 2.0], [2.0, 0.0]])
    margins = label_margins(logits, np.array([0, 0, 0]))
    assert error_order(margins).tolist() == [1, 2]
    assert proposals(logits[1:], np.array([0, 0])).tolist() == [1, 1]


def test_wrong_labels_come_first():
    features, labels = clouds(400, 4, apart=2)
    wrong = flipped(labels, 4, 0.05)
    margins, _ = margins_of(features, wrong, 4)
    first = error_order(margins)[:20]
    assert (wrong[first] != labels[first]).sum() >= 18


def test_a_minority_class_does_not_flood_the_first_places():
    features, labels = clouds(1100, 2, apart=2)
    kept = (labels == 0) | (np.arange(1100) % 20 == 1)  # one in eleven is of the minority
    features, labels = features[kept], labels[kept]
    wrong = flipped(labels, 2, 0.05)
    margins, _ = margins_of(features, wrong, 2)
    first = error_order(margins)[: (wrong != labels).sum()]
    unchanged = first[wrong[first] == labels[first]]
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


def test_an_image_that_is_left_out_teaches_nothing_and_is_answered_by_its_fold():
    features, labels = clouds(200, 2, apart=2)
    left_out = np.arange(200) < 20
    heads = HeldOutHeads(features, np.arange(200) // 2 % 5, 2).without(left_out)
    _, logits = heads.logits(labels, (0.01,))
    _, changed = heads.logits(np.where(left_out, 1 - labels, labels), (0.01,))
    assert np.isfinite(logits).all() and (logits == changed).all()
    _, others = HeldOutHeads(features, np.arange(200) // 2 % 5, 2).logits(labels, (0.01,))
    sure = np.abs(logits[:, 1] - logits[:, 0])[left_out].mean()
    assert sure < 1.1 * np.abs(others[:, 1] - others[:, 0])[left_out].mean()


def drawn(count: int, classes: int, share: float, seed: int, *, hard: float = 1.5):
    """Logits that are right about the classes drawn from them, and labels with errors."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, (count, classes)) * rng.lognormal(hard, 0.7, (count, 1))
    noise = rng.gumbel(size=logits.shape)
    labels = (logits + noise).argmax(axis=1)
    return logits, labels, flipped(labels, classes, share, seed)


def count_of(share: float, seed: int, classes: int = 5) -> tuple[ErrorCount, int]:
    """The estimate for 1,000 images, and the true number."""
    logits, labels, wrong = drawn(1000, classes, share, seed)
    return count_errors(logits, wrong), int((labels != wrong).sum())


def test_the_interval_holds_the_number_of_errors():
    for_all = [count_of(share, seed) for share in (0.01, 0.05, 0.1) for seed in range(10)]
    held = [count.low <= true <= count.high for count, true in for_all]
    assert sum(held) >= 27  # 95 % of 30 are 28.5
    assert np.mean([count.expected - true for count, true in for_all]) == pytest.approx(0, abs=5)


def test_the_interval_holds_the_number_of_errors_between_two_classes():
    counts = [count_of(0.05, seed, 2) for seed in range(4)]
    assert sum(count.low <= true <= count.high for count, true in counts) >= 3


def test_errors_that_only_one_of_two_classes_has_are_counted():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 1000)
    learned = np.where(labels == 0, -3.0, 6.0)  # a fifth of the first class taught the model so
    logits = np.stack([np.zeros(1000), learned + rng.normal(0, 1.5, 1000)], axis=1)
    wrong = np.where((labels == 0) & (rng.random(1000) < 0.2), 1, labels)
    count = count_errors(logits, wrong)
    assert count.low <= (wrong != labels).sum() <= count.high


def test_errors_between_similar_classes_are_counted():
    logits, labels, _ = drawn(1000, 6, 0.05, 0)
    similar = np.array([1, 0, 3, 2, 5, 4])
    wrong = np.where(np.arange(1000) % 20 == 0, similar[labels], labels)
    count = count_errors(logits, wrong, similar)
    assert count.low <= 50 <= count.high < 90
    assert count_errors(logits, labels, similar).expected <= 10


def test_errors_that_only_one_of_four_classes_has_are_counted():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 1000)
    logits = rng.normal(0, 1, (1000, 4)) + 6 * np.eye(4)[labels]
    logits[labels == 0, 1] += 3  # a fifth of the first class taught the model so
    wrong = np.where((labels == 0) & (rng.random(1000) < 0.2), 1, labels)
    count = count_errors(logits, wrong, np.array([1, 0, 3, 2]))
    assert count.low <= (wrong != labels).sum() <= count.high


def test_hard_images_are_not_taken_for_errors():
    logits, labels, _ = drawn(1000, 5, 0, 0, hard=0.5)
    assert (logits.argmax(axis=1) != labels).mean() > 0.25
    count = count_errors(logits, labels)
    assert count.expected <= 10 and count.low == 0


def test_a_logit_scale_that_is_wrong_does_not_change_the_number():
    logits, _, wrong = drawn(1000, 5, 0.05, 0)
    numbers = [count_errors(logits * scale, wrong).expected for scale in (1.0, 0.5)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.15)


def test_images_without_an_answer_are_neither_right_nor_wrong():
    logits, _, wrong = drawn(200, 3, 0.05, 0)
    logits[:10] = np.nan
    count = count_errors(logits, wrong)
    assert np.isnan(count.wrong[:10]).all() and np.isfinite(count.wrong[10:]).all()
    assert count_errors(logits[:10], wrong[:10]).high == 0


def test_the_power_is_the_share_of_wrong_labels_among_the_first_ones():
    logits, labels, _ = drawn(2000, 5, 0, 0)
    wrong = flipped(labels, 5, 0.01, 3)
    first = error_order(label_scores(logits, wrong))[:100]
    found = (wrong[first] != labels[first]).sum() / 20
    power = measure_power("random", logits, labels, np.zeros(2000))
    assert power and power.planted == 2000
    assert power.share == pytest.approx(found, abs=0.2)
    assert 0.5 < power.share < 0.95


def test_an_error_must_pass_those_that_are_there_already():
    logits = np.tile([[9.0, 0], [0, 4.0]], (50, 1))
    labels = np.tile([0, 1], 50)
    labels[:20:2] = 1  # ten errors fill the first five places
    wrong = (np.arange(100) % 2 == 0) & (np.arange(100) < 20)
    power = measure_power("random", logits, labels, wrong.astype(float))
    assert power and 0.4 < power.share < 0.5  # those of the surer class tie with the first


def test_every_label_has_the_score_that_it_has_alone():
    logits = np.random.default_rng(0).normal(size=(20, 4))
    alone = [label_scores(logits, np.full(20, label)) for label in range(4)]
    assert np.allclose(scores_of_all(logits), np.stack(alone, axis=1))


def test_reading_ends_behind_the_errors():
    wrong = (np.arange(1000) < 50) * 0.9
    reading = read_order(np.arange(1000.0), ErrorCount(45, 30, 60, wrong))
    assert (reading.stop, reading.expected, reading.low, reading.high) == (50, 45, 30, 60)
    assert reading.held == pytest.approx(45)


def test_nothing_is_to_be_read_where_no_label_is_wrong():
    reading = read_order(np.arange(500.0), ErrorCount(0, 0, 3, np.zeros(500)))
    assert (reading.expected, reading.stop, reading.held) == (0, 0, 0)


def test_there_is_no_power_without_an_answer():
    assert measure_power("random", np.full((3, 2), np.nan), np.zeros(3, int), np.zeros(3)) is None
