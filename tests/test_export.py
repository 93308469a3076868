"""Export: a torch network as a graph, and the model file put together around it."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import timm
import torch
from torch import nn

from helpers.models import PREPROCESSING, SIDE, noise, small_card, small_head, small_network
from tellapart import Predictor, UserError
from tellapart.evaluation.calibration import softmax
from tellapart.evaluation.standards import UNMEASURED
from tellapart.export import graph_cache as graphs
from tellapart.export.compose import (
    EMBEDDING,
    PREPROCESSED,
    compose_features,
    compose_model,
    cut_at,
)
from tellapart.export.graph_cache import ExportedNetwork, keep_network, kept_network
from tellapart.modelfile.familiarity import Familiarity
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.modelfile.session import Session
from tellapart.models.backbones import (
    Backbone,
    Embedder,
    embedder,
    find_preprocessing,
    load_backbone,
)
from tellapart.models.to_onnx import at_rest, export_by_dynamo, export_network, export_trained
from tellapart.models.weights import Weights, tensors_digest
from tellapart.options import BackboneOptions, PreprocessingOptions
from tellapart.probe.familiarity import fit_subspace

NO_WEIGHTS = Weights({}, "none", "none", "0" * 64)


# ── the model file put together ──


def test_the_same_parts_give_the_same_bytes():
    one, other = (
        compose_model(small_network(), PREPROCESSING, small_head(), small_card()) for _ in range(2)
    )
    assert one == other


def test_the_card_comes_back_out_of_the_file():
    assert (
        Predictor(compose_model(small_network(), PREPROCESSING, small_head(), small_card())).card
        == small_card()
    )


def test_probabilities_are_the_softmax_of_the_head_on_the_embedding():
    head = small_head()
    out = Predictor(compose_model(small_network(), PREPROCESSING, head, small_card())).outputs(
        noise()
    )
    logits = head.layers.weight @ out.embedding + head.layers.bias
    assert out.probs == pytest.approx(np.exp(logits) / np.exp(logits).sum(), abs=1e-5)


def test_hidden_layers_are_in_the_graph_and_there_is_no_activation_map():
    head = small_head(hidden=(16, 6))
    predictor = Predictor(compose_model(small_network(), PREPROCESSING, head, small_card()))
    out = predictor.outputs(noise())
    assert out.probs == pytest.approx(softmax(head.layers.logits(out.embedding[None]))[0], abs=1e-5)
    assert predictor.activation_map(noise()) is None


def test_a_grey_network_takes_one_channel_behind_the_same_pixels():
    grey = replace(PREPROCESSING, grey=True)
    network = small_network(channels=1)
    predictor = Predictor(
        compose_model(network, grey, small_head(), replace(small_card(), preprocessing=grey))
    )
    tensor = grey.normalised(grey.resized(noise()))
    assert predictor.card.preprocessing.grey
    assert predictor.outputs(noise()).embedding == pytest.approx(
        Session(network).run(tensor[None], [EMBEDDING])[0][0], abs=0.1
    )


@pytest.mark.parametrize("classes", [1, 2, 3, 40])
def test_the_graph_measures_unfamiliarity_as_numpy_does(classes: int):
    head = small_head(classes=classes)
    file = compose_model(
        small_network(), PREPROCESSING, head, small_card(tuple(map(str, range(classes))))
    )
    out = Predictor(file).outputs(noise())
    embedding = out.embedding[None]
    expected = head.familiarity.unfamiliarity(embedding, head.layers.logits(embedding))
    assert out.unfamiliarity == pytest.approx(float(expected[0]), rel=1e-4)


def test_unfamiliarity_that_cannot_be_measured_is_zero():
    familiarity = Familiarity(fit_subspace(np.ones((1, 8), np.float32)), UNMEASURED, math.inf)
    head = replace(small_head(), familiarity=familiarity)
    file = compose_model(small_network(), PREPROCESSING, head, small_card())
    assert Predictor(file).outputs(noise()).unfamiliarity == 0


def test_features_and_model_file_give_the_same_embedding_bit_for_bit():
    features = Session(compose_features(small_network(), PREPROCESSING))
    whole = Predictor(compose_model(small_network(), PREPROCESSING, small_head(), small_card()))
    assert (
        features.run(noise()[None], [EMBEDDING])[0][0] == whole.outputs(noise()).embedding
    ).all()


def test_what_is_cut_off_says_what_the_whole_says():
    model = compose_model(small_network(), PREPROCESSING, small_head(), small_card())
    whole = Predictor(model).outputs(noise())
    tail = Session(cut_at(model, EMBEDDING, ["probabilities", "unfamiliarity"]))
    probs, unfamiliarity = tail.run(whole.embedding[None], ["probabilities", "unfamiliarity"])
    assert (probs[0] == whole.probs).all()
    assert unfamiliarity[0] == whole.unfamiliarity


def test_a_cut_before_the_network_takes_the_preprocessed_tensor():
    model = compose_model(small_network(), PREPROCESSING, small_head(), small_card())
    tensor = PREPROCESSING.normalised(PREPROCESSING.resized(noise()))
    probs = Session(cut_at(model, PREPROCESSED, ["probabilities"])).run(
        tensor[None], ["probabilities"]
    )[0][0]
    assert probs == pytest.approx(Predictor(model).outputs(noise()).probs, abs=0.05)


def test_a_network_without_a_feature_map_gives_a_file_without_an_activation_map():
    head = small_head()
    predictor = Predictor(
        compose_model(small_network(with_map=False), PREPROCESSING, head, small_card())
    )
    assert predictor.activation_map(noise()) is None
    assert predictor.outputs(noise()).probs.sum() == pytest.approx(1)


# ── a torch network as a graph ──


@pytest.fixture(scope="module")
def tiny() -> Embedder:
    """A small convolutional network of timm's, with random weights."""
    torch.manual_seed(0)
    network = timm.create_model("test_efficientnet", pretrained=False).eval()
    return embedder(Backbone(network, NO_WEIGHTS, Preprocessing(size_px=64)))


