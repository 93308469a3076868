"""`pick`: what it measures, what it advises, and what it says of those that fail."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from helpers.images import write_classes
from helpers.pages import Page
from tellapart.cli.main import app
from tellapart.errors import Refused, UserError
from tellapart.experiments import shortlist
from tellapart.jobs.pick import candidates as jobs_candidates
from tellapart.jobs.pick import pick as jobs_picking
from tellapart.jobs.pick.pick import Picked, pick
from tellapart.models import weights
from tellapart.pipeline import loaded_backbones
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.sources.source import read_source


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two tiny networks, as `backbones` takes them."""
    folder, made = tmp_path_factory.mktemp("weights"), []
    for name in ("test_efficientnet", "test_resnet"):
        torch.manual_seed(0)
        save_file(
            timm.create_model(name, pretrained=False).state_dict(), folder / f"{name}.safetensors"
        )
        made.append(f"{name}={folder / name}.safetensors")
    return made


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """No network, and nothing in the hub's cache; the names for which the hub was asked."""
    asked: list[str] = []

    def ask(name: str, repository: str) -> None:
        asked.append(name)
        raise UserError(f"The weights of {name} are not here (no network).")

    monkeypatch.setattr(weights, "check_hub", ask)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return asked


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("many") / "photos", 16)


@pytest.fixture(scope="module")
def picked(many: Path, files: list[str]) -> Picked:
    return pick(
        many, backbones=files, out=many.parent / "pick.html", set={"split.val": 0.3}, quiet=True
    )


def accuracies(picked: Picked) -> dict[str, float]:
    return {candidate.name: candidate.metrics.accuracy.value for candidate in picked.candidates}


def test_pick_measures_each_and_says_which_to_take(picked: Picked):
    answer = picked.as_json()
    assert {candidate["name"] for candidate in answer["candidates"]} == {
        "test_efficientnet",
        "test_resnet",
    }
    assert (
        answer["val"]["count"]
        == answer["candidates"][0]["accuracy"]["count"]
        == picked.counts["val"]
        > 10
    )
    assert answer["chosen"] in picked.lines[0]
    assert all(
        row["latency_ms"]["low"] <= row["latency_ms"]["median"] for row in answer["candidates"]
    )
    times = [candidate.ms for candidate in picked.candidates]
    assert times == sorted(times)
    assert all(row["ms"] > row["decoding_ms"]["median"] > 0 for row in answer["candidates"])


def test_the_next_command_trains_with_it(picked: Picked, files: list[str]):
    file = next(
        file.partition("=")[2] for file in files if file.startswith(picked.advice.chosen.name)
    )
    settings = (
        f"--set split.val=0.3 --set backbone.name={picked.advice.chosen.name} --set"
        f" backbone.weights={file}"
    )
    assert picked.next == picked.lines[-1].removeprefix("next      ")
    assert picked.next.endswith(settings)


def test_the_next_command_brings_no_weights_of_another_backbone(
    many: Path, files: list[str], tmp_path: Path
):
    name, _, file = files[0].partition("=")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"name: mine\nbackbone: {{name: {name}, weights: {file}}}\n")
    changes = {"split.val": 0.3, "backbone.name": name, "backbone.weights": file}
    wanted = {"backbones": ["tf_efficientnet_lite0"], "out": tmp_path / "pick.html", "quiet": True}
    ends = "--set split.val=0.3 --set backbone.name=tf_efficientnet_lite0"
    assert pick(many, **wanted, set=changes).next.endswith(ends)
    of_file = pick(many, **wanted, recipe=str(recipe), set={"split.val": 0.3})
    assert of_file.next.endswith(f"--recipe {recipe} {ends} --set backbone.weights=none")


