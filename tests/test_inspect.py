"""What a model file says of itself, and how fast it is."""

from __future__ import annotations

import hashlib

import pytest

import tellapart
from helpers.commands import run_command, run_python
from helpers.images import write_classes


@pytest.fixture(scope="module")
def run(tmp_path_factory, own_cache):
    photos = write_classes(tmp_path_factory.mktemp("inspected") / "photos", 12)
    return tellapart.train(photos, out=photos.parent / "runs", quiet=True)


def test_the_card_the_size_and_the_digest_are_those_of_the_file(run):
    inspection = tellapart.inspect_model(run.path, measure=False)
    content = run.model.read_bytes()
    assert inspection.card == run.predictor().card
    assert inspection.bytes == len(content)
    assert inspection.digest == hashlib.sha256(content).hexdigest()
    assert inspection.latency is None


def test_the_latency_is_measured_with_decoding_and_without(run):
    latency = tellapart.inspect_model(run.predictor()).latency
    assert 0 < latency.graph < 10_000 and 0 < latency.with_decoding < 10_000


def test_the_json_holds_all_that_a_script_asks_for(run):
    found = run_command("inspect", run.model, "--json").json
    assert found["classes"] == ["brick", "leaf", "sky"]
    assert found["precision"] == "int8" and found["exported"] is None
    assert found["calibration"]["count"] == 32
    assert found["rule"].keys() == {"threshold", "weights", "costs"}
    assert found["digests"].keys() == {"file", "recipe", "catalog", "weights"}
    assert found["latency"]["threads"] == 1
    assert found["bytes"] == run.model.stat().st_size


def test_the_lines_have_the_rule_and_the_licence(run):
    ended = run_command("inspect", run.path)
    assert ended.code == 0
    assert "classes: 3: brick, leaf, sky" in ended.out
    assert "unsure below" in ended.out
    assert "licence of the weights: Apache-2.0" in ended.out
    assert "without decoding" in ended.out
    assert len(ended.out.splitlines()) < 25


def test_the_text_of_the_licence_is_printed_where_it_is_asked_for(run):
    ended = run_command("inspect", run.path, "--licence")
    assert ended.code == 0 and "TERMS AND CONDITIONS FOR USE" in ended.out


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path):
    (tmp_path / "letter.onnx").write_text("hello")
    ended = run_command("inspect", tmp_path / "letter.onnx")
    assert ended.code == 2 and "not a tellapart model file" in ended.err


def test_neither_onnx_nor_torch_is_loaded(run):
    code = (
        "import sys, tellapart; tellapart.inspect_model(sys.argv[1]);"
        "print({'onnx', 'torch', 'polars', 'sklearn'} & set(sys.modules))"
    )
    assert run_python(code, run.model).stdout.strip() == "set()"
