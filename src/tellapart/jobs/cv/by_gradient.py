"""Cross-validation of a recipe that trains by gradient: a run a fold, then one more on all. Each
can be resumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import FeatureStore
from tellapart.catalog.names import escape
from tellapart.catalog.table import splits_hash
from tellapart.errors import Interrupted
from tellapart.experiments.fold_plan import FoldPlan
from tellapart.experiments.out_of_fold import (
    OutOfFold,
    calibrate_out_of_fold,
    thresholds_out_of_fold,
)
from tellapart.jobs.cv.fold_runs import (
    FoldRun,
    answers_of,
    experiment_of,
    make_fold_runs,
    member_of,
    network_of,
)
from tellapart.jobs.cv.pool import Asked, Frozen, frozen_backbone, look_at_pool, refit_probe
from tellapart.jobs.cv.result import (
    CrossValidated,
    Made,
    cross_validated,
    ensemble_made,
    folded_of,
    refit_made,
)
from tellapart.pipeline.clock import Clock
from tellapart.pipeline.data import Seen, look_again, trained_of
from tellapart.pipeline.ensemble import ensemble_network, ship_ensemble
from tellapart.pipeline.gradient import check_fit, fit_network
from tellapart.pipeline.record import begin_run, write_results
from tellapart.pipeline.request import CROSS_VALIDATION, Order, how_to_resume
from tellapart.pipeline.ship import Shipped, ship
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.runs.folder import RunFolder
from tellapart.runs.lock import locked
from tellapart.runs.saved_splits import read_splits
from tellapart.training.hardware import Hardware
from tellapart.training.invariant import MOVES, with_moves


@dataclass(frozen=True)
class _Divided:
    """All that a model can be made of once the folds are done."""

    seen: Seen
    plan: FoldPlan
    frozen: Frozen | None
    runs: Sequence[FoldRun]
    out: OutOfFold


@dataclass(frozen=True)
class _Final:
    """The model: what was seen by its end, the file, how it was made, and what is to be recorded of
    its training.
    """

    seen: Seen
    shipped: Shipped
    made: Made
    learned: Mapping[str, Any] = field(default_factory=dict)


def cross_train(
    order: Order, asked: Asked, store: FeatureStore, console: Console, clock: Clock, held: ExitStack
) -> CrossValidated:
    """From the order to the finished run folder, or from wherever that stands.

    Raises:
        Interrupted: with the command that goes on.
    """
    if order.run:
        held.enter_context(locked(order.run.path))
        order.run.clear_parts()
    check_fit(order.recipe, {})
    frozen = (
        frozen_backbone(order.recipe, store, console) if order.recipe.method == "finetune" else None
    )
    seen, plan = look_at_pool(order, asked, frozen.features if frozen else None, console)
    clock.lap("scan")
    run = order.run or begin_run(
        order, seen.catalog, seen.splits, held, **{CROSS_VALIDATION: asdict(asked)}
    )
    held.enter_context(_resumable(run))
    runs = make_fold_runs(order, run, seen.catalog, plan, console)
    divided = _Divided(seen, plan, frozen, runs, answers_of(runs, plan, seen.catalog, run.path))
    clock.lap("folds")
    final = (
        _together(order, divided, console)
        if asked.ensemble
        else _refitted(order, run, divided, store, console)
    )
    clock.lap("model file")
    catalog = seen.catalog
    histories = {plan.name(*where): one.history for where, one in zip(plan.each, runs, strict=True)}
    experiment = experiment_of(order.recipe, divided.out.scores(catalog), runs)
    folded = folded_of(catalog, divided.out, final.made, histories=histories, experiment=experiment)
    trained = trained_of(order, final.seen, final.shipped, folds=folded, **final.learned)
    digest = splits_hash(read_splits(run.path).rows.values())
    write_results(run, trained, escape(order.name), digest, console, clock.seconds)
    return cross_validated(run.path, trained, clock)


@contextmanager
def _resumable(run: RunFolder) -> Iterator[None]:
    """Whoever stops it, in a fold or between two, is told how to go on with all of it."""
    hint = f"Go on with: {how_to_resume(run.path, verb='cv')}"
    try:
        yield
    except Interrupted as stop:
        raise Interrupted(stop.message, hint) from None
    except KeyboardInterrupt:
        raise Interrupted("Interrupted; what was learned is kept.", hint) from None


def _together(order: Order, divided: _Divided, console: Console) -> _Final:
    """The folds' models in one file."""
    seen, plan, recipe = divided.seen, divided.plan, order.recipe
    by_probe = divided.frozen.torch_side.embed if divided.frozen else None
    members = [member_of(one, recipe, by_probe, console) for one in divided.runs]
    network = ensemble_network(members, network_of(divided.runs[0]))
    calibration = thresholds_out_of_fold(divided.out, recipe.answer)
    shipped = ship_ensemble(
        members, network, seen.catalog, seen.splits, recipe, calibration, console
    )
    return _Final(seen, shipped, ensemble_made(plan))


