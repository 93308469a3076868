"""Listeners for the loop: what a person sees of a training, and its history.

A listener is called with each `Moment`. One that remembers something between two of them is an object with a name,
`state()` and `load()`, which the loop keeps in its checkpoints: a resumed run prints what the other would have printed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from tellapart.progress import Advance, Talk
from tellapart.training.moments import Listener, Moment


class RunningMean:
    """The mean of the numbers since it was last taken."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, value: float) -> None:
        """One more number."""
        self._sum += value
        self._count += 1

    def take(self) -> float:
        """The mean of at least one number; the next one begins anew."""
        mean = self._sum / self._count
        self._sum, self._count = 0.0, 0
        return mean

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"sum": self._sum, "count": self._count}

    def load(self, state: Mapping[str, float]) -> None:
        """Go on from a checkpoint."""
        self._sum, self._count = float(state["sum"]), int(state["count"])


class PrintLosses:
    """Prints the mean loss of every so many batches of an epoch: "epoch 1, batch 2,000: loss 2.105".

    Args:
        talk: what prints. every: batches. What is left over at the end of an epoch is not printed.
    """

    name = "print_losses"

    def __init__(self, talk: Talk, every: int) -> None:
        self._talk, self._every = talk, every
        self._losses = RunningMean()

    def __call__(self, moment: Moment) -> None:
        """Add this batch's loss, and print when it is time."""
        if moment.event != "iteration_completed" or moment.loss is None:
            return
        if moment.batch == 1:
            self._losses = RunningMean()
        self._losses.add(moment.loss)
        if moment.batch % self._every == 0:
            self._talk.say(f"epoch {moment.epoch}, batch {moment.batch:,}: loss {self._losses.take():.3f}")

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return self._losses.state()

    def load(self, state: Mapping[str, float]) -> None:
        """Go on from a checkpoint."""
        self._losses.load(state)


class KeepLog:
    """Keeps what was said in the checkpoints, so that the log of a resumed run begins where the run did.

    Args:
        talk: what was said, and is to be said.
    """

    name = "log"

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    def __call__(self, moment: Moment) -> None:
        """Nothing: only the state counts."""

    def state(self) -> dict[str, list[str]]:
        """What a checkpoint keeps."""
        return {"lines": list(self._talk.lines)}

    def load(self, state: Mapping[str, list[str]]) -> None:
        """Put the earlier lines before those of now."""
        self._talk.lines[:0] = state["lines"]


class ShowProgress:
    """A bar for each epoch, where no losses are printed.

    Args:
        talk: what draws it. batches: of a whole epoch.
    """

    def __init__(self, talk: Talk, batches: int) -> None:
        self._talk, self._batches = talk, batches
        self._bar = ExitStack()
        self._advance: Advance | None = None
        self._shown = 0

    def __call__(self, moment: Moment) -> None:
        """Open, move or close the bar. A resumed epoch begins where it stood."""
        if moment.event == "iteration_completed":
            if self._advance is None:
                total = min(self._batches, moment.steps - moment.step + moment.batch)
                bar = self._talk.track(f"epoch {moment.epoch} of {moment.epochs}", total)
                self._advance, self._shown = self._bar.enter_context(bar), 0
            for _ in range(self._shown, moment.batch):
                self._advance()
            self._shown = moment.batch
        elif self._advance is not None and moment.event in ("epoch_completed", "run_completed"):
            self.close()

    def close(self) -> None:
        """Take the bar away, as is needed too where a run stops in the middle of an epoch."""
        self._bar.close()
        self._advance = None


def print_epochs(talk: Talk, batch_size: int) -> Listener:
    """A line at the end of each epoch: loss, scores, rate, and pictures a second without the evaluation."""
    began, ended = (0, 0.0), (0, 0.0)

    def listener(moment: Moment) -> None:
        nonlocal began, ended
        now = moment.step, moment.seconds
        if moment.event in ("run_started", "epoch_started"):
            began = ended = now
        elif moment.event == "iteration_completed":
            ended = now
        elif moment.event == "epoch_completed":
            done, seconds = (last - first for last, first in zip(ended, began, strict=True))
            speed = f", {done * batch_size / seconds:,.0f} pictures/s" if done and seconds > 0 else ""
            talk.say(f"{epoch_line(moment)}{speed}")
            began = ended = now

    return listener


def epoch_line(moment: Moment) -> str:
    """An epoch in one line.

    >>> at = dict(epoch=2, epochs=5, step=80, steps=200, lr=0.001, seconds=9.5)
    >>> epoch_line(Moment(event="epoch_completed", loss=0.41237, scores={"val_accuracy": 0.85}, **at))
    'epoch 2 of 5: loss 0.412; val accuracy 0.850; lr 0.001'
    """
    parts = [] if moment.loss is None else [f"loss {moment.loss:.3f}"]
    if moment.scores:
        parts.append(", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in moment.scores.items()))
    return f"epoch {moment.epoch} of {moment.epochs}: {'; '.join([*parts, f'lr {moment.lr:.3g}'])}"


def history_csv(rows: Sequence[Mapping[str, float]]) -> str:
    """The content of `history.csv`: a row an epoch, floats to their last digit, empty where there is no number.

    >>> history_csv([{"epoch": 1, "loss": 0.1}, {"epoch": 2, "val_loss": 0.3}]).splitlines()
    ['epoch,loss,val_loss', '1,0.1,', '2,,0.3']
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
