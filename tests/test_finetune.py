"""`finetune`: it begins where the probe stands, ships the better of the two by val, and says what
it was worth.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

import tellapart
from helpers.commands import run_command, set_arguments
from helpers.images import write_tiny
from helpers.runs import (
    SHORT,
    assert_same_end,
    history_of,
    metrics_of,
    stopped,
    torch_probabilities,
    train,
)
from tellapart import Run
from tellapart.models.classifier import Classifier
from tellapart.pipeline import gradient
from tellapart.runs.neighbours import Neighbours
from tellapart.runs.saved_predictions import read_predictions
from tellapart.training.phases import TrainingData

TINY_FINETUNE = {
    **SHORT,
    "backbone.name": "test_convnext",
    "preprocessing.size_px": 32,
    "head.folds": 2,
    "head.c_values": "0.1",
    "training.batch_size": 8,
    "training.epochs": 2,
    "training.warmup_steps": 0,
    "training.lr": 0.001,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("finetune") / "photos")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random ones, for the test network's own are on the hub; a probe tells these colours apart by
    any features.
    """
    file = tmp_path_factory.mktemp("weights") / "test_convnext.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        safetensors.torch.save_file(timm.create_model("test_convnext").state_dict(), file)
    return file


def finetune(data: Path, weights: Path, out: Path, **changes: Any) -> Run:
    settings = {**TINY_FINETUNE, "backbone.weights": str(weights), **changes}
    return train(data, out, recipe="finetune", set=settings)


def probe(data: Path, weights: Path, out: Path, **changes: Any) -> Run:
    """The same images, backbone and head, without fine-tuning."""
    kept = ("backbone", "preprocessing", "head", "split")
    settings = {
        key: value for key, value in {**TINY_FINETUNE, **changes}.items() if key.startswith(kept)
    }
    return train(data, out, recipe="probe", set={**settings, "backbone.weights": str(weights)})


@pytest.mark.parametrize("strength", ["1e-4", "1000"])
def test_it_begins_with_the_probes_answers_by_small_weights(
    data: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strength: str
):
    began = {}

    def watched(classifier: Classifier, data: TrainingData, *rest: object) -> object:
        ((images, _),) = data.val.batches([np.arange(len(data.val))])
        inputs = np.stack([data.preprocessing.normalised(image) for image in images])
        with torch.no_grad():
            began["logits"] = classifier.eval()(torch.from_numpy(inputs)).numpy()
        began.update(paths=data.val.paths, weight=classifier.layers().weight)
        return honest(classifier, data, *rest)

    honest = gradient.fit
    monkeypatch.setattr(gradient, "fit", watched)
    changes = {"head.c_values": strength}
    finetune(data, weights, tmp_path, **{"training.epochs": 1}, **changes)
    said = read_predictions(
        probe(data, weights, tmp_path, **changes).path / "predictions-val.parquet"
    )
    assert tuple(began["paths"]) == said.paths
    # Softened, so the logits are proportional; the file's resize is within a level of that of the
    # training.
    ours, theirs = (
        one - one.mean(axis=1, keepdims=True) for one in (began["logits"], np.log(said.probs))
    )
    share = (ours * theirs).sum() / (theirs * theirs).sum()
    assert share > 0
    assert np.abs(ours - share * theirs).max() < 0.05 * np.abs(ours).max()
    assert (ours.argmax(axis=1) == said.predicted).all()
    weight = began["weight"]
    assert np.sqrt(np.mean(weight**2)) <= 1.001 / np.sqrt(3 * weight.shape[1])


def test_where_it_learns_nothing_it_is_as_good_as_the_probe(
    data: Path, weights: Path, tmp_path: Path
):
    run = finetune(data, weights, tmp_path, **{"training.lr": 1e-9})
    comparison = metrics_of(run.path)["comparison"]
    assert comparison["first"] == comparison["second"]
    assert comparison["difference"]["value"] == 0
    assert run.metrics.accuracy == probe(data, weights, tmp_path).metrics.accuracy