def by_torch(module: Embedder, images: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return module(images)[0].numpy()


@pytest.fixture(scope="module")
def graph(tiny: Embedder) -> bytes:
    return export_network(tiny, 64)


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_the_graph_says_what_torch_says_at_every_batch_size(
    tiny: Embedder, graph: bytes, batch: int
):
    images = torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    (embedding,) = Session(graph).run(images.numpy(), [EMBEDDING])
    assert embedding == pytest.approx(by_torch(tiny, images), abs=1e-4)


def test_a_second_export_is_byte_identical_and_leaves_the_network_as_it_was(
    tiny: Embedder, graph: bytes
):
    before = by_torch(tiny, torch.ones(1, 3, 64, 64))
    assert export_network(tiny, 64) == graph
    assert (by_torch(tiny, torch.ones(1, 3, 64, 64)) == before).all()


def test_a_network_that_does_not_end_in_mean_pooling_has_no_map():
    torch.manual_seed(0)
    network = timm.create_model("test_vit", pretrained=False).eval()
    module = embedder(Backbone(network, NO_WEIGHTS, Preprocessing(size_px=160)))
    graph = onnx.load_from_string(export_network(module, 160))
    assert not module.has_map
    assert [output.name for output in graph.graph.output] == [EMBEDDING]


def test_where_tracing_fails_the_newer_exporter_is_used(tiny: Embedder):
    def broken(*arguments: object) -> None:
        raise RuntimeError("tracing is gone")

    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    graph = export_network(tiny, 64, exporters=[broken, export_by_dynamo])
    (embedding,) = Session(graph).run(images.numpy(), [EMBEDDING])
    assert embedding == pytest.approx(by_torch(tiny, images), abs=1e-4)


class Unwritable(nn.Module):
    """Does what no graph can say."""

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.linalg.svd(images.numpy())[1])

    def forward_head(self, features: torch.Tensor, *, pre_logits: bool) -> torch.Tensor:
        return features.mean(dim=(2,))


def test_a_network_that_no_exporter_can_write_is_refused_with_the_reasons():
    with pytest.raises(
        UserError, match=r"cannot be written as ONNX \(.+; .+\)\. Choose another backbone"
    ):
        export_network(Embedder(Unwritable()), 8)


# ── a trained network as a graph ──


@pytest.fixture
def trained() -> Embedder:
    """As it is when training ends: training on, statistics moved, channels last, gradients
    there.
    """
    torch.manual_seed(0)
    module = embedder(
        Backbone(timm.create_model("test_efficientnet"), NO_WEIGHTS, Preprocessing(size_px=64))
    )
    module.train().to(memory_format=torch.channels_last)
    for _ in range(3):
        module(1 + 2 * torch.randn(4, 3, 64, 64))[0].sum().backward()
    return module


def test_a_trained_network_is_exported_as_it_answers_not_as_it_learns(trained: Embedder):
    network = export_trained(trained, Preprocessing(size_px=64), NO_WEIGHTS)
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    (embedding,) = Session(network.graph).run(images.numpy(), [EMBEDDING])
    assert embedding == pytest.approx(by_torch(at_rest(trained), images), abs=1e-4)
    assert embedding == pytest.approx(by_torch(trained.eval(), images), abs=1e-4)


