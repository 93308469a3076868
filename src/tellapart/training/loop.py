"""The loop: one optimizer step after the other, and at each epoch's end a look at val.

    for each epoch:    what learns in it; its samples in their order, a function of (seed, epoch, image)
        for each batch:    loss, gradients, step         → callbacks
        scores on val, the best network kept             → callbacks, checkpoint

Killed anywhere, it goes on from the last checkpoint and ends with the same bits; but for a budget,
which hangs on time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch

from tellapart.errors import Interrupted, Refused, UserError, choose
from tellapart.evaluation.scores import Metric, better
from tellapart.extensions import Extensions
from tellapart.images.batches import Batch
from tellapart.images.sampling import batch_bounds
from tellapart.models.classifier import Classifier
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.training.budget import Pace
from tellapart.training.checkpoints import Checkpoint, Checkpoints, NotFinite
from tellapart.training.events import Callback, Event, EventName, wants_stop
from tellapart.training.hardware import Hardware
from tellapart.training.interruption import StopAsked, stop_asked
from tellapart.training.phases import Phase, TrainingData, predict_images, scores_of
from tellapart.training.runtime import RuntimeSettings, running
from tellapart.training.schedules import rate_at
from tellapart.training.state import Progress
from tellapart.training.step import Stepper

FINITE_EVERY = 10  # steps between two looks at all weights and statistics
AGREE_EVERY = 10  # steps between two questions whether all processes are to stop
BY_CALLBACK = "a callback stopped it"


class StatefulCallback(Protocol):
    """A callback that remembers something from step to step."""

    name: str

    def __call__(self, event: Event) -> object:
        """One event."""

    def state(self) -> dict[str, Any]:
        """What it remembers, as plain values."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Remember that."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the loop works with, and does not change.

    Args:
        checkpoints: where the state goes.
        resumed: the one to go on from; None: from the beginning.
        moves: that were found invariant, for the record.
        callbacks: called at every event; one that returns "stop" or False ends the training after
            the step, as early stopping does.
        metrics: name → function of the predictions; computed each epoch.
        extensions: the user's own losses, optimizers, schedules and transforms.
        deadline: by `time.monotonic`; the loop is over there, its last evaluation included. None:
            it takes the time that it takes.
        how_to_resume: the command, for whoever interrupts it.
        write_history: given all rows after each epoch.
    """

    hardware: Hardware
    checkpoints: Checkpoints
    resumed: Checkpoint | None = None
    moves: Sequence[str] = ()
    callbacks: Sequence[Callback] = ()
    metrics: Mapping[str, Metric]
    extensions: Extensions = field(default_factory=Extensions)
    deadline: float | None = None
    how_to_resume: str = ""
    write_history: Callable[[Sequence[Mapping[str, float]]], None]
    console: Console


def fit(
    classifier: Classifier,
    data: TrainingData,
    recipe: Recipe,
    runtime: RuntimeSettings,
    context: Context,
) -> Progress:
    """Train the classifier; it ends as the best network by val, or without val as the last one.

    Raises:
        UserError: the loss is no longer finite; an unknown metric for the best; not even a small
            part of a batch fits into the memory.
        Refused: too many images were changed meanwhile, the disk is full, or no checkpoint can be
            used.
        Interrupted: somebody asked it to stop; the state is saved.
    """
    choose("metric for training.monitor:", recipe.training.monitor, context.metrics)
    if data.val is None and recipe.training.patience is not None:
        raise UserError(
            "training.patience has no val to watch.",
            "Leave it out, or give split.val a share of the images.",
        )
    with torch.random.fork_rng(), running(runtime), stop_asked() as stop:
        loop = _Loop(classifier, data, recipe, runtime, context, stop)
        loop.run()
        return loop.progress


class _Loop:
    """The loop's state. A class only because so much of it lives from step to step."""

    def __init__(
        self,
        classifier: Classifier,
        data: TrainingData,
        recipe: Recipe,
        runtime: RuntimeSettings,
        context: Context,
        stop: StopAsked,
    ) -> None:
        self.classifier, self.data, self.recipe, self.options = (
            classifier,
            data,
            recipe,
            recipe.training,
        )
        self.context, self.hardware, self.stop = context, context.hardware, stop
        self.stepper = Stepper(
            classifier, data, recipe, self.hardware, runtime, context.console, context.extensions
        )
        self.judging = {
            split: (
                runtime.looking_seconds * len(images) / self.hardware.share[1]
            )  # until it is measured
            for split, images in (("train", data.train), ("val", data.val or ()))
        }
        self.pace = Pace(self.options.batch_size * runtime.seconds / self.hardware.share[1])
        self.rate: float | None = None  # of the head, at the last step of this session
        self.callback_stops = False
        self.progress = (
            self._begun(runtime)
            if context.resumed is None
            else self._restored(context.resumed, runtime)
        )
        self.began = time.monotonic() - self.progress.seconds
        self.saved_at = time.monotonic()

    def _begun(self, runtime: RuntimeSettings) -> Progress:
        per_epoch = len(batch_bounds(len(self.data.train), self.options.batch_size))
        if self.context.deadline is not None and time.monotonic() >= self.context.deadline:
            self.context.console.say("note: The time is up before the first step; one is made")
        return Progress(
            classes=list(self.data.train.classes),
            steps=self.options.epochs * per_epoch,
            per_epoch=per_epoch,
            runtime=runtime.as_json(),
            hardware=self.hardware.told,
            parts=self.options.accumulation,
            moves=list(self.context.moves),
        )

    def _restored(self, checkpoint: Checkpoint, runtime: RuntimeSettings) -> Progress:
        progress = Progress.from_facts(checkpoint.facts)
        now = runtime.as_json(), self.hardware.told
        if (progress.runtime, progress.hardware) != now:
            self.context.console.say(
                "note: It goes on with other hardware, threads or kernels: the last bits may differ"
            )
            progress.runtime, progress.hardware = now
        self.stepper.parts = progress.parts
        self.hardware.scale_on(progress.scaling)
        _load(self.classifier, checkpoint)
        self.stepper.load_optimizer_state(checkpoint)
        for callback in self._stateful():
            if callback.name in progress.callbacks:
                callback.load(progress.callbacks[callback.name])
        return progress

    def _plan(self) -> None:
        """Under a budget: as many steps as there is time for at the pace so far, the same in all
        processes.

        Until there is a pace, the plan stays what it was: all epochs, or what an interrupted
        session planned.
        """
        progress, deadline = self.progress, self.context.deadline
        if deadline is None or not self.pace.measured:
            return
        judging = self.judging["val"] + self.judging["train"] * self.options.evaluate_train
        left = deadline - time.monotonic()
        more = self.pace.steps_in(
            left, judging, self.judging["val"], progress.per_epoch, progress.batch
        )
        steps = max(1, progress.step, progress.epoch * progress.per_epoch + more)
        progress.steps = int(self.hardware.least(min(steps, self._most_steps)))

    @property
    def _most_steps(self) -> int:
        return self.options.epochs * self.progress.per_epoch

    def run(self) -> None:
        """From wherever the progress is to the end."""
        self._tell("run_started")
        if self.context.resumed is None:
            self._save()
        phase = None
        while not self.progress.done:
            before, phase = phase, self.stepper.phases.of(self.progress.epoch)
            if phase is not before:
                self.pace.openings = phase.views or 0
            self._tell("epoch_started")
            self._end_epoch(phase, cut=self._make_epoch(phase))
        if (
            self.progress.best and self.hardware.is_writer
        ):  # the others end here, and may know of an older one only
            _load(self.classifier, self.context.checkpoints.load_best(self.progress.best))
        self.classifier.eval()
        self._tell("run_completed")

    def _make_epoch(self, phase: Phase) -> bool:
        """The steps that are left of it; returns whether a budget cut it short."""
        progress = self.progress
        if (
            progress.batch and progress.step == progress.steps
        ):  # it was interrupted behind its last step
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
        """One optimizer step; none where all images of the batch are lost."""
        progress = self.progress
        if (
            not len(batch.labels) and self.hardware.share[1] > 1
        ):  # the other processes would wait for ever
            raise Refused(
                "All images of a process's part of a batch were changed while they were used.",
                f"Put them back, or go on without them: {self.context.how_to_resume}"
                " --accept-changes",
            )
        self.rate = lr = self._rate_at(progress.step)
        self._tell("iteration_started", lr=lr)
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
            progress.loss_sum += loss
            progress.loss_count += 1
        progress.batch += 1
        self._tell("iteration_completed", loss=loss, lr=lr)

    def _check_finite(self) -> None:
        """The loss of the next batch would not show it: statistics of BatchNorm, say, are not used
        in training.
        """
        state = self.classifier.state_dict().items()
        wrong = [
            name
            for name, tensor in state
            if tensor.is_floating_point() and not tensor.isfinite().all()
        ]
        if self._agreed(bool(wrong)):
            raise self._not_finite(
                f"{wrong[0] if wrong else 'The network of another process'} holds NaN or infinity"
            )

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
        """Whether the deadline leaves no more than the time to evaluate these."""
        judging = sum(self.judging[split] for split in splits)
        return (
            self.context.deadline is not None and time.monotonic() + judging > self.context.deadline
        )

    def _stop_if_asked(self) -> None:
        progress = self.progress
        if self._agreed(self.stop.now):
            self._save()
            raise Interrupted(
                f"Interrupted after step {progress.step:,} of {progress.steps:,}; the state is"
                " saved.",
                f"Go on with: {self.context.how_to_resume}",
            )

    def _agreed(self, wish: bool) -> bool:
        return self.hardware.summed(float(wish)) > 0

    def _end_epoch(self, phase: Phase, *, cut: bool) -> None:
        progress = self.progress
        row: dict[str, float] = {"epoch": progress.epoch + 1, "step": progress.step}
        row["lr"] = self._lr()
        row["loss"] = progress.loss_sum / max(progress.loss_count, 1)
        scores = self._scores(phase)
        progress.seconds = time.monotonic() - self.began
        progress.history.append({**row, **scores, "seconds": round(progress.seconds, 3)})
        self._judge(scores)
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
        self._tell("epoch_completed", loss=row["loss"], scores=scores)
        if self._agreed(self.callback_stops) and not progress.done:
            progress.ended = BY_CALLBACK
        self._save()
        if self.hardware.is_writer:
            self.context.write_history(progress.history)
        self._stop_if_asked()

    def _scores(self, phase: Phase) -> dict[str, float]:
        self.stepper.phases.rest()
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
                self.judging[split] = time.monotonic() - began
        self.stepper.phases.teach()
        return scores

    def _judge(self, scores: Mapping[str, float]) -> None:
        """Keep the network if it is the best by val."""
        progress, name = self.progress, self.options.monitor
        if self.data.val is None:
            return
        value = scores.get(f"val_{name}")
        if value is None or not better(name, value, progress.best_value):
            progress.stale += 1
            return
        progress.best_value, progress.best_epoch, progress.stale = value, progress.epoch + 1, 0
        if self.hardware.is_writer:
            facts = {"epoch": progress.best_epoch, name: value}
            with self._finite():
                progress.best = self.context.checkpoints.save_best(
                    progress.step, self.classifier.state_dict(), facts
                )

    def _save(self) -> None:
        """The state as it is now, in a checkpoint."""
        self.progress.seconds = time.monotonic() - self.began
        self.progress.parts = self.stepper.parts
        self.progress.scaling = self.hardware.scaling
        self.progress.callbacks = {one.name: one.state() for one in self._stateful()}
        if self.hardware.is_writer:
            tensors, plain = self.stepper.optimizer_state()
            network = self.classifier.state_dict()
            facts = {**self.progress.as_facts(), **plain}
            with self._finite():
                self.context.checkpoints.save(self.progress.step, {**network, **tensors}, facts)
        self.saved_at = time.monotonic()

    @contextmanager
    def _finite(self) -> Iterator[None]:
        """A number in it that is none ends the training."""
        try:
            yield
        except NotFinite as error:
            raise self._not_finite(str(error).rstrip(".")) from error

    def _not_finite(self, what: str) -> UserError:
        progress = self.progress
        return UserError(
            f"{what} at step {progress.step:,} (learning rate {self._lr():g}): the training has"
            " gone astray.",
            "Lower training.lr, add training.warmup_steps or training.clip_norm; tellapart"
            " find-rate suggests a rate.",
        )

    def _lr(self) -> float:
        """The rate of the head at the last step."""
        return self._rate_at(max(self.progress.step - 1, 0)) if self.rate is None else self.rate

    def _rate_at(self, step: int) -> float:
        progress, schedules = self.progress, self.context.extensions.schedules
        return self.options.lr * rate_at(
            step, progress.steps, progress.per_epoch, self.options, schedules
        )

    def _stateful(self) -> list[StatefulCallback]:
        return [
            cast(StatefulCallback, one) for one in self.context.callbacks if hasattr(one, "state")
        ]

    def _tell(
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
            steps=progress.steps,
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


def _load(classifier: Classifier, checkpoint: Checkpoint) -> None:
    """The network's tensors of a checkpoint, all of them and in their layout."""
    names = classifier.state_dict()
    missing = names.keys() - checkpoint.tensors.keys()
    if missing:
        raise Refused(
            f"{checkpoint.file} is of another network: it lacks {min(missing)!r}.",
            "Resume with the run's own recipe.",
        )
    classifier.load_state_dict({name: checkpoint.tensors[name] for name in names})