def test_a_fine_tuned_network_that_is_better_is_shipped(data: Path, weights: Path, tmp_path: Path):
    # A probe that may learn next to nothing is easily beaten.
    run = finetune(
        data,
        weights,
        tmp_path,
        **{"head.c_values": "1e-7", "training.epochs": 4, "training.lr": 0.003},
    )
    comparison = metrics_of(run.path)["comparison"]
    assert comparison["shipped"] == "fine-tuned"
    assert comparison["second"] == metrics_of(run.path)["test"]["accuracy"]
    assert comparison["seconds"] > 0
    assert "probe" in metrics_of(run.path)
    assert metrics_of(run.path)["training"]["choice"]["standard_errors"] > 1
    # The index is of the network that ships, whose embeddings find the image itself.
    index, photo = Neighbours.read(run.path), data / "sky" / "000.png"
    assert index is not None and 0 < len(index) <= index.indexed.of
    near = index.nearest(run.predictor().embed(photo)[0], count=len(index))
    assert near[0].similarity == pytest.approx(1, abs=0.01)
    assert {found.path for found in near} == set(index.indexed.paths)


def test_a_fine_tuned_network_that_is_worse_is_not_shipped(
    data: Path, weights: Path, tmp_path: Path
):
    settings = {
        "training.lr": 1.0,
        "training.optimizer": "sgd",
        "training.weight_decay": 0,
        "training.epochs": 1,
    }
    run = finetune(data, weights, tmp_path, **settings)
    comparison = metrics_of(run.path)["comparison"]
    assert comparison["shipped"] == "probe"
    assert comparison["first"]["value"] > comparison["second"]["value"]
    # It learns from val too, as a probe does that is trained alone.
    alone = probe(data, weights, tmp_path, **{"split.val": 0})
    assert metrics_of(run.path)["test"] == metrics_of(alone.path)["test"]
    seen = [
        read_predictions(path / "predictions-test.parquet").probs for path in (run.path, alone.path)
    ]
    assert np.array_equal(*seen)
    answers = [
        one.predictor().predict(data / "sky" / "000.png").probabilities for one in (run, alone)
    ]
    assert answers[0] == answers[1]


def test_a_network_between_the_probe_and_the_end_is_shipped_and_kept(
    data: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tellapart.pipeline.fine_tuned.SHARES", (0.5,))
    run = finetune(
        data,
        weights,
        tmp_path,
        **{"head.c_values": "1e-7", "training.epochs": 4, "training.lr": 0.003},
    )
    training = metrics_of(run.path)["training"]
    assert metrics_of(run.path)["comparison"]["shipped"] == "fine-tuned"
    assert training["share"] == 0.5
    assert (run.path / "checkpoints" / training["network"]).is_file()
    image = data / "sky" / "000.png"
    wanted = run.predictor().probabilities(image)[0]
    np.testing.assert_allclose(torch_probabilities(run, image), wanted, atol=0.01)


def test_what_it_was_worth_is_printed(data: Path, weights: Path, tmp_path: Path):
    settings = {**TINY_FINETUNE, "backbone.weights": str(weights), "training.epochs": 1}
    words = [
        "train",
        data,
        "--recipe",
        "finetune",
        "--out",
        tmp_path,
        "-q",
        *set_arguments(settings),
    ]
    said = run_command(*words)
    assert said.code == 0
    share = r"[\d.]+ % \([\d.]+ to [\d.]+\)"
    assert re.search(
        rf"On the same \d+ test images: probe {share}, fine-tuned {share}; difference .* points \(.*"
        r" to .*\)\.",
        said.out,
    )
    assert re.search(r"^\d+ s spent; shipped: (probe|fine-tuned)\.$", said.out, re.MULTILINE)
    (run,) = tmp_path.iterdir()
    assert "fine-tuned" in (run / "report.html").read_text("utf-8")


def test_an_interrupted_one_ends_as_if_nothing_had_happened(
    data: Path, weights: Path, tmp_path: Path
):
    settings = {**TINY_FINETUNE, "backbone.weights": str(weights)}
    whole = finetune(data, weights, tmp_path / "whole")
    run = stopped(data, 4, tmp_path / "half", recipe="finetune", set=settings)
    resumed = train(None, resume=run)
    assert_same_end(run, whole.path)
    assert (
        resumed.comparison_lines[:-1] == whole.comparison_lines[:-1]
    )  # the last one says how long it took
    assert metrics_of(run)["probe"] == metrics_of(whole.path)["probe"]


def test_without_val_the_fine_tuned_network_is_shipped(data: Path, weights: Path, tmp_path: Path):
    run = finetune(data, weights, tmp_path, **{"split.val": 0, "training.epochs": 1})
    assert metrics_of(run.path)["comparison"]["shipped"] == "fine-tuned"
    assert "val_loss" not in history_of(run.path)[0]
    assert tellapart.load(run.path).card.calibration_count == 0
    assert (
        "no val to choose by: the fine-tuned network is shipped"
        in (run.path / "log.txt").read_text()
    )
