"""Model files that are sealed and still not to be used."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from onnx import ModelProto, TensorProto, helper

import tellapart
from helpers.models import constant, noise
from tellapart import Predictor, UserError
from tellapart.modelfile.card import seal


def altered(graph: ModelProto, change: Callable[[ModelProto], object]) -> bytes:
    """The model file with a change, sealed anew as its author would."""
    copy = ModelProto()
    copy.CopyFrom(graph)
    for position, entry in enumerate(copy.metadata_props):
        if entry.key == "seal":
            del copy.metadata_props[position]
    change(copy)
    return seal(copy.SerializeToString())


def with_metadata(key: str, value: str) -> Callable[[ModelProto], object]:
    def change(model: ModelProto) -> None:
        next(entry for entry in model.metadata_props if entry.key == key).value = value

    return change


def without_output(name: str) -> Callable[[ModelProto], object]:
    return lambda model: model.graph.output.remove(
        next(one for one in model.graph.output if one.name == name)
    )


UNFIT = {
    "no metadata": lambda model: model.ClearField("metadata_props"),
    "fewer classes than columns": with_metadata("classes", '["brick", "leaf"]'),
    "classes that are one text": with_metadata("classes", '"abc"'),
    "one class twice": with_metadata("classes", '["brick", "brick", "sky"]'),
    "classes that are numbers": with_metadata("classes", "[1, 2, 3]"),
    "metadata without an end": with_metadata("classes", "[" * 100_000),
    "a threshold that is text": with_metadata(
        "answers", '{"threshold": "high", "weights": [], "costs": null}'
    ),
    "another preprocessing": with_metadata("preprocessing", '{"zoom": 3}'),
    "no probabilities": without_output("probabilities"),
    "no unfamiliarity": without_output("unfamiliarity"),
}


@pytest.mark.parametrize("change", UNFIT.values(), ids=UNFIT)
def test_a_sealed_file_whose_parts_do_not_fit_is_refused(
    graph: ModelProto, change: Callable[[ModelProto], object]
):
    with pytest.raises(UserError):
        Predictor(altered(graph, change))


def test_a_file_of_a_later_format_names_both(graph: ModelProto):
    with pytest.raises(UserError, match="has format 2; this tellapart reads format 1"):
        Predictor(altered(graph, with_metadata("tellapart", "2")))


def test_a_seal_around_anything_else_is_no_model():
    with pytest.raises(UserError, match="not a graph that onnxruntime can run"):
        Predictor(seal(b"anything else"))


def outside(name: str, location: str) -> Callable[[ModelProto], object]:
    """The change that lets a constant lie in another file."""

    def change(model: ModelProto) -> None:
        tensor = next(one for one in model.graph.initializer if one.name == name)
        length = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)

    return change


def openings(path: Path) -> Callable[[], int]:
    """Counts, from now on, how often anyone opens a file, in native code too."""
    library = ctypes.CDLL(None)
    handle = library.inotify_init1(os.O_NONBLOCK)
    assert library.inotify_add_watch(handle, os.fsencode(path), 0x20) > 0  # IN_OPEN

    def count() -> int:
        try:
            return len(os.read(handle, 4096)) // 16
        except BlockingIOError:
            return 0
        finally:
            os.close(handle)

    return count


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux who opens a file")
@pytest.mark.parametrize("constant_name", ["weight", "familiar_components"])
@pytest.mark.parametrize(
    "location", ["absolute", "../secret.bin", "secret.bin", "hard_link.bin", "symbolic_link.bin"]
)
def test_what_lies_outside_the_file_is_refused_and_never_opened(
    graph: ModelProto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    constant_name: str,
    location: str,
):
    here = tmp_path / "here"
    here.mkdir()
    secret = (here if location == "secret.bin" else tmp_path) / "secret.bin"
    secret.write_bytes(constant(graph, constant_name).tobytes())
    (here / "hard_link.bin").hardlink_to(secret)
    (here / "symbolic_link.bin").symlink_to(secret)
    model = altered(
        graph, outside(constant_name, str(secret) if location == "absolute" else location)
    )
    (here / "model.onnx").write_bytes(model)
    monkeypatch.chdir(here)
    opened = openings(secret)
    with pytest.raises(UserError):
        tellapart.load("model.onnx").outputs(noise(8, 8))
    assert opened() == 0


def test_the_watch_sees_who_opens_a_file(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"x")
    opened = openings(tmp_path / "x")
    (tmp_path / "x").read_bytes()
    assert opened() == 1


def test_a_chain_of_ten_thousand_nodes_is_survived(graph: ModelProto):
    def lengthen(model: ModelProto) -> None:
        for node in model.graph.node:
            node.output[:] = ["link 0" if name == "probabilities" else name for name in node.output]
        links = [*(f"link {number}" for number in range(10_000)), "probabilities"]
        model.graph.node.extend(
            helper.make_node("Relu", [one], [next_]) for one, next_ in pairwise(links)
        )

    start = time.perf_counter()
    assert Predictor(altered(graph, lengthen)).outputs(noise(8, 8)).probs.sum() == pytest.approx(1)
    assert time.perf_counter() - start < 5


def test_a_graph_that_claims_a_million_million_numbers_is_refused_soon(graph: ModelProto):
    def claim(model: ModelProto) -> None:
        tensor = next(one for one in model.graph.initializer if one.name == "weight")
        tensor.ClearField("raw_data")
        tensor.dims[:] = [10**9, 1000]

    start = time.perf_counter()
    with pytest.raises(UserError):
        Predictor(altered(graph, claim))
    assert time.perf_counter() - start < 5
