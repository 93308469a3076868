"""The gate: a model file that does not agree with torch is not written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tellapart
from helpers.images import write_image
from helpers.models import PREPROCESSING, noise, small_card, small_head, small_network
from helpers.predictions import with_probs
from tellapart import Predictor
from tellapart.cache import FeatureStore
from tellapart.catalog.scan import scan
from tellapart.catalog.table import Catalog
from tellapart.cli.main import main
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import decode_file
from tellapart.errors import Refused
from tellapart.evaluation.predictions import Predictions
from tellapart.export.compose import EMBEDDING, compose_model
from tellapart.export.gate import Parity, check_parity, check_reported
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.export.references import Reference, preprocessed_by, torch_references
from tellapart.modelfile.session import Session
from tellapart.pipeline import ship
from tellapart.sources.source import read_source

SMALL = {"preprocessing.size_px": 64}


@pytest.fixture(scope="module")
def model() -> bytes:
    return compose_model(small_network(), PREPROCESSING, small_head(), small_card())


@pytest.fixture(scope="module")
def references() -> list[Reference]:
    """Twenty images of many shapes, and what the network alone makes of them behind Pillow's
    resize.
    """
    network = Session(small_network())
    images = [noise(20 + 7 * seed, 60 - seed, seed) for seed in range(20)]
    tensors = [PREPROCESSING.normalised(PREPROCESSING.resized(image)) for image in images]
    return [
        Reference(image, network.run(tensor[None], [EMBEDDING])[0][0])
        for image, tensor in zip(images, tensors, strict=True)
    ]


# ── the comparison ──


def test_a_file_that_agrees_passes(model: bytes, references: list[Reference]):
    parity = check_parity(model, small_head(), PREPROCESSING, references)
    assert parity.passed
    assert parity.images == 20
    assert parity.from_files <= 0.01
    assert max(parity.from_tensors, parity.batched) <= 0.001
    assert parity.changed_answers == 0


def test_a_file_whose_head_has_hidden_layers_passes(references: list[Reference]):
    head = small_head(hidden=(16, 6))
    model = compose_model(small_network(), PREPROCESSING, head, small_card())
    assert check_parity(model, head, PREPROCESSING, references).passed


def test_one_image_is_enough_to_be_checked_with(model: bytes, references: list[Reference]):
    assert check_parity(model, small_head(), PREPROCESSING, references[:1]).passed


def test_another_head_than_the_trained_one_is_refused(model: bytes, references: list[Reference]):
    head = small_head()
    shifted = replace(head.layers, bias=head.layers.bias + np.array([0.1, 0, 0], np.float32))
    with pytest.raises(
        Refused, match="does not agree with the trained network, so it was not written"
    ):
        check_parity(model, replace(head, layers=shifted), PREPROCESSING, references)


def test_an_unfamiliarity_that_is_not_the_heads_is_refused(
    model: bytes, references: list[Reference]
):
    head = small_head()
    doubled = replace(head, familiarity=replace(head.familiarity, limit=2 * head.familiarity.limit))
    with pytest.raises(Refused, match="does not agree"):
        check_parity(model, doubled, PREPROCESSING, references)


def test_maps_and_unfamiliarity_of_a_file_that_agrees_are_near(
    model: bytes, references: list[Reference]
):
    parity = check_parity(model, small_head(), PREPROCESSING, references)
    assert max(parity.unfamiliarity, parity.activation_map) < 0.001


def test_a_map_of_another_class_than_the_answer_is_refused(references: list[Reference]):
    head = small_head()
    turned = compose_model(
        small_network(), PREPROCESSING, replace(head, answer_weights=(1e6, 1, 1)), small_card()
    )
    with pytest.raises(Refused, match=r"activation_map=[0-9.]*[1-9]"):
        check_parity(turned, head, PREPROCESSING, references)


def test_another_preprocessing_than_the_trained_one_is_refused(
    model: bytes, references: list[Reference]
):
    other = replace(PREPROCESSING, mean=(0.4, 0.5, 0.6))
    with pytest.raises(Refused, match="does not agree"):
        check_parity(model, small_head(), other, references)


@pytest.mark.parametrize("wrong", [0.5, np.nan])
def test_one_image_that_torch_sees_otherwise_is_enough_to_refuse(
    model: bytes, references: list[Reference], wrong: float
):
    odd = replace(references[7], embedding=references[7].embedding + np.float32(wrong))
    with pytest.raises(Refused, match="does not agree"):
        check_parity(model, small_head(), PREPROCESSING, [*references[:7], odd, *references[8:]])


def test_a_changed_answer_is_refused_however_small_the_difference():
    near = Parity(images=64, from_files=0.009, from_tensors=0.0, batched=0.0, changed_answers=1)
    assert not near.passed
    assert replace(near, changed_answers=0).passed


@pytest.mark.parametrize(
    "limit",
    [
        {"from_files": 0.011},
        {"from_tensors": 0.0011},
        {"batched": 0.0011},
        {"unfamiliarity": 0.006},
        {"activation_map": 0.006},
    ],
)
def test_each_limit_counts_by_itself(limit: dict[str, float]):
    good = Parity(images=64, from_files=0.01, from_tensors=0.001, batched=0.001, changed_answers=0)
    assert good.passed
    assert not replace(good, **limit).passed


# ── what is reported is what the file on disk says of the file on disk ──


@pytest.fixture
def reported(tmp_path: Path, model: bytes) -> tuple[Predictor, Catalog, Predictions]:
    predictor = Predictor(model)
    files = [write_image(tmp_path / name / f"{seed}.png", seed) for seed, name in enumerate("abc")]
    catalog = scan(read_source(tmp_path), rules=DecodeRules(max_pixels=10**6))
    probs = np.stack([predictor.outputs(decode_file(file).pixels).probs for file in files])
    return (
        predictor,
        catalog,
        Predictions(probs, catalog.labels, tuple(catalog.paths), catalog.classes),
    )


def test_what_the_file_says_may_be_reported(reported):
    predictor, catalog, predictions = reported
    assert check_reported(predictor, catalog, np.arange(3), predictions) == []


def test_no_test_images_are_nothing_to_check(reported):
    predictor, catalog, predictions = reported
    assert check_reported(predictor, catalog, np.arange(0), predictions) == []


def test_images_that_changed_or_vanished_meanwhile_are_left_out_and_named(reported, tmp_path: Path):
    predictor, catalog, predictions = reported
    write_image(tmp_path / "b" / "1.png", seed=9)
    (tmp_path / "c" / "2.png").unlink()
    assert check_reported(predictor, catalog, np.arange(3), predictions) == ["b/1.png", "c/2.png"]


def test_where_every_image_changed_meanwhile_nothing_may_be_reported(reported, tmp_path: Path):
    predictor, catalog, predictions = reported
    for file in tmp_path.glob("*/*.png"):
        file.unlink()
    with pytest.raises(
        Refused,
        match=r"All 3 images to check the model file with were changed meanwhile, for example a/0\.png",
    ):
        check_reported(predictor, catalog, np.arange(3), predictions)


def test_another_number_than_the_files_is_refused(reported):
    predictor, catalog, predictions = reported
    other = with_probs(predictions, np.roll(predictions.probs, 1, axis=0))
    with pytest.raises(Refused, match=r"does not say of ./\d\.png what was to be reported"):
        check_reported(predictor, catalog, np.arange(3), other)


# ── torch's side ──


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore(tmp_path / "cache") as store:
        yield store


def by_network(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    network = Session(small_network())
    return [network.run(image[None], [EMBEDDING])[0][0] for image in images]


def reference_rows(
    catalog: Catalog, store: FeatureStore, by_torch=by_network
) -> tuple[list[Reference], list[str]]:
    network = ExportedNetwork(small_network(), PREPROCESSING, "hand", "none", "0" * 64, {})
    return torch_references(catalog, np.arange(3), network, "graph", store, by_torch)


def test_references_are_asked_of_torch_once(reported, store: FeatureStore):
    first, changed = reference_rows(reported[1], store)
    store.flush()
    again, _ = reference_rows(
        reported[1], store, by_torch=lambda images: pytest.fail("asked twice")
    )
    assert (len(first), changed) == (3, [])
    assert all(
        (one.embedding == other.embedding).all() for one, other in zip(first, again, strict=True)
    )


def test_a_reference_that_changed_meanwhile_is_left_out_and_named(
    reported, store: FeatureStore, tmp_path: Path
):
    write_image(tmp_path / "b" / "1.png", seed=9)
    references, changed = reference_rows(reported[1], store)
    assert (len(references), changed) == (2, ["b/1.png"])
    assert check_parity(reported[0].graph, small_head(), PREPROCESSING, references).passed


def test_where_every_reference_changed_meanwhile_the_gate_stays_shut(
    reported, store: FeatureStore, tmp_path: Path
):
    for file in tmp_path.glob("*/*.png"):
        file.write_bytes(b"")
    with pytest.raises(
        Refused, match="All 3 images to check the model file with were changed meanwhile"
    ):
        reference_rows(reported[1], store)


# ── in a training ──


def test_a_run_says_how_far_its_file_is_from_torch(photos: Path, tmp_path: Path):
    run = tellapart.train(photos, set=SMALL, out=tmp_path / "runs", quiet=True)
    parity = json.loads((run.path / "metrics.json").read_text())["parity"]
    assert parity["images"] > 0
    assert parity["changed_answers"] == 0
    assert parity["from_files"] <= 0.01
    assert max(parity["from_tensors"], parity["batched"]) <= 0.001


@pytest.fixture
def torch_that_disagrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network on its own disagrees, which is torch's or, in int8, the packaged graph."""

    def lying(honest: Callable[..., Any]) -> Callable[..., Any]:
        def references(*arguments: object) -> tuple[object, ...]:
            found, *rest = honest(*arguments)
            return [replace(one, embedding=-one.embedding) for one in found], *rest

        return references

    monkeypatch.setattr(ship, "torch_references", lying(ship.torch_references))
    monkeypatch.setattr(ship, "own_references", lying(ship.own_references))


