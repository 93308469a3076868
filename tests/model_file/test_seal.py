"""The seal of a model file: every cut and every flipped bit breaks it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import tellapart
from helpers.models import noise
from tellapart import Predictor, Run, UserError
from tellapart.modelfile.card import is_sealed, seal


@pytest.fixture(scope="module")
def small() -> bytes:
    """The least that can be sealed: one node."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "one", value[:1], value[1:]
    )
    return seal(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    )


def broken_copies(model: bytes, cuts: int, flips: int) -> Iterator[bytes]:
    rng = np.random.default_rng(0)
    for cut in rng.integers(0, len(model), cuts):
        yield model[:cut]
    for place, bit in zip(
        rng.integers(0, len(model), flips), rng.integers(0, 8, flips), strict=True
    ):
        broken = bytearray(model)
        broken[place] ^= 1 << bit
        yield bytes(broken)


def test_every_cut_of_a_file_breaks_its_seal(small: bytes):
    assert is_sealed(small)
    assert not any(is_sealed(small[:length]) for length in range(len(small)))


def test_every_flipped_bit_of_a_file_breaks_its_seal(small: bytes):
    places = [(at, bit) for at in range(len(small)) for bit in range(8)]
    flipped = (small[:at] + bytes([small[at] ^ 1 << bit]) + small[at + 1 :] for at, bit in places)
    assert not any(map(is_sealed, flipped))


def test_a_byte_more_breaks_the_seal(small: bytes):
    assert not is_sealed(small + b"\0")


@pytest.mark.parametrize(("whole", "cuts", "flips"), [("small", 100, 300), ("run", 20, 40)])
def test_every_damaged_model_file_is_refused_soon(
    request: pytest.FixtureRequest, whole: str, cuts: int, flips: int
):
    model = request.getfixturevalue(whole)
    for broken in broken_copies(
        model if whole == "small" else model.model.read_bytes(), cuts, flips
    ):
        start = time.perf_counter()
        with pytest.raises(UserError, match="is damaged, or is not a tellapart model file"):
            Predictor(broken)
        assert time.perf_counter() - start < 2


@pytest.mark.parametrize("content", [b"", b"\0", b"not a model", b"\x89PNG\r\n\x1a\n" + bytes(200)])
def test_what_is_no_model_file_is_refused_by_name(tmp_path: Path, content: bytes):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.onnx is damaged, or is not a tellapart model file"):
        tellapart.load(tmp_path / "x.onnx")


def test_a_folder_without_a_model_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"model\.onnx does not exist\."):
        tellapart.load(tmp_path)


def test_a_run_folder_is_as_good_as_its_model_file(run: Run, predictor: Predictor):
    image = noise(40, 40)
    assert (tellapart.load(run.path).outputs(image).probs == predictor.outputs(image).probs).all()
