"""Other forms of a model file: smaller, and refused where they answer worse."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import tellapart
from helpers.commands import run_command
from helpers.hosting import RUNTIME
from helpers.images import write_classes
from helpers.models import PREPROCESSING, small_card, small_head, small_network
from tellapart.errors import Refused, UserError
from tellapart.export.compose import compose_model
from tellapart.export.ensemble import compose_ensemble
from tellapart.export.forms import in_fp16, in_int8, with_card
from tellapart.export.forms_gate import compare_forms, refuse_unless_as_good
from tellapart.modelfile.layers import Layers
from tellapart.modelfile.predictor import Predictor

IMAGES = [
    np.random.default_rng(seed).integers(0, 256, (40 + seed, 56, 3), np.uint8) for seed in range(40)
]
EACH = np.arange(len(IMAGES))  # every image is its own cluster


@pytest.fixture(scope="module")
def model():
    return compose_model(small_network(), PREPROCESSING, small_head(), small_card())


@pytest.fixture(scope="module")
def run(tmp_path_factory, own_cache):
    """A run in fp32, whose network PyTorch exports."""
    pytest.importorskip("torch")
    photos = write_classes(tmp_path_factory.mktemp("forms") / "photos", 12)
    small = {"backbone.precision": "fp32", "preprocessing.size_px": 64, "head.folds": 2}
    return tellapart.train(photos, set=small, out=photos.parent / "runs", quiet=True)


@pytest.fixture(scope="module")
def photos(run):
    return run.path.parents[1] / "photos"


def compared(trained, form, labels=None):
    first = Predictor(trained)
    labels = first_answers(first) if labels is None else labels
    return compare_forms(first, Predictor(form), IMAGES, labels, EACH)


def first_answers(predictor):
    return np.array([predictor.outputs(image).probs.argmax() for image in IMAGES])


def wrong_head():
    """The head of the model with its classes in another order."""
    head = small_head()
    layers = head.layers
    return replace(head, layers=Layers((), layers.weight[[1, 2, 0]], layers.bias[[1, 2, 0]]))


# ── the files ──


def test_weights_in_half_precision_answer_nearly_alike(model):
    agreement = compared(model, in_fp16(model, small_card()))
    assert agreement.largest_difference < 0.01


def test_small_constants_keep_their_precision(model):
    half = onnx.load_from_string(in_fp16(model, small_card()))
    names = [tensor.name for tensor in half.graph.initializer if tensor.data_type == 10]
    assert names == ["network/kernel/fp16"]


def test_weights_that_half_precision_cannot_hold_stay_as_they_are():
    head = small_head()
    vast = Layers((), np.full((64, 8), 70_000, np.float32), np.zeros(64, np.float32))
    card = small_card(tuple(map(str, range(64))))
    file = compose_model(small_network(), PREPROCESSING, replace(head, layers=vast), card)
    half = onnx.load_from_string(in_fp16(file, card))
    assert "weight" in [tensor.name for tensor in half.graph.initializer]


def test_the_network_in_int8_keeps_map_and_preprocessing(model):
    small = Predictor(in_int8(model, small_card(), IMAGES[:8]))
    assert small.card.precision == "int8"
    assert small.card.preprocessing == PREPROCESSING
    assert small.activation_map(IMAGES[0]).shape == (4, 4)
    assert compared(model, small.graph).largest_difference < 0.2


def test_the_same_images_give_the_same_int8_file(model):
    assert in_int8(model, small_card(), IMAGES[:4]) == in_int8(model, small_card(), IMAGES[:4])


def test_an_ensemble_can_be_quantized_too(model):
    other = compose_model(small_network(), PREPROCESSING, wrong_head(), small_card())
    both = compose_ensemble([model, other], small_card())
    small = in_int8(both, small_card(), IMAGES[:8])
    assert compared(both, small).mean_difference < 0.1


def test_another_card_changes_no_node(model):
    named = with_card(model, replace(small_card(), backbone="renamed"))
    assert Predictor(named).card.backbone == "renamed"
    assert compared(model, named).largest_difference == 0


# ── the gate ──


def test_a_form_that_answers_alike_passes(model):
    agreement = compared(model, model)
    assert agreement.faults == [] and agreement.changed == 0 and agreement.images == 40


def test_a_form_that_is_worse_is_refused_with_what_was_lost(model):
    worse = compose_model(small_network(), PREPROCESSING, wrong_head(), small_card())
    with pytest.raises(Refused, match=r"Accuracy falls from 100\.0% to .* are lost"):
        refuse_unless_as_good(compared(model, worse), "int8")


def test_many_other_answers_are_refused_even_where_none_is_worse(model):
    other = compose_model(small_network(), PREPROCESSING, wrong_head(), small_card())
    # A truth that neither file finds.
    unfound = np.array([3] * len(IMAGES))
    agreement = compared(model, other, unfound)
    assert agreement.accuracy.lost == 0
    with pytest.raises(Refused, match="another answer or decision"):
        refuse_unless_as_good(agreement, "fp16")


# ── the verb ──


@pytest.mark.parametrize("form", ["fp16", "int8"])
def test_a_form_is_written_with_what_was_measured(run, photos, tmp_path, form):
    exported = tellapart.export_model(
        run.path, form, data=photos, out=tmp_path / "small.onnx", quiet=True
    )
    card = tellapart.load(exported.path).card
    assert exported.bytes < 0.6 * exported.original_bytes
    assert card.precision == card.exported["form"] == form
    assert card.exported["images"] == exported.agreement.images == 32
    assert card.seen == run.predictor().card.seen


def test_the_form_that_the_file_has_is_the_file(run, tmp_path):
    tellapart.export_model(run.model, "fp32", out=tmp_path / "same.onnx", quiet=True)
    assert (tmp_path / "same.onnx").read_bytes() == run.model.read_bytes()


def test_a_refused_form_leaves_no_file(run, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("tellapart.export.forms_gate.MOST_CHANGED", -1)
    ended = run_command(
        "export", run.path, "--as", "fp16", "--data", photos, "--out", tmp_path / "x"
    )
    assert ended.code == 5 and "was not written" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_was_measured(run, photos, tmp_path):
    ended = run_command(
        "export", run.path, "--as", "fp16", "--data", photos, "--out", tmp_path / "half.onnx"
    )
    assert ended.code == 0
    assert "32 images" in ended.err and "with another answer or decision" in ended.err
    assert "MB before" in ended.out
    inspected = run_command("inspect", tmp_path / "half.onnx").out
    assert "exported: as fp16; 0 of 32 images" in inspected


def test_openvino_answers_alike_and_holds_the_metadata(run, photos, tmp_path):
    openvino = pytest.importorskip("openvino")
    words = ("--as", "openvino", "--data", photos, "--out", tmp_path / "model.xml")
    assert run_command("export", run.path, *words).code == 0
    model = openvino.Core().read_model(tmp_path / "model.xml")
    about = model.get_rt_info(["tellapart", "classes"])
    assert json.loads(about.astype(str)) == ["brick", "leaf", "sky"]
    found = openvino.compile_model(model, "CPU")(IMAGES[0][None])["probabilities"]
    assert found == pytest.approx(run.predictor().outputs(IMAGES[0]).probs[None], abs=0.1)


def test_without_openvino_the_extra_is_named(run, photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    ended = run_command("export", run.path, "--as", "openvino", "--data", photos)
    assert ended.code == 2 and "tellapart[openvino]" in ended.err


def test_openvino_writes_no_other_file_than_xml_and_no_page(run, tmp_path):
    assert (
        run_command("export", run.path, "--as", "openvino", "--out", tmp_path / "x.onnx").code == 2
    )
    with pytest.raises(UserError, match="form for a page"):
        tellapart.export_web(run.path, tmp_path, form="openvino", runtime=RUNTIME, quiet=True)


def test_a_run_without_a_word_of_its_data_gives_no_form(run, tmp_path):
    copy = Path(shutil.copytree(run.path, tmp_path / "run"))
    (copy / "data.json").unlink()
    with pytest.raises(UserError, match="does not say where its data is"):
        tellapart.export_model(copy, "fp16", quiet=True)


def test_a_run_knows_where_its_data_is(run, tmp_path):
    exported = tellapart.export_model(run.path, "fp16", out=tmp_path / "half.onnx", quiet=True)
    assert exported.path == tmp_path / "half.onnx" and exported.agreement.changed == 0


def test_a_run_that_moved_alone_asks_for_its_data(run, tmp_path):
    moved = Path(shutil.copytree(run.path, tmp_path / "elsewhere" / "run"))
    with pytest.raises(UserError, match=r"which is gone.*--data DATA"):
        tellapart.export_model(moved, "fp16", quiet=True)


def test_data_that_is_gone_is_told(run, tmp_path):
    with pytest.raises(UserError, match="which is gone"):
        tellapart.export_model(run.path, "fp16", data=tmp_path / "gone", quiet=True)


def test_images_that_changed_judge_nothing(run, photos, tmp_path):
    moved = Path(shutil.copytree(photos, tmp_path / "photos"))
    assert all(file.write_bytes(file.read_bytes() + b"0") for file in moved.rglob("*.jpg"))
    with pytest.raises(Refused, match="None of the 32 images"):
        tellapart.export_model(run.path, "fp16", data=moved, quiet=True)


def test_the_model_file_of_the_run_is_never_replaced(run, photos):
    before = run.model.read_bytes()
    ended = run_command("export", run.path, "--as", "fp16", "--data", photos, "--out", run.model)
    assert ended.code == 2 and "another name" in ended.err
    assert run.model.read_bytes() == before


def test_a_file_alone_gets_no_other_form(run):
    with pytest.raises(UserError, match="Give the run folder"):
        tellapart.export_model(run.model, "int8", quiet=True)


def test_options_that_do_not_go_together_are_refused(run, tmp_path):
    assert run_command("export", run.path).code == 2
    assert run_command("export", run.path, "--web", tmp_path, "--out", "x.onnx").code == 2
    assert run_command("export", run.path, "--as", "fp64").code == 2
    assert "Add --web DIR" in run_command("export", run.path, "--as", "fp32", "--name", "x").err
