"""`cv`: each image judged by a model that never saw it, then one model made of all of them, and
tested once.

look once ─▶ test aside ─▶ folds of the rest ─▶ a model a fold ─▶ out-of-fold answers ─▶ scores with a spread
                 │                                                        └─▶ temperature, thresholds ─┐
                 └────────────────────────▶ tested once ◀── model file ◀── refit on all, or the mean ◀─┘
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from os import PathLike
from typing import Any

from tellapart.cache import FeatureStore, cache_folder
from tellapart.errors import UserError
from tellapart.experiments.fold_plan import check_numbers
from tellapart.jobs.cv.by_probe import cross_probe
from tellapart.jobs.cv.pool import Asked
from tellapart.jobs.cv.result import CrossValidated, cross_validated_before
from tellapart.pipeline.clock import Clock
from tellapart.pipeline.request import CROSS_VALIDATION, Order, new_order, resumed_order
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.recipe_files import load_recipe


def cross_validate(
    data: str | PathLike[str] | None = None,
    *,
    folds: int = 5,
    repeats: int = 1,
    recipe: str | Recipe = "probe",
    ensemble: bool = False,
    out: str | PathLike[str] = "runs",
    name: str | None = None,
    seed: int | None = None,
    splits: str | PathLike[str] | None = None,
    group_by: str | None = None,
    strict: bool = False,
    set: Mapping[str, Any] | None = None,
    resume: str | PathLike[str] | None = None,
    quiet: bool = False,
) -> CrossValidated:
    """Cross-validate a recipe, then make one model of all images but the test set, and test it
    once.

    The run folder is that of an ordinary training, whose train split is all that the folds divide,
    with folds.parquet, predictions-folds.parquet and, where the recipe trains by gradient, a run a
    fold under folds/.

    Args:
        data, recipe, out, name, seed, splits, group_by, strict, set: as for `train`; of `splits`,
            val is divided with train. A budget of the recipe holds for each fold.
        folds: in how many the images are divided.
        repeats: how often they are divided anew.
        ensemble: ship the folds' models as one file, rather than train one more on all.
        resume: the folder of a cross-validation by gradient that was stopped, to go on with it.
        quiet: print nothing.

    Raises:
        UserError: something that the user can fix. The data is only read, never changed.
    """
    check_numbers(folds, repeats)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "tellapart cv runs in one process.",
            "Start it without accelerate launch; on a GPU it uses the first.",
        )
    console, clock = Console(quiet=quiet), Clock()
    asked = Asked(folds, repeats, ensemble)
    if resume is None:
        options = load_recipe(recipe, set, {"seed": seed, "split.group_by": group_by})
        order = new_order(
            data, options, out=out, name=name, splits=splits, strict=strict, verb="cv"
        )
    else:
        given = {
            "name": name,
            "seed": seed,
            "splits": splits,
            "group_by": group_by,
            "strict": strict,
            "set": set,
        }
        order = resumed_order(resume, data, given=given, verb="cv")
        asked = _as_begun(order, asked)
    with ExitStack() as held:
        store = held.enter_context(FeatureStore(cache_folder()))
        if order.recipe.method == "probe":
            return cross_probe(order, asked, store, console, clock)
        return _by_gradient(order, asked, store, console, clock, held)


def _as_begun(order: Order, asked: Asked) -> Asked:
    """What the run that is resumed was asked for, of which nothing else may be asked now."""
    assert order.run and order.identity
    begun = Asked(**order.identity.options[CROSS_VALIDATION])
    if asked not in (begun, Asked(5, 1, False)):
        raise UserError(
            f"{order.run.path} has {begun.folds} folds and {begun.repeats} repeats"
            f"{', as an ensemble' if begun.ensemble else ''}, and a resumed run keeps its"
            " settings.",
            "Leave them out.",
        )
    return begun


def _by_gradient(
    order: Order, asked: Asked, store: FeatureStore, console: Console, clock: Clock, held: ExitStack
) -> CrossValidated:
    from tellapart.jobs.cv.by_gradient import cross_train

    if order.run and order.run.finished:
        console.say(f"{order.run.path} is finished: nothing is left to do")
        return cross_validated_before(order.run)
    return cross_train(order, asked, store, console, clock, held)
