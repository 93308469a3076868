"""Gradient training: from images and a recipe to a learned classifier, in a run folder that can be
resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import torch

from tellapart.cache import FeatureStore
from tellapart.catalog.table import Catalog, Column
from tellapart.errors import choose
from tellapart.evaluation.scores import METRICS, Metric
from tellapart.export.compose import compose_features
from tellapart.images.batches import ImageInputs
from tellapart.images.sampling import batch_bounds
from tellapart.images.store import Images, memory_for_images
from tellapart.models.backbones import Backbone, find_preprocessing, load_backbone
from tellapart.models.classifier import Classifier, build_classifier
from tellapart.models.stages import frozen_upto, learn_from, stage_names
from tellapart.models.to_onnx import at_rest, export_trained
from tellapart.pipeline.learned import Learned
from tellapart.pipeline.request import Order, how_to_resume
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.probe.fit import Probe
from tellapart.progress import Console, duration
from tellapart.recipe import Recipe, recipe_items
from tellapart.runs.folder import RunFolder, check_room
from tellapart.training.callbacks import (
    KeepLog,
    PrintLosses,
    ShowProgress,
    history_csv,
    print_epochs,
)
from tellapart.training.checkpoints import Checkpoint, Checkpoints, most_bytes
from tellapart.training.events import Callback
from tellapart.training.hardware import Hardware
from tellapart.training.invariant import MOVES, invariant_moves, with_moves
from tellapart.training.loop import Context, fit
from tellapart.training.phases import TrainingData
from tellapart.training.runtime import RuntimeSettings, choose_runtime, running
from tellapart.training.schedules import rate_curve
from tellapart.training.state import Progress
from tellapart.training.step import Stepper
from tellapart.training.trackers import TrackScalars, check_trackers, scalar_steps, trackers

# What the end of a run takes, for a budget: the export and the report, and a look at each image
# that is measured on.
ENDING_SECONDS = 15.0
DECODING_SECONDS = 0.003  # an image


@dataclass(frozen=True)
class Fitted:
    """A trained network.

    Args:
        learned: as it is shipped.
        progress: how it went.
        facts: for the record.
        rates: epochs done and rate there.
    """

    learned: Learned
    progress: Progress
    facts: Mapping[str, Any]
    rates: tuple[tuple[float, float], ...]

    @property
    def recorded(self) -> dict[str, Any]:
        """What `Trained` takes of it, by its fields' names."""
        return {
            "history": tuple(self.progress.history),
            "rates": self.rates,
            "training": self.facts,
        }


def check_fit(recipe: Recipe, metrics: Mapping[str, Metric]) -> None:
    """Refuse, before any work, what no data is needed to see.

    Raises:
        UserError: an unknown metric for the best, or a tracker that cannot be started.
    """
    choose("metric for training.monitor:", recipe.training.monitor, {**METRICS, **metrics})
    check_trackers(recipe.training.trackers)


