"""The run folder's content: what every training leaves behind, and what only some do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from helpers.images import write_image
from helpers.models import PREPROCESSING, small_card, small_head, small_network
from tellapart.catalog.scan import scan
from tellapart.catalog.table import text_column
from tellapart.decoders.rules import DecodeRules
from tellapart.evaluation.calibration import Calibration
from tellapart.evaluation.comparison import compare
from tellapart.evaluation.metrics import measure
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.threshold import Threshold
from tellapart.export.compose import compose_model
from tellapart.export.gate import Parity
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.pipeline.data import Data
from tellapart.pipeline.record import Trained, write_beginning, write_results, write_run
from tellapart.pipeline.request import Request
from tellapart.pipeline.services import Services, open_services
from tellapart.pipeline.ship import Shipped
from tellapart.probe.fit import Probe
from tellapart.recipe import Recipe
from tellapart.runs.folder import RunFolder
from tellapart.runs.saved_splits import read_splits
from tellapart.sources.source import read_source

BEGINNING = {"recipe.yaml", "environment.json", "catalog.parquet", "splits.parquet"}
RESULTS = {
    "model.onnx",
    "head.safetensors",
    "predictions-val.parquet",
    "predictions-test.parquet",
    "predictions-train.parquet",
    "metrics.json",
    "facts.json",
    "report.html",
    "report.json",
    "model-card.md",
    "log.txt",
}


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, object]:
    """What every training finds out, of three classes with three images each: train, val and
    test.
    """
    for place, name in enumerate("abc"):
        for seed in range(3):
            write_image(tmp_path / "data" / name / f"{seed}.png", 3 * place + seed)
    catalog = scan(read_source(tmp_path / "data"), rules=DecodeRules(max_pixels=10**6))
    test = Predictions(
        np.eye(3, dtype=np.float32), np.arange(3), tuple(catalog.paths[2::3]), catalog.classes
    )
    catalog = catalog.with_splits(text_column(["train", "val", "test"] * 3))
    shipped = Shipped(
        network=ExportedNetwork(
            small_network(), PREPROCESSING, "hand", "none needed", "0" * 64, {}
        ),
        model=compose_model(small_network(), PREPROCESSING, small_head(), small_card()),
        card=small_card(),
        layers=small_head().layers,
        calibration=Calibration(1.0, 3, Threshold(0.5, 0.95, False, 3, 0.0, 59), 0.5),
        parity=Parity(3, 0.0, 0.0, 0.0, 0),
        val=test,
        out_of_fold=test,
        test=test,
        metrics=measure(test, seed=0),
        changed=(),
    )
    data = Data(catalog, (), catalog.splits_digest)
    return {"recipe": Recipe(), "data": data, "shipped": shipped}


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with open_services(quiet=True) as services:
        yield services


def request_in(folder: Path) -> Request:
    return Request(recipe=Recipe(), source=folder / "data", name="data", runs=folder / "runs")


def metrics_of(run: Path) -> dict[str, object]:
    return json.loads((run / "metrics.json").read_text())


def test_a_probe_run_is_written_at_once(
    parts: dict[str, object], tmp_path: Path, services: Services
):
    probe = Probe(
        small_head().layers, 0.1, {0.1: 0.5, 1.0: 0.7}, np.array([0, 1, -1]), np.zeros((3, 2))
    )
    run = write_run(Trained(**parts, probe=probe), request_in(tmp_path), services)
    assert {file.name for file in run.iterdir()} == BEGINNING | RESULTS | {"data.json"}
    assert metrics_of(run)["probe"] == {
        "c": 0.1,
        "fold_losses": {"0.1": 0.5, "1": 0.7},
        "folds": 2,
        "out_of_fold": 2,
    }
    assert not {"training", "comparison"} & metrics_of(run).keys()


def test_a_gradient_run_is_written_in_two_parts(
    parts: dict[str, object], tmp_path: Path, services: Services
):
    (tmp_path / "run").mkdir()
    run = RunFolder(tmp_path / "run", tmp_path / "run")
    catalog, test = parts["data"].catalog, parts["shipped"].test
    write_beginning(run, parts["recipe"], catalog)
    assert {file.name for file in run.path.iterdir()} == BEGINNING
    assert (read_splits(run.path).of(catalog) == catalog.splits).all()
    facts, verdict = {"steps": 120, "network": "lenet"}, compare(test, test, shipped="probe")
    trained = Trained(**parts, training=facts, comparison=verdict)
    write_results(run, trained, "data", services)
    metrics = metrics_of(run.path)
    assert (metrics["training"], metrics["comparison"]) == (facts, verdict.as_json())
    assert "probe" not in metrics
    assert metrics["splits"]["hash"] == catalog.splits_digest
    assert "lenet" in (run.path / "report.html").read_text()


def test_the_results_may_be_written_a_second_time(
    parts: dict[str, object], tmp_path: Path, services: Services
):
    (tmp_path / "run").mkdir()
    run, trained = RunFolder(tmp_path / "run", tmp_path / "run"), Trained(**parts)
    write_beginning(run, trained.recipe, trained.data.catalog)
    for _ in range(2):
        write_results(run, trained, "data", services)
    assert {file.name for file in run.path.iterdir()} == BEGINNING | RESULTS


def test_the_environment_names_what_training_hangs_on(
    parts: dict[str, object], tmp_path: Path, services: Services
):
    run = write_run(Trained(**parts), request_in(tmp_path), services)
    assert {"torch", "torchvision", "timm", "accelerate"} <= json.loads(
        (run / "environment.json").read_text()
    )["packages"].keys()
