"""A training of a second: a tiny network, a few images, and all that the loop needs around it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from helpers.catalogs import scan_folder
from helpers.images import write_classes
from tellapart.catalog.table import Catalog
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.scores import METRICS, Metric
from tellapart.extensions import Extensions
from tellapart.images.store import Images
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.models.backbones import find_preprocessing, load_backbone
from tellapart.models.classifier import Classifier, build_classifier
from tellapart.options import TrainingOptions
from tellapart.progress import Console
from tellapart.recipe import Recipe, recipe_from
from tellapart.training.checkpoints import Checkpoint, Checkpoints
from tellapart.training.context import Context
from tellapart.training.events import Callback, Event
from tellapart.training.hardware import Hardware
from tellapart.training.loop import fit
from tellapart.training.phases import TrainingData
from tellapart.training.runtime import RuntimeSettings
from tellapart.training.state import Progress
from tellapart.training.step import Stepper

PLENTY = 10**9  # bytes
RUNTIME = RuntimeSettings(threads=1, memory_format="contiguous", kept_bytes=PLENTY)
PER_EPOCH, EPOCHS = 3, 3  # 19 train images in batches of 8
STEPS = PER_EPOCH * EPOCHS
AUGMENTED = {"augmentation.crop_area": 0.5, "augmentation.flip": 0.5, "augmentation.rotate": 0.5}
SMALL: dict[str, Any] = {
    "method": "fit",
    "seed": 1,
    "backbone.name": "lenet",
    "backbone.pretrained": False,
    "training.epochs": 3,
    "training.batch_size": 8,
    "training.optimizer": "sgd",
    "training.lr": 0.02,
    "training.trackers": (),
    "training.checkpoint_seconds": 3600,
}


def small_recipe(
    changes: Mapping[str, Any] | None = None, extensions: Extensions | None = None
) -> Recipe:
    """A fit of lenet in 3 epochs, with some changes; keys are dotted."""
    names = (extensions or Extensions()).names
    return recipe_from({**SMALL, **(changes or {})}, supplied=names)


def images_of(catalog: Catalog, rows: Iterable[int] | None = None, **options: Any) -> Images:
    """Images of some rows, of all by default; at 32 px and held unless told otherwise."""
    chosen = np.array(list(range(len(catalog)) if rows is None else rows), np.int64)
    usual = {
        "held_bytes": PLENTY,
        "most_lost": 1.0,
        "console": Console(quiet=True),
    }
    preprocessing = options.pop("preprocessing", Preprocessing(size_px=32))
    return Images(catalog, chosen, preprocessing, **{**usual, **options})


def training_data_of(catalog: Catalog, *, val: bool = True, **options: Any) -> TrainingData:
    """The last two images of each class are val (or unused), the others train."""
    is_val = np.zeros(len(catalog), bool)
    for label in range(len(catalog.classes)):
        is_val[np.flatnonzero(catalog.labels == label)[-2:]] = True
    train = images_of(catalog, np.flatnonzero(~is_val), **options)
    held_out = images_of(catalog, np.flatnonzero(is_val), **options) if val else None
    return TrainingData(train, held_out, options.get("preprocessing", Preprocessing(size_px=32)))


def uneven_data(folder: Path) -> TrainingData:
    """19 train images of three classes, 7, 7 and 5, and 6 of val."""
    photos = write_classes(folder / "photos", 9)
    for name in ("000", "001"):
        (photos / "sky" / f"{name}.jpg").unlink()
    return training_data_of(scan_folder(photos))


def classifier_of(
    recipe: Recipe,
    num_classes: int = 3,
    *,
    dropout: float = 0.0,
    extensions: Extensions | None = None,
) -> Classifier:
    """The recipe's network; with dropout before the head where it is wanted."""
    networks = (extensions or Extensions()).networks
    preprocessing = find_preprocessing(recipe.backbone, recipe.preprocessing, networks)
    backbone = load_backbone(recipe.backbone, preprocessing, recipe.seed, networks)
    classifier = build_classifier(backbone, recipe.head, num_classes, recipe.seed)
    if dropout:
        classifier.head.insert(0, nn.Dropout(dropout))
    return classifier


