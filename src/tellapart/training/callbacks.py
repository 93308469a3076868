"""The callbacks that print a training and show its progress, and its history as a table.

A callback is called with each `Event`. One that remembers something between two events is an object
with a name, `state()` and `load()`, and the loop saves its state in the checkpoints. So a resumed
run prints what the run would have printed without a stop.
"""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from tellapart.progress import Console, Task, duration
from tellapart.training.events import Event


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


class TimeLeft:
    """The seconds until the end of a run, by the pace since this session of it began.

    Args:
        ending: the seconds that the run takes after the training.
    """

    def __init__(self, ending: float = 0.0) -> None:
        self._ending = ending
        self._began: tuple[int, float] | None = None

    def __call__(self, event: Event) -> float | None:
        """Look at an event. None means that no step tells the pace yet."""
        if self._began is None:
            self._began = event.step, event.seconds
        first, since = self._began
        if event.step == first:
            return None
        pace = (event.seconds - since) / (event.step - first)
        return pace * max(0, event.steps - event.step) + self._ending


class ShowProgress:
    """Shows how far the whole training is, and the time left of the run.

    Args:
        console: where it is shown.
        ending: the seconds that the run takes after the training.
    """

    def __init__(self, console: Console, ending: float = 0.0) -> None:
        self._console, self._time_left = console, TimeLeft(ending)
        self._shown = ExitStack()
        self._task: Task | None = None

    def __call__(self, event: Event) -> None:
        """Begin, go on or end. A resumed training begins where it stood."""
        left = self._time_left(event)
        if event.name == "run_completed":
            self.close()
        elif event.name == "iteration_completed":
            if self._task is None:
                task = self._console.track("Training", event.steps, event.step - 1)
                self._task = self._shown.enter_context(task)
            self._task.label = f"Epoch {event.epoch} of {event.epochs}"
            self._task.done, self._task.total = event.step, event.steps
            self._task.ends_at = None if left is None else time.monotonic() + left

    def close(self) -> None:
        """Take it away. A run that stops in the middle needs that too."""
        self._shown.close()
        self._task = None


# Column of the table of epochs → its width. All together fit a terminal of 80 columns.
_WIDTHS = {
    "epoch": 7,
    "train loss": 11,
    "val loss": 9,
    "accuracy": 9,
    "rate": 9,
    "images/s": 9,
    "seconds": 9,
    "time left": 13,
}
_SHORT = {"balanced_accuracy": "balanced", "top5_accuracy": "top 5"}


class EpochTable:
    """Prints a row at the end of each epoch, below a head.

    Args:
        console: where it prints.
        batch_size: of the training.
        monitor: the metric of val to show. For the loss it is the accuracy, which says more.
        ending: the seconds that the run takes after the training.
    """

    def __init__(
        self, console: Console, batch_size: int, monitor: str = "accuracy", ending: float = 0.0
    ) -> None:
        self._console, self._batch_size = console, batch_size
        self._metric = "accuracy" if monitor == "loss" else monitor
        self._time_left = TimeLeft(ending)
        self._has_head = False
        # (steps, seconds) when the epoch began, and after its last step.
        self._began = self._ended = (0, 0.0)

    def __call__(self, event: Event) -> None:
        """Look at the clock, and print the row when an epoch is completed."""
        left, reached = self._time_left(event), (event.step, event.seconds)
        if event.name in ("run_started", "epoch_started"):
            self._began = self._ended = reached
        elif event.name == "iteration_completed":
            self._ended = reached
        elif event.name == "epoch_completed":
            self._print(event, left)
            self._began = self._ended = reached

    def _print(self, event: Event, left: float | None) -> None:
        if not self._has_head:
            head = _SHORT.get(self._metric, self._metric)[: _WIDTHS["accuracy"] - 1]
            self._console.say(_aligned([head if name == "accuracy" else name for name in _WIDTHS]))
            self._has_head = True
        # The speed is that of the steps alone. An epoch that was resumed after its last step has
        # none.
        steps, seconds = (
            last - first for last, first in zip(self._ended, self._began, strict=True)
        )
        speed = steps * self._batch_size / seconds if seconds > 0 else math.nan
        loss = math.nan if event.loss is None else event.loss
        score = event.scores.get(f"val_{self._metric}", math.nan)
        cells = [
            f"{event.epoch}/{event.epochs}",
            _number(loss),
            _number(event.scores.get("val_loss", math.nan)),
            "-" if math.isnan(score) else f"{score:.1%}".replace("%", " %"),
            f"{event.lr:.2g}",
            _number(speed or math.nan, 1),
            f"{event.seconds - self._began[1]:.1f}",
            "-" if left is None else duration(left),
        ]
        self._console.say(_aligned(cells))


def _number(value: float, digits: int = 3) -> str:
    """A number that is as short as its column; "-" for NaN."""
    if math.isnan(value):
        return "-"
    return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.3g}"


def _aligned(cells: Sequence[str]) -> str:
    first, *others = zip(cells, _WIDTHS.values(), strict=True)
    return first[0].ljust(first[1]) + "".join(cell.rjust(width) for cell, width in others)


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
