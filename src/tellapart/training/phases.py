"""The phases of a training: which part of the network learns in an epoch, and on what inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.scores import Metric
from tellapart.extensions import Extensions
from tellapart.images.batches import Group, ImageInputs, Inputs
from tellapart.images.sampling import Epoch, image_keys
from tellapart.images.store import Images
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.models.classifier import Classifier
from tellapart.models.cut import split_at
from tellapart.models.stages import frozen_upto, learn_from, set_modes, stage_names, unfreezing
from tellapart.models.trial import trial_images
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.training.checkpoints import NotFinite
from tellapart.training.hardware import Hardware
from tellapart.training.losses import probabilities
from tellapart.training.outputs import KeptInputs
from tellapart.training.runtime import RuntimeSettings

EVALUATED_AT_ONCE = 32  # images
_LOST = -1.0  # marks the row of a lost image: no network gives this probability


@dataclass(frozen=True)
class TrainingData:
    """The images to learn from, at the network's size. `val` is None where the run has none."""

    train: Images
    val: Images | None
    preprocessing: Preprocessing


@dataclass(frozen=True)
class Phase:
    """The part of the network that runs in an epoch, and its inputs.

    Args:
        module: inputs → logits, as training calls it.
        plain: the same module without the exchange of gradients between processes.
        train: the inputs of the train images.
        val: the inputs of the val images.
        views: how many augmented views of a frozen part's outputs are kept. None means that
            nothing is kept, and the whole network runs.
    """

    module: nn.Module
    plain: nn.Module
    train: Inputs
    val: Inputs | None
    views: int | None

    def groups(self, plan: Epoch, epoch: int, slices: list[slice]) -> list[Group]:
        """The groups of samples that the batches of an epoch are made of."""
        view = None if self.views is None else epoch % self.views
        return [Group(plan.positions[part], plan.keys[part], view) for part in slices]


