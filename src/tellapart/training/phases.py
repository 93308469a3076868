"""What learns in an epoch and what it is fed, as the recipe freezes it."""

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
_LOST = -1.0  # what stands where a lost image's probabilities would: no network gives it


@dataclass(frozen=True)
class TrainingData:
    """What there is to learn from, at the network's size. `val` is None where the run has none."""

    train: Images
    val: Images | None
    preprocessing: Preprocessing


@dataclass(frozen=True)
class Phase:
    """The network of one epoch.

    Args:
        module: inputs → logits, as it is called in training.
        plain: the same, of this process alone.
        train, val: their inputs.
        views: how many augmented views are kept; None: none is.
    """

    module: nn.Module
    plain: nn.Module
    train: Inputs
    val: Inputs | None
    views: int | None

    def groups(self, plan: Epoch, epoch: int, slices: list[slice]) -> list[Group]:
        """What each batch of an epoch is made of."""
        view = None if self.views is None else epoch % self.views
        return [Group(plan.positions[part], plan.keys[part], view) for part in slices]


class Phases:
    """The phase of each epoch. It is made anew only where another part of the network begins to
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
        self._classifier, self._training_data, self._recipe, self._hardware = (
            classifier,
            data,
            recipe,
            hardware,
        )
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
            self._views = min(self._views, 1)  # all would be alike
        self._check_cuts()

    def of(self, epoch: int) -> Phase:
        """The phase of an epoch, counted from 0, in training mode."""
        upto = frozen_upto(self._recipe.freeze, self._stages, epoch)
        if self._phase is None or upto != self._upto:
            self._upto = upto
            learn_from(self._classifier, upto)
            set_modes(self._classifier, self._recipe.freeze.batch_norm)
            self._phase = self._made(upto)
        self.teach()
        return self._phase

    def teach(self) -> None:
        """Training mode, for what learns."""
        set_modes(self._classifier, self._recipe.freeze.batch_norm)
        if self._phase and self._phase.views is not None:
            self._phase.plain.train()  # the tail's own containers; all in it learns
        if self._recipe.training.freeze_batch_norm:
            for module in self._classifier.modules():
                if isinstance(module, _BatchNorm) and all(
                    one.requires_grad for one in module.parameters()
                ):
                    module.eval()

    def rest(self) -> None:
        """Evaluation mode, for all."""
        self._classifier.eval()
        if self._phase:
            self._phase.plain.eval()

    def _check_cuts(self) -> None:
        """Find now what else would end the training at an epoch in which more begins to learn."""
        freeze, epochs = self._recipe.freeze, self._recipe.training.epochs
        begins = (
            [0, *(done for done, _ in unfreezing(freeze) if done < epochs)] if self._views else []
        )
        for upto in {frozen_upto(freeze, self._stages, epoch) for epoch in begins}:
            if upto is not None:
                split_at(self._classifier.embedder, upto, self._trial)

    def _made(self, upto: str | None) -> Phase:
        if upto is not None and self._views:
            trunk, tail = split_at(self._classifier.embedder, upto, self._trial)
            if views := self._views_that_fit(trunk.eval(), self._views):
                plain = nn.Sequential(tail, self._classifier.head)
                train = self._kept(self._train, trunk, self._training_data.train)
                val = (
                    self._kept(self._val, trunk, self._training_data.val)
                    if self._training_data.val
                    else None
                )
                return Phase(self._hardware.wrapped(plain), plain, train, val, views)
        module = self._hardware.wrapped(self._classifier)
        return Phase(
            module,
            self._classifier,
            self._train,
            self._val if self._training_data.val else None,
            None,
        )

    @torch.no_grad()
    def _views_that_fit(self, trunk: nn.Module, asked: int) -> int:
        """How many views of a trunk's outputs the memory holds, at most as many as are asked
        for.
        """
        num_bytes: int = trunk(self._trial)[0].nbytes
        left = self._kept_bytes // num_bytes - (
            len(self._training_data.val) if self._training_data.val else 0
        )
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
    """What the network, in evaluation mode, says of all images of a split that are not lost.

    Raises:
        NotFinite: it says what is no number.
    """
    rank, world = hardware.share
    own = np.arange(rank, len(images), world)
    groups = [
        Group(part) for part in np.split(own, range(EVALUATED_AT_ONCE, len(own), EVALUATED_AT_ONCE))
    ]
    rows = []
    for group, batch in zip(groups, inputs.batches(groups), strict=True):
        probs = np.full((len(group.positions), len(images.classes)), _LOST, np.float32)
        if batch.there.any():
            with hardware.precise():
                logits = phase.plain(batch.inputs)
            probs[batch.there] = probabilities(logits).cpu().numpy()
        rows.append(probs)
    probs = hardware.gathered(np.concatenate(rows), len(images))
    there = probs[:, 0] != _LOST
    if not np.isfinite(probs).all():
        raise NotFinite("What the network answers holds NaN.")
    paths = tuple(
        path for path, is_there in zip(images.paths, there.tolist(), strict=True) if is_there
    )
    return Predictions(probs[there], images.labels[there], paths, images.classes)


def scores_of(
    predictions: Predictions, split: str, metrics: Mapping[str, Metric]
) -> dict[str, float]:
    """Every metric by its name, "val_accuracy" for one. What is no finite number is left out."""
    scores = {f"{split}_{name}": float(metric(predictions)) for name, metric in metrics.items()}
    return {name: value for name, value in scores.items() if math.isfinite(value)}
