"""The run folder: all of a run, to be moved, checked and used again."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import polars
import pytest
import yaml

import tellapart
from helpers.probes import SMALL, splits_of, train_probe
from helpers.run_folders import text_of
from tellapart import Run
from tellapart.evaluation.abstention import selective
from tellapart.evaluation.metrics import measure
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.rule import AnswerRule
from tellapart.recipe import recipe_from

FILES = {
    "catalog.parquet",
    "environment.json",
    "log.txt",
    "metrics.json",
    "neighbours.npz",
    "model.onnx",
    "head.safetensors",
    "predictions-test.parquet",
    "predictions-train.parquet",
    "predictions-val.parquet",
    "recipe.yaml",
    "report.html",
    "splits.parquet",
}


def predictions_of(run: Run, split: str) -> Predictions:
    """The predictions of a split as the run folder has them, read as a stranger would."""
    rows = polars.read_parquet(run.path / f"predictions-{split}.parquet")
    classes = tuple(name.removeprefix("p:") for name in rows.columns if name.startswith("p:"))
    return Predictions(
        probs=rows.select(f"p:{name}" for name in classes).to_numpy(),
        labels=np.array([classes.index(label) for label in rows["label"]], np.int64),
        paths=tuple(rows["path"]),
        classes=classes,
        unfamiliarity=rows["unfamiliarity"].to_numpy(),
    )


# ── what is in it ──


def test_it_holds_all_of_a_run_and_nothing_else(run: Run):
    assert {file.name for file in run.path.iterdir()} == FILES


def test_its_name_is_the_time_and_the_name_of_the_data(run: Run):
    assert re.fullmatch(r"\d{8}-\d{6}-photos(-\d+)?", run.path.name)


def test_it_may_be_named(data: Path, tmp_path: Path):
    assert train_probe(data, tmp_path, name="my: best/run").path.name.endswith("-my-best-run")


def test_its_metrics_can_be_computed_again_from_its_predictions(run: Run):
    written = json.loads((run.path / "metrics.json").read_text())
    rows = polars.read_parquet(run.path / "catalog.parquet").join(splits_of(run), on="path")
    train_counts = np.bincount(
        rows.filter(polars.col("split") == "train")["label"].to_numpy(), minlength=3
    )
    again = measure(
        predictions_of(run, "test"),
        seed=0,
        class_counts=train_counts,
    )
    assert again.as_json() == written["test"] == run.as_json()["test"]


def test_its_word_on_answering_can_be_computed_again_too(run: Run):
    written = json.loads((run.path / "metrics.json").read_text())
    threshold = written["calibration"]["confidence_threshold"]
    assert (
        selective(predictions_of(run, "test"), AnswerRule(threshold)).as_json()
        == written["answering"]
    )


def test_its_predictions_are_what_the_model_file_says_of_the_files(run: Run, data: Path):
    predictions = predictions_of(run, "test")
    answers = run.predictor().predict([data / path for path in predictions.paths])
    probs = [[answer.probabilities[name] for name in run.classes] for answer in answers]
    assert predictions.probs == pytest.approx(np.array(probs), abs=1e-6)
    assert predictions.unfamiliarity == pytest.approx(
        [answer.unfamiliarity for answer in answers], abs=1e-5
    )


def test_its_splits_cover_every_image_once(run: Run):
    rows, written = splits_of(run), json.loads((run.path / "metrics.json").read_text())
    assert rows["path"].is_unique().all()
    counts = dict(rows["split"].value_counts().iter_rows())
    assert {"val": 0, **counts} == written["splits"]["counts"]
    assert re.fullmatch("[0-9a-f]{64}", written["splits"]["hash"])


def test_its_catalog_has_a_row_a_file(run: Run):
    rows = polars.read_parquet(run.path / "catalog.parquet")
    assert set(rows.columns) >= {
        "path",
        "label",
        "class",
        "status",
        "notes",
        "width",
        "height",
        "sha256",
    }
    assert rows.filter(polars.col("path") == "sky/000.jpg")["class"].to_list() == ["sky"]
    assert set(zip(rows["width"], rows["height"], strict=True)) == {(64, 48)}


def test_its_recipe_can_be_trained_with_again(run: Run, data: Path, tmp_path: Path):
    recipe = run.path / "recipe.yaml"
    assert recipe_from(yaml.safe_load(recipe.read_text())) == recipe_from(SMALL)
    again = tellapart.train(data, recipe=str(recipe), out=tmp_path, quiet=True)
    assert again.model.read_bytes() == run.model.read_bytes()


def test_its_environment_names_versions_and_machine_but_nobody(run: Run):
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["packages"].keys() >= {"numpy", "onnxruntime", "pillow", "torch", "timm"}
    assert environment["cores"] >= 1
    assert os.uname().nodename not in json.dumps(environment)


@pytest.mark.parametrize("name", sorted(FILES))
def test_it_names_no_place_on_this_machine(run: Run, data: Path, name: str):
    text = text_of(run.path / name)
    assert str(data.parent) not in text
    assert f"{Path.home()}/" not in text
    assert str(Path(tellapart.__file__).parents[2]) not in text


# ── moved ──


def test_it_works_wherever_it_is_moved_to(run: Run, data: Path, tmp_path: Path):
    moved = shutil.copytree(run.path, tmp_path / "another place" / "renamed")
    answer = tellapart.load(moved).predict(data / "sky" / "000.jpg")
    assert answer == run.predictor().predict(data / "sky" / "000.jpg")
    assert tellapart.evaluate(moved, data, quiet=True).metrics.accuracy.count == 4
