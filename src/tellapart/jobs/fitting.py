"""Gradient training: from pictures and a recipe to a learned classifier, in a run folder that can be resumed."""

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
from tellapart.export.network import at_rest, export_trained
from tellapart.jobs.learned import Learned
from tellapart.jobs.orders import Order, how_to_resume
from tellapart.models.backbones import Backbone, find_preprocessing, load_backbone
from tellapart.models.classifier import Classifier, build_classifier
from tellapart.models.stages import frozen_upto, learn_from, stage_names
from tellapart.pixels.batches import batch_bounds
from tellapart.pixels.inputs import PictureInputs
from tellapart.pixels.pictures import Pictures, memory_for_pictures
from tellapart.progress import Talk, duration
from tellapart.recipe import Recipe, recipe_items
from tellapart.runs.folder import RunFolder, check_room
from tellapart.training.checkpoints import Checkpoint, Checkpoints, most_bytes
from tellapart.training.execution import Execution, choose_execution, running
from tellapart.training.features import FeatureExtractor
from tellapart.training.fit import Surroundings, fit
from tellapart.training.hardware import Hardware
from tellapart.training.harmless import MOVES, harmless_moves, with_moves
from tellapart.training.learner import Material
from tellapart.training.listeners import KeepLog, PrintLosses, ShowProgress, history_csv, print_epochs
from tellapart.training.moments import Listener
from tellapart.training.probe import Probe
from tellapart.training.progress import Progress
from tellapart.training.schedules import rate_curve
from tellapart.training.stepping import Stepper
from tellapart.training.trackers import TrackScalars, check_trackers, scalar_steps, trackers

# What the end of a run takes, for a budget: the export and the report, and a look at each picture that is measured on.
ENDING_SECONDS = 15.0
DECODING_SECONDS = 0.003  # a picture


@dataclass(frozen=True)
class Fitted:
    """A trained network.

    Args:
        learned: as it is shipped. progress: how it went. facts: for the record. rates: epochs done and rate there.
    """

    learned: Learned
    progress: Progress
    facts: Mapping[str, Any]
    rates: tuple[tuple[float, float], ...]

    @property
    def recorded(self) -> dict[str, Any]:
        """What `Trained` takes of it, by its fields' names."""
        return {"history": tuple(self.progress.history), "rates": self.rates, "training": self.facts}


def check_fit(recipe: Recipe, metrics: Mapping[str, Metric]) -> None:
    """Refuse, before any work, what no data is needed to see.

    Raises:
        UserError: an unknown metric for the best, or a tracker that cannot be started.
    """
    choose("metric for training.best:", recipe.training.best, {**METRICS, **metrics})
    check_trackers(recipe.training.trackers)


def fit_network(
    order: Order,
    run: RunFolder,
    catalog: Catalog,
    splits: Column,
    hardware: Hardware,
    store: FeatureStore,
    talk: Talk,
    *,
    probe: Probe | None = None,
    listeners: Sequence[Listener] = (),
    metrics: Mapping[str, Metric] | None = None,
) -> Fitted:
    """Train by gradient, from the beginning or from where the run was interrupted.

    Args:
        probe: the head to begin with, softened; None: new numbers.
        listeners: the user's. metrics: the user's, by name, beside the ordinary ones.

    Raises:
        UserError, Refused, Interrupted: as `training.fit.fit`.
    """
    recipe = order.recipe
    run_id = order.identity.id if order.identity else str(run.read_json("run.json")["id"]) if hardware.is_writer else ""
    checkpoints = Checkpoints(run.path / "checkpoints", run_id, talk)
    resumed = checkpoints.newest() if order.run else None
    if order.run and resumed is None:
        talk.say("There is no checkpoint yet: it begins at the beginning")
    elif resumed:
        talk.say(f"Going on from step {resumed.step:,}")
    for key, why in recipe.idle.items():
        talk.say(f"note: {key} does nothing, since {why}")
    backbone, classifier = _network(recipe, len(catalog.classes), talk)
    side, hole = backbone.preprocessing.size_px, recipe.augmentation.dropout_px
    if recipe.augmentation.dropout and hole >= side:
        talk.say(f"note: augmentation.dropout_px={hole} blackens whole pictures, which are {side} px wide")
    weights_bytes = sum(tensor.nbytes for tensor in classifier.state_dict().values())
    check_room(order.runs, most_bytes(weights_bytes, 2 * weights_bytes))
    material = _material(recipe, catalog, splits, backbone, talk)
    execution = _execution(recipe, classifier, material, hardware, resumed, talk)
    moves = list(resumed.facts["moves"]) if resumed else _begin_at(probe, recipe, classifier, material, execution, talk)
    recipe = replace(recipe, augmentation=with_moves(recipe.augmentation, moves))
    num_final = int(np.isin(splits, ("val", "test")).sum())
    with ExitStack() as stack:
        around = Surroundings(
            hardware=hardware,
            checkpoints=checkpoints,
            resumed=resumed,
            moves=moves,
            listeners=[*_listeners(stack, recipe, run, hardware, material, resumed, talk), *listeners],
            metrics={**METRICS, **(metrics or {})},
            deadline=_deadline(order, execution, num_final, resumed.facts["seconds"] if resumed else 0.0),
            how_to_resume=how_to_resume(run.path),
            write_history=lambda rows: run.write("history.csv", history_csv(rows)),
            talk=talk,
        )
        if hardware.is_writer and (resumed is None or resumed.facts["history"]):
            around.write_history(resumed.facts["history"] if resumed else [])
        progress = fit(classifier, material, recipe, execution, around)
    hardware.leave_if_helper()
    _say_the_end(progress, recipe, talk)
    return Fitted(
        learned=_learned(classifier, backbone, store),
        progress=progress,
        facts=_facts(progress, classifier, backbone, hardware, material),
        rates=_rates(progress, recipe),
    )


