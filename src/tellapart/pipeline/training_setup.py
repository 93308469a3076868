"""What gradient training works with: the network, the images, the runtime settings, the callbacks."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from tellapart.cache import RuntimeMemory
from tellapart.catalog.table import Catalog
from tellapart.extensions import Extensions
from tellapart.images.batches import ImageInputs
from tellapart.images.sampling import batch_bounds
from tellapart.images.store import Images, memory_for_images
from tellapart.models.backbones import Backbone, find_preprocessing, load_backbone
from tellapart.models.classifier import Classifier, build_classifier
from tellapart.models.stages import frozen_upto, learn_from, stage_names
from tellapart.phrases import count_of
from tellapart.pipeline.open import OpenRun
from tellapart.pipeline.probe import TrainedModel
from tellapart.pipeline.request import Request
from tellapart.pipeline.services import Services
from tellapart.progress import Console
from tellapart.recipe import Recipe, recipe_items
from tellapart.training.callbacks import EpochTable, KeepLog, PrintLosses, ShowProgress
from tellapart.training.checkpoints import Checkpoint
from tellapart.training.events import Callback
from tellapart.training.hardware import Hardware
from tellapart.training.invariant import MOVES, invariant_moves
from tellapart.training.phases import TrainingData
from tellapart.training.runtime import RuntimeSettings, running
from tellapart.training.runtime_choice import choose_runtime
from tellapart.training.trackers import TrackScalars, scalar_steps, trackers
from tellapart.training.weight_line import images_on_line

# What the end of a run takes, for a budget: the export and the report, and decoding and embedding
# each image that is measured.
ENDING_SECONDS = 10.0
DECODING_SECONDS = 0.003  # an image
CHOOSING_SHARE = 0.05  # of a budget, which the choice between probe and fine-tuned may take


def build_network(
    recipe: Recipe, num_classes: int, console: Console, extensions: Extensions
) -> tuple[Backbone, Classifier]:
    """The recipe's backbone, and a classifier of it with a new head."""
    console.say(f"Loading {recipe.backbone.name}")
    networks = extensions.networks
    preprocessing = find_preprocessing(recipe.backbone, recipe.preprocessing, networks)
    backbone = load_backbone(recipe.backbone, preprocessing, recipe.seed, networks)
    return backbone, build_classifier(backbone, recipe.head, num_classes, recipe.seed)


def hold_images(
    recipe: Recipe, catalog: Catalog, backbone: Backbone, services: Services
) -> TrainingData:
    """The images of train and val at the network's size."""
    preprocessing, console = backbone.preprocessing, services.console
    held_bytes = memory_for_images(recipe.training.memory_share)

    def images(rows: NDArray[np.int64], decoded: Images | None = None) -> Images:
        return Images(
            catalog,
            rows,
            preprocessing,
            held_bytes=held_bytes,
            most_lost=recipe.decoding.lost_share,
            console=console,
            decoded=decoded,
        )

    every = np.flatnonzero(catalog.splits != "")
    key = (preprocessing, catalog.rules, every.tobytes())
    # The shared images and the part of them that one training takes are held at the same time.
    fits = 2 * len(every) * preprocessing.size_px**2 * 3 <= held_bytes
    shared = services.shared_images(key, lambda: images(every)) if fits else None
    train, val = catalog.split("train"), catalog.split("val")
    return TrainingData(
        images(train, shared), images(val, shared) if len(val) else None, preprocessing
    )


def measured_runtime(
    recipe: Recipe,
    classifier: Classifier,
    data: TrainingData,
    hardware: Hardware,
    resumed: Checkpoint | None,
    services: Services,
) -> RuntimeSettings:
    """Threads, memory format and kernels: those of the checkpoint, or the fastest ones."""
    if resumed:
        before = RuntimeSettings(**resumed.facts["runtime"])
        if recipe.training.threads in (None, before.threads):
            return before
    preprocessing = data.preprocessing
    shape = (preprocessing.channels, preprocessing.size_px, preprocessing.size_px)
    learn_from(classifier, frozen_upto(recipe.freeze, stage_names(classifier.embedder.network), 0))
    kept_bytes = int(hardware.least(memory_for_images(recipe.training.memory_share)))
    with services.step("speed trials", "Measuring the fastest way to train"):
        runtime = services.runtime_of(
            recipe,
            lambda: choose_runtime(
                classifier,
                shape,
                recipe.training,
                hardware.device,
                num_images=len(data.train),
                memory=RuntimeMemory(),
            ),
        )
    # The weights have one layout in all processes.
    runtime = hardware.of_writer(replace(runtime, kept_bytes=kept_bytes))
    where = "held in memory" if data.train.held else "decoded as they come"
    kernels = "" if runtime.onednn else ", without oneDNN"
    services.console.say(
        f"{count_of(len(data.train), 'train image')}, {where};"
        f" {count_of(runtime.threads, 'thread')},"
        f" {runtime.memory_format.replace('_', ' ')}{kernels}"
    )
    return runtime