def fit_network(
    order: Order,
    run: RunFolder,
    catalog: Catalog,
    splits: Column,
    hardware: Hardware,
    store: FeatureStore,
    console: Console,
    *,
    probe: Probe | None = None,
    callbacks: Sequence[Callback] = (),
    metrics: Mapping[str, Metric] | None = None,
) -> Fitted:
    """Train by gradient, from the beginning or from where the run was interrupted.

    Args:
        probe: the head to begin with, softened; None: new numbers.
        callbacks: the user's.
        metrics: the user's, by name, beside the ordinary ones.

    Raises:
        UserError, Refused, Interrupted: as `training.fit.fit`.
    """
    recipe = order.recipe
    run_id = (
        order.identity.id
        if order.identity
        else str(run.read_json("run.json")["id"])
        if hardware.is_writer
        else ""
    )
    checkpoints = Checkpoints(run.path / "checkpoints", run_id, console)
    resumed = checkpoints.newest() if order.run else None
    if order.run and resumed is None:
        console.say("There is no checkpoint yet: it begins at the beginning")
    elif resumed:
        console.say(f"Going on from step {resumed.step:,}")
    for key, why in recipe.idle.items():
        console.say(f"note: {key} does nothing, since {why}")
    backbone, classifier = _network(recipe, len(catalog.classes), console)
    side, hole = backbone.preprocessing.size_px, recipe.augmentation.dropout_px
    if recipe.augmentation.dropout and hole >= side:
        console.say(
            f"note: augmentation.dropout_px={hole} blackens whole images, which are {side} px wide"
        )
    weights_bytes = sum(tensor.nbytes for tensor in classifier.state_dict().values())
    check_room(order.runs, most_bytes(weights_bytes, 2 * weights_bytes))
    data = _training_data(recipe, catalog, splits, backbone, console)
    runtime = _runtime(recipe, classifier, data, hardware, resumed, console)
    moves = (
        list(resumed.facts["moves"])
        if resumed
        else _begin_at(probe, recipe, classifier, data, runtime, console)
    )
    recipe = replace(recipe, augmentation=with_moves(recipe.augmentation, moves))
    num_final = int(np.isin(splits, ("val", "test")).sum())
    with ExitStack() as stack:
        context = Context(
            hardware=hardware,
            checkpoints=checkpoints,
            resumed=resumed,
            moves=moves,
            callbacks=[
                *_callbacks(stack, recipe, run, hardware, data, resumed, console),
                *callbacks,
            ],
            metrics={**METRICS, **(metrics or {})},
            deadline=_deadline(
                order, runtime, num_final, resumed.facts["seconds"] if resumed else 0.0
            ),
            how_to_resume=how_to_resume(run.path),
            write_history=lambda rows: run.write("history.csv", history_csv(rows)),
            console=console,
        )
        if hardware.is_writer and (resumed is None or resumed.facts["history"]):
            context.write_history(resumed.facts["history"] if resumed else [])
        progress = fit(classifier, data, recipe, runtime, context)
    hardware.leave_if_helper()
    _say_the_end(progress, recipe, console)
    return Fitted(
        learned=_learned(classifier, backbone, store),
        progress=progress,
        facts=_facts(progress, classifier, backbone, hardware, data),
        rates=_rates(progress, recipe),
    )


def _rates(progress: Progress, recipe: Recipe) -> tuple[tuple[float, float], ...]:
    """Epochs done and the learning rate there, as far as the training came; none where the history
    alone knows.
    """
    if (
        progress.steps < recipe.training.epochs * progress.per_epoch
    ):  # a budget, whose plan changed on the way
        return ()
    curve = rate_curve(progress.steps, progress.per_epoch, recipe.training)
    return tuple(
        (epochs, rate) for epochs, rate in curve if epochs * progress.per_epoch < progress.step
    )


def training_step(
    catalog: Catalog, splits: Column, recipe: Recipe, probe: Probe | None, console: Console
) -> Callable[[float], float]:
    """What does one training step after the other at the rates it is given, and returns each one's
    mean loss.

    It begins as `fit_network` does.
    """
    hardware = Hardware(recipe.training)
    backbone, classifier = _network(recipe, len(catalog.classes), console)
    data = _training_data(recipe, catalog, splits, backbone, console)
    runtime = _runtime(recipe, classifier, data, hardware, None, console)
    moves = _begin_at(probe, recipe, classifier, data, runtime, console)
    recipe = replace(recipe, augmentation=with_moves(recipe.augmentation, moves))
    data = replace(data, val=None)
    stepper = Stepper(classifier, data, recipe, hardware, runtime, console)
    phase = stepper.phases.of(0)
    batches = (
        (batch, weight) for epoch in count() for batch, weight in stepper.batches(phase, epoch)
    )
    numbers = count()

    def step(lr: float) -> float:
        batch, weight = next(batches)
        with running(runtime):
            return stepper.step(phase, batch, weight, next(numbers), lr)

    return step


def _network(recipe: Recipe, num_classes: int, console: Console) -> tuple[Backbone, Classifier]:
    console.say(f"Loading {recipe.backbone.name}")
    preprocessing = find_preprocessing(recipe.backbone, recipe.preprocessing)
    backbone = load_backbone(recipe.backbone, preprocessing, recipe.seed)
    return backbone, build_classifier(backbone, recipe.head, num_classes, recipe.seed)


def _training_data(
    recipe: Recipe, catalog: Catalog, splits: Column, backbone: Backbone, console: Console
) -> TrainingData:
    held_bytes = memory_for_images(recipe.training.memory_share)

    def images(split: str) -> Images:
        return Images(
            catalog,
            np.flatnonzero(splits == split),
            backbone.preprocessing,
            max_pixels=recipe.decoding.max_pixels,
            held_bytes=held_bytes,
            most_lost=recipe.decoding.lost_share,
            console=console,
        )

    return TrainingData(
        images("train"), images("val") if (splits == "val").any() else None, backbone.preprocessing
    )


