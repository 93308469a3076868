"""What is printed, drawn and logged of a training, and that a resumed run goes on exactly."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from accelerate import Accelerator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from tellapart.errors import UserError
from tellapart.progress import Console, Task
from tellapart.training.callbacks import (
    EpochTable,
    KeepLog,
    PrintLosses,
    ShowProgress,
    history_csv,
)
from tellapart.training.events import Callback, Event
from tellapart.training.trackers import EVENTS, TrackScalars, check_trackers, trackers

EPOCHS, PER_EPOCH = 2, 10
NETWORK = nn.Linear(1, 1)


@pytest.fixture
def console() -> Console:
    return Console(quiet=True)


def said(console: Console) -> list[str]:
    """The lines without their times."""
    return [line.partition(" ")[2] for line in console.lines]


def training(losses: Iterable[float] | None = None) -> Iterator[Event]:
    """The events of a training of two epochs of ten steps, half a second each, evaluated in five
    seconds.
    """
    values = iter(losses or (1 / (step + 3) for step in range(EPOCHS * PER_EPOCH)))
    at = {"epochs": EPOCHS, "steps": EPOCHS * PER_EPOCH, "lr": 0.01, "network": NETWORK}
    for epoch in range(EPOCHS):
        waited = 5.0 * epoch
        done = epoch * PER_EPOCH
        yield Event(
            name="epoch_started", epoch=epoch + 1, step=done, seconds=waited + done / 2, **at
        )
        for batch in range(1, PER_EPOCH + 1):
            step, seconds = done + batch, waited + (done + batch) / 2
            here = {"epoch": epoch + 1, "batch": batch, **at}
            yield Event(name="iteration_started", step=step - 1, seconds=seconds - 0.5, **here)
            yield Event(
                name="iteration_completed", step=step, loss=next(values), seconds=seconds, **here
            )
        scores = {"val_accuracy": 0.5 + epoch / 4, "val_loss": 0.7, "train_loss": 0.6}
        ended = {"epoch": epoch + 1, "step": done + PER_EPOCH, "loss": 0.25, "scores": scores, **at}
        yield Event(name="epoch_completed", seconds=waited + 5 + (done + PER_EPOCH) / 2, **ended)


def hear(callback: Callback, events: Iterable[Event]) -> None:
    for event in events:
        callback(event)


def test_the_mean_loss_of_so_many_batches_is_printed(console: Console):
    hear(PrintLosses(console, 4), training(range(20)))
    assert said(console) == [
        "epoch 1, batch 4: loss 1.500",
        "epoch 1, batch 8: loss 5.500",
        "epoch 2, batch 4: loss 11.500",
        "epoch 2, batch 8: loss 15.500",
    ]


def test_thousands_of_batches_are_separated(console: Console):
    at = {"epoch": 1, "epochs": 1, "step": 2000, "steps": 5000, "lr": 0.1, "seconds": 1.0}
    at["network"] = NETWORK
    hear(
        PrintLosses(console, 2000),
        [Event(name="iteration_completed", batch=2000, loss=2.105, **at)],
    )
    assert said(console) == ["epoch 1, batch 2,000: loss 2.105"]


@pytest.mark.parametrize("stop", [5, 17, 26, 30])
def test_a_resumed_run_prints_what_the_other_would_have_printed(console: Console, stop: int):
    whole, first, second = Console(quiet=True), PrintLosses(console, 3), PrintLosses(console, 3)
    hear(PrintLosses(whole, 3), training())
    events = list(training())
    hear(first, events[:stop])
    second.load(json.loads(json.dumps(first.state())))
    hear(second, events[stop:])
    assert said(console) == said(whole)
    assert (first.name, len(said(whole))) == ("print_losses", 6)


def test_an_epoch_is_a_row_below_a_head(console: Console):
    hear(EpochTable(console, 8), training())
    assert said(console) == [
        "epoch   train loss val loss accuracy     rate images/s  seconds    time left",
        "1/2          0.250    0.700   50.0 %     0.01     16.0     10.0         10 s",
        "2/2          0.250    0.700   75.0 %     0.01     16.0     10.0          0 s",
    ]


def test_the_table_of_epochs_fits_80_columns(console: Console):
    at = {"epochs": 1000, "lr": 1.234e-10, "network": NETWORK}
    started = Event(name="run_started", epoch=1, step=0, steps=10**6, seconds=0.0, **at)
    scores = {"val_loss": 123456.789, "val_top5_accuracy": 1.0}
    ended = {"epoch": 999, "step": 5, "steps": 10**6, "seconds": 9999.0}
    ended |= {"loss": 12345678.9, "scores": scores}
    hear(
        EpochTable(console, 8, "top5_accuracy"),
        [started, Event(name="epoch_completed", **ended, **at)],
    )
    assert max(map(len, said(console))) <= 80
    assert said(console)[1].split()[:5] == ["999/1000", "1.23e+07", "1.23e+05", "100.0", "%"]


def test_the_time_left_is_that_of_the_whole_run(console: Console):
    hear(EpochTable(console, 8, ending=60.0), training())
    assert said(console)[1].endswith("1 min 10 s")


def test_a_metric_that_is_watched_has_the_column_of_the_accuracy(console: Console):
    hear(EpochTable(console, 8, "balanced_accuracy"), training())
    head, row, *_ = said(console)
    assert ("balanced" in head, "accuracy" in head, row.split()[3]) == (True, False, "-")


def test_an_epoch_resumed_after_its_last_batch_claims_no_speed(console: Console):
    hear(EpochTable(console, 8), list(training())[-1:])
    assert said(console)[1].split()[-3:] == ["-", "20.0", "-"]


class Recorded(Console):
    """Remembers the tasks that it has shown, and that they were taken away."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.tasks: list[Task] = []
        self.open = 0

    @contextmanager
    def track(self, label, total=None, done=0):
        self.tasks.append(Task(label, total, done))
        self.open += 1
        yield self.tasks[-1]
        self.open -= 1


