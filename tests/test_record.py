"""The run folder's content: what every training leaves behind, and what only some do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.images import write_image
from helpers.models import PREPROCESSING, small_card, small_head, small_network
from tellapart.catalog.scan import scan
from tellapart.catalog.sources import read_source
from tellapart.catalog.table import text_column
from tellapart.evaluation.calibration import Calibration
from tellapart.evaluation.comparison import compare
from tellapart.evaluation.metrics import measure
from tellapart.evaluation.predictions import Predictions
from tellapart.export.compose import compose_model
from tellapart.export.gate import Parity
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.pipeline.record import Trained, write_beginning, write_results, write_run
from tellapart.probe.fit import Probe
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.runs.folder import RunFolder
from tellapart.runs.saved_splits import read_splits

BEGINNING = {"recipe.yaml", "environment.json", "catalog.parquet", "splits.parquet"}
RESULTS = {
    "model.onnx",
    "predictions-val.parquet",
    "predictions-test.parquet",
    "metrics.json",
    "report.html",
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
    catalog = scan(read_source(tmp_path / "data"), max_pixels=10**6)
    test = Predictions(
        np.eye(3, dtype=np.float32), np.arange(3), tuple(catalog.paths[2::3]), catalog.classes
    )
    return {
        "recipe": Recipe(),
        "catalog": catalog,
        "splits": text_column(["train", "val", "test"] * 3),
        "findings": (),
        "network": ExportedNetwork(
            small_network(), PREPROCESSING, "hand", "none needed", "0" * 64, {}
        ),
        "calibration": Calibration(1.0, 3, 0.5, 0.5),
        "parity": Parity(3, 0.0, 0.0, 0.0, 0),
        "val": test,
        "test": test,
        "metrics": measure(test, seed=0),
        "model": compose_model(small_network(), PREPROCESSING, small_head(), small_card()),
    }


def metrics_of(run: Path) -> dict[str, object]:
    return json.loads((run / "metrics.json").read_text())


def seconds() -> dict[str, float]:
    return {"all": 1.0}


def test_a_probe_run_is_written_at_once(parts: dict[str, object], tmp_path: Path):
    probe = Probe(small_head().layers, 0.1, {0.1: 0.5, 1.0: 0.7})
    run = write_run(
        Trained(**parts, probe=probe), tmp_path / "runs", "data", Console(quiet=True), seconds
    )
    assert {file.name for file in run.iterdir()} == BEGINNING | RESULTS
    assert metrics_of(run)["probe"] == {"c": 0.1, "fold_losses": {"0.1": 0.5, "1": 0.7}}
    assert not {"training", "comparison"} & metrics_of(run).keys()


def test_a_gradient_run_is_written_in_two_parts(parts: dict[str, object], tmp_path: Path):
    (tmp_path / "run").mkdir()
    run = RunFolder(tmp_path / "run", tmp_path / "run")
    digest = write_beginning(run, parts["recipe"], parts["catalog"], parts["splits"])
    assert {file.name for file in run.path.iterdir()} == BEGINNING
    assert (read_splits(run.path).of(parts["catalog"]) == parts["splits"]).all()
    facts, verdict = (
        {"steps": 120, "network": "lenet"},
        compare(parts["test"], parts["test"], shipped="probe"),
    )
    write_results(
        run,
        Trained(**parts, training=facts, comparison=verdict),
        "data",
        digest,
        Console(quiet=True),
        seconds,
    )
    metrics = metrics_of(run.path)
    assert (metrics["training"], metrics["comparison"]) == (facts, verdict.as_json())
    assert "probe" not in metrics
    assert metrics["splits"]["hash"] == digest
    assert "lenet" in (run.path / "report.html").read_text()


def test_the_results_may_be_written_a_second_time(parts: dict[str, object], tmp_path: Path):
    (tmp_path / "run").mkdir()
    run, trained = RunFolder(tmp_path / "run", tmp_path / "run"), Trained(**parts)
    digest = write_beginning(run, trained.recipe, trained.catalog, trained.splits)
    for _ in range(2):
        write_results(run, trained, "data", digest, Console(quiet=True), seconds)
    assert {file.name for file in run.path.iterdir()} == BEGINNING | RESULTS


def test_the_environment_names_what_training_hangs_on(parts: dict[str, object], tmp_path: Path):
    run = write_run(Trained(**parts), tmp_path / "runs", "data", Console(quiet=True), seconds)
    assert {"torch", "torchvision", "timm", "accelerate"} <= json.loads(
        (run / "environment.json").read_text()
    )["packages"].keys()
