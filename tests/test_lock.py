"""One training at a time in a run folder."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tellapart import UserError
from tellapart.runs.lock import locked

HOLD = """
import sys, time
from pathlib import Path
from tellapart.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of tmp_path."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_training_is_refused_and_told_of_the_first(
    tmp_path: Path, holder: subprocess.Popen[str]
):
    with (
        pytest.raises(UserError, match=rf"is being trained by process {holder.pid}\. Wait until"),
        locked(tmp_path),
    ):
        pass


def test_the_lock_of_a_killed_training_does_not_block(
    tmp_path: Path, holder: subprocess.Popen[str]
):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(tmp_path):
        assert (tmp_path / "checkpoints" / "lock").is_file()


def test_it_is_free_again_after_the_work_and_after_a_failure(tmp_path: Path):
    with pytest.raises(RuntimeError, match="in the middle"), locked(tmp_path):
        raise RuntimeError("in the middle")
    for _ in range(2):
        with locked(tmp_path):
            pass
    assert (tmp_path / "checkpoints" / "lock").read_text() == ""


def test_in_one_process_too_there_is_one_training_at_a_time(tmp_path: Path):
    with (
        locked(tmp_path),
        pytest.raises(UserError, match="is being trained by process"),
        locked(tmp_path),
    ):
        pass


def test_a_folder_that_cannot_hold_a_lock_is_said(tmp_path: Path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(UserError, match="lock could not be written"), locked(tmp_path):
        pass