def test_one_bar_shows_how_far_the_whole_training_is():
    console = Recorded()
    hear(ShowProgress(console), list(training())[:34])
    (task,) = console.tasks
    assert (task.label, task.done, task.total) == ("Epoch 2 of 2", 15, 20)


def test_the_bar_is_taken_away_at_the_end():
    console = Recorded()
    bar = ShowProgress(console)
    hear(bar, list(training())[:34])
    bar.close()
    assert console.open == 0


def test_the_bar_of_a_resumed_training_begins_where_it_stood():
    console = Recorded()
    hear(ShowProgress(console), list(training())[10:15])
    assert (console.tasks[0].done, console.tasks[0].total) == (7, 20)


def test_the_history_keeps_every_digit_and_the_order_of_its_columns():
    rows = [
        {"epoch": 1, "step": 10, "loss": 0.1 + 0.2},
        {"epoch": 2, "step": 20, "loss": 0.1, "val_f1": 1 / 3},
    ]
    header, first, second = history_csv(rows).splitlines()
    assert (header, first) == ("epoch,step,loss,val_f1", "1,10,0.30000000000000004,")
    assert float(second.split(",")[3]) == 1 / 3


@pytest.fixture
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def scalars(run: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run / EVENTS))
    events.Reload()
    return [(one.step, pytest.approx(one.value)) for one in events.Scalars(name)]


def test_tensorboard_gets_losses_rates_and_scores(accelerator: Accelerator, tmp_path: Path):
    with trackers(accelerator, tmp_path, ["tensorboard"], {}):
        hear(TrackScalars(accelerator, 4), training(range(20)))
    assert scalars(tmp_path, "train/loss") == [
        (4, 1.5),
        (8, 5.5),
        (12, 9.5),
        (16, 13.5),
        (20, 17.5),
    ]
    assert scalars(tmp_path, "train/lr")[0] == (4, 0.01)
    assert scalars(tmp_path, "val/accuracy") == [(10, 0.5), (20, 0.75)]
    assert scalars(tmp_path, "evaluated train/loss") == [(10, 0.6), (20, 0.6)]


def test_the_last_losses_are_logged_even_if_they_are_few(accelerator: Accelerator, tmp_path: Path):
    with trackers(accelerator, tmp_path, ["tensorboard"], {}):
        hear(TrackScalars(accelerator, 15), training(range(20)))
    assert scalars(tmp_path, "train/loss") == [(15, 7.0), (20, 17.0)]


