"""What every step works with: the store of features, the console and the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from tellapart.cache import FeatureStore, cache_folder, cache_remark
from tellapart.progress import Console, Task, duration
from tellapart.recipe import Recipe

if TYPE_CHECKING:
    from tellapart.images.store import Images
    from tellapart.training.runtime import RuntimeSettings


LEAST_SHOWN_SECONDS = 0.1  # shorter steps are no part of the summary


class Clock:
    """Seconds of each step, and of all since the clock was made."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._steps: dict[str, float] = {}

    def lap(self, step: str) -> None:
        """End a step, and begin the next one. A step of the same name is added to."""
        now = time.monotonic()
        self._steps[step] = round(self._steps.get(step, 0.0) + now - self._last, 2)
        self._last = now

    def seconds(self) -> dict[str, float]:
        """Step → seconds, and "all" up to now."""
        return {**self._steps, "all": round(time.monotonic() - self._start, 2)}

    def summary(self) -> str:
        """All steps in one line: "Total 12.3 s: features 8.0 s, head 0.4 s, …"."""
        seconds = self.seconds()
        whole = seconds.pop("all")
        steps = {**seconds, "other steps": whole - sum(seconds.values())}
        parts = [
            f"{step} {in_tenths(took)}"
            for step, took in steps.items()
            if took >= LEAST_SHOWN_SECONDS
        ]
        return (
            f"Total {in_tenths(whole)}: {', '.join(parts)}"
            if parts
            else f"Total {in_tenths(whole)}"
        )


def in_tenths(seconds: float) -> str:
    """Seconds in words, with a tenth where they are few.

    >>> in_tenths(0.42), in_tenths(95.2)
    ('0.4 s', '1 min 35 s')
    """
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


@dataclass(frozen=True)
class Services:
    """What every step of a training works with.

    Args:
        store: keeps features by content, for this training and later ones.
        console: prints progress, and remembers it for the run's log.
        clock: measures the steps.
        runtimes: the runtime settings that were measured before. Folds and trials share them, for
            measuring takes longer than many steps.
        decoded: images that folds or trials share, by their rows and preprocessing, so that each is
            decoded once. None means that nothing is shared.
    """

    store: FeatureStore
    console: Console
    clock: Clock = field(default_factory=Clock)
    runtimes: dict[Hashable, RuntimeSettings] = field(default_factory=dict)
    decoded: dict[Hashable, Images] | None = None

    def runtime_of(self, recipe: Recipe, measure: Callable[[], RuntimeSettings]) -> RuntimeSettings:
        """The fastest runtime settings for a recipe's network, measured once in this process."""
        training = recipe.training
        key = (
            recipe.backbone,
            recipe.preprocessing,
            recipe.head,
            recipe.freeze,
            training.batch_size,
            training.accumulation,
            training.precision,
            training.threads,
            training.memory_format,
        )
        if key not in self.runtimes:
            self.runtimes[key] = measure()
        return self.runtimes[key]

    def shared_images(self, key: Hashable, decode: Callable[[], Images]) -> Images | None:
        """Images that several trainings share; None where nothing is shared.

        The latest ones alone are kept: trials may differ in preprocessing, and memory is finite.
        """
        if self.decoded is None:
            return None
        if key not in self.decoded:
            self.decoded.clear()
            self.decoded[key] = decode()
        return self.decoded[key]

    def sharing(self) -> Services:
        """The same services for several trainings on the same images."""
        return replace(self, decoded={})

    def silent(self) -> Services:
        """The same store, with a clock and a console of its own: for a run inside a run.

        Its lines are for its log alone. Its progress is shown.
        """
        return replace(self, console=self.console.inner(), clock=Clock())

    @contextmanager
    def step(self, name: str, label: str) -> Iterator[Task]:
        """Show a step while it lasts, and measure it.

        Args:
            name: of the step in the summary, as "head".
            label: what is done, as "Fitting the head".
        """
        with self.console.step(label) as task:
            yield task
        self.clock.lap(name)


@contextmanager
def open_services(*, quiet: bool) -> Iterator[Services]:
    """Services for one verb; the store is closed at the end.

    Until then BLAS works on one thread. Our own threads keep all cores busy, and where other
    programs do too, BLAS's threads wait for each other: a small product took up to 20 times as long.
    """
    console, clock = Console(quiet=quiet), Clock()
    if remark := cache_remark():
        console.say(f"note: {remark}")
    with threadpool_limits(1, user_api="blas"), FeatureStore(cache_folder()) as store:
        yield Services(store, console, clock)