def _runtime(
    recipe: Recipe,
    classifier: Classifier,
    data: TrainingData,
    hardware: Hardware,
    resumed: Checkpoint | None,
    console: Console,
) -> RuntimeSettings:
    if resumed:
        before = RuntimeSettings(**resumed.facts["runtime"])
        if recipe.training.threads in (None, before.threads):
            return before
    preprocessing = data.preprocessing
    shape = (preprocessing.channels, preprocessing.size_px, preprocessing.size_px)
    learn_from(classifier, frozen_upto(recipe.freeze, stage_names(classifier.embedder.network), 0))
    kept_bytes = int(hardware.least(memory_for_images(recipe.training.memory_share)))
    runtime = choose_runtime(classifier, shape, recipe.training, hardware.device)
    runtime = hardware.of_writer(
        replace(runtime, kept_bytes=kept_bytes)
    )  # one layout of the weights for all
    where = "held in memory" if data.train.held else "decoded as they come"
    console.say(
        f"{len(data.train):,} train images, {where}; {runtime.threads}"
        f" thread{'s' * (runtime.threads > 1)},"
        f" {runtime.memory_format.replace('_', ' ')}{'' if runtime.onednn else ', without oneDNN'}"
    )
    return runtime


def _begin_at(
    probe: Probe | None,
    recipe: Recipe,
    classifier: Classifier,
    data: TrainingData,
    runtime: RuntimeSettings,
    console: Console,
) -> list[str]:
    """Give the classifier the probe's head, softened; returns the flips and turns that the probe
    finds invariant.
    """
    if probe is None:
        return []
    moves: list[str] = []
    if recipe.augmentation.invariant and data.val is None:
        console.say(
            "note: There is no val to measure on which flips and turns are invariant: none is added"
        )
    elif recipe.augmentation.invariant and data.val is not None:
        how = data.preprocessing, recipe.augmentation, torch.device("cpu"), runtime.torch_format
        classifier.load_layers(probe.layers)
        with running(runtime):
            moves = invariant_moves(classifier, ImageInputs(data.val, *how), len(data.val))
        told = ", ".join(MOVES[name][0] for name in moves) or "none"
        console.say(f"Flips and turns that the probe does not mind, by val: {told}")
    classifier.load_layers(probe.layers.softened())
    return moves


def _deadline(order: Order, runtime: RuntimeSettings, num_final: int, spent: float) -> float | None:
    minutes = order.recipe.training.budget_minutes
    if minutes is None:
        return None
    ending = ENDING_SECONDS + num_final * (DECODING_SECONDS + runtime.looking_seconds)
    return order.began + 60 * minutes - ending - spent


def _callbacks(
    stack: ExitStack,
    recipe: Recipe,
    run: RunFolder,
    hardware: Hardware,
    data: TrainingData,
    resumed: Checkpoint | None,
    console: Console,
) -> list[Callback]:
    """What prints and records, in the process that writes."""
    if not hardware.is_writer:
        return []
    training = recipe.training
    per_epoch = len(batch_bounds(len(data.train), training.batch_size))
    callbacks: list[Callback] = [KeepLog(console), print_epochs(console, training.batch_size)]
    if training.print_every:
        callbacks.append(PrintLosses(console, training.print_every))
    else:
        bar = ShowProgress(console, per_epoch)
        stack.callback(bar.close)
        callbacks.append(bar)
    if training.trackers:
        first = resumed.step if resumed else 0
        plain = int | float | str
        config = {
            key: value if isinstance(value, plain) else str(value)
            for key, value in recipe_items(recipe)
        }
        stack.enter_context(
            trackers(hardware.accelerator, run.path, training.trackers, config, first)
        )
        callbacks.append(
            TrackScalars(hardware.accelerator, scalar_steps(per_epoch * training.epochs))
        )
    return callbacks


def _say_the_end(progress: Progress, recipe: Recipe, console: Console) -> None:
    if progress.ended:
        console.say(f"Ended after step {progress.step:,}: {progress.ended}")
    kept = (
        f"; best by val {recipe.training.monitor}: epoch {progress.best_epoch}"
        if progress.best
        else ""
    )
    console.say(f"{progress.step:,} steps in {duration(progress.seconds)}{kept}")


def _learned(classifier: Classifier, backbone: Backbone, store: FeatureStore) -> Learned:
    network = export_trained(classifier.embedder, backbone.preprocessing, backbone.weights)
    features = FeatureExtractor(compose_features(network.graph, network.preprocessing), store)
    return Learned(
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
        "best_epoch": progress.best_epoch,
        "ended_early": progress.ended or None,
        "seconds": round(progress.seconds, 1),
        "parameters": sum(one.numel() for one in classifier.parameters()),
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
