"""What `tune` refuses before it begins."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.studies import RECIPE, search
from tellapart.errors import UserError
from tellapart.experiments.database import open_storage


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "How long to search is not said"),
        ({"trials": 0}, "trials must be above 0"),
        ({"budget_seconds": -1.0}, "budget must be above 0"),
        ({"trials": 1, "study": "nowhere"}, "nowhere is no study's folder"),
        ({"trials": 1, "metric": "loss2"}, "Unknown metric 'loss2'"),
        ({"trials": 1, "sampler": "grid"}, "Unknown sampler 'grid'"),
        ({"trials": 1, "folds": 1}, "folds must be 2 to 20, got 1"),
        pytest.param(
            {"trials": 1, "set": {"split.val": 0}},
            "There is no val to judge trials by",
            marks=pytest.mark.skipif(not find_spec("torch"), reason="needs PyTorch"),
        ),
        (
            {"trials": 1, "set": {"training.lr": 1}},
            "space.yaml searches training.lr, and --set fixes it",
        ),
        ({"trials": 1, "storage": "sqlite:///x.sqlite"}, "Name this one: --study NAME"),
        ({"trials": 1, "storage": "nonsense", "study": "a"}, "The storage is no database URL"),
        (
            {"trials": 1, "storage": "postgresql+psycopg://h/d", "study": "a"},
            "needs a driver that is not installed",
        ),
        ({"trials": 1, "storage": "sqlite:////nowhere/x.sqlite", "study": "a"}, "cannot be used"),
    ],
)
def test_wrong_use_is_told(
    tiny: Path, space: Path, made_up: SimpleNamespace, options: dict[str, Any], words: str
):
    with pytest.raises(UserError) as error:
        search(tiny, **{"recipe": RECIPE, "metric": "loss", "space": space, **options})
    assert words in str(error.value)


def test_a_password_is_never_shown():
    with pytest.raises(UserError) as error:
        open_storage("postgresql+psycopg://me:secret@h/d")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("folds", [0, 1, 21])
def test_too_few_or_too_many_folds_are_refused(
    tiny: Path, space: Path, made_up: SimpleNamespace, folds: int
):
    with pytest.raises(
        UserError, match=f"--folds must be 2 to 20, got {folds}. Leave it out to judge by val"
    ):
        search(tiny, space, trials=1, folds=folds)


def test_folds_that_the_images_do_not_allow_are_refused_before_anything_is_written(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    with pytest.raises(
        UserError, match="14 folds are more than the images allow: no class has one for each"
    ):
        search(tiny, space, trials=1, folds=14)
    assert not list((tiny.parent / "runs").glob("*"))


def test_a_space_that_cannot_be_read_is_told(tiny: Path, made_up: SimpleNamespace):
    with pytest.raises(UserError, match=r"cannot be read as a space \(no such file or directory\)"):
        search(tiny, tiny / "none.yaml", trials=1)


def test_with_all_of_the_space_set_nothing_is_left_to_search(tiny: Path, made_up: SimpleNamespace):
    fixed = {
        "backbone.name": "tf_efficientnet_lite0",
        "preprocessing.mode": "squash",
        "head.weighting": "none",
    }
    wanted = {**fixed, "preprocessing.size_px": 64, "preprocessing.share": None}
    with pytest.raises(UserError, match="Nothing is left to search"):
        search(tiny, None, trials=1, recipe="probe", set=wanted)
