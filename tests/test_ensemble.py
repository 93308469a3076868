"""Several model files as one: the mean of their probabilities, what they share there once, and the
same gate.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import tellapart
from helpers.images import write_classes, write_tiny
from helpers.models import PREPROCESSING, noise, small_card, small_head, small_network
from helpers.probes import SMALL
from helpers.runs import SHORT, metrics_of
from tellapart import Predictor, UserError
from tellapart.errors import Refused
from tellapart.evaluation.calibration import softmax
from tellapart.export.compose import EMBEDDING, compose_model
from tellapart.export.ensemble import compose_ensemble
from tellapart.export.gate import check_probabilities
from tellapart.jobs.cv.cross_validate import cross_validate
from tellapart.pipeline import ensemble

QUICK = {
    **SHORT,
    "training.epochs": 1,
    "training.batch_size": 6,
    "training.trackers": "",
    "seed": 3,
}


def turned(by: int, **changes: Any) -> Any:
    """A head whose classes have changed places."""
    head = small_head()
    layers = replace(
        head.layers, weight=np.roll(head.layers.weight, by, 0), bias=np.roll(head.layers.bias, by)
    )
    return replace(head, layers=layers, **changes)


def member(head: Any, network: bytes | None = None) -> bytes:
    return compose_model(network or small_network(), PREPROCESSING, head, small_card())


@pytest.fixture(scope="module")
def heads() -> list[Any]:
    return [turned(0), turned(1), turned(2)]


@pytest.fixture(scope="module")
def members(heads: list[Any]) -> list[bytes]:
    return [member(head) for head in heads]


@pytest.fixture(scope="module")
def together(members: list[bytes]) -> bytes:
    return compose_ensemble(members, small_card())


def nodes(model: bytes, operator: str) -> int:
    return sum(node.op_type == operator for node in onnx.load_from_string(model).graph.node)


def test_it_answers_with_the_mean_of_its_members(members: list[bytes], together: bytes):
    for seed in range(4):
        image = noise(40 + 9 * seed, 70 - 5 * seed, seed)
        each = np.mean([Predictor(one).outputs(image).probs for one in members], axis=0)
        assert np.allclose(Predictor(together).outputs(image).probs, each, atol=1e-6)


def test_a_batch_is_answered_as_one_by_one(together: bytes):
    images = np.stack([noise(40, 40, seed) for seed in range(3)])
    predictor = Predictor(together)
    single = np.stack([predictor.outputs(image).probs for image in images])
    assert np.allclose(predictor.run_batch(images), single, atol=1e-6)


def test_what_the_members_share_is_there_once(members: list[bytes], together: bytes):
    assert nodes(together, "Conv") == nodes(members[0], "Conv")
    assert nodes(together, "Resize") == nodes(together, "MatMul") == 1
    assert nodes(together, "Softmax") == 3
    assert Predictor(together).outputs(noise(30, 30, 1)).embedding.shape == (
        small_head().layers.weight.shape[1],
    )


def test_equal_members_are_one(members: list[bytes]):
    twice = compose_ensemble([members[0], members[0]], small_card())
    assert nodes(twice, "Softmax") == 1
    image = noise(50, 30, 1)
    assert np.allclose(
        Predictor(twice).outputs(image).probs, Predictor(members[0]).outputs(image).probs
    )


def test_unfamiliarity_is_the_members_mean():
    known = small_head().familiarity
    scales = [turned(0, familiarity=replace(known, limit=limit)) for limit in (4.0, 2.0)]
    image = noise(50, 30, 2)
    single = [Predictor(member(head)).outputs(image).unfamiliarity for head in scales]
    both = compose_ensemble([member(head) for head in scales], small_card())
    assert Predictor(both).outputs(image).unfamiliarity == pytest.approx(np.mean(single))


def test_the_map_is_that_of_the_answer_that_all_give_together(heads: list[Any], together: bytes):
    image = noise(48, 48, 3)
    predictor = Predictor(together)
    best = int(predictor.outputs(image).probs.argmax())
    found = predictor.activation_map(image)
    embedding = predictor.outputs(image).embedding
    logits = [float(head.layers.weight[best] @ embedding) for head in heads]
    assert found is not None and float(found.mean()) == pytest.approx(np.mean(logits), abs=1e-4)


def test_where_one_member_has_no_map_there_is_none(members: list[bytes]):
    mixed = compose_ensemble([members[0], member(small_head(hidden=(6,)))], small_card())
    assert Predictor(mixed).activation_map(noise(40, 40, 1)) is None


def test_other_networks_keep_their_own_nodes_and_share_the_preprocessing(members: list[bytes]):
    other = onnx.load_from_string(small_network())
    for constant in other.graph.initializer:
        values = onnx.numpy_helper.to_array(constant)
        if values.dtype == np.float32:
            constant.CopyFrom(
                onnx.numpy_helper.from_array((values * 1.25).astype(np.float32), constant.name)
            )
    apart = member(small_head(), other.SerializeToString())
    both, image = compose_ensemble([members[0], apart], small_card()), noise(44, 60, 1)
    assert nodes(both, "Resize") == 1
    singles = [Predictor(one).outputs(image) for one in (members[0], apart)]
    got = Predictor(both).outputs(image)
    assert np.allclose(got.probs, np.mean([one.probs for one in singles], axis=0), atol=1e-6)
    assert np.allclose(got.embedding, np.concatenate([one.embedding for one in singles]), atol=1e-5)


def test_the_same_members_give_the_same_bytes(members: list[bytes], together: bytes):
    assert compose_ensemble(members, small_card()) == together


def test_a_network_that_branches_is_refused():
    model = onnx.load_from_string(member(small_head()))
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["weight"], ["out"])],
        "branch",
        [],
        [onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None)],
    )
    model.graph.node.append(
        onnx.helper.make_node("If", ["always"], ["chosen"], then_branch=branch, else_branch=branch)
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "always"))
    with pytest.raises(UserError, match=r"branches \(If\).+Leave --ensemble out"):
        compose_ensemble([model.SerializeToString()], small_card())


def test_the_gate_holds_it_against_the_mean_of_torch(heads: list[Any], together: bytes):
    from tellapart.modelfile.session import Session

    images = [noise(40, 50 + seed, seed) for seed in range(9)]
    tensors = np.stack([PREPROCESSING.normalised(PREPROCESSING.resized(image)) for image in images])
    embeddings = Session(small_network()).run(tensors, [EMBEDDING])[0]
    mean = np.mean([softmax(head.layers.logits(embeddings)) for head in heads], axis=0)
    assert check_probabilities(together, PREPROCESSING, images, mean).passed
    with pytest.raises(Refused, match="does not agree with the trained network"):
        check_probabilities(
            together, PREPROCESSING, images, softmax(heads[0].layers.logits(embeddings))
        )


# ── from end to end ──


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("ensemble") / "photos", 8)


def test_probes_share_one_backbone_and_pass_the_gate(photos: Path, tmp_path: Path):
    options: dict[str, Any] = {"folds": 3, "set": SMALL, "quiet": True}
    done = cross_validate(photos, out=tmp_path, ensemble=True, **options)
    single = cross_validate(photos, out=tmp_path, **options)
    model = done.model.read_bytes()
    assert nodes(model, "Conv") == nodes(single.model.read_bytes(), "Conv")
    assert len(model) < 1.1 * len(single.model.read_bytes())
    assert metrics_of(done.path)["parity"]["from_files"] <= 0.01
    assert done.as_json()["folds"] == single.as_json()["folds"]


def test_its_card_and_page_say_what_it_is(photos: Path, tmp_path: Path):
    done = cross_validate(photos, out=tmp_path, ensemble=True, folds=2, set=SMALL, quiet=True)
    card = tellapart.load(done.path).card
    assert card.backbone == "mean of 2 tf_efficientnet_lite0"
    assert (card.temperature, card.calibration_count, sum(card.train_counts)) == (1.0, 21, 21)
    assert metrics_of(done.path)["folds"]["model"]["members"] == 2
    assert done.lines[-1].startswith(
        "The model file gives the mean of the probabilities of the 2 folds' models"
    )
    assert "<dt>Members</dt>" in (done.path / "report.html").read_text()


def test_networks_by_gradient_are_merged_from_the_folds_files(tmp_path: Path):
    data = write_tiny(tmp_path / "photos", 6)
    done = cross_validate(
        data,
        out=tmp_path / "runs",
        recipe="cifar10-lenet",
        folds=2,
        ensemble=True,
        set=QUICK,
        quiet=True,
    )
    folds = [tellapart.load(path) for path in (done.path / "folds").iterdir()]
    from tellapart.decoding import decode_file

    pixels = decode_file(data / "sky" / "001.png").pixels
    assert pixels is not None
    mean = np.mean([one.outputs(pixels).probs for one in folds], axis=0)
    assert np.allclose(tellapart.load(done.path).outputs(pixels).probs, mean, atol=1e-6)
    assert metrics_of(done.path)["parity"]["from_tensors"] <= 0.001
    assert (
        "2 networks, each trained here from random numbers"
        in (done.path / "report.html").read_text()
    )


def test_a_file_that_differs_from_torch_is_not_written(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    honest = ensemble.probabilities
    monkeypatch.setattr(
        ensemble, "probabilities", lambda *words: np.roll(honest(*words), 1, axis=1)
    )
    with pytest.raises(Refused, match="does not agree with the trained network"):
        cross_validate(photos, out=tmp_path, ensemble=True, folds=2, set=SMALL, quiet=True)
    assert not list(tmp_path.iterdir())
