"""`cv`: each image judged by a model that never saw it, then one model made of all of them, and
tested once.

look once ─▶ test aside ─▶ folds of the rest ─▶ a model a fold ─▶ out-of-fold answers ─▶ scores with a spread
                 │                                                        └─▶ temperature, thresholds ─┐
                 └────────────────────────▶ tested once ◀── model file ◀── refit on all, or the mean ◀─┘
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import PathLike
from typing import Any, Unpack

from tellapart.errors import UserError
from tellapart.experiments.fold_plan import check_numbers
from tellapart.extensions import Extensions, Parts
from tellapart.jobs.cv.by_probe import cross_validate_probe
from tellapart.jobs.cv.pool import FoldOptions
from tellapart.jobs.cv.result import CrossValidated
from tellapart.pipeline.request import CROSS_VALIDATION, Request, asked_request
from tellapart.pipeline.services import open_services
from tellapart.recipe import Recipe
from tellapart.sources.source import Source


def cross_validate(
    data: Source | None = None,
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
    copies: str | None = None,
    strict: bool = False,
    set: Mapping[str, Any] | None = None,
    resume: str | PathLike[str] | None = None,
    quiet: bool = False,
    **parts: Unpack[Parts],
) -> CrossValidated:
    """Cross-validate a recipe, then make one model of all images but the test set, and test it once.

    The run folder is that of an ordinary training whose train split is all that the folds divide.
    It also holds folds.parquet, predictions-folds.parquet and, where the recipe trains by gradient,
    a run for each fold under folds/. The data is only read, never changed.

    Args:
        data: what to train on, in any form that `train` takes.
        folds: into how many parts the images are divided.
        repeats: how often they are divided anew.
        recipe: the name of a recipe, a YAML file, or a Recipe. Its budget holds for each fold.
        ensemble: ship the folds' models as one file, rather than train one more on all images.
        out: the folder that holds runs.
        name: what to call the run. Default: the data's name.
        seed: the seed of every random decision. Default: the recipe's.
        splits: the splits of an earlier run. Its test set stays the test set; its val is divided
            with train.
        group_by: what must stay in one fold, as for `train`.
        copies: which images count as copies of each other, as for `train`.
        strict: refuse data with leaks or label conflicts, rather than report them.
        set: recipe keys and their values.
        resume: the folder of a cross-validation by gradient that was stopped, to go on with it.
        quiet: print nothing.
        parts: your own `networks=`, `losses=`, `optimizers=`, `schedules=`, `transforms=` and
            `metrics=`, as for `train`.

    Returns:
        The finished cross-validation.

    Raises:
        UserError: something that the user can fix.
        Refused, Interrupted: as for `train`.

    >>> small = {"preprocessing.size_px": 64}
    >>> folds = tellapart.cross_validate(photos, folds=3, set=small, quiet=True)
    >>> len(folds.folds), 0 <= folds.mean["accuracy"] <= 1
    (3, True)
    """
    check_numbers(folds, repeats)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "tellapart cv runs in one process.",
            "Start it without accelerate launch; on a GPU it uses the first.",
        )
    options, extensions = FoldOptions(folds, repeats, ensemble), Extensions(**parts)
    request = asked_request(
        data,
        recipe,
        out=out,
        name=name,
        seed=seed,
        splits=splits,
        group_by=group_by,
        copies=copies,
        strict=strict,
        set=set,
        resume=resume,
        verb="cv",
        extensions=extensions,
    )
    if resume is not None:
        options = _as_begun(request, options)
    with open_services(quiet=quiet) as services:
        if not request.recipe.by_gradient:
            return cross_validate_probe(request, options, services)
        with services.console.step("Loading PyTorch"):
            from tellapart.jobs.cv.by_gradient import cross_validate_network

        return cross_validate_network(request, options, services)


def _as_begun(request: Request, options: FoldOptions) -> FoldOptions:
    """What the run that is resumed was asked for; nothing else may be asked now."""
    assert request.run and request.identity
    begun = FoldOptions(**request.identity.options[CROSS_VALIDATION])
    if options not in (begun, FoldOptions()):
        ensemble = ", as an ensemble" if begun.ensemble else ""
        raise UserError(
            f"{request.run.path} has {begun.folds} folds and {begun.repeats} repeats{ensemble}, and"
            " a resumed run keeps its settings.",
            "Leave them out.",
        )
    return begun
