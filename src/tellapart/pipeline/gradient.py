"""Gradient training: from images in hand and a recipe to a trained model, in a run folder that can
be resumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from tellapart.cache import FeatureStore
from tellapart.catalog.table import Catalog
from tellapart.errors import choose
from tellapart.evaluation.choice import Choice
from tellapart.evaluation.comparison import Comparison, compare
from tellapart.evaluation.scores import METRICS
from tellapart.experiments.fold_plan import pool_of
from tellapart.export.compose import compose_features
from tellapart.extensions import Extensions
from tellapart.models.backbones import Backbone
from tellapart.models.classifier import Classifier
from tellapart.models.to_onnx import at_rest, export_trained
from tellapart.phrases import count_of
from tellapart.pipeline.data import Data
from tellapart.pipeline.fine_tuned import keep_between, settle
from tellapart.pipeline.open import OpenRun
from tellapart.pipeline.probe import TrainedModel, fit_train
from tellapart.pipeline.record import Trained, write_results
from tellapart.pipeline.request import Request, how_to_resume
from tellapart.pipeline.services import Services
from tellapart.pipeline.ship import measured_rows, ship
from tellapart.pipeline.train_index import train_index
from tellapart.pipeline.training_setup import (
    build_network,
    hold_images,
    measured_runtime,
    own_callbacks,
    plan_ending,
    start_from,
)
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.progress import Console, duration
from tellapart.recipe import Recipe
from tellapart.runs.folder import check_room
from tellapart.training.callbacks import history_csv
from tellapart.training.checkpoints import Checkpoint, Checkpoints, most_bytes
from tellapart.training.context import Context
from tellapart.training.events import Callback
from tellapart.training.hardware import Hardware
from tellapart.training.invariant import with_moves
from tellapart.training.loop import fit
from tellapart.training.phases import TrainingData
from tellapart.training.schedules import rate_curve
from tellapart.training.state import Progress
from tellapart.training.trackers import check_trackers
from tellapart.training.weight_line import WeightLine, weights_of


@dataclass(frozen=True)
class Fitted:
    """A trained network.

    Args:
        model: the network with its head, as it may be shipped.
        progress: how the training went.
        facts: for the record, plain values.
        rates: epochs done and the learning rate there.
        choice: what val says of it and the probe that it started from. None without either.
    """

    model: TrainedModel
    progress: Progress
    facts: Mapping[str, Any]
    rates: tuple[tuple[float, float], ...]
    choice: Choice | None = None


def check_fit(recipe: Recipe, extensions: Extensions) -> None:
    """Refuse, before any work, what no data is needed to see.

    Raises:
        UserError: `training.monitor` names no metric, or a tracker cannot be started.
    """
    known = {**METRICS, **extensions.metrics}
    choose("metric for training.monitor:", recipe.training.monitor, known)
    check_trackers(recipe.training.trackers)


def train_network(
    request: Request,
    run: OpenRun,
    data: Data,
    services: Services,
    hardware: Hardware,
    *,
    start: TrainedModel | None = None,
    callbacks: Sequence[Callback] = (),
) -> Trained | None:
    """Train by gradient on images in hand, and write the run: what `train`, a fold and the best
    trial of a study have in common.

    Args:
        data: scanned and divided.
        start: the probe that the training starts from. None means a new head.

    Returns:
        What was learned; None in a process that only helps another one that writes.
    """
    fitted = fit_network(request, run, data, services, hardware, start=start, callbacks=callbacks)
    if fitted is None:
        return None
    return finish_network(request, run, data, services, fitted, start=start)


def finish_network(
    request: Request,
    run: OpenRun,
    data: Data,
    services: Services,
    fitted: Fitted,
    *,
    start: TrainedModel | None = None,
) -> Trained:
    """Ship the better of the trained network and the probe that it started from, and write the
    run.
    """
    recipe, console, clock = request.recipe, services.console, services.clock
    data = embed_measured(fitted.model, data, recipe, console)
    clock.lap("measuring")
    model, comparison, catalog = fitted.model, None, data.catalog
    if start is not None:
        model, comparison = _better(start, fitted, catalog)
    if model is start and not (catalog.given_splits == "val").any():
        # A probe needs no val: it learns from these images too, as a run of the probe alone would.
        catalog = catalog.with_splits(pool_of(catalog.splits))
        with services.step("head", "Fitting the head") as task:
            start = model = fit_train(start, catalog, recipe, task.reach)
    with services.step("model file", "Making and checking the model file"):
        shipped = ship(model, catalog, recipe, services.store)
    trained = Trained(
        recipe=recipe,
        data=data,
        shipped=shipped,
        probe=start.probe if start else None,
        history=tuple(fitted.progress.history),
        rates=fitted.rates,
        training=fitted.facts,
        comparison=comparison,
        preset=request.preset,
        index=train_index(model, catalog, request),
    )
    write_results(run.folder, trained, request.name, services)
    return trained


def embed_measured(model: TrainedModel, data: Data, recipe: Recipe, console: Console) -> Data:
    """Embed all images that the model file is measured on by a network that has just been trained.

    Its embeddings are those of the shipped graph, not those of the loop: the files are read again
    on purpose. Images that changed since the scan are left out and named.
    """
    rows = measured_rows(data.catalog, model.width, recipe.seed)
    changed = model.embed_anew(data.catalog, rows, console)
    return data.without(changed)


def _better(
    start: TrainedModel, fitted: Fitted, catalog: Catalog
) -> tuple[TrainedModel, Comparison]:
    """The better of probe and fine-tuned network by val, and how they compare on test."""
    improved = fitted.choice is None or fitted.choice.place > 0
    test = catalog.split("test")
    rows = test if len(test) else catalog.split("val")
    comparison = compare(
        start.predictions(catalog, rows),
        fitted.model.predictions(catalog, rows),
        ("probe", "fine-tuned"),
        seconds=fitted.progress.seconds,
        shipped="fine-tuned" if improved else "probe",
        split="test" if len(test) else "val",
    )
    return fitted.model if improved else start, comparison


def fit_network(
    request: Request,
    run: OpenRun,
    data: Data,
    services: Services,
    hardware: Hardware,
    *,
    start: TrainedModel | None = None,
    callbacks: Sequence[Callback] = (),
    share: float | None = None,
) -> Fitted | None:
    """Train by gradient, from the beginning or from the newest checkpoint of the run.

    Args:
        start: the probe that it starts from. None means a new head.
        share: how far from the start to the end of the training the network lies. None lets val
            choose; without val it is the end.

    Returns:
        The trained network; None in a process that only helps another one that writes.

    Raises:
        UserError, Refused, Interrupted: as `training.loop.fit`.
    """
    recipe, catalog, console = request.recipe, data.catalog, services.console
    checkpoints = Checkpoints(run.folder.path / "checkpoints", run.id, console)
    resumed = checkpoints.newest() if run.resumed else None
    _say_the_beginning(recipe, run, resumed, console)
    backbone, classifier = build_network(recipe, len(catalog.classes), console, request.extensions)
    _check_sizes(recipe, request, backbone, classifier, console)
    services.clock.lap("network")
    training_data = hold_images(recipe, catalog, backbone, services)
    services.clock.lap("decoding")
    runtime = measured_runtime(recipe, classifier, training_data, hardware, resumed, services)
    if resumed:
        moves = list(resumed.facts["moves"])
    else:
        moves = start_from(start, recipe, classifier, training_data, runtime, console)
    began = _beginning(classifier, start)
    recipe = replace(recipe, augmentation=with_moves(recipe.augmentation, moves))
    num_final = len(catalog.split("val")) + len(catalog.split("test"))
    spent = resumed.facts["seconds"] if resumed else 0.0
    ending = plan_ending(request, runtime, training_data, num_final, spent)
    with ExitStack() as stack:
        own = own_callbacks(
            stack, recipe, run, hardware, training_data, resumed, console, ending.seconds
        )
        context = Context(
            hardware=hardware,
            checkpoints=checkpoints,
            resumed=resumed,
            moves=moves,
            callbacks=[*own, *callbacks],
            metrics={**METRICS, **request.extensions.metrics},
            extensions=request.extensions,
            deadline=ending.loop_until,
            how_to_resume=how_to_resume(run.folder.path),
            write_history=lambda rows: run.folder.write("history.csv", history_csv(rows)),
            console=console,
        )
        if hardware.is_writer and (resumed is None or resumed.facts["history"]):
            context.write_history(resumed.facts["history"] if resumed else [])
        progress = fit(classifier, training_data, recipe, runtime, context)
    hardware.wait()
    services.clock.lap("training")
    if not hardware.is_writer:
        return None
    _say_the_end(progress, recipe, console)
    facts = _facts(progress, classifier, backbone, hardware, training_data)
    choice = None
    if began is not None:
        line = WeightLine(classifier, began, training_data, runtime, hardware.device, recipe.seed)
        choice, chosen = settle(
            line, training_data, catalog, progress, recipe, console, share, ending.choose_until
        )
        facts |= chosen
        facts["network"] = keep_between(classifier, checkpoints, progress, chosen["share"])
        services.clock.lap("choice")
    with services.step("export", "Exporting the network"):
        model = _model(classifier, backbone, services.store)
    return Fitted(
        model=model,
        progress=progress,
        facts=facts,
        rates=_rates(progress, recipe, request.extensions),
        choice=choice,
    )


def _beginning(classifier: Classifier, start: TrainedModel | None) -> dict[str, Tensor] | None:
    """The network at the beginning of the training, also where that is resumed."""
    if start is None:
        return None
    classifier.load_layers(start.layers.softened())
    return weights_of(classifier)


def _say_the_beginning(
    recipe: Recipe, run: OpenRun, resumed: Checkpoint | None, console: Console
) -> None:
    if resumed:
        console.say(f"Going on from step {resumed.step:,}")
    elif run.resumed:
        console.say("There is no checkpoint yet: the training begins at the beginning")
    for key, why in recipe.idle.items():
        console.say(f"note: {key} does nothing, since {why}")


def _check_sizes(
    recipe: Recipe, request: Request, backbone: Backbone, classifier: Classifier, console: Console
) -> None:
    """See that holes are smaller than images, and that the checkpoints have room on the disk."""
    side, hole = backbone.preprocessing.size_px, recipe.augmentation.dropout_px
    if recipe.augmentation.dropout and hole >= side:
        console.say(
            f"note: augmentation.dropout_px={hole} blackens whole images, which are {side} px wide"
        )
    weights_bytes = sum(tensor.nbytes for tensor in classifier.state_dict().values())
    copies = 2 + bool(recipe.training.ema)  # the optimizer's moments, and the average
    check_room(request.runs, most_bytes(weights_bytes, copies * weights_bytes))


def _rates(
    progress: Progress, recipe: Recipe, extensions: Extensions
) -> tuple[tuple[float, float], ...]:
    """Epochs done and the learning rate there, as far as the training came; none where the history
    alone knows.
    """
    if (
        progress.steps < recipe.training.epochs * progress.per_epoch
    ):  # a budget, whose plan changed on the way
        return ()
    curve = rate_curve(
        progress.steps,
        progress.per_epoch,
        recipe.training,
        schedules=extensions.schedules,
    )
    return tuple(
        (epochs, rate) for epochs, rate in curve if epochs * progress.per_epoch < progress.step
    )


def _say_the_end(progress: Progress, recipe: Recipe, console: Console) -> None:
    if progress.ended:
        console.say(f"Ended after step {progress.step:,}: {progress.ended}")
    monitor, best = recipe.training.monitor, progress.best_epoch
    kept = f"; the best by val {monitor} is epoch {best}" if progress.best else ""
    console.say(f"{count_of(progress.step, 'step')} in {duration(progress.seconds)}{kept}")


def _model(classifier: Classifier, backbone: Backbone, store: FeatureStore) -> TrainedModel:
    network = export_trained(classifier.embedder, backbone.preprocessing, backbone.weights)
    features = FeatureExtractor(compose_features(network.graph, network.preprocessing), store)
    return TrainedModel(
        network=network,
        layers=classifier.layers(),
        features=features,
        embed=at_rest(classifier.embedder).embed,
    )


def _facts(
    progress: Progress,
    classifier: Classifier,
    backbone: Backbone,
    hardware: Hardware,
    data: TrainingData,
) -> dict[str, Any]:
    return {
        "steps": progress.step,
        "epochs": len(progress.history),
        "best_epoch": progress.best_epoch if progress.best else None,
        "ended_early": progress.ended or None,
        "seconds": round(progress.seconds, 1),
        "parameters": sum(parameter.numel() for parameter in classifier.parameters()),
        "weights": backbone.weights.source,
        "train_images": len(data.train),
        "held_in_memory": data.train.held,
        "threads": progress.runtime["threads"],
        "memory_format": progress.runtime["memory_format"],
        "parts": progress.parts,
        "invariant_moves": list(progress.moves),
        "processes": hardware.share[1],
        "device": str(hardware.device),
        "changed_meanwhile": list(progress.lost),
    }
