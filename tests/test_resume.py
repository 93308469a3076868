"""Resuming: whatever stopped a training, it goes on from its last checkpoint and ends as if nothing
had happened.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import tellapart
from helpers.commands import run_command, set_arguments
from helpers.images import write_image, write_tiny
from helpers.runs import (
    SHORT,
    StopAt,
    assert_same_end,
    copied,
    fingerprints_of,
    last_checkpoint,
    metrics_of,
    stopped,
    train,
)
from tellapart import Run, UserError, writing
from tellapart.errors import Interrupted, Refused
from tellapart.pipeline import ship
from tellapart.runs.lock import locked

STOPPED_AT = 8  # of 18 steps: in the second of three epochs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("resume") / "photos")


@pytest.fixture(scope="module")
def whole(data: Path) -> Run:
    """A training that nothing interrupted."""
    return train(data)


@pytest.fixture(scope="module")
def half(data: Path) -> Path:
    """The same, interrupted; never changed by a test."""
    return stopped(data, STOPPED_AT)


@pytest.fixture
def run(half: Path, data: Path, tmp_path: Path) -> Path:
    """A copy of it beside a copy of its data, so that both may be changed."""
    shutil.copytree(data, tmp_path / "photos")
    return copied(half, tmp_path / "runs")


# ── interrupted, and resumed ──


def test_an_interrupted_training_says_with_which_command_it_goes_on(data: Path, tmp_path: Path):
    with pytest.raises(Interrupted) as stop:
        train(data, tmp_path, callbacks=[StopAt(4)])
    (run,) = tmp_path.iterdir()
    assert stop.value.message == "Interrupted after step 4 of 18; the state is saved."
    assert stop.value.hint == f"Go on with: tellapart train --resume {run}"
    assert last_checkpoint(run).step == 4


def test_resumed_it_ends_with_the_same_bits(run: Path, whole: Run):
    resumed = train(None, resume=run)
    assert resumed.path == run
    assert_same_end(run, whole.path)
    assert f"Going on from step {STOPPED_AT}" in (run / "log.txt").read_text()


def test_its_events_read_as_if_nothing_had_happened(run: Path, whole: Run):
    train(None, resume=run)
    seen = []
    for path in (run, whole.path):
        events = EventAccumulator(str(path / "events"))
        events.Reload()
        seen.append(
            {
                tag: [(one.step, one.value) for one in events.Scalars(tag)]
                for tag in events.Tags()["scalars"]
            }
        )
    assert seen[0] == seen[1]


@pytest.mark.parametrize("steps", [[1], [6], [12, 13, 17], [18]], ids=str)
def test_wherever_and_however_often_it_is_stopped_the_end_is_the_same(
    data: Path, tmp_path: Path, whole: Run, steps: list[int]
):
    run = stopped(data, steps[0], tmp_path)
    for step in steps[1:]:
        with pytest.raises(Interrupted):
            train(None, resume=run, callbacks=[StopAt(step)])
        assert last_checkpoint(run).step == step
    train(None, resume=run)
    assert_same_end(run, whole.path)
    log = (run / "log.txt").read_text()  # of all sessions
    assert re.findall(r"Going on from step (\d+)", log) == [str(step) for step in steps]
    assert re.findall(r"^\S+ (\d)/3 ", log, re.MULTILINE) == ["1", "2", "3"]
    assert log.count("36 images read") == len(steps) + 1


def test_the_command_line_ends_with_four_and_goes_on_with_the_command_that_it_names(
    data: Path, tmp_path: Path, whole: Run, monkeypatch: pytest.MonkeyPatch
):
    honest = tellapart.train

    def interrupted(*arguments: object, **options: object) -> Run:
        return honest(*arguments, **options, callbacks=[StopAt(7, signal.SIGTERM)])

    runs = tmp_path / "my runs"  # a name that a shell would take apart
    with monkeypatch.context() as patch:
        patch.setattr(tellapart, "train", interrupted, raising=False)
        said = run_command(
            "train", data, "--recipe", "cifar10-lenet", "--out", runs, "-q", *set_arguments(SHORT)
        )
    (run,) = runs.iterdir()
    assert (said.code, said.out, said.err.count("\n")) == (4, "", 1)
    assert said.err.endswith(f"the state is saved. Go on with: tellapart train --resume '{run}'\n")
    again = run_command("train", "--resume", run, "--json")
    assert (again.code, json.loads(again.out)["test"]) == (0, whole.as_json()["test"])


@pytest.mark.parametrize(
    ("where", "step"), [("gradient.fit", None), ("gradient.ship", 18), ("record.write_pages", 18)]
)
def test_an_interruption_before_the_first_step_or_after_the_last_loses_nothing(
    data: Path,
    tmp_path: Path,
    whole: Run,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    step: int | None,
):
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"tellapart.pipeline.{where}", interrupted)
        with pytest.raises(Interrupted, match="what was learned is kept") as stop:
            train(data, tmp_path)
    (run,) = tmp_path.iterdir()
    assert stop.value.hint == f"Go on with: tellapart train --resume {run}"
    assert (last_checkpoint(run) is None) if step is None else (last_checkpoint(run).step == step)
    train(None, resume=run)
    assert_same_end(run, whole.path)


def test_a_run_that_was_killed_before_its_last_file_writes_the_rest_once(
    whole: Run, data: Path, tmp_path: Path
):
    shutil.copytree(data, tmp_path / "photos")
    run = copied(whole.path, tmp_path / "runs")
    for name in ("metrics.json", "report.html", "log.txt"):
        (run / name).unlink()
    (run / ".report.html.x.part").write_bytes(b"half")
    before = fingerprints_of(run / "checkpoints")
    train(None, resume=run)
    assert_same_end(run, whole.path)
    assert {name: before[name] for name in before if name != "lock"} == {
        name: seen for name, seen in fingerprints_of(run / "checkpoints").items() if name != "lock"
    }
    assert not list(run.glob(".*.part"))


def test_before_its_first_checkpoint_it_begins_at_the_beginning(run: Path, whole: Run):
    for file in (run / "checkpoints").glob("*.safetensors"):
        file.unlink()
    train(None, resume=run)
    assert (
        "There is no checkpoint yet: the training begins at the beginning"
        in (run / "log.txt").read_text()
    )
    assert_same_end(run, whole.path)


# ── a finished run ──


def test_a_finished_run_says_so_and_no_byte_of_it_changes(whole: Run):
    before = fingerprints_of(whole.path)
    said = run_command("train", "--resume", whole.path)
    assert said.code == 0
    assert f"{whole.path} is finished: nothing is left to do" in said.err
    assert fingerprints_of(whole.path) == before
    assert (
        json.loads(run_command("train", "--resume", whole.path, "--json", "-q").out)["test"]
        == whole.as_json()["test"]
    )


def test_a_finished_run_needs_its_data_no_more(whole: Run, tmp_path: Path):
    run = copied(whole.path, tmp_path / "runs")
    assert train(None, resume=run).metrics.accuracy == whole.metrics.accuracy


def test_a_resumed_run_warns_of_what_the_other_would_have_warned_of(data: Path, tmp_path: Path):
    settings = {**SHORT, "split.group_by": "name:^0([01])"}  # two groups for three splits
    whole = train(data, tmp_path / "whole", set=settings)
    resumed = train(None, resume=stopped(data, 2, tmp_path / "half", set=settings))
    assert resumed.warnings == whole.warnings
    assert any("the splits miss their wanted sizes" in text for text in whole.warnings)


# ── what does not go with it ──


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"seed": 0}, "seed would change"),
        ({"set": {"training.lr": 1}}, "set would change"),
        ({"name": "x", "strict": True}, "name and strict would change"),
    ],
)
def test_a_resumed_run_keeps_its_settings(run: Path, options: dict[str, object], says: str):
    with pytest.raises(UserError, match=says):
        tellapart.train(resume=run, quiet=True, **options)


def test_a_probe_run_has_nothing_to_resume(whole: Run, tmp_path: Path):
    run = copied(whole.path, tmp_path)
    (run / "run.json").unlink()  # only what is trained by steps has one
    said = run_command("train", "--resume", run, "-q")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert f"{run} has nothing to resume: a probe run is made whole or not at all." in said.err


def test_one_training_at_a_time_in_a_folder(run: Path):
    before = fingerprints_of(run)
    with locked(run):
        said = run_command("train", "--resume", run, "-q")
    assert said.code == 2
    assert f"{run} is being trained by process {os.getpid()}." in said.err
    assert {name: seen for name, seen in fingerprints_of(run).items() if "lock" not in name} == {
        name: seen for name, seen in before.items() if "lock" not in name
    }


# ── moved ──


def test_moved_with_its_data_it_goes_on(run: Path, tmp_path: Path, whole: Run):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "photos").rename(moved / "photos")
    run.parent.rename(moved / "runs")
    train(None, resume=moved / "runs" / run.name)
    assert_same_end(moved / "runs" / run.name, whole.path)


def test_renamed_and_with_its_data_given_anew_it_goes_on(run: Path, tmp_path: Path, whole: Run):
    (tmp_path / "photos").rename(tmp_path / "images")
    run = run.rename(tmp_path / "renamed")
    train(tmp_path / "images", resume=run)
    assert_same_end(run, whole.path)


def test_data_that_is_not_found_is_asked_for(run: Path, tmp_path: Path):
    (tmp_path / "photos").rename(tmp_path / "images")
    said = run_command("train", "--resume", run, "-q")
    assert said.code == 2
    assert f"The data of {run} is not where it was ({tmp_path / 'photos'})." in said.err
    assert f"Say where it is: tellapart train DATA --resume {run}" in said.err


# ── changed data ──


def added(photos: Path) -> None:
    write_image(photos / "sky" / "new.png", 4711, size=(32, 32))


def removed(photos: Path) -> None:
    (photos / "sky" / "000.png").unlink()


def changed(photos: Path) -> None:
    write_image(photos / "sky" / "000.png", 4711, size=(32, 32))


def renamed(photos: Path) -> None:
    (photos / "sky").rename(photos / "heaven")


CHANGES = {
    added: "1 image is new ('sky/new.png')",
    removed: "1 image is gone or cannot be read ('sky/000.png')",
    changed: "1 image has other content ('sky/000.png')",
    renamed: "class 'sky' is gone (12 images), class 'heaven' is new (12 images)",
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_data_is_refused_with_counts_and_nothing_changes(
    run: Path, tmp_path: Path, change: Callable[[Path], None]
):
    change(tmp_path / "photos")
    before = fingerprints_of(run)
    said = run_command("train", "--resume", run, "-q")
    assert (said.code, said.err.count("\n")) == (5, 1)
    assert CHANGES[change] in said.err
    assert {**fingerprints_of(run), "checkpoints/lock": ""} == {**before, "checkpoints/lock": ""}


@pytest.mark.parametrize("change", [added, removed, changed])
def test_accepted_changes_are_left_out(run: Path, tmp_path: Path, change: Callable[[Path], None]):
    change(tmp_path / "photos")
    resumed = train(None, resume=run, accept_changes=True)
    left = 36 - (change is not added)
    assert sum(metrics_of(run)["splits"]["counts"].values()) == left
    assert f"note: {CHANGES[change]}; the run goes on without" in (run / "log.txt").read_text()
    assert resumed.model.exists()


def test_other_weights_are_changed_data(data: Path, tmp_path: Path):
    files, table = sorted(data.glob("*/*.png")), tmp_path / "table.csv"

    def weigh(kind: str) -> None:
        rows = [f"{file},{file.parent.name},{1 + (file.parent.name == kind)}" for file in files]
        table.write_text("\n".join(["path,label,often", *rows]))

    weigh("sky")
    run = stopped(
        table, 2, set={**SHORT, "training.sampling": "weighted", "training.weight_column": "often"}
    )
    weigh("leaf")
    with pytest.raises(Refused, match="16 images have another weight"):
        train(None, resume=run)
    assert train(None, resume=run, accept_changes=True).statuses == {"ok": 36}
    assert "16 images have another weight" in (run / "log.txt").read_text()
    assert train(table, splits=run, set={**SHORT, "training.epochs": 1}).statuses == {"ok": 36}


def test_a_class_is_never_renamed(run: Path, tmp_path: Path):
    renamed(tmp_path / "photos")
    with pytest.raises(Refused, match="a label never changes its meaning"):
        train(None, resume=run, accept_changes=True)


def test_the_data_is_only_read(data: Path, tmp_path: Path):
    before = fingerprints_of(data)
    run = stopped(data, 8, tmp_path)
    train(None, resume=run)
    assert fingerprints_of(data) == before


def test_data_that_nobody_may_write_to_is_as_good(run: Path, tmp_path: Path, whole: Run):
    for path in [tmp_path / "photos", *(tmp_path / "photos").rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    train(None, resume=run)
    assert_same_end(run, whole.path)


# ── damaged checkpoints ──


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def halved(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES = {
    emptied: "is empty",
    halved: "was cut short or changed",
    flipped: "was cut short or changed",
}


def steps_of(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("step-*.safetensors"))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_as_good(
    run: Path, whole: Run, damage: Callable[[Path], None]
):
    damage(steps_of(run)[-1])
    said = run_command("train", "--resume", run)
    assert f"{steps_of(run)[0].parent}/step-{STOPPED_AT:012}." in said.err
    assert DAMAGES[damage] in said.err
    assert f"Going on from step {STOPPED_AT - 1}" in said.err
    assert_same_end(run, whole.path)


def test_a_checkpoint_of_another_run_is_named_and_passed_over(
    run: Path, whole: Run, data: Path, tmp_path: Path
):
    other = stopped(data, STOPPED_AT + 1, tmp_path / "others")
    shutil.copy(steps_of(other)[-1], run / "checkpoints")
    said = run_command("train", "--resume", run)
    assert "belongs to another run; it is passed over" in said.err
    assert f"Going on from step {STOPPED_AT}" in said.err
    assert_same_end(run, whole.path)


def test_the_newest_is_so_by_its_step_whatever_the_dates_say(run: Path, whole: Run):
    for age, file in enumerate(steps_of(run)):
        os.utime(file, (10**9 - age, 10**9 - age))
    train(None, resume=run)
    assert f"Going on from step {STOPPED_AT}" in (run / "log.txt").read_text()
    assert_same_end(run, whole.path)


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_all_are_damaged_it_never_begins_from_nothing(
    run: Path, damage: Callable[[Path], None]
):
    for file in steps_of(run):
        damage(file)
    said = run_command("train", "--resume", run, "-q")
    assert (said.code, said.err.count("\n")) == (5, 1)
    assert f"No checkpoint in {run / 'checkpoints'} can be used: " in said.err
    assert DAMAGES[damage] in said.err
    assert not (run / "model.onnx").exists()


# ── a full disk ──


@pytest.mark.parametrize("writes", [0, 1, 9])
def test_a_full_disk_keeps_the_last_checkpoint_and_says_what_is_missing(
    data: Path, tmp_path: Path, whole: Run, monkeypatch: pytest.MonkeyPatch, writes: int
):
    left = iter(range(writes))
    honest = os.replace

    def full(temporary: str, path: Path) -> None:
        if path.name.startswith("step-") and next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        honest(temporary, path)

    with monkeypatch.context() as patch:
        patch.setattr(writing.os, "replace", full)
        said = run_command(
            "train",
            data,
            "--recipe",
            "cifar10-lenet",
            "--out",
            tmp_path,
            "-q",
            *set_arguments(SHORT),
        )
    (run,) = tmp_path.iterdir()
    assert (said.code, said.err.count("\n")) == (5, 1)
    assert f"{run}/checkpoints/step-" in said.err
    assert "could not be written: it needs " in said.err
    assert " bytes and " in said.err
    assert not list(run.rglob("*.part"))
    train(None, resume=run)
    assert_same_end(run, whole.path)


def test_a_disk_without_room_for_the_checkpoints_is_refused_before_the_first_step(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tellapart.pipeline.gradient.most_bytes", lambda *_: 10**15)
    with pytest.raises(Refused, match=r"bytes free, and the run needs about 1,000,000,00"):
        train(data, tmp_path)
    (run,) = tmp_path.iterdir()
    assert not steps_of(run)


def test_a_disk_that_is_full_at_the_export_keeps_what_was_learned(
    data: Path, tmp_path: Path, whole: Run, monkeypatch: pytest.MonkeyPatch
):
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    with monkeypatch.context() as patch:
        patch.setattr(ship, "compose_model", full)
        said = run_command(
            "train",
            data,
            "--recipe",
            "cifar10-lenet",
            "--out",
            tmp_path,
            "-q",
            *set_arguments(SHORT),
        )
    (run,) = tmp_path.iterdir()
    assert said.code == 5
    assert last_checkpoint(run).step == 18
    train(None, resume=run)
    assert_same_end(run, whole.path)
