"""What the loop reports to its callbacks: one record at each of the six events of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

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
    """One event of a training. An iteration is one optimizer step, on one batch.

    Args:
        name: which of the six events it is.
        epoch: the number of the epoch, from 1.
        epochs: how many epochs are planned.
        step: how many optimizer steps are done.
        steps: how many optimizer steps are planned.
        batch: the number of the batch in this epoch, from 1. It is 0 outside an iteration.
        loss: the loss of this batch (iteration_completed), or the mean over the epoch's batches
            (epoch_completed).
        lr: the learning rate of the head.
        scores: on epoch_completed: "val_loss", "val_accuracy", "train_accuracy" and so on.
        seconds: the time since the run began.
        network: the network in training, from images (N, C, S, S) to logits. Read it, never change
            it: a changed weight or a changed mode makes the run impossible to repeat.
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
    network: nn.Module = field(repr=False, compare=False)


Callback = Callable[[Event], object]
"""Called at each event. The training stops after the current step when it returns "stop" or
False; any other result lets it go on.
"""


def wants_stop(answer: object) -> bool:
    """Whether a callback's result asks the training to stop.

    >>> [wants_stop(answer) for answer in ("stop", False, None, 0, True)]
    [True, True, False, False, False]
    """
    return answer is False or (isinstance(answer, str) and answer == "stop")
