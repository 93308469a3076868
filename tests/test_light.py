"""Training without PyTorch: what `tellapart[train]` does, and what it says of the rest."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from helpers.commands import run_python
from helpers.images import write_classes

WITH_TORCH = ["torch", "torchvision", "timm", "accelerate", "huggingface_hub", "psutil"]
# A module that is None cannot be imported, and is not found where somebody looks for it. Several
# commands share a process, as starting it is what takes the time.
RUN = f"""
import json, sys

sys.modules.update(dict.fromkeys({WITH_TORCH}))
from tellapart.cli.main import main

codes = []
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as end:
        codes.append(end.code)
sys.exit(max(codes))
"""
SMALL = ["--set", "preprocessing.size_px=64", "--set", "head.folds=2"]


def without_torch(*words: object) -> subprocess.CompletedProcess[str]:
    """Runs the command where PyTorch and what comes with it cannot be imported."""
    return all_without_torch([words])


def all_without_torch(
    commands: Sequence[Sequence[object]],
) -> subprocess.CompletedProcess[str]:
    """Runs commands one after the other. The exit code is the highest of theirs."""
    texts = [list(map(str, words)) for words in commands]
    return run_python(RUN, json.dumps(texts), seconds=300)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("light") / "photos", 12)


TRAININGS = {
    "int8": ["train"],
    "fp32": ["train", "--set", "backbone.precision=fp32"],
    "folds": ["cv", "--folds", "2"],
    "ensemble": ["cv", "--folds", "2", "--ensemble"],
    "search": ["tune", "--trials", "1"],
    "preset": ["train", "--preset", "fast"],
    "lite1": [
        "train",
        "--set=backbone.name=tf_efficientnet_lite1",
        "--set=backbone.precision=int8",
    ],
}


@pytest.fixture(scope="module")
def trained(data: Path) -> Path:
    """A folder for each of `TRAININGS`, trained without PyTorch."""
    commands = [
        [verb, data, *SMALL, *options, "--out", data.parent / name, "-q"]
        for name, (verb, *options) in TRAININGS.items()
    ]
    done = all_without_torch(commands)
    assert (done.returncode, done.stderr) == (0, "")
    return data.parent


@pytest.fixture(scope="module")
def runs(trained: Path) -> Path:
    """A folder with one run, trained without PyTorch."""
    return trained / "int8"


def run_in(runs: Path) -> Path:
    return next(path for path in runs.iterdir() if path.is_dir())


def test_a_probe_is_trained_in_int8(runs: Path):
    record = json.loads((run_in(runs) / "metrics.json").read_text())
    assert record["precision"]["numbers"] == "int8"
    assert (run_in(runs) / "report.html").exists()


@pytest.mark.parametrize("name", TRAININGS)
def test_training_works_without_torch(name: str, trained: Path):
    assert list((trained / name).iterdir())


def test_another_packaged_network_is_made_int8(trained: Path):
    record = json.loads((run_in(trained / "lite1") / "metrics.json").read_text())
    assert 0 < record["precision"]["distance_from_fp32"] < 0.5


def test_pick_measures_the_packaged_networks(data: Path, tmp_path: Path):
    names = ["--backbones", "tf_efficientnet_lite0,tf_efficientnet_lite1"]
    done = without_torch("pick", data, *SMALL, *names, "--out", tmp_path / "p.html", "--json", "-q")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["candidates"]) == 2


def test_runs_are_compared(trained: Path, tmp_path: Path):
    both = [run_in(trained / name) for name in ("int8", "fp32")]
    done = without_torch("compare", *both, "--out", tmp_path / "c.html")
    assert (done.returncode, (tmp_path / "c.html").exists()) == (0, True)


def test_a_run_is_measured_on_other_images(runs: Path, tmp_path: Path):
    done = without_torch("evaluate", run_in(runs), write_classes(tmp_path, 2, first_seed=50))
    assert (done.returncode, "accuracy" in done.stdout) == (0, True)


NEED_TORCH = {
    "Training by gradient (method=finetune)": ["--recipe", "finetune"],
    "The network 'resnet18'": ["--set", "backbone.name=resnet18"],
    "--preset best": ["--preset", "best"],
}


def test_what_needs_torch_says_so_before_any_work(data: Path, tmp_path: Path):
    commands = [["train", data, *words, "--out", tmp_path] for words in NEED_TORCH.values()]
    done = all_without_torch(commands)
    assert done.returncode == 2
    assert done.stderr == "".join(
        f"error: {subject} needs PyTorch, which is not installed."
        " Run: pip install 'tellapart[torch]'\n"
        for subject in NEED_TORCH
    )
    assert not list(tmp_path.iterdir())


def test_a_learning_rate_is_not_looked_for_without_torch(data: Path):
    done = without_torch("find-rate", data)
    assert done.returncode == 2
    assert "pip install 'tellapart[torch]'" in done.stderr
