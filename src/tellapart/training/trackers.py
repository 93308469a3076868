"""Trackers, to which numbers go while a training runs: TensorBoard, and every service that
accelerate knows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart.errors import UserError, choose, one_line
from tellapart.training.callbacks import RunningMean
from tellapart.training.events import Event

if TYPE_CHECKING:
    from accelerate import Accelerator

PROJECT = "tellapart"  # the project under which the services file the runs
# TensorBoard's folder in the run. `tensorboard --logdir runs` shows it as NAME-OF-THE-RUN/events.
EVENTS = "events"

_PACKAGES = {"comet_ml": "comet-ml"}  # trackers whose package has another name
# The argument of each tracker that takes the run's name.
_RUN_NAMES = {
    "wandb": "name",
    "trackio": "name",
    "swanlab": "experiment_name",
    "mlflow": "run_name",
    "clearml": "task_name",
}
# ClearML would take over standard output, the command line's arguments and torch.save.
_OPTIONS = {
    "clearml": {
        "auto_connect_streams": False,
        "auto_connect_arg_parser": False,
        "auto_connect_frameworks": False,
        "auto_resource_monitoring": False,
    }
}


def check_trackers(names: Sequence[str]) -> None:
    """Refuse, before any work, a tracker that could not be started.

    Raises:
        UserError: accelerate does not know it (it no longer knows Neptune), or its package is not
            installed.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    installed = {str(name) for name in get_available_trackers()}
    for name in names:
        choose("tracker", name, LOGGER_TYPE_TO_CLASS)
        if name not in installed:
            package = _PACKAGES.get(name, name)
            raise UserError(
                f"The tracker {name!r} needs {package}, which is not installed.",
                f"Run: pip install {package}",
            )


@contextlib.contextmanager
def trackers(
    accelerator: Accelerator,
    run: Path,
    names: Sequence[str],
    config: Mapping[str, Any],
    first_step: int = 0,
) -> Iterator[None]:
    """Start the trackers that `accelerator.log` writes to; finish them at the end of the `with`.

    All but TensorBoard get the run's name and its recipe in fields of their own.

    Args:
        accelerator: one without trackers.
        run: the run folder.
        names: checked by `check_trackers`.
        config: the recipe, dotted key → value.
        first_step: the optimizer steps that are done. What a resumed run had logged of later steps
            is not shown twice.

    Raises:
        UserError: a tracker does not start. It may lack an account or a server.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    try:
        for name in names:
            tracker = _tracker(LOGGER_TYPE_TO_CLASS[name], name, run, first_step)
            with _refusing(name):
                tracker.start()
                accelerator.trackers.append(tracker)
                # TensorBoard would show a recipe as one more run, in a folder named by the time.
                if name != "tensorboard":
                    tracker.store_init_configuration(dict(config))
        yield
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
        accelerator.trackers.clear()


@contextlib.contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Turn whatever a service raises into a UserError."""
    try:
        yield
    except Exception as error:  # each service has errors of its own
        reason = one_line(error) or type(error).__name__
        raise UserError(
            f"The tracker {name!r} does not start ({reason}).",
            "Give it the account or server that it needs, or leave it out of training.trackers.",
        ) from error


def _tracker(kind: Any, name: str, run: Path, first_step: int) -> Any:
    """Build a tracker.

    accelerate's own `init_trackers` would give all trackers the same name.
    """
    if name == "tensorboard":
        return kind(EVENTS, run, purge_step=first_step + 1 if first_step else None)
    place = (run,) if kind.requires_logging_directory else ()
    named = {_RUN_NAMES[name]: run.name} if name in _RUN_NAMES else {}
    return kind(PROJECT, *place, **named, **_OPTIONS.get(name, {}))


class TrackScalars:
    """Logs "train/loss" and "train/lr" every few steps, and "val/accuracy" and the like each epoch.

    Args:
        accelerator: used inside `trackers`.
        every: the optimizer steps between two losses. Each loss is the mean over these steps.
    """

    name = "track_scalars"

    def __init__(self, accelerator: Accelerator, every: int) -> None:
        self._accelerator, self._every = accelerator, every
        self._losses = RunningMean()

    def __call__(self, event: Event) -> None:
        """Log the numbers of an event."""
        if event.name == "iteration_completed" and event.loss is not None:
            self._losses.add(event.loss)
            if event.step % self._every == 0 or event.step == event.steps:
                self._accelerator.log(
                    {"train/loss": self._losses.take(), "train/lr": event.lr}, step=event.step
                )
        elif event.name == "epoch_completed" and event.scores:
            self._accelerator.log(
                {_scalar(key): value for key, value in event.scores.items()}, step=event.step
            )

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return self._losses.state()

    def load(self, state: Mapping[str, float]) -> None:
        """Go on from a checkpoint."""
        self._losses.load(state)


def scalar_steps(steps: int) -> int:
    """The optimizer steps between two logged losses: a screen shows about a thousand points.

    >>> scalar_steps(25_000), scalar_steps(40)
    (25, 1)
    """
    return max(1, steps // 1000)


def _scalar(key: str) -> str:
    """The scalar under which a score is logged.

    The loss of a whole evaluation of train is not the mean of its batches' losses, "train/loss".

    >>> _scalar("val_accuracy"), _scalar("train_loss")
    ('val/accuracy', 'evaluated train/loss')
    """
    split, _, name = key.partition("_")
    folder = "evaluated train" if split == "train" else split
    return f"{folder}/{name}"