def _refitted(
    order: Order, run: RunFolder, divided: _Divided, store: FeatureStore, console: Console
) -> _Final:
    """One model more, made of all of the pool as most folds made theirs."""
    by_probe = sum(one.shipped == "probe" for one in divided.runs)
    if 2 * by_probe > len(divided.runs):
        return _refitted_probe(order, divided, store, by_probe)
    return _refitted_network(order, run, divided, store, console)


def _refitted_probe(order: Order, divided: _Divided, store: FeatureStore, votes: int) -> _Final:
    assert divided.frozen
    seen, plan, recipe = divided.seen, divided.plan, order.recipe
    learned, probe = refit_probe(order, seen, plan, divided.frozen)
    calibration = calibrate_out_of_fold(
        divided.out, recipe.answer, among=_of_kind(divided, "probe")
    )
    shipped = ship(learned, seen.catalog, seen.splits, recipe, store, calibration)
    what = (
        f"a probe, as {votes} of {len(divided.runs)} folds chose it over fine-tuning, fitted on all"
        " images but the test set"
    )
    return _Final(seen, shipped, refit_made(plan, {"method": "probe"}, what), {"probe": probe})


def _refitted_network(
    order: Order, run: RunFolder, divided: _Divided, store: FeatureStore, console: Console
) -> _Final:
    """By gradient on the whole pool: without val, for as many epochs as were best in the folds, to
    the last network.
    """
    seen, plan, kind = divided.seen, divided.plan, "fine-tuned" if divided.frozen else ""
    recipe = refit_recipe(order.recipe, [one for one in divided.runs if one.shipped == kind])
    epochs = recipe.training.epochs
    console.say(
        f"One more training, on all {len(plan.rows):,} images but the test set: {epochs} epochs"
    )
    begun = any(run.path.glob("checkpoints/step-*"))
    probe = refit_probe(order, seen, plan, divided.frozen)[1] if divided.frozen else None
    fitted = fit_network(
        replace(order, recipe=recipe, run=run if begun else None, runs=run.path.parent),
        run,
        seen.catalog,
        seen.splits,
        Hardware(recipe.training),
        store,
        console,
        probe=probe,
    )
    seen = look_again(fitted.learned, seen, order.recipe, console)
    calibration = calibrate_out_of_fold(divided.out, recipe.answer, among=_of_kind(divided, kind))
    shipped = ship(fitted.learned, seen.catalog, seen.splits, order.recipe, store, calibration)
    chosen = (
        "the rounded mean of the folds' best epochs, with the schedule over these"
        if any(one.metrics["training"]["best_epoch"] for one in divided.runs)
        else "as long as the folds were, which had no val to choose by"
    )
    long = f"{epochs} epoch{'s' * (epochs != 1)} long"
    what = f"the last network of one more training on all images but the test set, {long}: {chosen}"
    made = refit_made(plan, {"method": recipe.method, "epochs": epochs}, what)
    return _Final(seen, shipped, made, {**fitted.recorded, "probe": probe})


def refit_recipe(recipe: Recipe, runs: Sequence[FoldRun]) -> Recipe:
    """The recipe of the last training: what val decided in the folds is settled, and nothing ends
    it early.

    Args:
        runs: the folds that shipped what is trained now. Their mean best epoch is its number of
            epochs, and flips and turns that most of them found invariant are made.
    """
    epochs = int(np.mean([one.best_epoch for one in runs]) + 0.5)
    moves = [name for name in MOVES if 2 * sum(name in one.moves for one in runs) > len(runs)]
    augmentation = replace(with_moves(recipe.augmentation, moves), invariant=False)
    training = replace(recipe.training, epochs=epochs, patience=None, budget_minutes=None)
    return replace(recipe, training=training, augmentation=augmentation)


def _of_kind(divided: _Divided, kind: str) -> NDArray[np.bool_]:
    """(R, N) which answers are of models of the kind that is made now."""
    chosen = np.zeros(divided.plan.fold_of.shape, bool)
    for (repeat, fold), one in zip(divided.plan.each, divided.runs, strict=True):
        chosen[repeat] |= (divided.plan.fold_of[repeat] == fold) & (one.shipped == kind)
    return chosen
