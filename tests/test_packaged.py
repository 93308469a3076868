"""The packaged backbones: read, built and made int8 without torch, and held against torch."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from make_int8 import crops, make

from helpers.images import write_classes
from tellapart import UserError, train
from tellapart.cache.packages import packaged_file
from tellapart.errors import Refused
from tellapart.export.compose import EMBEDDING, FEATURES
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.export.quantize import embedding_distance, quantize, safe_scales
from tellapart.modelfile.session import Session
from tellapart.models.backbones import embedder, load_backbone
from tellapart.models.to_onnx import export_network
from tellapart.options import BackboneOptions, PreprocessingOptions
from tellapart.packaged import networks
from tellapart.packaged.networks import int8_card, packaged_network
from tellapart.packaged.tensor_file import read_tensors

LITE0 = "tf_efficientnet_lite0"
LITES = [LITE0, "tf_efficientnet_lite1", "tf_efficientnet_lite2"]


class Canary:
    """A pickle of it would write a file when it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.file}",)


def network(name: str = LITE0, *, int8: bool = False, **wanted: object) -> ExportedNetwork:
    options = PreprocessingOptions(**wanted)  # type: ignore[arg-type]
    found = packaged_network(BackboneOptions(name=name), options, int8=int8)
    assert found
    return found


def noise(channels: int, size_px: int) -> np.ndarray:
    chance = np.random.default_rng(0)
    return chance.uniform(-1, 1, (1, channels, size_px, size_px)).astype(np.float32)


def shown(found: ExportedNetwork, count: int = 8) -> list[np.ndarray]:
    """Real images, as the network takes them."""
    take = found.preprocessing
    return [take.normalised(take.resized(crop)) for crop in crops()[:count]]


# ── the reader of tensors ──


@pytest.mark.parametrize("name", LITES)
def test_the_published_tensors_are_read_as_torch_reads_them(name: str):
    path = packaged_file(name)
    assert path
    found, wanted = read_tensors(path), torch.load(path, weights_only=True)
    assert list(found) == list(wanted)
    assert all((found[key] == value.numpy()).all() for key, value in wanted.items())


@pytest.mark.parametrize("archive", [True, False])
def test_parts_of_a_storage_are_read_in_both_layouts(archive: bool, tmp_path: Path):
    whole = torch.arange(24.0).reshape(4, 6)
    tensors = OrderedDict(
        turned=whole.T, part=whole[1:3, 2:5], half=whole.half(), number=whole.sum()
    )
    torch.save(tensors, tmp_path / "w.pth", _use_new_zipfile_serialization=archive)
    found = read_tensors(tmp_path / "w.pth")
    assert {key: value.tolist() for key, value in found.items()} == {
        key: value.tolist() for key, value in tensors.items()
    }


@pytest.mark.parametrize("archive", [True, False])
def test_a_file_that_would_run_something_is_refused(archive: bool, tmp_path: Path):
    canary = tmp_path / "canary"
    table = {"weight": torch.zeros(2), "trap": Canary(canary)}
    torch.save(table, tmp_path / "w.pth", _use_new_zipfile_serialization=archive)
    with pytest.raises(
        UserError, match=r"is not a table of plain tensors \(it asks for posix\.system"
    ):
        read_tensors(tmp_path / "w.pth")
    assert not canary.exists()


def test_a_plain_pickle_that_would_run_something_is_refused(tmp_path: Path):
    canary = tmp_path / "canary"
    (tmp_path / "w.pth").write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(UserError, match="is not a table of plain tensors"):
        read_tensors(tmp_path / "w.pth")
    assert not canary.exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_refused(share: float, tmp_path: Path):
    path = packaged_file(LITE0)
    assert path
    data = path.read_bytes()
    (tmp_path / "w.pth").write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match="is not a table of plain tensors"):
        read_tensors(tmp_path / "w.pth")


def test_a_missing_file_is_an_error_of_the_user(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read"):
        read_tensors(tmp_path / "none.pth")


def test_another_file_than_the_published_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "w.pth").write_bytes(b"other")
    monkeypatch.setattr(networks, "packaged_file", lambda name: tmp_path / "w.pth")
    with pytest.raises(Refused, match="are not the published ones"):
        network()


# ── the graphs ──


