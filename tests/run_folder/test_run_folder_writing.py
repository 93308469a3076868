"""A run folder is written whole, or not at all, and can be gone on with."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.images import write_classes
from helpers.probes import SMALL, train_probe
from tellapart import Run, UserError
from tellapart.cli.main import main
from tellapart.errors import Refused
from tellapart.pipeline import run_report
from tellapart.runs.folder import RunFolder, new_run, reopen_run, start_run
from tellapart.runs.identity import new_identity
from tellapart.writing import write_whole

# ── whole or not at all ──


def test_two_runs_of_one_second_have_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.strftime", lambda *format: "20260101-000000")
    paths = []
    for _ in range(2):
        with new_run(tmp_path, "x") as folder:
            paths.append(folder.path)
    assert [path.name for path in paths] == ["20260101-000000-x", "20260101-000000-x-2"]


def write_and_fail(runs: Path) -> None:
    with new_run(runs, "x") as folder:
        folder.write("log.txt", "half")
        raise RuntimeError("in the middle")


def test_a_run_that_fails_leaves_nothing(tmp_path: Path):
    with pytest.raises(RuntimeError, match="in the middle"):
        write_and_fail(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_shows_its_name_only_when_it_is_whole(tmp_path: Path):
    with new_run(tmp_path, "x") as folder:
        folder.write("log.txt", "whole")
        assert not folder.path.exists()
    assert (folder.path / "log.txt").read_text() == "whole"


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path: Path):
    with (
        pytest.raises(Refused, match=r"bytes free, and the run needs about [\d,]+\. Make room"),
        new_run(tmp_path, "x", needs_bytes=10**18),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_to_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="could not be written"), new_run(tmp_path / "file", "x"):
        pass


def test_a_file_that_cannot_be_replaced_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    write_whole(tmp_path / "x.json", "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Refused, match=r"it needs 3 bytes and [\d,]+ are free"):
        write_whole(tmp_path / "x.json", "new")
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]
    assert (tmp_path / "x.json").read_text() == "old"


def test_numbers_that_are_not_finite_are_our_mistake_and_never_written(tmp_path: Path):
    with pytest.raises(ValueError, match="not JSON compliant"), new_run(tmp_path, "x") as folder:
        folder.write_json("metrics.json", {"accuracy": float("nan")})
    assert list(tmp_path.iterdir()) == []


def begin(run: RunFolder) -> None:
    assert not run.path.exists()
    run.write_json(
        "run.json",
        new_identity(run.path, name="x", data=run.path.parent / "photos", options={}).as_json(),
    )


# ── there from its beginning ──


def test_a_run_that_can_be_resumed_is_there_from_its_beginning(tmp_path: Path):
    run = start_run(tmp_path / "runs", "x", begin)
    assert [path.name for path in run.path.iterdir()] == ["run.json"]
    run.write("history.csv", "epoch")
    again = reopen_run(run.path)
    assert again.has("history.csv")
    assert again.read_json("run.json") == run.read_json("run.json")


def test_a_run_that_cannot_begin_leaves_nothing(tmp_path: Path):
    def half(run: RunFolder) -> None:
        begin(run)
        raise Refused("in the middle")

    with pytest.raises(Refused, match="in the middle"):
        start_run(tmp_path, "x", half)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_finished_when_its_log_is_written(tmp_path: Path):
    run = start_run(tmp_path, "x", begin)
    run.write_json("metrics.json", {})
    assert not run.finished
    run.write("log.txt", "done")
    assert run.finished


def test_a_probe_run_has_nothing_to_resume(run: Run):
    with pytest.raises(UserError, match="has nothing to resume: a probe run is made whole"):
        reopen_run(run.path)


@pytest.mark.parametrize("where", ["nowhere", "photos", ".20260101-000000-x.part"])
def test_what_is_no_run_folder_is_not_resumed(photos: Path, where: str):
    begin(RunFolder(photos.parent / "x", photos.parent / ".20260101-000000-x.part"))
    with pytest.raises(
        UserError, match=rf"{where} is no run folder\. Give the folder of the run itself"
    ):
        reopen_run(photos.parent / where)


@pytest.mark.parametrize("content", [None, b"", b"[1]", b"\xff"])
def test_a_damaged_file_of_a_run_is_said(tmp_path: Path, content: bytes | None):
    run = start_run(tmp_path, "x", begin)
    (run.path / "run.json").unlink()
    if content is not None:
        (run.path / "run.json").write_bytes(content)
    with pytest.raises(Refused, match=r"run\.json is gone or damaged\. Put a good copy there"):
        run.read_json("run.json")


def test_what_killed_processes_left_is_cleared(tmp_path: Path):
    run = start_run(tmp_path, "x", begin)
    (run.path / ".history.csv.k2j3_x8a.part").write_text("half")
    run.clear_parts()
    assert [path.name for path in run.path.iterdir()] == ["run.json"]


STOPPED = """
import os, signal, sys
from tellapart.cli.main import main
from tellapart.probe.embeddings import FeatureExtractor

visit, seen = FeatureExtractor.visit, []
def visit_and_stop(self, *arguments):
    visit(self, *arguments)
    seen.append(1)
    if len(seen) == 20:
        os.kill(os.getpid(), int(sys.argv[1]))
FeatureExtractor.visit = visit_and_stop
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started without it
main(sys.argv[2:])
"""


KILLED = """
import os, signal, sys
from tellapart.cli.main import main
from tellapart.runs.folder import RunFolder

write = RunFolder.write
def write_and_die(self, name, content):
    write(self, name, content)
    if name == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
RunFolder.write = write_and_die
main(sys.argv[2:])
"""


def train_words(data: Path, out: Path) -> list[str]:
    changes = [f"--set={key}={_text(value)}" for key, value in SMALL.items()]
    return ["train", str(data), "--out", str(out), "-q", *changes]


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


# ── stopped in the middle ──


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=lambda stop: stop.name)
def test_a_stopped_training_leaves_nothing_half_written_and_goes_on_next_time(
    run: Run, tmp_path: Path, stop: signal.Signals
):
    data = write_classes(tmp_path / "photos", 12, first_seed=1000 * stop)
    words = [sys.executable, "-c", STOPPED, str(int(stop)), *train_words(data, tmp_path / "runs")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1].startswith("error: Interrupted; nothing is half-written.")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("runs/*"))
    log = (train_probe(data, tmp_path / "runs").path / "log.txt").read_text()
    assert int(re.search(r"computed for (\d+)", log)[1]) <= 36 - 20


@pytest.mark.parametrize("after", ["model.onnx", "metrics.json"])
def test_a_killed_training_leaves_no_run_under_a_final_name(
    run: Run, data: Path, tmp_path: Path, after: str
):
    words = [sys.executable, "-c", KILLED, after, *train_words(data, tmp_path / "runs")]
    done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [
        path.name for path in (tmp_path / "runs").iterdir() if not path.name.startswith(".")
    ] == []
    assert train_probe(data, tmp_path / "runs").model.exists()


def test_an_interruption_while_the_report_is_drawn_leaves_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(*arguments: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_report, "render", interrupted)
    with pytest.raises(SystemExit) as end:
        main(train_words(data, tmp_path / "runs"))
    assert end.value.code == 4
    assert "Traceback" not in capsys.readouterr().err
    assert list((tmp_path / "runs").iterdir()) == []