class Phases:
    """The phase of each epoch. A new one begins only where another part of the network begins to
    learn.
    """

    def __init__(
        self,
        classifier: Classifier,
        data: TrainingData,
        recipe: Recipe,
        hardware: Hardware,
        runtime: RuntimeSettings,
        console: Console,
        extensions: Extensions,
    ) -> None:
        memory_format = runtime.torch_format
        self._kept_bytes, self._console = runtime.kept_bytes, console
        self._classifier, self._training_data = classifier, data
        self._recipe, self._hardware = recipe, hardware
        classifier.to(hardware.device, memory_format=memory_format)  # type: ignore[call-overload]
        self._train, self._val = (
            ImageInputs(
                images,
                data.preprocessing,
                recipe.augmentation,
                device=hardware.device,
                memory_format=memory_format,
                transforms=extensions.transforms,
            )
            for images in (data.train, data.val or data.train)
        )
        self._stages = stage_names(classifier.embedder.network)
        self._upto: str | None = None
        self._phase: Phase | None = None
        trial = trial_images(data.preprocessing, 2)
        self._trial = trial.to(hardware.device).contiguous(memory_format=memory_format)
        self._views = min(recipe.freeze.views or 0, recipe.training.epochs)
        if not recipe.augmentation.changes_anything:
            self._views = min(self._views, 1)  # all views would be alike
        self._check_cuts()

    def of(self, epoch: int) -> Phase:
        """The phase of an epoch, counted from 0, in training mode."""
        upto = frozen_upto(self._recipe.freeze, self._stages, epoch)
        if self._phase is None or upto != self._upto:
            self._upto = upto
            learn_from(self._classifier, upto)
            set_modes(self._classifier, self._recipe.freeze.batch_norm)
            self._phase = self._begin(upto)
        self.set_train()
        return self._phase

    def set_train(self) -> None:
        """Put what learns into training mode."""
        set_modes(self._classifier, self._recipe.freeze.batch_norm)
        if self._phase and self._phase.views is not None:
            self._phase.plain.train()  # also its own containers: all in the tail learns
        if self._recipe.training.freeze_batch_norm:
            for module in self._classifier.modules():
                learns = all(parameter.requires_grad for parameter in module.parameters())
                if isinstance(module, _BatchNorm) and learns:
                    module.eval()

    def set_eval(self) -> None:
        """Put the whole network into evaluation mode."""
        self._classifier.eval()
        if self._phase:
            self._phase.plain.eval()

    def _check_cuts(self) -> None:
        """Try all cuts now: one that fails would end the training at an epoch in its middle."""
        freeze, epochs = self._recipe.freeze, self._recipe.training.epochs
        if not self._views:
            return
        begins = [0, *(done for done, _ in unfreezing(freeze) if done < epochs)]
        for upto in {frozen_upto(freeze, self._stages, epoch) for epoch in begins}:
            if upto is not None:
                split_at(self._classifier.embedder, upto, self._trial)

    def _begin(self, upto: str | None) -> Phase:
        if upto is not None and self._views:
            trunk, tail = split_at(self._classifier.embedder, upto, self._trial)
            if views := self._views_that_fit(trunk.eval(), self._views):
                plain = nn.Sequential(tail, self._classifier.head)
                train = self._kept(self._train, trunk, self._training_data.train)
                val = self._training_data.val
                kept_val = self._kept(self._val, trunk, val) if val else None
                return Phase(self._hardware.wrapped(plain), plain, train, kept_val, views)
        module = self._hardware.wrapped(self._classifier)
        val_inputs = self._val if self._training_data.val else None
        return Phase(module, self._classifier, self._train, val_inputs, None)

    @torch.no_grad()
    def _views_that_fit(self, trunk: nn.Module, asked: int) -> int:
        """How many views of a trunk's outputs the memory holds, at most as many as asked for."""
        num_bytes: int = trunk(self._trial)[0].nbytes
        num_val = len(self._training_data.val) if self._training_data.val else 0
        left = self._kept_bytes // num_bytes - num_val
        fitting = left // len(self._training_data.train) - self._recipe.training.evaluate_train
        views = max(0, min(asked, fitting))
        if views < asked:
            self._console.say(
                f"note: the frozen part's outputs are kept for {views} views instead of {asked}; "
                "more do not fit into training.memory_share"
            )
        return views

    def _kept(self, inputs: ImageInputs, trunk: nn.Module, images: Images) -> KeptInputs:
        return KeptInputs(inputs, trunk, image_keys(self._recipe.seed, images.paths), images.labels)


@torch.no_grad()
def predict_images(phase: Phase, images: Images, inputs: Inputs, hardware: Hardware) -> Predictions:
    """The network's predictions for all images of a split that are not lost.

    The network is in evaluation mode.

    Raises:
        NotFinite: a probability is NaN or infinite.
    """
    rank, world = hardware.share
    own = np.arange(rank, len(images), world)
    bounds = range(EVALUATED_AT_ONCE, len(own), EVALUATED_AT_ONCE)
    groups = [Group(positions) for positions in np.split(own, bounds)]
    rows = []
    for group, batch in zip(groups, inputs.batches(groups), strict=True):
        probs = np.full((len(group.positions), len(images.classes)), _LOST, np.float32)
        if batch.present.any():
            with hardware.autocast():
                logits = phase.plain(batch.inputs)
            probs[batch.present] = probabilities(logits).cpu().numpy()
        rows.append(probs)
    probs = hardware.gathered(np.concatenate(rows), len(images))
    present = probs[:, 0] != _LOST
    if not np.isfinite(probs).all():
        raise NotFinite("What the network predicts holds NaN.")
    paths = tuple(images.paths[position] for position in np.flatnonzero(present).tolist())
    return Predictions(probs[present], images.labels[present], paths, images.classes)


def scores_of(
    predictions: Predictions, split: str, metrics: Mapping[str, Metric]
) -> dict[str, float]:
    """Every metric of a split by its name, as "val_accuracy". Those not finite are left out."""
    scores = {f"{split}_{name}": float(metric(predictions)) for name, metric in metrics.items()}
    return {name: value for name, value in scores.items() if math.isfinite(value)}
