"""One optimizer step: a batch in, its gradients through the network, every weight moved once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from tellapart.errors import UserError
from tellapart.extensions import Extensions
from tellapart.images.batches import Batch
from tellapart.images.sampling import batch_bounds, image_keys, plan_epoch
from tellapart.keyed import keyed_numbers
from tellapart.models.classifier import Classifier
from tellapart.models.stages import parameter_groups
from tellapart.phrases import count_of
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.training.checkpoints import Checkpoint
from tellapart.training.hardware import Hardware
from tellapart.training.losses import (
    build_loss,
    class_weights,
    image_weights,
    mean_weight,
    weighted_targets,
)
from tellapart.training.optimizer_state import group_options, load_optimizer, optimizer_tensors
from tellapart.training.optimizers import build_optimizer, set_rate
from tellapart.training.phases import Phase, Phases, TrainingData
from tellapart.training.runtime import RuntimeSettings

# Into how many times more parts than asked for a batch is cut where the memory does not suffice.
MOST_PARTS = 32


class Stepper:
    """A network, its optimizer, and the batches of every epoch.

    `parts` is the number of parts in which a batch is worked on. It grows where the memory does not
    suffice.
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
        self._classifier = classifier
        self.phases = Phases(classifier, data, recipe, hardware, runtime, console, extensions)
        self.parts = recipe.training.accumulation
        self._options, self._hardware = recipe.training, hardware
        self._train, self._console = data.train, console
        self._image_losses = build_loss(recipe.training, extensions.losses)
        self.optimizer = self._optimizer(classifier, extensions)
        own = recipe.training.optimizer in extensions.optimizers
        self._first_options = group_options(self.optimizer) if own else None
        self._storable = not own  # whether its state is known to fit into a checkpoint
        self._keys = image_keys(recipe.seed, data.train.paths)
        self._chance = int(keyed_numbers(recipe.seed, "network", [str(hardware.share[0])])[0])
        if self._options.sampling == "weighted" and not data.train.weights.any():
            raise UserError(
                "No train image has a weight above 0 in the column"
                f" {self._options.weight_column!r}.",
                "Give some of them a weight, or leave training.sampling=weighted out.",
            )
        counts = np.bincount(data.train.labels, minlength=len(data.train.classes))
        weights = class_weights(counts, recipe.head)
        self._class_weights = None if weights is None else weights.to(hardware.device)
        self._mean_weight = 1.0
        if weights is not None:
            train, sampling = data.train, self._options.sampling
            self._mean_weight = mean_weight(weights, train.labels, train.weights, sampling)

    def _optimizer(self, classifier: Classifier, extensions: Extensions) -> Optimizer:
        groups = parameter_groups(classifier, self._options)
        optimizer = build_optimizer(groups, self._options, extensions.optimizers)
        if self._options.precision == "fp16":  # the one precision that needs a gradient scaler
            optimizer = self._hardware.accelerator.prepare_optimizer(optimizer)
        return optimizer

    def batches(self, phase: Phase, epoch: int, begin: int = 0) -> Iterator[tuple[Batch, float]]:
        """The batches of an epoch, each with what its losses are divided by in all processes.

        Args:
            phase: what learns in the epoch.
            epoch: from 0.
            begin: the number of the batch to begin at.
        """
        plan = plan_epoch(self._keys, self._train.labels, self._train.weights, epoch, self._options)
        bounds = batch_bounds(len(plan.positions), self._options.batch_size)[begin:]
        rank, world = self._hardware.share
        # A last batch may hold fewer samples than there are processes. The rest work on its first
        # sample, with an infinite weight: the processes must all take the step together.
        own = [
            slice(start + (rank if rank < stop - start else 0), stop, world)
            for start, stop in bounds
        ]
        batches = phase.train.batches(phase.groups(plan, epoch, own))
        for (start, stop), batch in zip(bounds, batches, strict=True):
            count = stop - start if world > 1 else len(batch.labels)
            weight = count * self._mean_weight
            yield batch, weight if rank < stop - start else math.inf

    def step(self, phase: Phase, batch: Batch, weight: float, number: int, lr: float) -> float:
        """Change every parameter once, and return the mean loss of the batch.

        Nothing changes if that loss is not finite.

        Args:
            phase: what learns.
            batch: its images.
            weight: what the sum of the weighted losses is divided by.
            number: the number of the step, from 0.
            lr: the learning rate of the head.
        """
        set_rate(self.optimizer, lr)
        loss = self._gradients_that_fit(phase, batch, weight, number)
        if math.isfinite(loss):
            if self._options.clip_norm:
                parameters = [
                    parameter
                    for group in self.optimizer.param_groups
                    for parameter in group["params"]
                ]
                self._hardware.accelerator.clip_grad_norm_(parameters, self._options.clip_norm)
            self.optimizer.step()
            if not self._storable:  # better found now than at a checkpoint a minute later
                self.optimizer_state()
                self._storable = True
        return loss

    def optimizer_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What the optimizer remembers: tensors and plain values for a checkpoint.

        Raises:
            UserError: the user's own keeps what a checkpoint cannot hold.
        """
        return optimizer_tensors(self.optimizer, self._first_options)

    def load_optimizer_state(self, checkpoint: Checkpoint) -> None:
        """Go on with what the optimizer remembered.

        Raises:
            Refused: it is of other parameters.
        """
        own = self._first_options is not None
        load_optimizer(self.optimizer, checkpoint.tensors, checkpoint.facts, own=own)

    def _seed_dropout(self, number: int) -> None:
        seed = (self._chance + number) % 2**63
        torch.default_generator.manual_seed(seed)
        if self._hardware.device.type != "cpu":
            # This seeds all devices. It takes half a millisecond, which a small network would feel.
            torch.manual_seed(seed)

    def _gradients_that_fit(self, phase: Phase, batch: Batch, weight: float, number: int) -> float:
        while True:
            self._seed_dropout(number)
            try:
                return self._gradients(phase, batch, weight)
            except RuntimeError as error:
                self._work_in_smaller_parts(error, len(batch.labels))
            except ValueError as error:
                if "more than 1 value per channel" not in str(error):
                    raise
                raise UserError(
                    "BatchNorm has nothing to measure: it sees a single image at a time, which is"
                    " one pixel there.",
                    "Raise training.batch_size, lower training.accumulation, or set"
                    " training.freeze_batch_norm=true.",
                ) from None

    def _gradients(self, phase: Phase, batch: Batch, weight: float) -> float:
        """Compute the batch's gradients, which are in the parameters then; return its loss."""
        self.optimizer.zero_grad(set_to_none=True)
        world = self._hardware.share[1]
        total = 0.0
        parts = list(
            zip(batch.inputs.chunk(self.parts), batch.targets.chunk(self.parts), strict=True)
            if self.parts > 1
            else [(batch.inputs, batch.targets)]
        )
        for number, (inputs, targets) in enumerate(parts, 1):
            with self._hardware.no_sync(phase.module) if number < len(parts) else nullcontext():
                loss = self._loss(phase, inputs, targets) / weight
                # The processes' gradients are averaged, and have to be added: hence times world.
                self._hardware.backward(loss * world)
            total += float(loss.item())
        return self._hardware.summed(total)

    def _loss(self, phase: Phase, inputs: Tensor, targets: Tensor) -> Tensor:
        """The sum of the losses of a part of a batch, each image by its weight."""
        wanted = weighted_targets(targets, self._class_weights)
        with self._hardware.autocast():
            losses = self._image_losses(phase.module(inputs), wanted)
        if self._class_weights is None:
            return losses.sum()
        return losses @ image_weights(targets, self._class_weights)

    def _work_in_smaller_parts(self, error: RuntimeError, count: int) -> None:
        """Work on batches in twice as many parts if the memory did not suffice; raise any other
        error again. Of several processes, none can do so alone: the training ends.
        """
        text = str(error).lower()
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in text:
            raise error
        rank, world = self._hardware.share
        if world > 1:
            # The others wait for this process's gradients. Whatever it ran again would answer
            # another of their exchanges.
            raise UserError(
                f"A batch of {self._options.batch_size}, shared by {world} processes in"
                f" {count_of(self.parts, 'part')}, does not fit into the memory of process {rank + 1}.",
                "Raise training.accumulation, lower training.batch_size or preprocessing.size_px, or"
                " start fewer processes.",
            ) from error
        if 2 * self.parts > min(MOST_PARTS * self._options.accumulation, count):
            raise UserError(
                f"A batch of {self._options.batch_size} does not fit into the memory, not even in"
                f" {self.parts} parts.",
                "Lower training.batch_size or preprocessing.size_px, or take a smaller network.",
            ) from error
        self.parts *= 2
        self._console.say(f"note: not enough memory; from here on each batch in {self.parts} parts")