def test_backbones_are_named_one_by_one_or_separated_by_commas(
    picked: Picked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    asked = []
    monkeypatch.setattr(
        jobs_picking, "pick", lambda *_, backbones, **__: asked.append(backbones) or picked
    )
    for words in (["--backbones", "a,b=w.pth", "--backbones", "c"], []):
        assert CliRunner().invoke(app, ["pick", str(tmp_path), *words, "--json"]).exit_code == 0
    assert asked == [["a", "b=w.pth", "c"], None]


def test_images_that_cannot_be_read_are_in_the_exit_code(
    picked: Picked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    assert picked.as_json()["statuses"] == {"ok": sum(picked.counts.values())}
    for statuses, code in (({"ok": 3}, 0), ({"ok": 3, "empty": 1}, 3)):
        monkeypatch.setattr(
            jobs_picking,
            "pick",
            lambda *_, statuses=statuses, **__: replace(picked, statuses=statuses),
        )
        assert CliRunner().invoke(app, ["pick", str(tmp_path), "--json"]).exit_code == code


def test_pick_writes_its_page(picked: Picked):
    page = Page(picked.page.read_text("utf-8"))
    assert picked.advice.lines[0] in page.text
    assert "unknown" in page.text  # the licence of a file of the user's


def test_a_second_pick_computes_no_features(
    picked: Picked, many: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(FeatureExtractor, "visit", lambda *_: pytest.fail("computed again"))
    again = pick(
        many, backbones=files, out=many.parent / "again.html", set={"split.val": 0.3}, quiet=True
    )
    assert accuracies(again) == accuracies(picked)


def test_candidates_that_do_not_fit_in_memory_together_look_in_turns(
    picked: Picked, many: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(jobs_candidates, "FEATURE_BYTES", 1)
    turns = pick(
        many, backbones=files, out=many.parent / "turns.html", set={"split.val": 0.3}, quiet=True
    )
    assert accuracies(turns) == accuracies(picked)


def test_the_labels_of_the_test_images_change_nothing(split_photos: Path, files: list[str]):
    before = pick(
        split_photos, backbones=files[:1], out=split_photos.parent / "pick.html", quiet=True
    )
    for name, other in (("brick", "x"), ("sky", "brick"), ("x", "sky")):
        shutil.move(split_photos / "test" / name, split_photos / "test" / other)
    after = pick(
        split_photos, backbones=files[:1], out=split_photos.parent / "pick.html", quiet=True
    )
    assert np.array_equal(before.candidates[0].val.probs, after.candidates[0].val.probs)


def test_those_without_weights_are_named_and_the_hub_is_asked_once(
    photos: Path, files: list[str], offline: list[str], tmp_path: Path
):
    wanted = ["resnet26", "resnet34", files[0]]
    picked = pick(photos, backbones=wanted, out=tmp_path / "pick.html", quiet=True)
    assert (list(accuracies(picked)), offline) == (["test_efficientnet"], ["resnet26"])
    assert picked.failed["resnet26"] == (
        "The weights of resnet26 are not here (no network). Run tellapart backbones fetch resnet26."
    )
    assert picked.failed["resnet34"] == (
        "Its weights are not here, and the hub failed for resnet26."
        " Run tellapart backbones fetch resnet34."
    )
    assert "resnet34: not measured. Its weights are not here" in "\n".join(picked.lines)
    assert "Its weights are not here" in Page(picked.page.read_text("utf-8")).text


def test_of_the_shortlist_nothing_is_fetched_unasked(
    photos: Path, offline: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    names = ("tf_efficientnet_lite0", "resnet26")
    monkeypatch.setattr(shortlist, "SHORTLIST", names)
    picked = pick(photos, out=tmp_path / "pick.html", quiet=True)
    assert offline == []
    assert picked.failed == {
        "resnet26": "Its weights are not here. Run tellapart backbones fetch resnet26."
    }


def test_without_torch_the_packaged_ones_are_measured_and_the_others_say_what_they_need(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shortlist, "SHORTLIST", ("tf_efficientnet_lite0:int8", "resnet26"))
    monkeypatch.setattr(loaded_backbones, "find_spec", lambda name: None)
    picked = pick(photos, out=tmp_path / "pick.html", quiet=True)
    assert list(accuracies(picked)) == ["tf_efficientnet_lite0:int8"]
    assert picked.failed == {
        "resnet26": "It needs PyTorch, which is not installed. Run pip install 'tellapart[torch]'."
    }


def test_where_all_fail_the_reasons_are_told(photos: Path, offline: list[str], tmp_path: Path):
    with pytest.raises(
        UserError,
        match=r"No backbone could be measured\. resnet26: The weights of resnet26 are not",
    ):
        pick(photos, backbones=["resnet26"], out=tmp_path / "pick.html", quiet=True)
    assert not (tmp_path / "pick.html").exists()


def test_one_that_fails_on_the_images_is_named(
    photos: Path, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fit = jobs_candidates.fit_train
    calls = iter([MemoryError(), None])

    def failing(*words: object) -> object:
        if error := next(calls):
            raise error
        return fit(*words)

    monkeypatch.setattr(jobs_candidates, "fit_train", failing)
    picked = pick(photos, backbones=files, out=tmp_path / "pick.html", quiet=True)
    assert picked.failed == {"test_efficientnet": "MemoryError"}
    assert list(accuracies(picked)) == ["test_resnet"]


def test_what_would_take_too_long_is_left_out_and_named(
    photos: Path, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    costs = iter([1.0, 0.001])
    monkeypatch.setattr(jobs_candidates, "seconds_an_image", lambda *_: next(costs))
    picked = pick(
        photos, backbones=files, budget_seconds=20, out=tmp_path / "pick.html", quiet=True
    )
    assert list(accuracies(picked)) == ["test_resnet"]
    assert (
        picked.failed["test_efficientnet"] == "It would not fit in 20 seconds. Pick again to go on."
    )


@pytest.mark.parametrize(("kept", "spent"), [(np.zeros(1), 0.0), (None, 2.0)])
def test_features_that_are_kept_take_no_time(
    monkeypatch: pytest.MonkeyPatch, kept: object, spent: float
):
    monkeypatch.setattr(
        jobs_candidates, "Session", lambda graph: SimpleNamespace(run=lambda *_: None)
    )
    ticks = iter([0.0, 5.0, 10.0, 12.0])
    monkeypatch.setattr(jobs_candidates, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    images = [(digest, np.zeros((2, 2, 3), np.uint8)) for digest in "ab"]
    store = SimpleNamespace(get=lambda graph, digest: kept)
    assert jobs_candidates.seconds_an_image(b"graph", images, store) == spent


def test_images_that_change_between_two_looks_are_refused():
    before = SimpleNamespace(paths=np.array(["a.jpg", "b.jpg"]), digests=np.array(["1", "2"]))
    now = SimpleNamespace(digests=np.array(["1", "3"]))
    with pytest.raises(
        Refused, match=r"1 images changed meanwhile, 'b.jpg' for one\. Pick again\."
    ):
        jobs_candidates.check_unchanged(before, now)


def test_val_images_that_have_gone_are_said_to_be_gone(photos: Path):
    val = read_source(photos)
    shutil.rmtree(photos)
    with pytest.raises(UserError, match="val images can no longer be read"):
        jobs_picking.sample_images(val)


def test_the_lines_say_where_it_was_measured(picked: Picked):
    counts = picked.counts
    where = (
        f"Measured on {counts['val']} val images, seed 0; {counts['test']} test images kept away."
        " Each time has "
    )
    assert any(line.startswith(where) for line in picked.lines)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"recipe": "cifar10-lenet"}, "'cifar10-lenet' has no probe"),
        ({"max_ms": 0}, "--max-ms must be a number above 0, got 0"),
        ({"max_mb": -1}, "--max-mb must be a number above 0"),
        ({"ms_worth": float("inf")}, "--ms-worth must be a number above 0, got inf"),
        ({"budget_seconds": float("nan")}, "--budget must be a number above 0"),
        ({"backbones": ["resnet81"]}, "Unknown backbone 'resnet81'. Did you mean"),
        ({"set": {"split.val": 0}, "backbones": None}, "no val images to pick by"),
    ],
)
def test_wrong_use_is_refused(
    photos: Path,
    files: list[str],
    tmp_path: Path,
    offline: list[str],
    options: dict[str, object],
    words: str,
):
    options = {"backbones": files[:1]} | {
        key: value for key, value in options.items() if value is not None
    }
    with pytest.raises(UserError, match=words):
        pick(photos, out=tmp_path / "pick.html", quiet=True, **options)
