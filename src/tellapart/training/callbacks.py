"""The callbacks that print a training and draw its progress, and its history as a table.

A callback is called with each `Event`. One that remembers something between two events is an object
with a name, `state()` and `load()`, and the loop saves its state in the checkpoints. So a resumed
run prints what the run would have printed without a stop.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from tellapart.progress import Advance, Console
from tellapart.training.events import Callback, Event


class RunningMean:
    """The mean of the numbers that came since it was last taken."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, value: float) -> None:
        """Add a number."""
        self._sum += value
        self._count += 1

    def take(self) -> float:
        """Return the mean of the numbers, at least one, and begin anew."""
        mean = self._sum / self._count
        self._sum, self._count = 0.0, 0
        return mean

    def state(self) -> dict[str, float]:
        """Return what a checkpoint keeps."""
        return {"sum": self._sum, "count": self._count}

    def load(self, state: Mapping[str, float]) -> None:
        """Go on from a checkpoint."""
        self._sum, self._count = float(state["sum"]), int(state["count"])


class PrintLosses:
    """Prints the mean loss of every few batches: "epoch 1, batch 2,000: loss 2.105".

    Args:
        console: where it prints.
        every: the number of batches. What is left over at an epoch's end is not printed.
    """

    name = "print_losses"

    def __init__(self, console: Console, every: int) -> None:
        self._console, self._every = console, every
        self._losses = RunningMean()

    def __call__(self, event: Event) -> None:
        """Add the loss of a batch, and print the mean when it is time."""
        if event.name != "iteration_completed" or event.loss is None:
            return
        if event.batch == 1:
            self._losses = RunningMean()
        self._losses.add(event.loss)
        if event.batch % self._every == 0:
            self._console.say(
                f"epoch {event.epoch}, batch {event.batch:,}: loss {self._losses.take():.3f}"
            )

    def state(self) -> dict[str, float]:
        """Return what a checkpoint keeps."""
        return self._losses.state()

    def load(self, state: Mapping[str, float]) -> None:
        """Go on from a checkpoint."""
        self._losses.load(state)


class KeepLog:
    """Keeps the printed lines in the checkpoints, so that a resumed run's log is whole.

    Args:
        console: has the lines that were printed, and gets those of the session before.
    """

    name = "log"

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, event: Event) -> None:
        """Do nothing: only the state counts."""

    def state(self) -> dict[str, list[str]]:
        """Return what a checkpoint keeps."""
        return {"lines": list(self._console.lines)}

    def load(self, state: Mapping[str, list[str]]) -> None:
        """Put the earlier lines before those of this session."""
        self._console.lines[:0] = state["lines"]


class ShowProgress:
    """Draws a bar for each epoch, where no losses are printed.

    Args:
        console: where it draws.
        batches: the number of batches of a whole epoch.
    """

    def __init__(self, console: Console, batches: int) -> None:
        self._console, self._batches = console, batches
        self._bar = ExitStack()
        self._advance: Advance | None = None
        self._shown = 0

    def __call__(self, event: Event) -> None:
        """Open, move or close the bar. A resumed epoch begins where it stood."""
        if event.name == "iteration_completed":
            if self._advance is None:
                total = min(self._batches, event.steps - event.step + event.batch)
                bar = self._console.track(f"epoch {event.epoch} of {event.epochs}", total)
                self._advance, self._shown = self._bar.enter_context(bar), 0
            for _ in range(self._shown, event.batch):
                self._advance()
            self._shown = event.batch
        elif self._advance is not None and event.name in ("epoch_completed", "run_completed"):
            self.close()

    def close(self) -> None:
        """Take the bar away. A run that stops in the middle of an epoch needs that too."""
        self._bar.close()
        self._advance = None


def print_epochs(console: Console, batch_size: int) -> Callback:
    """Print a line at the end of each epoch: loss, scores, rate and speed.

    The speed is in images a second, without the time of the evaluation.
    """
    began, ended = (0, 0.0), (0, 0.0)

    def callback(event: Event) -> None:
        nonlocal began, ended
        reached = event.step, event.seconds
        if event.name in ("run_started", "epoch_started"):
            began = ended = reached
        elif event.name == "iteration_completed":
            ended = reached
        elif event.name == "epoch_completed":
            done, seconds = (last - first for last, first in zip(ended, began, strict=True))
            speed = f", {done * batch_size / seconds:,.0f} images/s" if done and seconds > 0 else ""
            console.say(f"{epoch_line(event)}{speed}")
            began = ended = reached

    return callback


def epoch_line(event: Event) -> str:
    """Describe an epoch in one line.

    >>> at = dict(epoch=2, epochs=5, step=80, steps=200, lr=0.001, seconds=9.5, network=None)
    >>> epoch_line(Event(name="epoch_completed", loss=0.41237, scores={"val_accuracy": 0.85}, **at))
    'epoch 2 of 5: loss 0.412; val accuracy 0.850; lr 0.001'
    """
    parts = [] if event.loss is None else [f"loss {event.loss:.3f}"]
    if event.scores:
        parts.append(
            ", ".join(
                f"{name.replace('_', ' ')} {value:.3f}" for name, value in event.scores.items()
            )
        )
    return f"epoch {event.epoch} of {event.epochs}: {'; '.join([*parts, f'lr {event.lr:.3g}'])}"


def history_csv(rows: Sequence[Mapping[str, float]]) -> str:
    """The content of `history.csv`: a row an epoch, floats to their last digit.

    A cell is empty where an epoch has no such number.

    >>> history_csv([{"epoch": 1, "loss": 0.1}, {"epoch": 2, "val_loss": 0.3}]).splitlines()
    ['epoch,loss,val_loss', '1,0.1,', '2,,0.3']
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
