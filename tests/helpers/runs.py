"""Tiny trainings by gradient, a second each: images of 32 pixels, small networks, one thread."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tellapart
from tellapart import Run
from tellapart.decoding import decode_file
from tellapart.errors import Interrupted
from tellapart.progress import Console
from tellapart.training.checkpoints import Checkpoint, Checkpoints
from tellapart.training.events import Event

TINY = {"training.threads": 1, "training.memory_format": "contiguous", "training.trackers": ""}
# 24 images in train, so six steps an epoch; a checkpoint after every step.
SHORT = {
    **TINY,
    "split.val": 0.2,
    "training.epochs": 3,
    "training.lr": 0.01,
    "training.checkpoint_seconds": 0,
    "training.trackers": "tensorboard",
}


def train(
    data: Path | None, out: Path | None = None, *, set: Mapping[str, object] = SHORT, **options: Any
) -> Run:
    """By gradient, `cifar10-lenet` unless the options say otherwise; runs lie beside the data."""
    options = {"recipe": "cifar10-lenet", "quiet": True} | options
    if "resume" not in options:
        options |= {"set": set, "out": out or data.parent / "runs"}
    return tellapart.train(data, **options)


class StopAt:
    """A callback that interrupts the training, as Ctrl-C does, once a step is done."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGINT) -> None:
        self.step, self.number = step, number

    def __call__(self, event: Event) -> None:
        if event.name == "iteration_completed" and event.step == self.step:
            signal.raise_signal(self.number)


def stopped(data: Path, step: int, out: Path | None = None, **options: Any) -> Path:
    """The folder of a training that was interrupted after a step."""
    runs = out or data.parent / "runs"
    before = set(runs.glob("*"))
    with contextlib.suppress(Interrupted):
        train(data, out, callbacks=[StopAt(step)], **options)
    (run,) = set(runs.glob("*")) - before
    return run


def copied(run: Path, to: Path) -> Path:
    """A copy of a run at another place, as deep in the folders and with the same data beside it."""
    return shutil.copytree(run, to / run.name)


def fingerprints_of(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Relative path → mode, time of the last change and digest of every file."""
    return {
        str(file.relative_to(folder)): (
            file.stat().st_mode,
            file.stat().st_mtime_ns,
            hashlib.sha256(file.read_bytes()).hexdigest(),
        )
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def last_checkpoint(run: Path) -> Checkpoint:
    """The newest one that can be used."""
    identity = json.loads((run / "run.json").read_text())["id"]
    return Checkpoints(run / "checkpoints", identity, Console(quiet=True)).newest()


def torch_probabilities(run: Run, image: Path) -> np.ndarray:
    """The answer of the network in torch."""
    preprocessing = run.predictor().card.preprocessing
    tensor = preprocessing.normalised(preprocessing.resized(decode_file(image).pixels))
    logits = run.torch_module()(torch.from_numpy(tensor)[None])
    return logits.softmax(1).numpy()[0]


def metrics_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text())


def history_of(run: Path) -> list[dict[str, str]]:
    """The rows of history.csv, without the seconds."""
    header, *rows = (line.split(",") for line in (run / "history.csv").read_text().splitlines())
    return [
        {name: cell for name, cell in zip(header, row, strict=True) if name != "seconds"}
        for row in rows
    ]


def assert_same_end(run: Path, whole: Path) -> None:
    """Every tensor of network, optimizer and best network, the history but for its seconds, and the
    test's numbers.
    """
    ended, wanted = last_checkpoint(run), last_checkpoint(whole)
    assert ended.step == wanted.step
    assert ended.tensors.keys() == wanted.tensors.keys()
    assert all(torch.equal(ended.tensors[name], wanted.tensors[name]) for name in wanted.tensors)
    assert history_of(run) == history_of(whole)
    assert metrics_of(run)["test"] == metrics_of(whole)["test"]
    assert (run / "model.onnx").read_bytes() == (whole / "model.onnx").read_bytes()
