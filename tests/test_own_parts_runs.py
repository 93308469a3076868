"""Runs with parts of the user's own, from end to end: trained, gated, resumed and opened again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import v2

from helpers.commands import run_command
from helpers.images import write_tiny
from helpers.runs import SHORT, TINY, assert_same_end, metrics_of, stopped, train
from tellapart import Network, Run, UserError


def body() -> nn.Module:
    """Feature maps (N, 8, 8, 8) of images of 32 pixels."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()),
    )


def squared(logits: Tensor, targets: Tensor) -> Tensor:
    wanted = functional.one_hot(targets, logits.shape[1])
    return (logits.softmax(dim=1) - wanted).square().sum(dim=1)


MINE = Network(body, width=8, size_px=32)
NETWORK = {"backbone.name": "mine", "backbone.pretrained": "true", "preprocessing.size_px": "none"}
PARTS: dict[str, Any] = {
    "networks": {"mine": MINE},
    "losses": {"squared": squared},
    "optimizers": {"rms": torch.optim.RMSprop},
    "schedules": {"falling": lambda step, steps, steps_per_epoch: 1 - step / steps},
    "transforms": {"jitter": v2.ColorJitter(0.2, 0.2)},
    "metrics": {"certainty": lambda predictions: float(predictions.probs.max(axis=1).mean())},
}
CHOSEN = {
    **SHORT,
    **NETWORK,
    "training.loss": "squared",
    "training.optimizer": "rms",
    "training.momentum": "none",
    "training.schedule": "falling",
    "training.monitor": "certainty",
    "augmentation.transforms": "jitter",
    "training.trackers": "",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("parts") / "photos")


@pytest.fixture(scope="module")
def whole(data: Path) -> Run:
    return train(data, set=CHOSEN, **PARTS)


def test_a_run_of_ones_own_parts_is_finished_and_its_model_file_passed_the_gate(whole: Run):
    assert whole.model.is_file()
    assert "val_certainty" in (whole.path / "history.csv").read_text()
    assert metrics_of(whole.path)["training"]["weights"] == "the user's network mine"


def test_it_records_the_names_of_its_parts(whole: Run):
    recorded = json.loads((whole.path / "run.json").read_text())["options"]["extensions"]
    assert recorded == {kind: list(parts) for kind, parts in PARTS.items()}


def test_it_goes_on_exactly_with_the_same_parts(data: Path, tmp_path: Path, whole: Run):
    half = stopped(data, 8, tmp_path / "halves", set=CHOSEN, **PARTS)
    run = train(data, resume=half, **PARTS)
    assert_same_end(run.path, whole.path)


def test_without_its_parts_it_says_which_it_needs(data: Path, tmp_path: Path):
    half = stopped(data, 8, tmp_path / "halves", set=CHOSEN, **PARTS)
    with pytest.raises(UserError, match=r"This run uses losses={'squared': …}\. Pass it to train"):
        train(data, resume=half, **{**PARTS, "losses": {}})
    said = run_command("train", "--resume", half)
    assert said.code == 2
    assert "networks={'mine': …} and losses={'squared': …}" in said.err
    assert "the command line cannot" in said.err


def test_its_network_comes_back_in_torch(whole: Run):
    module = whole.torch_module(networks={"mine": MINE})
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    with pytest.raises(UserError, match=r"This run uses networks=.'mine': …"):
        whole.torch_module()


@pytest.mark.parametrize("seed", [0, 3])
def test_a_probe_stands_on_a_network_of_ones_own(data: Path, tmp_path: Path, seed: int):
    changes = {"backbone.name": "mine", "split.val": 0.2}
    run = train(data, tmp_path, recipe="probe", set=changes, seed=seed, networks={"mine": MINE})
    assert run.predictor().predict(next(data.rglob("*.png"))).answer
    assert run.torch_module(networks={"mine": MINE})(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


def test_fine_tuning_begins_at_the_probe_on_the_same_network(data: Path, tmp_path: Path):
    changes = {**TINY, "backbone.name": "mine", "split.val": 0.2, "training.epochs": 1}
    changes |= {"training.lr": 1e-9, "training.label_smoothing": 0, "freeze.upto": "body.0"}
    run = train(data, tmp_path, recipe="finetune", set=changes, seed=3, networks={"mine": MINE})
    first = run.comparison_lines[0]
    assert "probe 100.0 %" in first
    assert "fine-tuned 100.0 %" in first


def test_a_part_that_no_key_names_is_said(data: Path, tmp_path: Path):
    changes = {**SHORT, "training.epochs": 1, "training.trackers": ""}
    run = train(data, tmp_path, set=changes, losses={"squared": squared})
    log = (run.path / "log.txt").read_text()
    assert "losses={'squared': …} is not used, since training.loss is cross_entropy" in log
