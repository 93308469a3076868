"""Cross-validation by gradient: a run for each fold, then one more on all images. All can resume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.calibration import Calibration
from tellapart.experiments.fold_plan import FoldPlan
from tellapart.experiments.out_of_fold import (
    OutOfFold,
    calibrate_out_of_fold,
    thresholds_out_of_fold,
)
from tellapart.jobs.cv.fold_runs import (
    FoldRun,
    experiment_of,
    member_of,
    out_of_fold,
    train_folds,
)
from tellapart.jobs.cv.pool import FoldOptions, load_pool
from tellapart.jobs.cv.result import CrossValidated, Making, ensemble_making, refit_making
from tellapart.pipeline.data import Data, read_data
from tellapart.pipeline.ensemble import ensemble_network, ship_ensemble
from tellapart.pipeline.gradient import check_fit, embed_measured, fit_network
from tellapart.pipeline.open import OpenRun, open_run
from tellapart.pipeline.probe import FrozenBackbone, fit_train, frozen_for
from tellapart.pipeline.record import Trained, write_results
from tellapart.pipeline.reference import reference_out_of_fold
from tellapart.pipeline.request import CROSS_VALIDATION, Request
from tellapart.pipeline.services import Services
from tellapart.pipeline.ship import Shipped, class_costs, class_shares, ship
from tellapart.recipe import Recipe
from tellapart.training.hardware import Hardware
from tellapart.training.invariant import MOVES, with_moves


@dataclass(frozen=True)
class _Folds:
    """All that a model can be made of once the folds are done."""

    data: Data
    plan: FoldPlan
    frozen: FrozenBackbone | None
    runs: Sequence[FoldRun]
    out: OutOfFold

    def answers_of(self, kind: str) -> NDArray[np.bool_]:
        """(R, N) which answers come from models of one kind, "probe", "fine-tuned" or ""."""
        chosen = np.zeros(self.plan.fold_of.shape, bool)
        for (repeat, fold), run in zip(self.plan.each, self.runs, strict=True):
            chosen[repeat] |= (self.plan.fold_of[repeat] == fold) & (run.shipped == kind)
        return chosen


@dataclass(frozen=True)
class _Final:
    """The model that is shipped.

    Args:
        data: without the images that changed up to its end.
        shipped: the model file and its numbers.
        making: how it was made.
        learned: the fields of `Trained` that say how it learned.
    """

    data: Data
    shipped: Shipped
    making: Making
    learned: Mapping[str, Any] = field(default_factory=dict)


def cross_validate_network(
    request: Request, options: FoldOptions, services: Services
) -> CrossValidated:
    """From the request to the finished run folder, from wherever that stands.

    Raises:
        Interrupted: with the command that goes on.
    """
    clock, console = services.clock, services.console
    with open_run(request) as run:
        if run.finished:
            console.say(f"{run.folder.path} is finished: nothing is left to do")
            return CrossValidated.open(run.folder.path)
        check_fit(request.recipe, request.extensions)
        catalog = read_data(request, console)
        clock.lap("reading")
        frozen = frozen_for(request.recipe, services, request.extensions, catalog)
        features = frozen.features if frozen else None
        data, plan = load_pool(request, catalog, options, features, console)
        clock.lap("scan")
        run.begin(data, **{CROSS_VALIDATION: asdict(options)})
        path = run.folder.path
        runs = train_folds(request, path, data, plan, frozen, services.sharing())
        folds = _Folds(data, plan, frozen, runs, out_of_fold(runs, plan, data.catalog, path))
        clock.lap("folds")
        make = _ship_together if options.ensemble else _refit
        final = make(request, run, folds, services)
        clock.lap("model file")
        write_results(run.folder, _trained(request, folds, final), request.name, services)
        return CrossValidated.open(path)


def _trained(request: Request, folds: _Folds, final: _Final) -> Trained:
    catalog, plan = folds.data.catalog, folds.plan
    histories = {
        plan.name(*place): run.history for place, run in zip(plan.each, folds.runs, strict=True)
    }
    experiment = experiment_of(request.recipe, folds.out.scores(catalog), folds.runs)
    return Trained(
        recipe=request.recipe,
        data=final.data,
        shipped=final.shipped,
        folds=final.making.folded(catalog, folds.out, histories=histories, experiment=experiment),
        **final.learned,
    )


def _ship_together(request: Request, run: OpenRun, folds: _Folds, services: Services) -> _Final:
    """The folds' models in one file."""
    data, recipe = folds.data, request.recipe
    members = [member_of(fold, request, folds.frozen) for fold in folds.runs]
    network = ensemble_network(members, folds.runs[0].network)
    biases = [run.calibration["bias"] for run in folds.runs]
    bias = tuple(np.mean(biases, axis=0).tolist()) if all(biases) else ()
    costs = class_costs(data.catalog, recipe)
    calibration = thresholds_out_of_fold(folds.out, recipe.answer, bias, costs)
    reference = reference_out_of_fold(data.catalog, folds.out, calibration, together=True)
    console = services.console
    with console.step("Joining the models of the folds into one file"):
        shipped = ship_ensemble(
            members, network, data.catalog, recipe, calibration, reference, console
        )
    return _Final(data, shipped, ensemble_making(folds.plan))


