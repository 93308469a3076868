"""What the loop tells its callbacks: one record, at the six moments of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

EventName = Literal[
    "run_started",
    "epoch_started",
    "iteration_started",
    "iteration_completed",
    "epoch_completed",
    "run_completed",
]


@dataclass(frozen=True, kw_only=True)
class Event:
    """One moment of a training. An iteration is one optimizer step, on one batch.

    Args:
        name: which of the six.
        epoch: from 1.
        epochs: planned.
        step: optimizer steps done since the beginning.
        steps: planned.
        batch: in this epoch, from 1; 0 outside of an iteration.
        loss: of this batch (iteration_completed), or the mean of the epoch's batches
            (epoch_completed).
        lr: of the head, now.
        scores: on epoch_completed: "val_loss", "val_accuracy", "train_accuracy" and so on.
        seconds: since the run began.
    """

    name: EventName
    epoch: int
    epochs: int
    step: int
    steps: int
    batch: int = 0
    loss: float | None = None
    lr: float
    scores: Mapping[str, float] = field(default_factory=dict)
    seconds: float


Callback = Callable[[Event], None]
