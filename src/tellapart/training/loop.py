"""The loop: one optimizer step after the other, and an evaluation on val at each epoch's end.

    for each epoch:        what learns in it         phases.py, models/stages.py
                           its samples in order      images/sampling.py: by (seed, epoch, image)
        for each batch:    its images, augmented     images/batches.py, images/augmentation.py
                           the rate of the step      schedules.py
                           loss, backward, step      step.py, with losses.py and optimizers.py
                           events                    events.py → callbacks.py, trackers.py
        scores on val      predict_images            phases.py
        the best network and the state are saved     checkpoints.py, state.py, optimizer_state.py

`loss.backward()` is called in step.py: `Stepper._gradients`, by way of `Hardware.backward`.

A training that is killed goes on from its last checkpoint and ends with the same bits. With a time
budget it does not, since the number of its steps depends on time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch

from tellapart.errors import Interrupted, Refused, UserError, choose
from tellapart.evaluation.scores import better
from tellapart.images.batches import Batch
from tellapart.images.sampling import batch_bounds
from tellapart.models.classifier import Classifier
from tellapart.recipe import Recipe
from tellapart.training.average import WeightAverage
from tellapart.training.budget import Pace
from tellapart.training.checkpoints import Checkpoint, NotFinite, load_network
from tellapart.training.context import Context
from tellapart.training.events import Event, EventName, wants_stop
from tellapart.training.interruption import StopRequest, stop_requests
from tellapart.training.phases import Phase, TrainingData, predict_images, scores_of
from tellapart.training.runtime import RuntimeSettings, running
from tellapart.training.schedules import rate_at
from tellapart.training.state import Progress
from tellapart.training.step import Stepper

FINITE_EVERY = 10  # steps between two checks of all weights and statistics
# Steps between two exchanges of whether all processes are to stop: each one costs them a wait.
AGREE_EVERY = 10
BY_CALLBACK = "a callback stopped it"


def fit(
    classifier: Classifier,
    data: TrainingData,
    recipe: Recipe,
    runtime: RuntimeSettings,
    context: Context,
) -> Progress:
    """Train the classifier. It ends as the best network by val or as the last one: `training.keep`.

    Without val it is the last one.

    Raises:
        UserError: the loss is no longer finite, `training.monitor` names no metric, or not even a
            small part of a batch fits into the memory.
        Refused: too many images changed meanwhile, the disk is full, or no checkpoint can be used.
        Interrupted: somebody asked it to stop. The state is saved.
    """
    choose("metric for training.monitor:", recipe.training.monitor, context.metrics)
    if data.val is None and recipe.training.patience is not None:
        raise UserError(
            "training.patience has no val to watch.",
            "Leave it out, or give split.val a share of the images.",
        )
    with torch.random.fork_rng(), running(runtime), stop_requests() as stop:
        loop = _Loop(classifier, data, recipe, runtime, context, stop)
        loop.run()
        return loop.progress


class _Loop:
    """The loop's state. It is a class only because so much of it lives from step to step."""

    def __init__(
        self,
        classifier: Classifier,
        data: TrainingData,
        recipe: Recipe,
        runtime: RuntimeSettings,
        context: Context,
        stop: StopRequest,
    ) -> None:
        self.classifier, self.data, self.options = classifier, data, recipe.training
        self.context, self.hardware, self.stop = context, context.hardware, stop
        self.stepper = Stepper(
            classifier, data, recipe, self.hardware, runtime, context.console, context.extensions
        )
        self.average = WeightAverage(classifier, self.options.ema) if self.options.ema else None
        # The seconds of evaluating each split: a guess until they are measured.
        self.eval_seconds = {
            split: runtime.looking_seconds * len(images) / self.hardware.share[1]
            for split, images in (("train", data.train), ("val", data.val or ()))
        }
        self.pace = Pace(self.options.batch_size * runtime.seconds / self.hardware.share[1])
        self.rate: float | None = None  # the head's at the last step of this session
        self.callback_stops = False
        if context.resumed is None:
            self.progress = self._begun(runtime)
        else:
            self.progress = self._restored(context.resumed, runtime)
        self.began = time.monotonic() - self.progress.seconds
        self.saved_at = time.monotonic()

    def _begun(self, runtime: RuntimeSettings) -> Progress:
        per_epoch = len(batch_bounds(len(self.data.train), self.options.batch_size))
        if self.context.deadline is not None and time.monotonic() >= self.context.deadline:
            self.context.console.say(
                "note: The time budget is used up before training begins; it makes one step"
            )
        return Progress(
            classes=list(self.data.train.classes),
            steps=self.options.epochs * per_epoch,
            per_epoch=per_epoch,
            runtime=runtime.as_json(),
            hardware=self.hardware.description,
            parts=self.options.accumulation,
            moves=list(self.context.moves),
        )

    def _restored(self, checkpoint: Checkpoint, runtime: RuntimeSettings) -> Progress:
        progress = Progress.from_facts(checkpoint.facts)
        current = runtime.as_json(), self.hardware.description
        if (progress.runtime, progress.hardware) != current:
            self.context.console.say(
                "note: It goes on with other hardware, threads or kernels: the last bits may differ"
            )
            progress.runtime, progress.hardware = current
        self.stepper.parts = progress.parts
        self.hardware.load_scaler_state(progress.scaling)
        load_network(self.classifier, checkpoint)
        self.stepper.load_optimizer_state(checkpoint)
        if self.average:
            self.average.load(checkpoint.tensors)
        for callback in self.context.stateful_callbacks:
            if callback.name in progress.callbacks:
                callback.load(progress.callbacks[callback.name])
        return progress

    def _plan(self) -> None:
        """Plan as many steps as a budget has time for, the same number in all processes.

        Until a pace is measured, the plan stays as it was: all epochs, or those that an interrupted
        session planned.
        """
        progress, deadline = self.progress, self.context.deadline
        if deadline is None or not self.pace.measured:
            return
        evaluating = (
            self.eval_seconds["val"] + self.eval_seconds["train"] * self.options.evaluate_train
        )
        left = deadline - time.monotonic()
        fitting = self.pace.steps_in(
            left, evaluating, self.eval_seconds["val"], progress.per_epoch, progress.batch
        )
        steps = max(1, progress.step, progress.epoch * progress.per_epoch + fitting)
        progress.steps = int(self.hardware.least(min(steps, self._most_steps)))

    @property
    def _most_steps(self) -> int:
        return self.options.epochs * self.progress.per_epoch

    def run(self) -> None:
        """Train from wherever the progress is to the end."""
        self._report("run_started")
        if self.context.resumed is None:
            self._save()
        phase = None
        while not self.progress.done:
            before, phase = phase, self.stepper.phases.of(self.progress.epoch)
            if phase is not before:
                self.pace.openings = phase.views or 0
            self._report("epoch_started")
            self._end_epoch(phase, cut=self._make_epoch(phase))
        # The other processes end here, and may know of an older best network only.
        if self.progress.best and self.hardware.is_writer:
            load_network(self.classifier, self.context.checkpoints.load_best(self.progress.best))
        elif self.average:
            self.average.put()
        self.classifier.eval()
        self._report("run_completed")

    def _make_epoch(self, phase: Phase) -> bool:
        """Make the steps that are left of the epoch; return whether it was cut short."""
        progress = self.progress
        if progress.batch and progress.step == progress.steps:
            # The session before was interrupted between the last step and its evaluation.
            return progress.batch < progress.per_epoch
        began, is_first = time.monotonic(), True
        for batch, weight in self.stepper.batches(phase, progress.epoch, progress.batch):
            self._iterate(phase, batch, weight)
            self.pace.note(time.monotonic() - began, opens=is_first, alone=progress.per_epoch == 1)
            began, is_first = time.monotonic(), False
            self._after_step()
            if progress.ended or progress.step == progress.steps:
                return progress.batch < progress.per_epoch
        return False

    def _iterate(self, phase: Phase, batch: Batch, weight: float) -> None:
        """Make one optimizer step; skip it where all images of the batch are lost."""
        progress = self.progress
        if not len(batch.labels) and self.hardware.share[1] > 1:
            # The other processes would wait for this one's gradients for ever.
            raise Refused(
                "All images of a process's part of a batch changed while they were used.",
                f"Put them back, or go on without them: {self.context.how_to_resume}"
                " --accept-changes",
            )
        self.rate = lr = self._rate_at(progress.step)
        self._report("iteration_started", lr=lr)
        loss = (
            self.stepper.step(phase, batch, weight, progress.step, lr)
            if len(batch.labels)
            else None
        )
        progress.step += 1
        if loss is not None:
            if not math.isfinite(loss):
                raise self._not_finite(f"The loss is {loss}")
            if progress.step % FINITE_EVERY == 0:
                self._check_finite()
            if self.average:
                self.average.update(progress.step)
            progress.loss_sum += loss
            progress.loss_count += 1
        progress.batch += 1
        self._report("iteration_completed", loss=loss, lr=lr)

    def _check_finite(self) -> None:
        """Look for NaN and infinity in the network.

        The loss of the next batch would not show all of it: training does not use the running
        statistics of BatchNorm.
        """
        wrong = [
            name
            for name, tensor in self.classifier.state_dict().items()
            if tensor.is_floating_point() and not tensor.isfinite().all()
        ]
        if self._agreed(bool(wrong)):
            tensor_name = wrong[0] if wrong else "The network of another process"
            raise self._not_finite(f"{tensor_name} holds NaN or infinity")

    def _after_step(self) -> None:
        progress = self.progress
        agree = self.hardware.share[1] == 1 or progress.step % AGREE_EVERY == 0
        if agree:
            self._stop_if_asked()
            if self._agreed(self.callback_stops) and progress.step < progress.steps:
                progress.ended = BY_CALLBACK
                return
        if agree and self.context.deadline is not None:
            if self._agreed(self._is_late("val")):
                progress.ended = "the time was up"
                return
            self._plan()
        if time.monotonic() - self.saved_at >= self.options.checkpoint_seconds:
            self._save()

    def _is_late(self, *splits: str) -> bool:
        """Whether the deadline leaves no more than the time to evaluate these splits."""
        if self.context.deadline is None:
            return False
        evaluating = sum(self.eval_seconds[split] for split in splits)
        return time.monotonic() + evaluating > self.context.deadline

    def _stop_if_asked(self) -> None:
        progress = self.progress
        if self._agreed(self.stop.received):
            self._save()
            raise Interrupted(
                f"Interrupted after step {progress.step:,} of {progress.steps:,}; the state is"
                " saved.",
                f"Go on with: {self.context.how_to_resume}",
            )

    def _agreed(self, wish: bool) -> bool:
        """Whether any process wishes it. All processes must ask at the same step."""
        return self.hardware.summed(float(wish)) > 0

    def _end_epoch(self, phase: Phase, *, cut: bool) -> None:
        progress = self.progress
        row: dict[str, float] = {"epoch": progress.epoch + 1, "step": progress.step}
        row["lr"] = self._lr()
        row["loss"] = progress.loss_sum / max(progress.loss_count, 1)
        with self.average.in_place() if self.average else nullcontext():
            scores = self._scores(phase)
            self._judge(scores)
        progress.seconds = time.monotonic() - self.began
        progress.history.append({**row, **scores, "seconds": round(progress.seconds, 3)})
        progress.epoch += 1
        progress.batch = progress.loss_count = 0
        progress.loss_sum = 0.0
        val = self.data.val
        lost = {*progress.lost, *self.data.train.lost.values(), *(val.lost.values() if val else ())}
        progress.lost = sorted(lost)
        if self.options.patience and progress.stale >= self.options.patience and not progress.done:
            progress.ended = f"{progress.stale} epochs without a better val {self.options.monitor}"
        elif self.context.deadline is not None and not progress.ended:
            if not cut:
                self._plan()
            fewer = cut or progress.epoch < self.options.epochs
            if fewer if progress.done else self._agreed(self._is_late("val")):
                progress.ended = "the time was up"
        self._report("epoch_completed", loss=row["loss"], scores=scores)
        if self._agreed(self.callback_stops) and not progress.done:
            progress.ended = BY_CALLBACK
        self._save()
        if self.hardware.is_writer:
            self.context.write_history(progress.history)
        self._stop_if_asked()

    def _scores(self, phase: Phase) -> dict[str, float]:
        self.stepper.phases.set_eval()
        self.hardware.share_statistics(self.classifier)
        scores: dict[str, float] = {}
        late = self._is_late("train", "val")
        for split, images, inputs, wanted in (
            (
                "train",
                self.data.train,
                phase.train,
                self.options.evaluate_train and not self._agreed(late),
            ),
            ("val", self.data.val, phase.val, True),
        ):
            if wanted and images is not None and inputs is not None:
                began = time.monotonic()
                with self._finite():
                    predictions = predict_images(phase, images, inputs, self.hardware)
                scores |= scores_of(predictions, split, self.context.metrics)
                self.eval_seconds[split] = time.monotonic() - began
        self.stepper.phases.set_train()
        return scores

    def _judge(self, scores: Mapping[str, float]) -> None:
        """Note whether the network is the best by val so far, and save it if the best is kept."""
        progress, name = self.progress, self.options.monitor
        if self.data.val is None:
            return
        value = scores.get(f"val_{name}")
        if value is None or not better(name, value, progress.best_value):
            progress.stale += 1
            return
        progress.best_value, progress.best_epoch, progress.stale = value, progress.epoch + 1, 0
        if self.hardware.is_writer and self.options.keep == "best":
            facts = {"epoch": progress.best_epoch, name: value}
            with self._finite():
                progress.best = self.context.checkpoints.save_best(
                    progress.step, self.classifier.state_dict(), facts
                )

    def _save(self) -> None:
        """Save the state in a checkpoint."""
        self.progress.seconds = time.monotonic() - self.began
        self.progress.parts = self.stepper.parts
        self.progress.scaling = self.hardware.scaler_state
        self.progress.callbacks = {
            callback.name: callback.state() for callback in self.context.stateful_callbacks
        }
        if self.hardware.is_writer:
            tensors, plain = self.stepper.optimizer_state()
            network = self.classifier.state_dict()
            facts = {**self.progress.as_facts(), **plain}
            with self._finite():
                tensors |= self.average.tensors if self.average else {}
                self.context.checkpoints.save(self.progress.step, {**network, **tensors}, facts)
        self.saved_at = time.monotonic()

    @contextmanager
    def _finite(self) -> Iterator[None]:
        """End the training where a tensor or an answer turns out not to be finite."""
        try:
            yield
        except NotFinite as error:
            raise self._not_finite(str(error).rstrip(".")) from error

    def _not_finite(self, what: str) -> UserError:
        progress = self.progress
        return UserError(
            f"{what} at step {progress.step:,} (learning rate {self._lr():g}): the training has"
            " diverged.",
            "Lower training.lr, add training.warmup_steps or training.clip_norm; tellapart"
            " find-rate suggests a rate.",
        )

    def _lr(self) -> float:
        """The learning rate of the head at the last step."""
        return self._rate_at(max(self.progress.step - 1, 0)) if self.rate is None else self.rate

    def _rate_at(self, step: int) -> float:
        progress, schedules = self.progress, self.context.extensions.schedules
        return self.options.lr * rate_at(
            step, progress.steps, progress.per_epoch, self.options, schedules
        )

    def _report(
        self,
        name: EventName,
        *,
        loss: float | None = None,
        lr: float | None = None,
        scores: Mapping[str, float] | None = None,
    ) -> None:
        """Call the callbacks, all of them even if one asks to stop."""
        if not self.context.callbacks:
            return
        progress = self.progress
        event = Event(
            name=name,
            epoch=min(
                progress.epoch + (name not in ("epoch_completed", "run_completed")), progress.epochs
            ),
            epochs=progress.epochs,
            step=progress.step,
            # A training that ends early has no more steps to come.
            steps=progress.step if progress.ended else progress.steps,
            batch=(
                progress.batch + (name == "iteration_started")
                if name.startswith("iteration")
                else 0
            ),
            loss=loss,
            lr=self._lr() if lr is None else lr,
            scores=scores or {},
            seconds=time.monotonic() - self.began,
            network=self.classifier,
        )
        answers = [callback(event) for callback in self.context.callbacks]
        self.callback_stops |= any(map(wants_stop, answers))
