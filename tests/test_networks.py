"""Networks: tellapart's own, random beginnings, one channel, other sizes, and the head as
numbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from tellapart import UserError
from tellapart.cache.packages import weights_identity
from tellapart.modelfile.layers import Layers
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.modelfile.session import Session
from tellapart.models.backbones import (
    Backbone,
    embedder,
    find_preprocessing,
    load_backbone,
)
from tellapart.models.classifier import Classifier, build_classifier
from tellapart.models.networks import OWN_NETWORKS, cnn, drawn_from, lenet
from tellapart.models.to_onnx import export_network
from tellapart.models.trial import trial_images
from tellapart.options import BackboneOptions, HeadOptions, PreprocessingOptions

torch.set_num_threads(1)
TINY = "test_efficientnet"


def backbone(name: str = "lenet", seed: int = 0, **wanted: object) -> Backbone:
    options = BackboneOptions(name=name, pretrained=False)
    return load_backbone(options, find_preprocessing(options, PreprocessingOptions(**wanted)), seed)


def classifier(name: str = "lenet", classes: int = 3, seed: int = 0, **head: object) -> Classifier:
    return build_classifier(backbone(name), HeadOptions(**head), classes, seed)


def same_numbers(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    others = other.state_dict()
    return all(torch.equal(values, others[name]) for name, values in one.state_dict().items())


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# ── tellapart's own ──


def test_lenet_is_the_tutorials_network():
    assert count(lenet()) == 62_006
    shapes = [tuple(values.shape) for values in lenet().parameters() if values.ndim > 1]
    assert shapes == [(6, 3, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84)]


def test_cnn_is_the_tutorials_network():
    assert count(cnn()) == 50_326
    shapes = [tuple(values.shape) for values in cnn().parameters() if values.ndim > 1]
    assert shapes == [(12, 3, 5, 5), (12, 12, 5, 5), (24, 12, 5, 5), (24, 24, 5, 5), (10, 2400)]


@pytest.mark.parametrize(("name", "width"), [("lenet", 84), ("cnn", 2400)])
def test_own_networks_classify_their_embedding(name: str, width: int):
    network = OWN_NETWORKS[name]().eval()
    images = torch.rand(2, 3, 32, 32)
    embedding = network.forward_head(network.forward_features(images), pre_logits=True)
    assert embedding.shape == (2, width) == (2, network.num_features)
    assert torch.equal(network.classifier(embedding), network(images))


def test_cnn_pools_once_after_its_second_convolution():
    shapes = []
    network = cnn()
    for block in network.blocks:
        block.register_forward_hook(
            lambda block, inputs, output: shapes.append(tuple(output.shape[1:]))
        )
    network(torch.zeros(1, 3, 32, 32))
    assert shapes == [(12, 30, 30), (12, 14, 14), (24, 12, 12), (24, 10, 10)]


@pytest.mark.parametrize("name", ["lenet", "cnn"])
def test_own_networks_can_be_exported(name: str):
    module = embedder(backbone(name))
    images = torch.rand(3, 3, 32, 32)
    (got,) = Session(export_network(module, 32)).run(images.numpy(), ["embedding"])
    assert np.allclose(got, module(images)[0].detach(), atol=1e-5)


def test_own_networks_see_images_of_32_px_centred_on_zero():
    options = BackboneOptions(name="cnn", pretrained=False)
    wanted = Preprocessing(size_px=32, spare_small=True)
    assert find_preprocessing(options, PreprocessingOptions()) == wanted


def test_own_networks_have_no_pretrained_weights():
    with pytest.raises(
        UserError, match=r"lenet has no pretrained weights\. .* --set backbone\.pretrained=false"
    ):
        find_preprocessing(BackboneOptions(name="lenet"), PreprocessingOptions())


def test_own_networks_take_no_other_size():
    with pytest.raises(UserError, match=r"preprocessing\.size_px must be 32 for lenet, got 64"):
        backbone(size_px=64)


# ── random beginnings ──


@pytest.mark.parametrize("name", ["lenet", TINY])
def test_random_numbers_are_a_function_of_the_seed(name: str):
    torch.manual_seed(1)
    first, again, other = (
        backbone(name, 7).network,
        backbone(name, 7).network,
        backbone(name, 8).network,
    )
    assert same_numbers(first, again)
    assert not same_numbers(first, other)


def test_drawing_them_changes_nothing_outside():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    classifier()
    assert torch.equal(torch.rand(3), expected)


def test_backbone_and_head_do_not_begin_with_the_same_numbers():
    with drawn_from(0, "backbone"):
        first = torch.rand(1)
    with drawn_from(0, "head"):
        assert torch.rand(1) != first


def test_a_random_beginning_is_told_apart_from_weights():
    found = backbone(TINY, 7).weights
    assert (found.source, found.licence, found.digest) == ("none", "", "random:7")
    options = BackboneOptions(name="tf_efficientnet_lite0", pretrained=False)
    assert weights_identity(options) == "random"
    assert weights_identity(BackboneOptions()) != "random"


def test_the_classifier_of_a_random_network_is_gone():
    assert "classifier.weight" not in backbone(TINY).network.state_dict()


# ── other channels and sizes ──


def test_one_channel_sees_what_three_equal_ones_did():
    options = BackboneOptions()
    three, one = (
        embedder(
            load_backbone(
                options, find_preprocessing(options, PreprocessingOptions(size_px=64, grey=grey))
            )
        )
        for grey in (False, True)
    )
    images = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert one.has_map
    assert torch.allclose(one(images)[0], three(images.expand(-1, 3, -1, -1))[0], atol=1e-4)


@pytest.mark.parametrize("name", ["lenet", "cnn", TINY])
def test_random_networks_take_one_channel_too(name: str):
    found = backbone(name, grey=True)
    assert trial_images(found.preprocessing).shape[1] == 1
    assert embedder(found)(trial_images(found.preprocessing, 2))[0].shape[0] == 2


def test_position_embeddings_are_resampled_to_another_size(tmp_path: Path):
    with drawn_from(0, "test"):
        network = timm.create_model("test_vit", pretrained=False)
    save_file(network.state_dict(), tmp_path / "vit.safetensors")
    options = BackboneOptions(name="test_vit", weights=str(tmp_path / "vit.safetensors"))
    larger = load_backbone(
        options, find_preprocessing(options, PreprocessingOptions(size_px=224))
    ).network
    assert network.pos_embed.shape[1] == 1 + 10 * 10
    assert larger.pos_embed.shape[1] == 1 + 14 * 14
    assert torch.equal(larger.pos_embed[0, 0], network.pos_embed[0, 0])  # of the class token
    assert torch.allclose(
        larger.pos_embed[0, 1:].mean(0), network.pos_embed[0, 1:].mean(0), atol=0.01
    )


@pytest.mark.parametrize(("name", "size"), [("efficientformer_l1", 64), ("twins_svt_small", 100)])
def test_a_size_that_the_network_cannot_take_is_said(name: str, size: int):
    with pytest.raises(
        UserError,
        match=rf"{name} cannot take images of {size} px \(.+\)\. Leave preprocessing\.size_px",
    ):
        backbone(name, size_px=size)


def test_the_recipe_may_change_filter_mean_and_std():
    wanted = PreprocessingOptions(
        filter="bilinear", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), grey=True
    )
    changed = find_preprocessing(BackboneOptions(), wanted)
    assert (changed.filter, changed.mean, changed.std) == (
        "bilinear",
        (0.1, 0.2, 0.3),
        (0.4, 0.5, 0.6),
    )
    assert changed.grey


# ── the head ──


@pytest.mark.parametrize("hidden", [(), (16,), (16, 8)])
def test_a_head_as_numbers_gives_the_same_logits(hidden: tuple[int, ...]):
    module = classifier(hidden=hidden).eval()
    embedding = torch.rand(5, 84)
    assert np.allclose(
        module.layers().logits(embedding.numpy()), module.head(embedding).detach(), atol=1e-5
    )
    assert module(torch.rand(2, 3, 32, 32)).shape == (2, 3)


def test_one_logit_becomes_two_that_say_the_same():
    module = classifier(classes=2, hidden=(8,), logits="one").eval()
    embedding = torch.rand(5, 84)
    logits = torch.from_numpy(module.layers().logits(embedding.numpy()))
    assert module(torch.rand(2, 3, 32, 32)).shape == (2, 1)
    assert torch.allclose(
        logits.softmax(1)[:, 1], module.head(embedding).sigmoid()[:, 0], atol=1e-6
    )


@pytest.mark.parametrize("classes", [1, 3])
def test_one_logit_is_for_two_classes(classes: int):
    with pytest.raises(
        UserError,
        match=rf"tells two classes apart, and there are {classes}\. Set head\.logits=classes",
    ):
        classifier(classes=classes, logits="one")


@pytest.mark.parametrize("head", [{}, {"hidden": (8,)}, {"logits": "one"}])
def test_a_head_begins_at_another_ones_numbers(head: dict[str, object]):
    first, second = classifier(classes=2, seed=0, **head), classifier(classes=2, seed=1, **head)
    assert not same_numbers(first.head, second.head)
    second.load_layers(first.layers())
    pairs = zip(first.head.parameters(), second.head.parameters(), strict=True)
    assert all(torch.allclose(one, other, atol=1e-7) for one, other in pairs)


def test_a_head_begins_at_a_probe():
    probe = Layers((), np.ones((3, 84), np.float32), np.arange(3, dtype=np.float32))
    module = classifier()
    module.load_layers(probe)
    assert module.head(torch.zeros(1, 84)).tolist() == [[0, 1, 2]]


def test_a_heads_numbers_are_its_own():
    module = classifier()
    before = module.layers()
    torch.nn.init.zeros_(module.head[-1].weight)
    assert before.weight.any()


def test_a_head_may_be_scaled():
    layers = classifier(hidden=(8,)).layers()
    features = np.random.default_rng(0).normal(size=(4, 84)).astype(np.float32)
    assert np.allclose(layers.scaled(2.0).logits(features), layers.logits(features) / 2, atol=1e-6)
