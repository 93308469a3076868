"""Training without PyTorch: what `tellapart[train]` does, and what it says of the rest."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from helpers.commands import run_python
from helpers.images import write_classes

WITH_TORCH = ["torch", "torchvision", "timm", "accelerate", "huggingface_hub", "psutil"]
# A module that is None cannot be imported, and is not found where somebody looks for it.
RUN = f"""
import sys

sys.modules.update(dict.fromkeys({WITH_TORCH}))
from tellapart.cli.main import main

main(sys.argv[1:])
"""
SMALL = ["--set", "preprocessing.size_px=64", "--set", "head.folds=2"]


def without_torch(*words: object) -> subprocess.CompletedProcess[str]:
    """Runs the command where PyTorch and what comes with it cannot be imported."""
    return run_python(RUN, *words, seconds=300)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("light") / "photos", 12)


@pytest.fixture(scope="module")
def runs(data: Path) -> Path:
    """A folder with one run, trained without PyTorch."""
    done = without_torch("train", data, *SMALL, "--out", data.parent / "runs", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    return data.parent / "runs"


def run_in(runs: Path) -> Path:
    return next(path for path in runs.iterdir() if path.is_dir())


def test_a_probe_is_trained_in_int8(runs: Path):
    record = json.loads((run_in(runs) / "metrics.json").read_text())
    assert record["precision"]["numbers"] == "int8"
    assert (run_in(runs) / "report.html").exists()


def test_a_probe_is_trained_in_fp32_from_the_package(data: Path, tmp_path: Path):
    exact = ["--set", "backbone.precision=fp32"]
    done = without_torch("train", data, *SMALL, *exact, "--out", tmp_path, "-q")
    assert (done.returncode, done.stderr) == (0, "")


def test_another_packaged_network_is_made_int8(data: Path, tmp_path: Path):
    other = ["--set", "backbone.name=tf_efficientnet_lite1", "--set", "backbone.precision=int8"]
    done = without_torch("train", data, *SMALL, *other, "--out", tmp_path, "-q")
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads((run_in(tmp_path) / "metrics.json").read_text())
    assert 0 < record["precision"]["distance_from_fp32"] < 0.5


@pytest.mark.parametrize(
    "words",
    [
        ("cv", "--folds", "2"),
        ("cv", "--folds", "2", "--ensemble"),
        ("tune", "--trials", "1"),
        ("train", "--preset", "fast"),
    ],
    ids=" ".join,
)
def test_other_verbs_train_without_torch(words: tuple[str, ...], data: Path, tmp_path: Path):
    verb, *options = words
    done = without_torch(verb, data, *SMALL, *options, "--out", tmp_path / "runs", "-q")
    assert (done.returncode, done.stderr) == (0, "")


def test_pick_measures_the_packaged_networks(data: Path, tmp_path: Path):
    names = ["--backbones", "tf_efficientnet_lite0,tf_efficientnet_lite1"]
    done = without_torch("pick", data, *SMALL, *names, "--out", tmp_path / "p.html", "--json", "-q")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["candidates"]) == 2


def test_runs_are_compared(runs: Path, data: Path, tmp_path: Path):
    without_torch("train", data, *SMALL, "--splits", run_in(runs), "--out", tmp_path, "-q")
    done = without_torch("compare", run_in(runs), run_in(tmp_path), "--out", tmp_path / "c.html")
    assert (done.returncode, (tmp_path / "c.html").exists()) == (0, True)


def test_a_run_is_measured_on_other_images(runs: Path, tmp_path: Path):
    done = without_torch("evaluate", run_in(runs), write_classes(tmp_path, 2, first_seed=50))
    assert (done.returncode, "accuracy" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("words", "subject"),
    [
        (("--recipe", "finetune"), "Training by gradient (method=finetune)"),
        (("--set", "backbone.name=resnet18"), "The network 'resnet18'"),
        (("--preset", "best"), "--preset best"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_needs_torch_says_so_before_any_work(
    words: tuple[str, ...], subject: str, data: Path, tmp_path: Path
):
    done = without_torch("train", data, *words, "--out", tmp_path / "runs")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {subject} needs PyTorch, which is not installed."
        " Run: pip install 'tellapart[torch]'\n"
    )
    assert not (tmp_path / "runs").exists()


def test_a_learning_rate_is_not_looked_for_without_torch(data: Path):
    done = without_torch("find-rate", data)
    assert done.returncode == 2
    assert "pip install 'tellapart[torch]'" in done.stderr