@pytest.mark.usefixtures("torch_that_disagrees")
@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_training_whose_file_disagrees_leaves_nothing_behind(
    precision: str, photos: Path, tmp_path: Path
):
    options = {**SMALL, "backbone.precision": precision}
    with pytest.raises(Refused, match="so it was not written"):
        tellapart.train(photos, set=options, out=tmp_path / "runs", quiet=True)
    assert not list(tmp_path.glob("runs/*"))


def test_a_resize_that_is_not_pillows_is_refused(model: bytes, references: list[Reference]):
    images = [reference.pixels for reference in references]
    own = preprocessed_by(model, images)
    turned = replace(PREPROCESSING, mode="pad")
    with pytest.raises(Refused, match=r"levels=\d\d"):
        check_parity(model, small_head(), turned, references, own)


@pytest.mark.parametrize(("levels", "passes"), [(2, True), (3, False)])
def test_levels_are_counted_whole(
    model: bytes, references: list[Reference], levels: int, passes: bool
):
    images = [reference.pixels for reference in references]
    pillow = PREPROCESSING.normalised(PREPROCESSING.resized(images[0]))
    own = [tensor.copy() for tensor in preprocessed_by(model, images)]
    own[0][0, 0, 0] = pillow[0, 0, 0] + np.float32(levels * PREPROCESSING.level)
    # The network then sees another pixel than the file, which is refused in any case.
    with pytest.raises(Refused, match=rf"levels={levels}\.0\)"):
        check_parity(model, small_head(), PREPROCESSING, references, own)
    assert Parity(1, 0.0, 0.0, 0.0, 0, levels=float(levels)).passed is passes


@pytest.mark.usefixtures("torch_that_disagrees")
def test_the_command_line_calls_that_exit_code_five(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = [
        "train",
        str(photos),
        "--set",
        "preprocessing.size_px=64",
        "--out",
        str(tmp_path / "runs"),
        "-q",
        "--json",
    ]
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 5
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "refused"


def test_a_larger_limit_of_pixels_holds_in_the_gate_too(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from tellapart import decoding

    for function in (decoding.decode, decoding.decode_file):
        monkeypatch.setitem(
            function.__kwdefaults__, "rules", DecodeRules(max_pixels=1000)
        )  # the images have 3,072
    run = tellapart.train(photos, set=SMALL, out=tmp_path / "runs", quiet=True)
    assert run.predictor().predict(photos / "sky" / "000.jpg").answer == "sky"