def _refit(request: Request, run: OpenRun, folds: _Folds, services: Services) -> _Final:
    """One more model, trained on the whole pool the way that most folds chose."""
    by_probe = sum(fold.shipped == "probe" for fold in folds.runs)
    if 2 * by_probe > len(folds.runs):
        return _refit_probe(request, folds, services, by_probe)
    return _refit_network(request, run, folds, services)


def _refit_probe(request: Request, folds: _Folds, services: Services, votes: int) -> _Final:
    assert folds.frozen
    data, recipe = folds.data, request.recipe
    with services.step("head", "Fitting the head on all images but the test set") as task:
        model = fit_train(folds.frozen, data.catalog, recipe, task.reach)
    among = folds.answers_of("probe")
    calibration = _calibration(folds, recipe, among)
    with services.console.step("Making and checking the model file"):
        shipped = ship(model, data.catalog, recipe, services.store, calibration)
    what = (
        f"a probe, as {votes} of {len(folds.runs)} folds chose it over fine-tuning, fitted on all"
        " images but the test set"
    )
    making = refit_making(folds.plan, {"method": "probe"}, what)
    return _Final(data, shipped, making, {"probe": model.probe})


def _calibration(folds: _Folds, recipe: Recipe, among: NDArray[np.bool_]) -> Calibration:
    """The calibration of the last model, by those of the folds' answers that are of its kind."""
    catalog = folds.data.catalog
    return calibrate_out_of_fold(
        folds.out,
        recipe.answer,
        shares=class_shares(catalog, recipe),
        costs=class_costs(catalog, recipe),
        among=among,
    )


def _refit_network(request: Request, run: OpenRun, folds: _Folds, services: Services) -> _Final:
    """By gradient on the whole pool, without val: as many epochs as were best in the folds."""
    data, plan, kind = folds.data, folds.plan, "fine-tuned" if folds.frozen else ""
    recipe = refit_recipe(request.recipe, [fold for fold in folds.runs if fold.shipped == kind])
    epochs = recipe.training.epochs
    services.console.say(
        f"One more training, on all {len(plan.rows):,} images but the test set: {epochs} epochs"
    )
    start = None
    if folds.frozen:
        with services.step("head", "Fitting the head on all images but the test set") as task:
            start = fit_train(folds.frozen, data.catalog, request.recipe, task.reach)
    hardware = Hardware(recipe.training)
    fitted = fit_network(
        replace(request, recipe=recipe),
        run.refitting(),
        data,
        services,
        hardware,
        start=start,
        share=refit_share([fold for fold in folds.runs if fold.shipped == kind]),
    )
    assert fitted  # one process makes the model
    data = embed_measured(fitted.model, data, request.recipe, services.console)
    among = folds.answers_of(kind)
    calibration = _calibration(folds, recipe, among)
    catalog, store = data.catalog, services.store
    reference = reference_out_of_fold(catalog, folds.out, calibration, among=among)
    with services.console.step("Making and checking the model file"):
        shipped = ship(fitted.model, catalog, request.recipe, store, calibration, reference)
    making = refit_making(
        plan, {"method": recipe.method, "epochs": epochs}, _how_long(folds, epochs)
    )
    learned = {
        "history": tuple(fitted.progress.history),
        "rates": fitted.rates,
        "training": fitted.facts,
        "probe": start.probe if start else None,
    }
    return _Final(data, shipped, making, learned)


def _how_long(folds: _Folds, epochs: int) -> str:
    chosen = "as long as the folds were, which had no val to choose by"
    if any(fold.counts["val"] for fold in folds.runs):
        chosen = "as long as the folds were, whose last networks were kept"
    if any(fold.training["best_epoch"] for fold in folds.runs):
        chosen = "the rounded mean of the folds' best epochs, with the schedule over these"
    long = f"{epochs} epoch{'s' * (epochs != 1)} long"
    return f"the last network of one more training on all images but the test set, {long}: {chosen}"


def refit_share(runs: Sequence[FoldRun]) -> float | None:
    """How far the last training goes from its probe: the median of the folds that went at all.

    None where no fold had a choice.
    """
    shares = [fold.training["share"] for fold in runs if "share" in fold.training]
    return float(np.median(shares)) if shares else None


def refit_recipe(recipe: Recipe, runs: Sequence[FoldRun]) -> Recipe:
    """The recipe of the last training: what val decided in the folds is settled, and nothing ends it
    early.

    Args:
        runs: the folds that shipped what is trained now. Their mean best epoch becomes its number
            of epochs, and flips and turns to which most of their probes were invariant are made.
    """
    epochs = int(np.mean([fold.best_epoch for fold in runs]) + 0.5)
    moves = [name for name in MOVES if 2 * sum(name in fold.moves for fold in runs) > len(runs)]
    augmentation = replace(with_moves(recipe.augmentation, moves), invariant=False)
    training = replace(recipe.training, epochs=epochs, patience=None, budget_minutes=None)
    return replace(recipe, training=training, augmentation=augmentation)