def stepper_of(
    recipe: Recipe, data: TrainingData, classifier: Classifier, console: Console | None = None
) -> Stepper:
    """What does single steps."""
    return Stepper(
        classifier,
        data,
        recipe,
        Hardware(recipe.training),
        RUNTIME,
        console or Console(quiet=True),
        Extensions(),
    )


def hardware_of(options: TrainingOptions) -> Hardware:
    """This machine. Of fp16 it has what a CPU can do: gradients scaled, by more after each step."""
    if options.precision != "fp16":
        return Hardware(options)
    hardware = Hardware(dataclasses.replace(options, precision="full"))
    hardware.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=1)
    return hardware


class CopiedCheckpoints(Checkpoints):
    """Checkpoints that keep a copy of their folder as it was after each save: what a kill at that
    event leaves.
    """

    def __init__(self, folder: Path, copies: Path) -> None:
        super().__init__(folder, "run", Console(quiet=True))
        self._copies = copies
        self.count = 0

    def save(
        self, step: int, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]
    ) -> None:
        """Save, then copy."""
        super().save(step, tensors, facts)
        shutil.copytree(self.folder, self._copies / str(self.count))
        self.count += 1


@dataclass
class Outcome:
    """A training that was run, or is to be."""

    classifier: Classifier
    checkpoints: Checkpoints
    console: Console
    events: list[Event] = field(default_factory=list)
    written: list[Sequence[Mapping[str, float]]] = field(default_factory=list)
    progress: Progress | None = None

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of the network's tensors."""
        return {
            name: value.detach().clone() for name, value in self.classifier.state_dict().items()
        }

    @property
    def event_names(self) -> list[str]:
        """In the order in which they were told."""
        return [event.name for event in self.events]

    @property
    def last(self) -> Checkpoint:
        """The newest checkpoint."""
        found = Checkpoints(self.checkpoints.folder, "run", Console(quiet=True)).newest()
        assert found is not None
        return found


def run_fit(
    folder: Path | Checkpoints,
    data: TrainingData,
    changes: Mapping[str, Any] | None = None,
    *,
    dropout: float = 0.0,
    callbacks: Sequence[Callback] = (),
    metrics: Mapping[str, Metric] = METRICS,
    deadline: float | None = None,
    runtime: RuntimeSettings = RUNTIME,
    extensions: Extensions | None = None,
    prepare: Callable[[Classifier], None] = lambda classifier: None,
    into: list[Outcome] | None = None,
) -> Outcome:
    """`fit` from the newest checkpoint in the folder, or from the beginning where there is none.

    Args:
        prepare: changes the network before it is trained.
        into: gets the outcome even where the training fails.
    """
    recipe = small_recipe(changes, extensions)
    checkpoints = (
        folder
        if isinstance(folder, Checkpoints)
        else Checkpoints(folder, "run", Console(quiet=True))
    )
    classes = len(data.train.classes)
    classifier = classifier_of(recipe, classes, dropout=dropout, extensions=extensions)
    prepare(classifier)
    outcome = Outcome(classifier, checkpoints, Console(quiet=True))
    if into is not None:
        into.append(outcome)
    context = Context(
        hardware=hardware_of(recipe.training),
        checkpoints=checkpoints,
        resumed=checkpoints.newest(),
        callbacks=[*callbacks, outcome.events.append],
        metrics=metrics,
        extensions=extensions or Extensions(),
        deadline=deadline,
        how_to_resume="tellapart train --resume HERE",
        write_history=lambda rows: outcome.written.append([dict(row) for row in rows]),
        console=outcome.console,
    )
    outcome.progress = fit(classifier, data, recipe, runtime, context)
    return outcome


def same_bits(first: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Whether two sets of tensors are equal to their last bits."""
    return first.keys() == other.keys() and all(
        torch.equal(first[name], other[name]) for name in first
    )


def without_seconds(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a checkpoint, but for how long it took."""
    history = [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in facts["history"]
    ]
    return {name: value for name, value in facts.items() if name != "seconds"} | {
        "history": history
    }


def at(name: str, step: int, action: Callable[[], object]) -> Callable[[Event], object]:
    """A callback that does something at one event, and returns what comes of it."""

    def callback(event: Event) -> object:
        return action() if (event.name, event.step) == (name, step) else None

    return callback


def scored(values: list[float]) -> Callable[[Predictions], float]:
    """A metric with one value after the other, an epoch each."""
    left = iter(values)
    return lambda predictions: next(left)
