"""One training by tellapart, timed by a callback for `training.py`: one process, one line of JSON.

    python benchmarks/stopwatch.py DATA RECIPE BEGIN END [KEY=VALUE …]

The clock runs from the completion of optimizer step BEGIN (0: from the start of the run) to that of
step END (0: the last one planned); then the training is broken off. What comes before the run is
told apart, as preparation: importing torch, scanning and decoding the images, loading the network
and measuring its threads.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import tellapart

if TYPE_CHECKING:
    from tellapart.training.events import Event


class Enough(Exception):
    """The last step that counts is done."""


@dataclass
class Stopwatch:
    """A callback with a clock, in seconds of `time.perf_counter`."""

    begin: int
    end: int
    called: float = field(default_factory=time.perf_counter)
    prepared: float = 0.0
    started: float = 0.0
    stopped: float = 0.0
    threads: int = 0
    losses: list[float] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        now = time.perf_counter()
        if event.name == "run_started":
            self.prepared = self.started = now
        if event.name != "iteration_completed":
            return
        if event.step == self.begin:
            self.started = now
        if event.step > self.begin and event.loss is not None:
            self.losses.append(event.loss)
        if event.step == (self.end or event.steps):
            import torch  # only here: its import belongs to what is timed

            self.stopped, self.threads = now, torch.get_num_threads()
            raise Enough

    def as_json(self) -> dict[str, float]:
        return {
            "seconds": self.stopped - self.started,
            "preparation": self.prepared - self.called,
            "loss": sum(self.losses) / len(self.losses),
            "threads": self.threads,
        }


def main() -> None:
    data, recipe, begin, end, *settings = sys.argv[1:]
    values = dict(setting.split("=", 1) for setting in settings)
    watch = Stopwatch(int(begin), int(end))
    with tempfile.TemporaryDirectory() as runs:
        try:
            tellapart.train(
                data, recipe=recipe, out=runs, seed=0, set=values, callbacks=[watch], quiet=True
            )
        except Enough:
            print(json.dumps(watch.as_json()))
        else:
            sys.exit(f"The training ended before step {end}.")


if __name__ == "__main__":
    main()