def _rates(progress: Progress, recipe: Recipe) -> tuple[tuple[float, float], ...]:
    """Epochs done and the learning rate there, as far as the training came; none where the history alone knows."""
    if progress.steps < recipe.training.epochs * progress.per_epoch:  # a budget, whose plan changed on the way
        return ()
    curve = rate_curve(progress.steps, progress.per_epoch, recipe.training)
    return tuple((epochs, rate) for epochs, rate in curve if epochs * progress.per_epoch < progress.step)


def training_step(
    catalog: Catalog, splits: Column, recipe: Recipe, probe: Probe | None, talk: Talk
) -> Callable[[float], float]:
    """What does one training step after the other at the rates it is given, and returns each one's mean loss.

    It begins as `fit_network` does.
    """
    hardware = Hardware(recipe.training)
    backbone, classifier = _network(recipe, len(catalog.classes), talk)
    material = _material(recipe, catalog, splits, backbone, talk)
    execution = _execution(recipe, classifier, material, hardware, None, talk)
    moves = _begin_at(probe, recipe, classifier, material, execution, talk)
    recipe = replace(recipe, augmentation=with_moves(recipe.augmentation, moves))
    material = replace(material, val=None)
    stepper = Stepper(classifier, material, recipe, hardware, execution, talk)
    learner = stepper.learners.of(0)
    batches = ((batch, weight) for epoch in count() for batch, weight in stepper.batches(learner, epoch))
    numbers = count()

    def step(lr: float) -> float:
        batch, weight = next(batches)
        with running(execution):
            return stepper.step(learner, batch, weight, next(numbers), lr)

    return step


def _network(recipe: Recipe, num_classes: int, talk: Talk) -> tuple[Backbone, Classifier]:
    talk.say(f"Loading {recipe.backbone.name}")
    preprocessing = find_preprocessing(recipe.backbone, recipe.preprocessing)
    backbone = load_backbone(recipe.backbone, preprocessing, recipe.seed)
    return backbone, build_classifier(backbone, recipe.head, num_classes, recipe.seed)


def _material(recipe: Recipe, catalog: Catalog, splits: Column, backbone: Backbone, talk: Talk) -> Material:
    held_bytes = memory_for_pictures(recipe.training.memory_share)

    def pictures(split: str) -> Pictures:
        return Pictures(
            catalog,
            np.flatnonzero(splits == split),
            backbone.preprocessing,
            max_pixels=recipe.decoding.max_pixels,
            held_bytes=held_bytes,
            most_lost=recipe.decoding.lost_share,
            talk=talk,
        )

    return Material(pictures("train"), pictures("val") if (splits == "val").any() else None, backbone.preprocessing)


def _execution(
    recipe: Recipe,
    classifier: Classifier,
    material: Material,
    hardware: Hardware,
    resumed: Checkpoint | None,
    talk: Talk,
) -> Execution:
    if resumed:
        before = Execution(**resumed.facts["execution"])
        if recipe.training.threads in (None, before.threads):
            return before
    preprocessing = material.preprocessing
    shape = (preprocessing.channels, preprocessing.size_px, preprocessing.size_px)
    learn_from(classifier, frozen_upto(recipe.freeze, stage_names(classifier.embedder.network), 0))
    kept_bytes = int(hardware.least(memory_for_pictures(recipe.training.memory_share)))
    execution = choose_execution(classifier, shape, recipe.training, hardware.device)
    execution = hardware.of_writer(replace(execution, kept_bytes=kept_bytes))  # one layout of the weights for all
    where = "held in memory" if material.train.held else "decoded as they come"
    talk.say(
        f"{len(material.train):,} train pictures, {where}; "
        f"{execution.threads} thread{'s' * (execution.threads > 1)}, {execution.memory_format.replace('_', ' ')}"
        f"{'' if execution.onednn else ', without oneDNN'}"
    )
    return execution