def test_every_run_is_one_folder_of_events_under_its_own_name(
    accelerator: Accelerator, tmp_path: Path
):
    for name in ("first", "second"):
        with trackers(accelerator, tmp_path / name, ["tensorboard"], {"seed": 1}):
            hear(TrackScalars(accelerator, 1), training())
    folders = {file.parent.relative_to(tmp_path) for file in tmp_path.rglob("*") if file.is_file()}
    assert folders == {Path("first") / EVENTS, Path("second") / EVENTS}


def test_steps_after_the_resumed_one_are_not_there_twice(accelerator: Accelerator, tmp_path: Path):
    events = list(training(range(20)))
    checkpoint = next(place for place, event in enumerate(events) if event.step == 4) + 1
    first, second = TrackScalars(accelerator, 3), TrackScalars(accelerator, 3)
    with trackers(accelerator, tmp_path, ["tensorboard"], {}):
        hear(first, events[:checkpoint])
        second.load(first.state())
        hear(first, events[checkpoint : checkpoint + 20])  # and then it is killed
    with trackers(accelerator, tmp_path, ["tensorboard"], {}, first_step=4):
        hear(second, events[checkpoint:])
    steps = [3, 6, 9, 12, 15, 18, 20]
    assert scalars(tmp_path, "train/loss") == list(
        zip(steps, [1, 4, 7, 10, 13, 16, 18.5], strict=True)
    )
    assert scalars(tmp_path, "val/accuracy") == [(10, 0.5), (20, 0.75)]


def test_an_unknown_tracker_is_named():
    with pytest.raises(UserError, match="Unknown tracker 'neptune'"):
        check_trackers(["neptune"])


def test_a_tracker_without_its_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", lambda: ["tensorboard"])
    check_trackers(["tensorboard"])
    with pytest.raises(UserError, match=r"'comet_ml' needs comet-ml, .*Run: pip install comet-ml"):
        check_trackers(["tensorboard", "comet_ml"])


def test_after_the_training_no_tracker_is_left(accelerator: Accelerator, tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), trackers(accelerator, tmp_path, ["tensorboard"], {}):
        raise KeyboardInterrupt
    assert accelerator.trackers == []


class Service:
    """A tracker as accelerate has them, which remembers what it was given."""

    requires_logging_directory = False
    made: list[object] = []  # noqa: RUF012, one for all

    def __init__(self, project: str, **named: str) -> None:
        self.made.append((project, named))

    def start(self) -> None: ...

    def finish(self) -> None: ...

    def store_init_configuration(self, values: dict[str, object]) -> None:
        self.made.append(values)


def test_a_service_gets_the_runs_name_and_recipe(
    accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(__import__("accelerate").tracking.LOGGER_TYPE_TO_CLASS, "wandb", Service)
    with trackers(accelerator, tmp_path / "first", ["wandb"], {"training.lr": 0.1}):
        assert Service.made == [("tellapart", {"name": "first"}), {"training.lr": 0.1}]


def test_a_service_that_does_not_start_is_told_and_the_others_end(
    accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ended = []

    class First(Service):
        def finish(self) -> None:
            ended.append("first")

    class Second(Service):
        def start(self) -> None:
            raise ValueError("No API key.\nSee https://example.com")

    for name, kind in (("wandb", First), ("comet_ml", Second)):
        monkeypatch.setitem(__import__("accelerate").tracking.LOGGER_TYPE_TO_CLASS, name, kind)
    words = r"'comet_ml' does not start \(No API key. See https://example.com\)"
    with (
        pytest.raises(UserError, match=words),
        trackers(accelerator, tmp_path, ["wandb", "comet_ml"], {}),
    ):
        pytest.fail("it went on")
    assert ended == ["first"]
    assert accelerator.trackers == []


def test_a_kept_log_goes_before_what_was_said_since():
    first, second = Console(quiet=True), Console(quiet=True)
    first.say("begun")
    state = KeepLog(first).state()
    first.say("done again by the next")
    second.say("going on")
    KeepLog(second).load(state)
    assert [line.split(" ", 1)[1] for line in second.lines] == ["begun", "going on"]
