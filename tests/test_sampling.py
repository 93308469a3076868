"""The order of an epoch: a function of seed, epoch and image, each image once or drawn as often as
it should be.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellapart.images.sampling import Epoch, batch_bounds, image_keys, plan_epoch, sample_keys
from tellapart.options import TrainingOptions

SHUFFLED = TrainingOptions()
BALANCED = TrainingOptions(sampling="balanced")
WEIGHTED = TrainingOptions(sampling="weighted", weight_column="times")
NAMES = [f"{number:04}.jpg" for number in range(2000)]
LABELS = np.repeat([0, 1, 2], [1700, 200, 100])


def planned(
    options: TrainingOptions,
    *,
    seed: int = 0,
    epoch: int = 0,
    names: list[str] = NAMES,
    weights: np.ndarray | None = None,
) -> Epoch:
    plain = np.ones(len(names)) if weights is None else weights
    return plan_epoch(image_keys(seed, names), LABELS[: len(names)], plain, epoch, options)


# ── batches ──


@given(st.integers(1, 200), st.integers(1, 50))
def test_batches_cover_the_epoch_and_none_is_a_single_sample(count: int, size: int):
    bounds = batch_bounds(count, size)
    assert [position for begin, end in bounds for position in range(begin, end)] == list(
        range(count)
    )
    sizes = [end - begin for begin, end in bounds]
    assert all(one == size for one in sizes[:-1])
    assert 1 <= sizes[-1] <= size + 1
    assert sizes[-1] > 1 or size == 1 or count == 1


# ── shuffled ──


def test_shuffled_every_image_comes_once():
    assert sorted(planned(SHUFFLED).positions.tolist()) == list(range(len(NAMES)))


@pytest.mark.parametrize("options", [SHUFFLED, BALANCED, WEIGHTED])
def test_the_order_is_the_same_for_a_seed_and_differs_by_epoch_and_seed(options: TrainingOptions):
    first = planned(options)
    np.testing.assert_array_equal(first.positions, planned(options).positions)
    np.testing.assert_array_equal(first.keys, planned(options).keys)
    for other in (planned(options, epoch=1), planned(options, seed=1)):
        assert (other.positions != first.positions).mean() > 0.5
        assert not set(other.keys.tolist()) & set(first.keys.tolist())


def test_shuffled_a_image_more_changes_neither_the_order_nor_the_keys_of_the_others():
    few = planned(SHUFFLED, names=NAMES[:50])
    many = planned(SHUFFLED, names=NAMES[:51])
    others = many.positions != 50
    np.testing.assert_array_equal(many.positions[others], few.positions)
    np.testing.assert_array_equal(many.keys[others], few.keys)


def test_the_shuffle_is_fair():
    places = np.array(
        [np.flatnonzero(planned(SHUFFLED, epoch=epoch).positions == 7)[0] for epoch in range(200)]
    )
    assert places.mean() == pytest.approx(1000, abs=130)
    assert places.std() == pytest.approx(2000 / 12**0.5, abs=80)


# ── drawn ──


def test_balanced_each_class_is_drawn_as_often():
    drawn = LABELS[planned(BALANCED).positions]
    assert len(drawn) == len(NAMES)
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), 1 / 3, atol=0.04)


def test_balanced_the_images_of_a_class_are_drawn_alike():
    drawn = np.concatenate([planned(BALANCED, epoch=epoch).positions for epoch in range(30)])
    of_last = np.bincount(drawn, minlength=2000)[1900:]
    assert of_last.min() > 0.7 * of_last.mean()
    assert of_last.max() < 1.3 * of_last.mean()


def test_weighted_a_image_is_drawn_as_often_as_its_weight_says_and_one_of_0_never():
    weights = np.ones(2000)
    weights[[0, 1, -1]], weights[100:300] = 0, 5
    counts = np.bincount(
        np.concatenate(
            [planned(WEIGHTED, epoch=epoch, weights=weights).positions for epoch in range(20)]
        ),
        minlength=2000,
    )
    assert counts[[0, 1, -1]].sum() == 0
    assert counts[100:300].mean() / counts[300:1999].mean() == pytest.approx(5, rel=0.05)


# ── keys ──


@pytest.mark.parametrize("options", [SHUFFLED, BALANCED])
def test_every_sample_has_its_own_key(options: TrainingOptions):
    plans = [planned(options, epoch=epoch) for epoch in range(3)]
    assert len({key for plan in plans for key in plan.keys.tolist()}) == 3 * len(NAMES)


def test_the_key_of_a_sample_is_that_of_its_image_epoch_and_occurrence():
    plan = planned(BALANCED, epoch=4)
    images = image_keys(0, NAMES)
    position = int(np.bincount(plan.positions).argmax())
    of_it = plan.keys[plan.positions == position]
    assert len(of_it) > 2
    expected = [
        sample_keys(images[[position]], 4, occurrence)[0] for occurrence in range(len(of_it))
    ]
    assert of_it.tolist() == expected


def test_the_key_of_a_image_is_its_own_whatever_the_others_are():
    assert image_keys(3, ["a", "b"])[1] == image_keys(3, ["b"])[0] != image_keys(4, ["b"])[0]