def _begin_at(
    probe: Probe | None,
    recipe: Recipe,
    classifier: Classifier,
    material: Material,
    execution: Execution,
    talk: Talk,
) -> list[str]:
    """Give the classifier the probe's head, softened; returns the flips and turns that the probe finds harmless."""
    if probe is None:
        return []
    moves: list[str] = []
    if recipe.augmentation.harmless and material.val is None:
        talk.say("note: There is no val to measure on which flips and turns are harmless: none is added")
    elif recipe.augmentation.harmless and material.val is not None:
        how = material.preprocessing, recipe.augmentation, torch.device("cpu"), execution.torch_format
        classifier.load_layers(probe.layers)
        with running(execution):
            moves = harmless_moves(classifier, PictureInputs(material.val, *how), len(material.val))
        told = ", ".join(MOVES[name][0] for name in moves) or "none"
        talk.say(f"Flips and turns that the probe does not mind, by val: {told}")
    classifier.load_layers(probe.layers.softened())
    return moves


def _deadline(order: Order, execution: Execution, num_final: int, spent: float) -> float | None:
    minutes = order.recipe.training.budget_minutes
    if minutes is None:
        return None
    ending = ENDING_SECONDS + num_final * (DECODING_SECONDS + execution.looking_seconds)
    return order.began + 60 * minutes - ending - spent


def _listeners(
    stack: ExitStack,
    recipe: Recipe,
    run: RunFolder,
    hardware: Hardware,
    material: Material,
    resumed: Checkpoint | None,
    talk: Talk,
) -> list[Listener]:
    """What prints and records, in the process that writes."""
    if not hardware.is_writer:
        return []
    training = recipe.training
    per_epoch = len(batch_bounds(len(material.train), training.batch_size))
    listeners: list[Listener] = [KeepLog(talk), print_epochs(talk, training.batch_size)]
    if training.print_every:
        listeners.append(PrintLosses(talk, training.print_every))
    else:
        bar = ShowProgress(talk, per_epoch)
        stack.callback(bar.close)
        listeners.append(bar)
    if training.trackers:
        first = resumed.step if resumed else 0
        plain = int | float | str
        config = {key: value if isinstance(value, plain) else str(value) for key, value in recipe_items(recipe)}
        stack.enter_context(trackers(hardware.accelerator, run.path, training.trackers, config, first))
        listeners.append(TrackScalars(hardware.accelerator, scalar_steps(per_epoch * training.epochs)))
    return listeners


def _say_the_end(progress: Progress, recipe: Recipe, talk: Talk) -> None:
    if progress.ended:
        talk.say(f"Ended after step {progress.step:,}: {progress.ended}")
    kept = f"; best by val {recipe.training.best}: epoch {progress.best_epoch}" if progress.best else ""
    talk.say(f"{progress.step:,} steps in {duration(progress.seconds)}{kept}")


def _learned(classifier: Classifier, backbone: Backbone, store: FeatureStore) -> Learned:
    network = export_trained(classifier.embedder, backbone.preprocessing, backbone.weights)
    features = FeatureExtractor(compose_features(network.graph, network.preprocessing), store)
    return Learned(
        network=network, layers=classifier.layers(), features=features, embed=at_rest(classifier.embedder).embed
    )


def _facts(
    progress: Progress, classifier: Classifier, backbone: Backbone, hardware: Hardware, material: Material
) -> dict[str, Any]:
    return {
        "steps": progress.step,
        "epochs": len(progress.history),
        "best_epoch": progress.best_epoch,
        "ended_early": progress.ended or None,
        "seconds": round(progress.seconds, 1),
        "parameters": sum(one.numel() for one in classifier.parameters()),
        "weights": backbone.weights.source,
        "train_pictures": len(material.train),
        "held_in_memory": material.train.held,
        "threads": progress.execution["threads"],
        "memory_format": progress.execution["memory_format"],
        "parts": progress.parts,
        "harmless_moves": list(progress.moves),
        "processes": hardware.share[1],
        "device": str(hardware.device),
        "changed_meanwhile": list(progress.lost),
    }
