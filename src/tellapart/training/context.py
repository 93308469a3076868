"""The surroundings of the loop: hardware, checkpoints, callbacks, metrics and deadline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from tellapart.evaluation.scores import Metric
from tellapart.extensions import Extensions
from tellapart.progress import Console
from tellapart.training.checkpoints import Checkpoint, Checkpoints
from tellapart.training.events import Callback, Event
from tellapart.training.hardware import Hardware


class StatefulCallback(Protocol):
    """A callback that remembers something from event to event."""

    name: str

    def __call__(self, event: Event) -> object:
        """Take one event."""

    def state(self) -> dict[str, Any]:
        """Give what it remembers, as plain values."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state` gave."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """The surroundings of the loop, which it uses and does not change.

    Args:
        hardware: what it runs on.
        checkpoints: where the state is saved.
        resumed: the checkpoint to go on from. None begins at the beginning.
        moves: the flips and turns that were found invariant, for the record.
        callbacks: called at every event; one that returns "stop" or False ends the training after
            the step, as early stopping does.
        metrics: name → function of the predictions. All are computed each epoch.
        extensions: the user's own losses, optimizers, schedules and transforms.
        deadline: by `time.monotonic`, when the loop and its last evaluation are over. None means
            that it takes the time that it needs.
        how_to_resume: the command that goes on with the run, for messages.
        write_history: called with all rows after each epoch.
        console: where notes are printed.
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

    @property
    def stateful_callbacks(self) -> list[StatefulCallback]:
        """The callbacks whose state the checkpoints keep."""
        return [
            cast(StatefulCallback, callback)
            for callback in self.callbacks
            if hasattr(callback, "state")
        ]
