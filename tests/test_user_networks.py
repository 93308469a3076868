"""Networks of the user's own: as a frozen backbone, in gradient training, and in the model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from helpers.catalogs import scan_folder
from helpers.images import write_classes
from helpers.training import run_fit, same_bits, training_data_of
from tellapart.errors import UserError
from tellapart.export.compose import EMBEDDING
from tellapart.extensions import Extensions, Network
from tellapart.modelfile.session import Session
from tellapart.models.backbones import (
    Backbone,
    embedder,
    find_preprocessing,
    load_backbone,
)
from tellapart.models.classifier import build_classifier
from tellapart.models.stages import frozen_upto, stage_names
from tellapart.models.to_onnx import export_backbone, export_trained
from tellapart.models.trial import trial_images
from tellapart.models.zoo import BackboneFacts, backbones
from tellapart.options import BackboneOptions, FreezeOptions, HeadOptions, PreprocessingOptions
from tellapart.pipeline.probe import LoadedBackbone
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.sources.source import read_source
from tellapart.training.phases import TrainingData


def mapped(channels: int = 3) -> nn.Module:
    """Three stages that give feature maps (N, 8, 8, 8) of images of 32 pixels."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Conv2d(8, 8, 3, 1, 1),
    )


def flat() -> nn.Module:
    """Embeddings (N, 6)."""
    return nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 6))


