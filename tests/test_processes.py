"""Several processes that train together do what one does: the same history, one run folder,
checkpoints for any number.

The processes are real, on the CPU, by gloo: what is shared between GPUs goes the same way, and was
not run here.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers.commands import set_arguments
from helpers.images import write_tiny
from helpers.runs import SHORT, history_of, last_checkpoint, metrics_of, stopped, train
from tellapart import Run

# The processes' gradients are sums of floats in another order than one process adds them up in. A
# step makes of that a difference in the last bits of float32 (1e-7), which grows over eighteen
# steps, but not to a hundred times as much.
TOLERANCE = 1e-5


def free_port() -> int:
    with socket.socket() as connection:
        connection.bind(("127.0.0.1", 0))
        return int(connection.getsockname()[1])


TWO_COMMANDS = """
import contextlib, json, sys
from tellapart.cli.main import main

for words in json.loads(sys.argv[1]):
    with contextlib.suppress(SystemExit):
        main(words)
"""


# Each finds another memory format the fastest, and another speed.
AT_ODDS = """
import os
from tellapart.pipeline import training_setup
from tellapart.training import runtime_choice

def seconds(module, shape, candidate, limits):
    rank = int(os.environ["RANK"])
    return 0.001 * (1 + 3 * rank) * (1 + (candidate.memory_format == ("contiguous", "channels_last")[rank]))

runtime_choice.step_seconds = seconds
training_setup.RuntimeMemory = lambda: None  # what one remembers, the other would take
training_setup.ENDING_SECONDS = 1.0
"""


# Two trainings. In the first only the helper's callback asks to stop; in the second each process
# writes down the statistics with which it judged val.
CALLBACKS = """
import os, sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
from helpers.runs import SHORT, train

def stop(event):
    return "stop" if event.step == 2 and os.environ["RANK"] == "1" else None

def keep(event):
    if event.name == "epoch_completed":
        torch.save(dict(event.network.named_buffers()), f"{sys.argv[3]}/{os.environ['RANK']}.pt")

data, out = Path(sys.argv[2]), Path(sys.argv[3])
train(data, out / "stopped", callbacks=[stop])
settings = {**SHORT, "training.epochs": 1, "training.trackers": ""}
train(data, out / "kept", recipe="cifar10-cnn", set=settings, callbacks=[keep])
"""


# The memory of the second process ends at its third step.
NO_MEMORY = """
import os
import torch
from tellapart.training.step import Stepper

honest, steps = Stepper._gradients, iter(range(99))

def gradients(self, *arguments):
    if os.environ["RANK"] == "1" and next(steps) == 2:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return honest(self, *arguments)

Stepper._gradients = gradients
"""


def together(
    script: Path, *commands: list[object], before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Commands in two processes, one after the other; starting the processes is what takes the
    time.
    """
    words = json.dumps([list(map(str, words)) for words in commands])
    return launched(script, before + TWO_COMMANDS, words)


def launched(script: Path, text: str, *words: object) -> subprocess.CompletedProcess[str]:
    """A script in two processes."""
    script.write_text(text)
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        str(free_port()),
    ]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    command = [*launch, str(script), *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=environment
    )


def numbers(run: Path) -> list[list[float]]:
    return [[float(cell) for cell in row.values()] for row in history_of(run)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("processes") / "photos")


@pytest.fixture(scope="module")
def alone(data: Path) -> Run:
    return train(data)


def test_two_processes_give_the_history_of_one_and_go_on_with_its_run(
    data: Path, tmp_path: Path, alone: Run
):
    shutil.copytree(data, tmp_path / "photos")
    half = stopped(tmp_path / "photos", 8, tmp_path / "halves")
    new = [
        "train",
        data,
        "--recipe",
        "cifar10-lenet",
        "--out",
        tmp_path / "runs",
        *set_arguments(SHORT),
    ]
    done = together(tmp_path / "commands.py", new, ["train", "--resume", half, "-q"])
    assert done.returncode == 0, done.stderr
    (whole,) = (tmp_path / "runs").iterdir()
    for run in (whole, half):
        assert {file.name for file in run.iterdir()} == {file.name for file in alone.path.iterdir()}
        assert metrics_of(run)["training"]["processes"] == 2
        assert history_of(run)[0].keys() == history_of(alone.path)[0].keys()
        for row, wanted in zip(numbers(run), numbers(alone.path), strict=True):
            assert row == pytest.approx(wanted, abs=TOLERANCE)
        ended, wanted = last_checkpoint(run).tensors, last_checkpoint(alone.path).tensors
        assert max(float((ended[name] - wanted[name]).abs().max()) for name in wanted) < TOLERANCE
    assert done.stdout.count("model     ") == 2  # of each command only one process prints
    assert done.stderr.count("36 images read") == 1


def test_processes_that_measure_otherwise_train_as_the_writer_does(data: Path, tmp_path: Path):
    settings = {**SHORT, "training.memory_format": "measured", "training.checkpoint_seconds": 60}
    settings |= {"training.epochs": 100_000, "training.schedule": "cosine"}
    new = [
        "train",
        data,
        "--recipe",
        "cifar10-lenet",
        "--out",
        tmp_path,
        "--budget",
        "12s",
        *set_arguments(settings),
    ]
    done = together(tmp_path / "commands.py", new, before=AT_ODDS)
    assert done.returncode == 0, done.stderr
    (run,) = (one for one in tmp_path.iterdir() if one.is_dir())
    facts, last = metrics_of(run)["training"], history_of(run)[-1]
    assert (facts["memory_format"], facts["ended_early"]) == ("channels_last", "the time was up")
    assert float(last["lr"]) < 0.1 * SHORT["training.lr"]


@pytest.fixture(scope="module")
def called_back(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two trainings with callbacks left."""
    folder = tmp_path_factory.mktemp("called-back")
    done = launched(folder / "script.py", CALLBACKS, Path(__file__).parent, data, folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_callback_of_one_process_stops_all_of_them(called_back: Path):
    (run,) = (called_back / "stopped").iterdir()
    assert metrics_of(run)["training"]["ended_early"] == "a callback stopped it"
    assert [int(row["step"]) for row in history_of(run)] == [6]


def test_processes_judge_val_with_the_same_statistics(called_back: Path):
    first, second = (torch.load(called_back / f"{rank}.pt") for rank in (0, 1))
    assert any(name.endswith("running_mean") for name in first)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_where_the_memory_of_a_single_process_ends_all_of_them_end(data: Path, tmp_path: Path):
    new = ["train", data, "--recipe", "cifar10-lenet", "--out", tmp_path, *set_arguments(SHORT)]
    script = NO_MEMORY + TWO_COMMANDS.replace(
        "contextlib.suppress(SystemExit)", "contextlib.nullcontext()"
    )
    done = launched(tmp_path / "ends.py", script, json.dumps([list(map(str, new))]))
    assert done.returncode != 0
    assert (
        "shared by 2 processes in 1 part, does not fit into the memory of process 2" in done.stderr
    )
