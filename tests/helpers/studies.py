"""Studies of tiny images: a space, a recipe, and trials that train nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tellapart.experiments.space import Space
from tellapart.experiments.study import StudySettings
from tellapart.jobs.tune.trial import Bench, Outcome, Watch
from tellapart.jobs.tune.tune import Tuned, tune
from tellapart.recipe import Recipe
from tellapart.recipe_files import load_recipe

SPACE = """
training.lr: {low: 1e-4, high: 1e-1, log: true}
training.epochs: [1, 2, 4]
training.optimizer: [sgd, adam]
training.momentum: {choices: [0.5, 0.9], when: {training.optimizer: sgd}}
"""
RECIPE = load_recipe("cifar10-lenet", {"split.val": 0.2})


def bowl(bench: Bench, recipe: Recipe, watch: Watch) -> Outcome:
    """A trial of no time: the loss is lowest at a rate of 0.003."""
    loss = (math.log10(recipe.training.lr) + 2.5) ** 2 + 0.01 * recipe.training.epochs
    return Outcome(
        value=loss, scores={"val_loss": loss, "train_loss": loss / 2}, epochs=recipe.training.epochs
    )


def search(data: Path, space: Path | None = None, **options: Any) -> Tuned:
    usual: dict[str, Any] = {"space": space}
    usual |= {} if "study" in options else {"recipe": RECIPE, "metric": "loss"}
    out = {"out": data.parent / "runs", "quiet": True}
    return tune(data, **{**usual, **out, **options})


def trials_of(tuned: Tuned) -> list[tuple[int, str, Mapping[str, Any], float]]:
    return [(row.number, row.state, row.settings, row.value) for row in tuned.rows]


def settings_of(space: Space, **changes: Any) -> StudySettings:
    usual = {
        "catalog": "c",
        "splits": "s",
        "recipe": {},
        "space": space.as_json(),
        "metric": "loss",
        "folds": None,
    }
    return StudySettings(**{**usual, "seed": 0, "sampler": "random", **changes})
