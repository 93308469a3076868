"""A training without a test split: all images train or validate, and nothing is claimed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tellapart
from tellapart import Predictions, Run
from tellapart.cli.output import print_class_accuracy, print_scores
from tellapart.evaluation.metrics import measure

SMALL = {"preprocessing.size_px": 64, "head.folds": 2, "head.c_values": (0.01, 0.1)}


@pytest.fixture(scope="module")
def run(example_names: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    runs: Path = tmp_path_factory.mktemp("runs")
    options = {**SMALL, "split.test": 0}
    return tellapart.train(example_names["photos"], set=options, out=runs, quiet=True)


def test_its_metrics_exist_and_have_no_value(run: Run):
    assert math.isnan(run.metrics.accuracy.value)
    assert run.metrics.accuracy.count == 0
    assert "no test images" in str(run)


def test_every_image_trains_and_calibrates(run: Run):
    card = run.predictor().card
    assert sum(card.train_counts) == card.calibration_count == 36


def test_its_warning_and_its_report_say_that_there_is_no_test(run: Run):
    assert any(text.startswith("There is no test") for text in run.warnings)
    assert "There is no test" in run.report.read_text(encoding="utf-8")


def test_it_opens_again_as_it_was(run: Run):
    assert tellapart.Run.open(run.path).as_json() == run.as_json()


def test_the_terminal_claims_no_baseline_and_no_recall(capsys: pytest.CaptureFixture[str]):
    none = Predictions(np.zeros((0, 2), np.float32), np.zeros(0, np.int64), (), ("cat", "dog"))
    metrics = measure(none, class_counts=np.array([9, 3]))
    print_scores(metrics, "test ")
    print_class_accuracy(metrics)
    assert capsys.readouterr().out == "test accuracy  not measured (0 images)\n"
