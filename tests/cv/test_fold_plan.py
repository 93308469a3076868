"""The division into folds: each image is held out once a repeat, and groups whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.cross_validation import cross
from tellapart import UserError
from tellapart.catalog.table import Catalog, text_column
from tellapart.experiments.fold_plan import FoldPlan, fold_splits, plan_folds, plan_remarks
from tellapart.options import SplitOptions


def test_each_image_that_is_not_test_is_held_out_once_a_repeat(
    catalog: Catalog, pool: Any, plan: FoldPlan
):
    assert set(plan.rows) == set(np.flatnonzero(pool == "train"))
    assert plan.fold_of.shape == (2, len(plan.rows))
    assert all(np.ptp(np.bincount(held, minlength=3)) <= 1 for held in plan.fold_of)
    assert not (plan.fold_of[0] == plan.fold_of[1]).all()


def test_the_seed_decides_the_folds(catalog: Catalog, pool: Any, plan: FoldPlan):
    assert (plan_folds(catalog, pool, 3, 2, 0).fold_of == plan.fold_of).all()
    assert not (plan_folds(catalog, pool, 3, 2, 1).fold_of == plan.fold_of).all()


def test_groups_are_held_out_whole(catalog: Catalog):
    groups = text_column(f"{path[:-6]}{int(path[-6:-4]) // 3}" for path in catalog.paths)
    every = text_column(["train"] * len(catalog))
    plan = plan_folds(catalog.replace(groups=groups), every, 4, 1, 0)
    assert all(len(set(plan.fold_of[0][groups == name])) == 1 for name in set(groups))


def test_more_folds_than_groups_are_refused_with_the_most_that_there_can_be(
    catalog: Catalog, pool: Any
):
    groups = text_column(f"{path[:-6]}{int(path[-6:-4]) // 3}" for path in catalog.paths)
    every = text_column(["train"] * len(catalog))
    with pytest.raises(
        UserError, match=r"5 folds are more than the images allow.+fills 4\. Use --folds 4\."
    ):
        plan_folds(catalog.replace(groups=groups), every, 5, 1, 0)


def test_one_group_a_class_cannot_be_divided(catalog: Catalog, pool: Any):
    groups = text_column(path.split("/")[0] for path in catalog.paths)
    with pytest.raises(UserError, match="or group them more finely"):
        plan_folds(catalog.replace(groups=groups), pool, 2, 1, 0)


def test_a_small_class_is_named_and_no_reason_to_refuse(catalog: Catalog, pool: Any):
    few = pool.copy()
    few[np.flatnonzero((pool == "train") & (catalog.labels == 0))[2:]] = ""
    few[np.flatnonzero((pool == "train") & (catalog.labels == 2))[1:]] = ""
    plan = plan_folds(catalog, few, 3, 1, 0)
    some, never = plan_remarks(catalog, plan)
    assert some.startswith(
        "1 class is not in every fold, as there are too few different images: 'brick' (2 of 3)."
    )
    assert never.startswith("1 class is in no fold and never judged: 'sky' (1 image).")
    assert plan_remarks(catalog, plan_folds(catalog, pool, 3, 1, 0)) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"folds": 1}, "needs 2 folds or more, got 1"),
        ({"repeats": 0}, "at least once, got 0 repeats"),
        ({"folds": 2.5}, r"folds must be a whole number, got 2\.5"),
        ({"repeats": "2"}, "repeats must be a whole number, got '2'"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(photos: Path, wrong: dict[str, Any], says: str):
    with pytest.raises(UserError, match=says):
        cross(photos, **wrong)


def test_a_fold_is_tested_on_what_it_holds_out_and_val_is_cut_from_the_rest(
    catalog: Catalog, pool: Any, plan: FoldPlan
):
    for repeat, fold in plan.each:
        splits = fold_splits(catalog, plan, repeat, fold, SplitOptions(val=0.15))
        assert set(np.flatnonzero(splits == "test")) == set(plan.rows[plan.fold_of[repeat] == fold])
        assert (catalog.counts(splits == "val") == 1).all()
        assert set(splits[pool == "test"]) == {""}


def test_a_recipe_without_val_has_none_in_its_folds_either(catalog: Catalog, plan: FoldPlan):
    assert set(fold_splits(catalog, plan, 0, 0, SplitOptions(val=0))) == {"", "train", "test"}