def start_from(
    start: TrainedModel | None,
    recipe: Recipe,
    classifier: Classifier,
    data: TrainingData,
    runtime: RuntimeSettings,
    console: Console,
) -> list[str]:
    """Give the classifier the probe's head, softened; returns the flips and turns that the probe
    finds invariant.
    """
    if start is None:
        return []
    moves: list[str] = []
    if recipe.augmentation.invariant and data.val is None:
        console.say(
            "note: There is no val to measure on which flips and turns are invariant: none is added"
        )
    elif recipe.augmentation.invariant and data.val is not None:
        # Val images are not augmented: the user's transforms are not needed to see them.
        augmentation = replace(recipe.augmentation, transforms=())
        device, layout = torch.device("cpu"), runtime.torch_format
        inputs = ImageInputs(data.val, data.preprocessing, augmentation, device, layout)
        classifier.load_layers(start.layers)
        with running(runtime), console.step("Trying flips and turns on val"):
            moves = invariant_moves(classifier, inputs, len(data.val))
        names = ", ".join(MOVES[name][0] for name in moves) or "none"
        console.say(f"Augmentation chosen on val, by what the probe does not mind: {names}")
    classifier.load_layers(start.layers.softened())
    return moves


@dataclass(frozen=True)
class Ending:
    """What a run does after the loop, and by when it must, by `time.monotonic`.

    Args:
        seconds: about how long it takes.
        loop_until: when the loop must end; None without a budget.
        choose_until: when the choice between the probe and the fine-tuned network must end.
    """

    seconds: float
    loop_until: float | None = None
    choose_until: float | None = None


def plan_ending(
    request: Request, runtime: RuntimeSettings, data: TrainingData, num_final: int, spent: float
) -> Ending:
    """Plan the time after the loop, and when that must end under a budget.

    Args:
        data: what is trained on.
        num_final: images that are still to be measured after the loop.
        spent: seconds in the loop of earlier sessions of a resumed run.
    """
    recipe = request.recipe
    writing = ENDING_SECONDS + num_final * (DECODING_SECONDS + runtime.looking_seconds)
    choosing = 0.0
    if recipe.starts_at_probe and data.val is not None:
        choosing = runtime.looking_seconds * images_on_line(len(data.train), len(data.val))
    if recipe.training.budget_minutes is None:
        return Ending(writing + choosing)
    budget = 60 * recipe.training.budget_minutes
    choosing = min(choosing, CHOOSING_SHARE * budget)
    choose_until = request.began + budget - writing - spent
    return Ending(writing + choosing, choose_until - choosing, choose_until)


def own_callbacks(
    stack: ExitStack,
    recipe: Recipe,
    run: OpenRun,
    hardware: Hardware,
    data: TrainingData,
    resumed: Checkpoint | None,
    console: Console,
    ending: float,
) -> list[Callback]:
    """What prints and records, in the process that writes.

    Args:
        ending: the seconds that the run takes after the loop.
    """
    if not hardware.is_writer:
        return []
    training = recipe.training
    per_epoch = len(batch_bounds(len(data.train), training.batch_size))
    bar = ShowProgress(console, ending)
    stack.callback(bar.close)
    table = EpochTable(console, training.batch_size, training.monitor, ending)
    callbacks: list[Callback] = [KeepLog(console), table, bar]
    if training.print_every:
        callbacks.append(PrintLosses(console, training.print_every))
    if training.trackers:
        first = resumed.step if resumed else 0
        plain = int | float | str
        config = {
            key: value if isinstance(value, plain) else str(value)
            for key, value in recipe_items(recipe)
        }
        stack.enter_context(
            trackers(hardware.accelerator, run.folder.path, training.trackers, config, first)
        )
        callbacks.append(
            TrackScalars(hardware.accelerator, scalar_steps(per_epoch * training.epochs))
        )
    return callbacks