@pytest.mark.parametrize(
    ("name", "size_px"), [(LITES[0], 224), (LITES[0], 97), (LITES[1], 240), (LITES[2], 90)]
)
def test_the_graph_gives_what_torch_gives(name: str, size_px: int):
    found = network(name, size_px=size_px)
    backbone = load_backbone(BackboneOptions(name=name), found.preprocessing)
    image = noise(3, size_px)
    with torch.inference_mode():
        embedding, features = embedder(backbone)(torch.from_numpy(image))
    got = Session(found.graph).run(image, [EMBEDDING, FEATURES])
    assert np.abs(got[0] - embedding.numpy()).max() < 1e-5 * max(1, float(embedding.max()))
    assert np.abs(got[1] - features.numpy()).max() < 1e-4


def test_the_graph_of_a_grey_network_gives_what_torch_gives():
    found = network(size_px=96, grey=True)
    backbone = load_backbone(BackboneOptions(name=LITE0), found.preprocessing)
    image = noise(1, 96)
    with torch.inference_mode():
        (embedding, _) = embedder(backbone)(torch.from_numpy(image))
    (got,) = Session(found.graph).run(image, [EMBEDDING])
    assert np.abs(got - embedding.numpy()).max() < 1e-4


def test_a_network_whose_weights_the_user_gives_is_not_the_packaged_one():
    options = BackboneOptions(name=LITE0, weights="mine.pth")
    assert packaged_network(options, PreprocessingOptions(), int8=True) is None


# ── int8 ──


def test_the_int8_network_is_made_anew_as_it_came():
    graph, card = make(LITE0)
    came = int8_card(LITE0)
    if card["versions"] == came["versions"]:
        assert hashlib.sha256(graph).hexdigest() == came["graph_digest"]
    found = network(int8=True)
    assert embedding_distance(graph, found.graph, shown(found)) < 0.02


def test_the_int8_network_is_as_far_from_fp32_as_its_card_says():
    found, exact = network(int8=True), network()
    assert embedding_distance(found.graph, exact.graph, shown(found)) == pytest.approx(
        found.distance, abs=0.03
    )


@pytest.mark.parametrize("size_px", [96, 97, 160])
def test_the_int8_network_takes_other_sizes(size_px: int):
    found, exact = network(int8=True, size_px=size_px), network(size_px=size_px)
    assert embedding_distance(found.graph, exact.graph, shown(found)) < 0.3


def test_the_int8_network_takes_grey_images_as_three_equal_channels():
    grey, colour = network(int8=True, grey=True), network(int8=True)
    image = noise(1, 224)
    (one,) = Session(grey.graph).run(image, [EMBEDDING])
    (three,) = Session(colour.graph).run(np.repeat(image, 3, axis=1), [EMBEDDING])
    assert (one == three).all()


def test_the_ranges_of_the_int8_network_hold_for_its_own_mean_alone():
    assert network(int8=True, mean=(0.4, 0.4, 0.4)).precision == "fp32"


def test_a_damaged_int8_network_is_refused(monkeypatch: pytest.MonkeyPatch):
    read = networks.packaged_data
    monkeypatch.setattr(
        networks, "packaged_data", lambda file: read(file).replace(b"features", b"featuers")
    )
    with pytest.raises(Refused, match="is not the one that tellapart came with"):
        network(int8=True)


@given(arrays(np.float32, (3, 7), elements=st.floats(-2, 2, width=32)))
def test_no_two_neighbours_saturate(rows: np.ndarray):
    integers = np.round(rows / safe_scales(rows)[:, None])
    even = np.pad(integers, ((0, 0), (0, 1)))
    for part in (np.maximum(even, 0), -np.minimum(even, 0)):
        assert (255 * (part[:, ::2] + part[:, 1::2])).max() < 2**15
    assert np.abs(integers).max() <= 127


def test_an_exported_network_is_made_int8_by_images_of_the_user():
    options = BackboneOptions(name="resnet10t", pretrained=False)
    take = network(size_px=64).preprocessing
    backbone = load_backbone(options, take)
    graph = export_network(embedder(backbone), 64)
    images = [take.normalised(take.resized(crop)) for crop in crops()[:8]]
    int8 = quantize(graph, images)
    assert len(int8) < 0.35 * len(graph)
    assert embedding_distance(int8, graph, images) < 0.1
    assert int8 == quantize(graph, images)


def test_a_training_calculates_in_int8_by_default_and_says_so(tmp_path: Path):
    data = write_classes(tmp_path / "photos", 12)
    run = train(data, set={"preprocessing.size_px": 64}, out=tmp_path / "runs", quiet=True)
    assert run.predictor().card.precision == "int8"
    record = json.loads((run.path / "metrics.json").read_text())
    assert record["precision"] == {"numbers": "int8", "distance_from_fp32": 0.136}
    assert Path(run.model).stat().st_size < 5_000_000