def test_exporting_a_trained_network_changes_nothing_of_it(trained: Embedder):
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    export_trained(trained, Preprocessing(size_px=64), NO_WEIGHTS)
    assert all(module.training for module in trained.modules())
    assert all(value.requires_grad for value in trained.parameters())
    assert trained.network.conv_stem.weight.is_contiguous(memory_format=torch.channels_last)
    assert all((trained.state_dict()[name] == tensor).all() for name, tensor in before.items())


def test_a_trained_network_says_what_it_came_from(trained: Embedder):
    began = Weights({"any": torch.zeros(1)}, "package some-weights", "Apache-2.0", "0" * 64)
    network = export_trained(trained, Preprocessing(size_px=64), began)
    assert (network.source, network.licence) == (
        "trained here from package some-weights",
        "Apache-2.0",
    )
    by_chance = export_trained(trained, Preprocessing(size_px=64), NO_WEIGHTS)
    assert (by_chance.source, by_chance.licence) == (
        "trained here from random numbers",
        "none needed",
    )


def test_the_digest_of_tensors_is_theirs_alone(trained: Embedder):
    still = at_rest(trained)
    first = tensors_digest(still)
    assert tensors_digest(at_rest(trained)) == first
    with torch.no_grad():
        next(still.parameters()).view(-1)[0] += 1e-6
    assert tensors_digest(still) != first


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("name", ["lenet", "cnn"])
def test_the_networks_written_here_are_exported_at_their_32_pixels(name: str, grey: bool):
    options = BackboneOptions(name=name, pretrained=False)
    backbone = load_backbone(options, find_preprocessing(options, PreprocessingOptions(grey=grey)))
    network = export_trained(embedder(backbone), backbone.preprocessing, backbone.weights)
    images = [backbone.preprocessing.normalised(noise(32, 32, seed)) for seed in range(3)]
    (got,) = Session(network.graph).run(np.stack(images), [EMBEDDING])
    assert got == pytest.approx(np.stack(embedder(backbone).embed(images)), abs=1e-4)
    assert [output.name for output in onnx.load_from_string(network.graph).graph.output] == [
        EMBEDDING
    ]


# ── kept, so that a second training needs no torch ──


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


NETWORK = ExportedNetwork(small_network(), PREPROCESSING, "hand", "none", "0" * 64, {"torch": "2"})
OPTIONS = BackboneOptions(), PreprocessingOptions(size_px=SIDE)


def test_a_kept_network_comes_back_as_it_was(own_folder: Path):
    assert kept_network(*OPTIONS) is None
    keep_network(NETWORK, *OPTIONS)
    assert kept_network(*OPTIONS) == NETWORK


def test_a_network_is_kept_for_its_own_options_only(own_folder: Path):
    keep_network(NETWORK, *OPTIONS)
    for other in (
        {"size_px": 64},
        {"grey": True},
        {"filter": "bilinear"},
        {"mean": (0, 0, 0)},
        {"std": (1, 1, 1)},
    ):
        assert kept_network(OPTIONS[0], replace(OPTIONS[1], **other)) is None
    assert kept_network(BackboneOptions(name="tf_efficientnet_lite1"), OPTIONS[1]) is None


def test_a_network_of_random_numbers_is_never_kept(own_folder: Path):
    by_chance = BackboneOptions(pretrained=False)
    keep_network(NETWORK, by_chance, OPTIONS[1])
    assert not own_folder.exists()
    keep_network(NETWORK, *OPTIONS)
    assert kept_network(by_chance, OPTIONS[1]) is None


@pytest.mark.parametrize("name", ["network.onnx", "card.json"])
@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"[]" + data]
)
def test_a_damaged_kept_network_is_not_used(own_folder: Path, name: str, damage):
    keep_network(NETWORK, *OPTIONS)
    (file,) = own_folder.rglob(name)
    file.write_bytes(damage(file.read_bytes()))
    assert kept_network(*OPTIONS) is None


def test_a_cache_that_cannot_be_written_to_is_no_reason_to_stop(own_folder: Path):
    own_folder.write_text("a file where the folder should be")
    keep_network(NETWORK, *OPTIONS)
    assert kept_network(*OPTIONS) is None


def test_of_very_many_networks_the_newest_are_kept(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(graphs, "MAX_KEPT", 2)
    each = [replace(OPTIONS[1], size_px=size) for size in (32, 64, 96)]
    for age, options in zip((30, 20, 10), each, strict=True):
        keep_network(NETWORK, OPTIONS[0], options)
        for card in own_folder.rglob("card.json"):
            os.utime(card, (card.stat().st_mtime - age,) * 2)
    assert [kept_network(OPTIONS[0], options) is not None for options in each] == [
        False,
        True,
        True,
    ]