MAPPED = Network(mapped, width=8, size_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
FLAT = Network(flat, width=6, size_px=32)


pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """15 train images of three classes, and 6 of val."""
    folder = write_classes(tmp_path_factory.mktemp("networks") / "photos", 7)
    return training_data_of(scan_folder(folder))


def loaded(network: Network, seed: int = 0, **wanted: Any) -> Backbone:
    """The network as the recipe's backbone."""
    options, networks = BackboneOptions(name="mine"), {"mine": network}
    preprocessing = find_preprocessing(options, PreprocessingOptions(**wanted), networks)
    return load_backbone(options, preprocessing, seed, networks)


# ── as a backbone ──


def test_its_images_are_prepared_as_it_says():
    preprocessing = loaded(MAPPED).preprocessing
    assert (preprocessing.size_px, preprocessing.mean) == (32, (0.5, 0.5, 0.5))
    assert loaded(MAPPED, size_px=64).preprocessing.size_px == 64


@pytest.mark.parametrize(("network", "width", "has_map"), [(MAPPED, 8, True), (FLAT, 6, False)])
def test_a_feature_map_is_pooled_and_an_embedding_is_taken_as_it_is(
    network: Network, width: int, has_map: bool
):
    backbone = loaded(network)
    module = embedder(backbone)
    assert module.has_map == has_map
    assert module(trial_images(backbone.preprocessing, 2))[0].shape == (2, width)


def test_the_seed_decides_the_numbers_of_a_network_that_a_function_builds():
    first, again, other = (loaded(FLAT, seed=seed).weights.digest for seed in (0, 0, 1))
    assert first == again != other


def test_a_module_is_copied_with_its_numbers():
    module = mapped()
    backbone = loaded(Network(module, width=8, size_px=32))
    with torch.no_grad():
        backbone.network.body[2].weight.zero_()
    assert module[2].weight.any()
    assert loaded(Network(module, width=8, size_px=32), seed=7).network.body[2].weight.any()


def test_it_may_take_one_channel():
    network = Network(lambda: mapped(1), width=8, size_px=32)
    assert loaded(network, grey=True).preprocessing.channels == 1


def test_its_children_are_its_stages():
    stages = stage_names(loaded(MAPPED).network)
    assert stages == ("body.0", "body.1", "body.2")
    assert frozen_upto(FreezeOptions(upto="70%"), stages, 0) == "body.1"
    assert stage_names(loaded(Network(OneLayer, width=3, size_px=32)).network) == ("body",)


class OneLayer(nn.Module):
    """A network without children."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3)) * self.scale


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Network(lambda: 3, width=8), "builds a int"),
        (Network(mapped, width=7, size_px=32), "gives 8 values for an image, and its width is 7"),
        (Network(flat, width=6, size_px=64), "cannot take an image .1, 3, 64, 64."),
        (Network(lambda: nn.Flatten(0), width=6, size_px=32), "gives .3072. for one image"),
        (Network(lambda: Many(), width=6, size_px=32), "gives a tuple for one image"),
    ],
)
def test_what_is_no_backbone_is_refused_with_what_to_do(network: Network, words: str):
    with pytest.raises(UserError, match=f"networks={{'mine': …}} {words}") as wrong:
        loaded(network)
    assert wrong.value.hint


class Many(nn.Module):
    """A network with two outputs."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, images


@pytest.mark.parametrize("name", ["lenet", "resnet18", "resnet18.a1_in1k"])
def test_the_name_of_another_network_is_refused(name: str):
    with pytest.raises(UserError, match="has the name of a network that there is already"):
        find_preprocessing(BackboneOptions(name=name), PreprocessingOptions(), {name: FLAT})


def test_a_misspelt_name_is_answered_with_the_users_own():
    with pytest.raises(UserError, match=r"Did you mean 'my_network'"):
        find_preprocessing(
            BackboneOptions(name="my_netwrk"), PreprocessingOptions(), {"my_network": FLAT}
        )


def test_weights_of_a_file_are_for_the_user_to_load():
    options = BackboneOptions(name="mine", weights="mine.pth")
    with pytest.raises(UserError, match="Load the weights where the network is built"):
        find_preprocessing(options, PreprocessingOptions(), {"mine": FLAT})


# ── as a graph ──


@pytest.mark.parametrize("network", [MAPPED, FLAT])
def test_its_graph_says_what_torch_says(network: Network):
    backbone = loaded(network)
    module, images = embedder(backbone), trial_images(backbone.preprocessing, 2)
    exported = export_backbone(backbone, module)
    (embedding,) = Session(exported.graph).run(images.numpy(), [EMBEDDING])
    np.testing.assert_allclose(embedding, module(images)[0].detach().numpy(), atol=1e-5)
    assert (exported.source, exported.licence) == ("the user's network mine", "unknown")


class Scaled(nn.Module):
    """The same tensors may stand for another function."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.inner, self.factor = nn.Conv2d(3, 8, 3), factor
        nn.init.constant_(self.inner.weight, 0.1)
        nn.init.zeros_(self.inner.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images) * self.factor


def test_the_digest_is_of_the_numbers_and_of_what_is_done_with_them():
    backbones = [loaded(Network(Scaled(factor), width=8, size_px=32)) for factor in (1.0, 1.0, 2.0)]
    first, same, other = (export_backbone(one, embedder(one)).digest for one in backbones)
    assert len({backbone.weights.digest for backbone in backbones}) == 1
    assert first == same != other


def test_its_graph_is_never_kept_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path))
    recipe, console = Recipe(backbone=BackboneOptions(name="mine")), Console(quiet=True)
    networks = [Network(Scaled(factor), width=8, size_px=32) for factor in (1.0, 2.0)]
    own = [Extensions(networks={"mine": network}) for network in networks]
    catalog = read_source(write_classes(tmp_path / "photos", 2))
    graphs = [LoadedBackbone(recipe, console, parts, catalog).exported().graph for parts in own]
    assert graphs[0] != graphs[1]
    assert not (tmp_path / "networks").exists()


# ── in gradient training ──


@pytest.mark.parametrize(
    "freeze",
    [{}, {"freeze.upto": "body.0"}, {"freeze.upto": "body.1", "freeze.views": 2}],
)
def test_it_learns_by_gradient_as_far_as_it_is_not_frozen(
    tmp_path: Path, data: TrainingData, freeze: dict[str, Any]
):
    parts = Extensions(networks={"mine": MAPPED})
    changes = {"backbone.name": "mine", **freeze}
    outcome = run_fit(tmp_path / "trained", data, changes, extensions=parts)
    first = build_classifier(loaded(MAPPED, seed=1), HeadOptions(), 3, seed=1).state_dict()
    moved = {name for name, value in outcome.weights.items() if not torch.equal(value, first[name])}
    assert "embedder.network.body.2.weight" in moved
    assert ("embedder.network.body.0.0.weight" in moved) == (not freeze)


def test_a_run_with_it_is_the_same_again(tmp_path: Path, data: TrainingData):
    parts = Extensions(networks={"mine": FLAT})
    first, again = (
        run_fit(tmp_path / name, data, {"backbone.name": "mine"}, extensions=parts)
        for name in ("first", "again")
    )
    assert same_bits(first.weights, again.weights)


def test_the_trained_network_is_exported_with_the_licence_that_was_stated():
    network = Network(mapped, width=8, size_px=32, licence="MIT")
    backbone = loaded(network)
    exported = export_trained(embedder(backbone), backbone.preprocessing, backbone.weights)
    assert exported.source == "trained here from the user's network mine"
    assert exported.licence == "MIT"


# ── registered with timm ──


class Registered(nn.Module):
    """A network with the interface that timm asks for."""

    def __init__(self, num_classes: int, in_chans: int) -> None:
        super().__init__()
        self.num_features = 8
        self.stem = mapped(in_chans)
        self.head = nn.Linear(8, num_classes)

    def reset_classifier(self, num_classes: int) -> None:
        self.head = nn.Linear(8, num_classes) if num_classes else nn.Identity()

    def forward_features(self, images: Tensor) -> Tensor:
        return self.stem(images)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        embedding = features.mean(dim=(2, 3))
        return embedding if pre_logits else self.head(embedding)

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))


@timm.models.register_model
def registered_here(pretrained: bool = False, **options: Any) -> nn.Module:
    return Registered(options.get("num_classes", 10), options.get("in_chans", 3))


def test_a_network_that_timm_knows_by_registration_needs_no_more_than_its_name(
    tmp_path: Path, data: TrainingData
):
    changes = {"backbone.name": "registered_here", "training.epochs": 1}
    changes |= {"preprocessing.size_px": 32}
    outcome = run_fit(tmp_path, data, changes)
    assert outcome.progress.step == 2
    assert stage_names(outcome.classifier.embedder.network) == ("stem",)


def test_a_registered_network_is_in_the_list_of_backbones():
    found = backbones("registered_here")
    assert found == [BackboneFacts("registered_here", 1_514, 224, "", "none")]


def test_a_registered_network_without_weights_says_how_to_go_on():
    options = BackboneOptions(name="registered_here")
    preprocessing = find_preprocessing(options, PreprocessingOptions())
    with pytest.raises(UserError, match="registered_here has no published weights") as wrong:
        load_backbone(options, preprocessing)
    assert "backbone.weights=FILE" in wrong.value.hint
    assert "backbone.pretrained=false" in wrong.value.hint
