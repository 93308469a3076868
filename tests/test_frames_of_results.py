"""Results as data frames: the same numbers as in the objects, one row an image or a class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars

from tellapart.evaluation.metrics import measure
from tellapart.evaluation.predictions import Predictions
from tellapart.modelfile.answers import answers_frame


def predictions(unfamiliarity: np.ndarray | None = None) -> Predictions:
    probs = np.array([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]], np.float32)
    names = ("a.jpg", "b.jpg", "c.jpg")
    return Predictions(probs, np.array([0, 0, 0]), names, ("cat", "dog"), unfamiliarity)


def test_predictions_are_a_row_an_image():
    frame = predictions().to_frame()
    assert frame.columns == ["path", "label", "prediction", "confidence", "p:cat", "p:dog"]
    assert frame.row(2) == ("c.jpg", "cat", "dog", 0.75, 0.25, 0.75)


def test_unfamiliarity_is_a_column_where_it_was_measured():
    frame = predictions(np.array([0.5, 1.5, 0.25], np.float32)).to_frame()
    assert frame["unfamiliarity"].to_list() == [0.5, 1.5, 0.25]


def test_predictions_without_images_are_a_table_without_rows():
    none = Predictions(np.zeros((0, 2), np.float32), np.zeros(0, np.int64), (), ("cat", "dog"))
    assert none.to_frame().schema == predictions().to_frame().schema


def test_metrics_are_a_row_a_class():
    metrics = measure(predictions())
    frame = metrics.to_frame()
    assert frame["class"].to_list() == ["cat", "dog"]
    assert frame["recall"].to_list()[0] == metrics.per_class[0].recall.value
    assert frame["recall_low"].to_list()[0] == metrics.per_class[0].recall.low
    assert frame["trusted"].to_list() == [False, False]


def test_a_number_that_does_not_exist_is_null():
    metrics = measure(predictions())
    assert math.isnan(metrics.per_class[1].recall.value)
    assert metrics.to_frame()["recall"].to_list()[1] is None
    assert metrics.to_frame().schema["f1"] == polars.Float64


def test_answers_are_a_row_an_image_with_null_where_there_is_no_answer(
    example_names: dict[str, Any],
):
    predictor = example_names["predictor"]
    answers = predictor.predict([example_names["photos"] / "sky" / "000.jpg", b""])
    frame = answers_frame(answers, predictor.classes)
    assert frame["answer"].to_list() == ["sky", None]
    assert frame["p:sky"].to_list() == [answers[0].probabilities["sky"], None]
