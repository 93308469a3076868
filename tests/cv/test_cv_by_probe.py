"""Cross-validation of a probe, from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import polars
import pytest

import tellapart
from helpers.catalogs import scan_folder
from helpers.cross_validation import cross
from helpers.probes import SMALL
from helpers.runs import metrics_of
from tellapart import UserError
from tellapart.catalog.table import text_column
from tellapart.errors import Refused
from tellapart.jobs.cv.cross_validate import cross_validate
from tellapart.jobs.cv.result import CrossValidated
from tellapart.runs.folder import RunFolder
from tellapart.runs.saved_predictions import read_predictions
from tellapart.runs.saved_splits import save_splits


@pytest.fixture(scope="module")
def done(data: Path) -> CrossValidated:
    return cross(data, repeats=2)


def test_the_folder_is_that_of_a_run_with_its_folds(done: CrossValidated, data: Path):
    assert {file.name for file in done.path.iterdir()} == {
        "catalog.parquet",
        "data.json",
        "environment.json",
        "facts.json",
        "folds.parquet",
        "head.safetensors",
        "log.txt",
        "metrics.json",
        "model-card.md",
        "model.onnx",
        "predictions-folds.parquet",
        "predictions-test.parquet",
        "predictions-val.parquet",
        "recipe.yaml",
        "report.html",
        "report.json",
        "splits.parquet",
    }
    assert tellapart.load(done.path).predict(data / "leaf" / "003.jpg").answer == "leaf"
    measured = tellapart.evaluate(done.path, data, quiet=True)
    assert (measured.metrics.accuracy.count, measured.seen.count) == (4, 32)


def test_the_test_set_is_that_of_a_training_and_in_no_fold(done: CrossValidated, data: Path):
    run = tellapart.train(data, out=data.parent / "runs", set=SMALL, quiet=True)
    tested = [
        set(read_predictions(path / "predictions-test.parquet").paths)
        for path in (done.path, run.path)
    ]
    assert tested[0] == tested[1]
    folds = polars.read_parquet(done.path / "folds.parquet")
    assert len(folds) == 64 and tested[0].isdisjoint(folds["path"])
    assert metrics_of(done.path)["splits"]["counts"] == {"train": 32, "val": 0, "test": 4}


def test_each_image_has_one_answer_a_repeat_of_the_fold_that_held_it_out(done: CrossValidated):
    answers = polars.read_parquet(done.path / "predictions-folds.parquet")
    folds = polars.read_parquet(done.path / "folds.parquet")
    keys = ["path", "repeat", "fold"]
    assert answers.select(keys).sort(keys).equals(folds.select(keys).sort(keys))
    assert len(read_predictions(done.path / "predictions-folds.parquet")) == 64


def test_the_numbers_of_the_folds_are_in_json_and_metrics_alike(done: CrossValidated):
    answer, kept = done.as_json(), metrics_of(done.path)["folds"]
    assert answer["folds"] == kept["each"] and len(answer["folds"]) == 6
    assert answer["pooled"] == kept["pooled"] and answer["mean"] == kept["mean"]
    assert answer["test"] == metrics_of(done.path)["test"]
    assert (kept["split"], kept["count"], kept["seed"], kept["model"]["by"]) == (
        "out-of-fold",
        32,
        0,
        "refit",
    )
    assert json.loads(json.dumps(answer)) == answer


def test_the_model_is_calibrated_on_the_answers_out_of_fold_and_its_page_says_so(
    done: CrossValidated,
):
    card = tellapart.load(done.path).card
    assert card.calibration_count == 32 and card.detects_unfamiliar
    assert card.confidence_threshold is not None and sum(card.train_counts) == 32
    page = (done.path / "report.html").read_text()
    assert "Calibrated on the out-of-fold predictions of 32 images" in page
    assert "no validation split" not in page
    assert not any("There is no val" in text for text in done.warnings)


def test_the_model_holds_what_was_answered_out_of_fold_so_that_drift_can_be_seen(
    done: CrossValidated, data: Path, tmp_path: Path
):
    reference = tellapart.load(done.path).card.reference
    assert (reference.count, sum(reference.categories["answer"].values())) == (32, 32)
    assert {"confidence", "unfamiliarity", "brightness", "width"} <= reference.cells.keys()
    answers = tellapart.predict(done.model, str(data), out=tmp_path / "answers.csv", quiet=True)
    assert tellapart.drift(done.model, answers.table).images == 36


def test_the_page_and_the_terminal_tell_of_the_folds(done: CrossValidated):
    page = (done.path / "report.html").read_text()
    assert 'id="folds"' in page and done.lines[0] in page
    assert done.lines[0].startswith("Accuracy over 3 folds, repeated 2 times: mean ")
    assert "All 32 images together, each predicted by a model that never saw it" in done.lines[1]
    assert done.lines[-1].startswith(
        "The model file is a head fitted on all images but the test set."
    )


def test_the_same_again_gives_the_same_file_and_computes_no_feature(
    done: CrossValidated, data: Path, tmp_path: Path
):
    again = cross(data, tmp_path, repeats=2)
    assert again.model.read_bytes() == done.model.read_bytes()
    assert again.as_json()["folds"] == done.as_json()["folds"]
    assert "features computed for 0," in (again.path / "log.txt").read_text()


def test_val_of_an_earlier_run_is_divided_too_and_without_a_test_the_page_says_so(
    data: Path, tmp_path: Path
):
    catalog = scan_folder(data)
    splits = text_column("val" if path.endswith("1.jpg") else "train" for path in catalog.paths)
    save_splits(RunFolder(tmp_path), catalog.with_splits(splits))
    done = cross(data, tmp_path / "runs", splits=tmp_path)
    assert len(polars.read_parquet(done.path / "folds.parquet")) == 36
    assert done.metrics.accuracy.count == 0 and done.as_json()["test"]["accuracy"]["value"] is None
    page = (done.path / "report.html").read_text()
    assert "On 36 images, each predicted by a model that never saw it, it is correct" in page
    assert "36 images predicted out of fold" in page


def test_strict_refuses_a_label_conflict(photos: Path):
    (photos / "leaf" / "same.jpg").write_bytes((photos / "sky" / "001.jpg").read_bytes())
    with pytest.raises(Refused, match="in more than one class"):
        cross(photos, strict=True)
    assert not (photos.parent / "runs").exists()


def test_a_probe_leaves_nothing_to_resume(done: CrossValidated):
    with pytest.raises(UserError, match="has nothing to resume"):
        cross_validate(resume=done.path, quiet=True)
