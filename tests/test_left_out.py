"""Each class left out once: how well would it be noticed?"""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.evaluation.left_out import LeftOut, chance_to_stand_out
from tellapart.options import HeadOptions
from tellapart.probe.left_out import leave_each_class_out

WIDTH = 24
NAMES = ("a", "b", "c", "d")


def clouds(num_classes: int, each: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings of classes far apart, their labels, and five folds."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(num_classes), each)
    centres = 3 * rng.normal(size=(num_classes, WIDTH))
    features = centres[labels] + rng.normal(size=(len(labels), WIDTH))
    return features.astype(np.float32), labels, np.arange(len(labels)) % 5


def left_out(num_classes: int, **changes: bool) -> LeftOut | None:
    names = NAMES[:num_classes]
    return leave_each_class_out(*clouds(num_classes), names, 0.01, HeadOptions(), **changes)


def test_classes_that_are_far_apart_are_noticed():
    found = left_out(4)
    assert found is not None
    assert tuple(found.by_class) == NAMES
    assert found.by_class[found.worst] > 0.9


def test_a_class_that_looks_like_another_is_not_noticed():
    features, labels, folds = clouds(3, 40)
    features[labels == 2] = np.roll(features[labels == 1], 1, axis=0)
    found = leave_each_class_out(features, labels, folds, NAMES[:3], 0.01, HeadOptions())
    assert found is not None
    assert found.by_class["c"] < 0.6 < 0.9 < found.by_class["a"]


def test_of_two_classes_the_embedding_alone_is_measured():
    found = left_out(2)
    assert found is not None and found.by_residual
    assert found.mean > 0.9


def test_one_class_cannot_be_left_out():
    assert left_out(1) is None


def test_without_folds_nothing_is_measured():
    features, labels, folds = clouds(3)
    none = np.full_like(folds, -1)
    assert leave_each_class_out(features, labels, none, NAMES[:3], 0.01, HeadOptions()) is None


def test_what_takes_longer_than_a_minute_is_measured_only_if_asked_for(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("tellapart.probe.left_out.MOST_SECONDS", 0.0)
    assert left_out(3) is None
    assert left_out(3, always=True) is not None


def test_with_many_classes_one_fold_a_class_is_tried(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tellapart.probe.left_out.ALL_FOLDS_SECONDS", 0.0)
    found = left_out(4)
    assert found is not None and found.mean > 0.9


def test_equal_scores_are_chance():
    assert chance_to_stand_out(np.ones(5), np.ones(3)) == 0.5


def test_the_plain_values_name_the_worst_class():
    values = LeftOut({"cat": 0.9, "dog": 0.7}, False).as_json()
    assert (values["worst"], values["low"], values["high"]) == ("dog", 0.7, 0.9)
    assert values["auroc"] == pytest.approx(0.8)


def test_the_share_that_is_done_is_told():
    shares: list[float] = []
    leave_each_class_out(*clouds(4), NAMES[:4], 0.01, HeadOptions(), advance=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
