"""Training by gradient, as its users call it: each reference recipe from end to end, and what goes
wrong said well.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import tellapart
from helpers.commands import CommandResult, run_command, set_arguments
from helpers.images import write_tiny
from helpers.run_folders import text_of
from helpers.runs import SHORT, TINY, history_of, metrics_of, train
from tellapart import UserError
from tellapart.datasets import DATASETS
from tellapart.evaluation.metrics import measure
from tellapart.jobs.find_rate import find_rate
from tellapart.runs.saved_predictions import read_predictions
from tellapart.training.events import Event

FILES = {
    *(
        "catalog.parquet",
        "checkpoints",
        "environment.json",
        "events",
        "facts.json",
        "history.csv",
        "log.txt",
        "metrics.json",
        "neighbours.npz",
    ),
    *(
        "model-card.md",
        "model.onnx",
        "head.safetensors",
        "predictions-test.parquet",
        "predictions-val.parquet",
        "recipe.yaml",
        "report.html",
        "report.json",
        "run.json",
    ),
    "splits.parquet",
}

# Recipe → what makes it tiny. The backbones are timm's test networks, without weights: those of the
# recipes are on the hub, and come by the same code.
SMALL = {"preprocessing.size_px": 32, "backbone.pretrained": "false", "training.batch_size": 8}
RECIPES = {
    "cifar10-lenet": {"training.print_every": 3, "split.val": 0.2},
    "cifar10-cnn": {"training.print_every": 2, "training.epochs": 2, "training.batch_size": 5},
    "tiny-imagenet-efficientnet": {
        **SMALL,
        "backbone.name": "test_efficientnet",
        "training.print_every": 1,
        "training.epochs": 1,
    },
    "finetune-kfold": {
        **SMALL,
        "backbone.name": "test_resnet",
        "augmentation.dropout_px": 8,
        "training.epochs": 2,
    },
    "transfer-frozen-head": {
        **SMALL,
        "backbone.name": "test_efficientnet",
    },  # no network that it was written for
}


class Told(NamedTuple):
    """A recipe that was run from the command line."""

    recipe: str
    data: Path
    said: CommandResult
    path: Path


@pytest.fixture(scope="module", params=RECIPES)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Told:
    recipe = request.param
    folder = tmp_path_factory.mktemp("gradient")
    kinds = ("brick", "leaf") if recipe == "transfer-frozen-head" else ("brick", "leaf", "sky")
    data = write_tiny(folder / "photos", kinds=kinds)
    settings = {**TINY, "training.trackers": "tensorboard", **RECIPES[recipe]}
    said = run_command(
        "train", data, "--recipe", recipe, "--out", folder / "runs", *set_arguments(settings)
    )
    (path,) = (folder / "runs").iterdir()
    return Told(recipe, data, said, path)


# ── each reference recipe ──


def test_a_recipe_ends_well_and_its_folder_is_whole(told: Told):
    assert told.said.code == 0
    assert {file.name for file in told.path.iterdir()} == FILES
    assert len(list(told.path.glob("checkpoints/step-*.safetensors"))) == 2


def test_its_model_file_answers_and_agreed_with_torch(told: Told):
    predictor = tellapart.load(told.path)
    answers = predictor.predict(sorted(told.data.glob("*/00*.png")))
    assert {answer.status for answer in answers} == {"ok"}
    assert {answer.answer for answer in answers} <= set(predictor.classes)
    assert metrics_of(told.path)["parity"]["from_files"] <= 0.01


def test_the_accuracy_of_every_class_is_printed(told: Told):
    lines = [
        line.split(":")[0].strip() for line in told.said.out.splitlines() if line.startswith("  ")
    ]
    assert lines == sorted(folder.name for folder in told.data.iterdir())
    assert "accuracy  " in told.said.out.splitlines()[0]
    assert f"model     {told.path}/model.onnx" in told.said.out


def test_mean_losses_are_printed_as_often_as_the_recipe_says(told: Told):
    losses = [line for line in told.said.err.splitlines() if ", batch " in line]
    steps, every = (
        metrics_of(told.path)["training"]["steps"],
        RECIPES[told.recipe].get("training.print_every"),
    )
    epochs = metrics_of(told.path)["training"]["epochs"]
    assert len(losses) == (0 if every is None else epochs * (steps // epochs // every))
    assert all(line.split("loss ")[1].replace(".", "").isdigit() for line in losses)


def test_there_is_a_row_an_epoch_with_the_scores_of_val(told: Told):
    rows, facts = history_of(told.path), metrics_of(told.path)["training"]
    assert [int(row["epoch"]) for row in rows] == list(range(1, facts["epochs"] + 1))
    assert int(rows[-1]["step"]) == facts["steps"]
    wanted = {"lr", "loss", "val_loss", "val_accuracy", "val_precision", "val_recall", "val_f1"}
    wanted |= (
        {"train_accuracy"}
        if told.recipe in ("tiny-imagenet-efficientnet", "finetune-kfold")
        else set()
    )
    assert wanted <= rows[0].keys()
    assert ("train_accuracy" in rows[0]) == ("train_accuracy" in wanted)


def test_its_events_can_be_read_back(told: Told):
    events = EventAccumulator(str(told.path / "events"))
    events.Reload()
    rows = history_of(told.path)
    assert [one.step for one in events.Scalars("val/accuracy")] == [
        int(row["step"]) for row in rows
    ]
    assert [one.value for one in events.Scalars("val/accuracy")] == pytest.approx(
        [float(row["val_accuracy"]) for row in rows]
    )
    assert (
        len(events.Scalars("train/loss"))
        == len(events.Scalars("train/lr"))
        == int(rows[-1]["step"])
    )


def test_its_metrics_can_be_computed_again_from_its_predictions(told: Told):
    metrics = measure(
        read_predictions(told.path / "predictions-test.parquet"), seed=metrics_of(told.path)["seed"]
    )
    assert metrics.accuracy.as_json() == metrics_of(told.path)["test"]["accuracy"]


def test_its_report_shows_the_curves(told: Told):
    assert "Loss over epochs" in (told.path / "report.html").read_text("utf-8")


def test_no_file_of_the_run_names_a_place_on_this_machine(told: Told):
    places = {str(told.data.parent), str(Path(tellapart.__file__).parents[2]), f"{Path.home()}/"}
    files = [file for file in told.path.rglob("*") if file.is_file()]
    assert len(files) > len(FILES)
    assert {
        (place, file.name) for place in places for file in files if place in text_of(file)
    } == set()


# ── what a user may bring ──


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("gradient") / "photos")


def test_it_learns(data: Path):
    settings = {
        **SHORT,
        "training.epochs": 12,
        "training.optimizer": "adam",
        "training.momentum": "none",
    }
    assert train(data, set={**settings, "training.lr": 0.003}).metrics.accuracy.value == 1


def test_callbacks_are_told_of_every_run_epoch_and_iteration(data: Path):
    told: list[Event] = []
    train(data, set={**SHORT, "training.epochs": 2}, callbacks=[told.append])
    iteration = ["iteration_started", "iteration_completed"]
    epoch = ["epoch_started", *6 * iteration, "epoch_completed"]
    assert [event.name for event in told] == ["run_started", *epoch, *epoch, "run_completed"]
    assert [event.step for event in told if event.name == "iteration_completed"] == list(
        range(1, 13)
    )


def test_a_metric_of_ones_own_picks_the_best_epoch(data: Path):
    values = iter([0.1, 0.9, 0.5])
    run = train(
        data, set={**SHORT, "training.monitor": "mine"}, metrics={"mine": lambda _: next(values)}
    )
    assert [row["val_mine"] for row in history_of(run.path)] == ["0.1", "0.9", "0.5"]
    assert metrics_of(run.path)["training"]["best_epoch"] == 2


def test_a_column_of_a_table_says_how_often_a_image_is_drawn(data: Path, tmp_path: Path):
    rows = [
        f"{file},{file.parent.name},{float(file.parent.name == 'leaf')}"
        for file in sorted(data.glob("*/*.png"))
    ]
    (tmp_path / "table.csv").write_text("\n".join(["path,label,often", *rows]))
    settings = {
        **SHORT,
        "training.sampling": "weighted",
        "training.weight_column": "often",
        "training.lr": 0.05,
    }
    run = train(tmp_path / "table.csv", set=settings)
    assert set(read_predictions(run.path / "predictions-test.parquet").predicted) == {1}
    assert float(history_of(run.path)[-1]["loss"]) < 0.05  # of leaf alone


def test_a_column_without_a_weight_is_refused_and_leaves_no_run(data: Path, tmp_path: Path):
    rows = [f"{file},{file.parent.name},0" for file in sorted(data.glob("*/*.png"))]
    (tmp_path / "table.csv").write_text("\n".join(["path,label,often", *rows]))
    settings = {**SHORT, "training.sampling": "weighted", "training.weight_column": "often"}
    with pytest.raises(
        UserError, match="No train image has a weight above 0 in the column 'often'"
    ):
        train(tmp_path / "table.csv", tmp_path / "runs", set=settings)
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"training.monitor": "acuracy"}, "Unknown metric for training.monitor: 'acuracy'"),
        ({"training.trackers": "neptune"}, "Unknown tracker 'neptune'"),
        ({"freeze.upto": "blocks.9"}, "Unknown stage 'blocks.9'"),
        ({"head.logits": "one", "training.loss": "bce"}, "two classes"),
    ],
)
def test_a_setting_that_cannot_be_leaves_no_run(
    data: Path, tmp_path: Path, setting: dict[str, str], says: str
):
    with pytest.raises(UserError, match=says):
        train(data, tmp_path / "runs", set={**SHORT, **setting})
    assert not any((tmp_path / "runs").glob("*"))


def test_a_probe_has_no_loop_to_listen_to(data: Path):
    with pytest.raises(
        UserError, match="'probe' has no training loop, so that callbacks and metrics would never"
    ):
        tellapart.train(data, callbacks=[print], quiet=True)


def test_weights_need_a_table_with_that_column(data: Path, tmp_path: Path):
    settings = {**SHORT, "training.sampling": "weighted", "training.weight_column": "often"}
    with pytest.raises(UserError, match="is no table, and so has no column 'often' of weights"):
        train(data, tmp_path / "runs", set=settings)
    assert not (tmp_path / "runs").exists()


# ── what goes wrong ──


@pytest.mark.parametrize(
    ("recipe", "setting", "says"),
    [
        ("cifar10-lenet", "head.folds=3", "head.folds goes with method=probe or finetune"),
        (
            "cifar10-lenet",
            "training.gamma=0.5",
            "training.gamma goes with training.schedule=multi_step only",
        ),
        ("probe", "augmentation.flip=0.5", "augmentation.flip goes with method=fit or finetune"),
        ("finetune", "head.hidden=8", "head.hidden goes with method=fit"),
    ],
)
def test_an_option_that_the_recipe_never_reads_is_refused(
    data: Path, recipe: str, setting: str, says: str
):
    said = run_command("train", data, "--recipe", recipe, "--set", setting)
    assert (said.code, said.out) == (2, "")
    assert says in said.err
    assert said.err.count("\n") == 1


def test_an_option_that_another_one_leaves_without_effect_is_told(data: Path, tmp_path: Path):
    idle = {
        "augmentation.rotate_degrees": 20,
        "augmentation.dropout_px": 4,
        "augmentation.dropout": 0.5,
    }
    said = run_command(
        "train",
        data,
        "--recipe",
        "cifar10-lenet",
        "--out",
        tmp_path,
        *set_arguments({**SHORT, **idle}),
    )
    assert said.code == 0
    assert (
        "note: augmentation.rotate_degrees does nothing, since augmentation.rotate is 0\n"
        in said.err
    )
    assert said.err.count("does nothing") == 1


def test_a_loss_that_is_not_finite_ends_it_with_step_and_rate(data: Path, tmp_path: Path):
    words = ["train", data, "--recipe", "cifar10-lenet", "--out", tmp_path, "-q"]
    said = run_command(*words, *set_arguments({**SHORT, "training.lr": 1e9}))
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert "(learning rate 1e+09): the training has diverged. Lower training.lr" in said.err


def test_without_data_and_network_it_is_said_what_is_wanted_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    offline = dataclasses.replace(
        DATASETS["cifar10"], url="http://127.0.0.1:1/cifar-10-binary.tar.gz"
    )
    monkeypatch.setitem(DATASETS, "cifar10", offline)
    start = time.monotonic()
    said = run_command("train", "--recipe", "cifar10-lenet", "--out", tmp_path / "runs")
    assert time.monotonic() - start < 10
    assert (said.code, said.out) == (2, "")
    for word in (
        "cifar-10-binary.tar.gz is not here",
        offline.url,
        offline.digest,
        str(offline.path),
    ):
        assert word in said.err
    assert not (tmp_path / "runs").exists()


def test_a_recipe_for_any_folder_asks_for_one(tmp_path: Path):
    said = run_command("train", "--recipe", "finetune-kfold", "--out", tmp_path / "runs")
    assert said.code == 2
    assert (
        "The recipe 'finetune-kfold' has no public data set of its own. Give a folder of images"
        in said.err
    )


# ── a budget ──


def test_a_budget_is_kept_and_what_it_cut_is_said(data: Path, tmp_path: Path):
    start = time.monotonic()
    settings = {**SHORT, "training.epochs": 100_000, "training.checkpoint_seconds": 60}
    words = [
        "train",
        data,
        "--recipe",
        "cifar10-lenet",
        "--budget",
        "17s",
        "--out",
        tmp_path,
        *set_arguments(settings),
    ]
    said = run_command(*words)
    assert said.code == 0
    assert time.monotonic() - start < 17 + 30
    (run,) = tmp_path.iterdir()
    facts = metrics_of(run)["training"]
    assert 1 <= facts["steps"] < 600_000
    assert facts["ended_early"] == "the time was up"
    assert f"Ended after step {facts['steps']:,}: the time was up" in said.err


# ── before a training ──


def test_find_rate_suggests_a_rate_from_real_steps(data: Path, tmp_path: Path):
    settings = {**TINY, "training.optimizer": "adam", "training.momentum": "none"}
    words = [
        "find-rate",
        data,
        "--recipe",
        "cifar10-lenet",
        "--out",
        tmp_path / "rates.html",
        "--json",
        "-q",
    ]
    said = run_command(*words, *set_arguments(settings))
    assert said.code == 0
    found = json.loads(said.out)
    assert 1e-5 < found["suggestion"] < 0.1
    assert found["losses"][0] == pytest.approx(
        1.1, abs=0.1
    )  # of three classes, before anything is learned
    assert "Loss over learning rate" in (tmp_path / "rates.html").read_text("utf-8")


def test_find_rate_draws_images_as_often_as_the_training_would(data: Path, tmp_path: Path):
    rows = [
        f"{file},{file.parent.name},{float(file.parent.name == 'leaf')}"
        for file in sorted(data.glob("*/*.png"))
    ]
    (tmp_path / "table.csv").write_text("\n".join(["path,label,often", *rows]))
    settings = {**TINY, "training.sampling": "weighted", "training.weight_column": "often"}
    found = find_rate(
        tmp_path / "table.csv",
        recipe="cifar10-lenet",
        set=settings,
        out=tmp_path / "rates.html",
        quiet=True,
    )
    assert found.curve.losses.min() < 0.01  # where there is but one class


def test_explore_shows_what_a_recipe_makes_of_the_images(data: Path, tmp_path: Path):
    words = [
        "explore",
        data,
        "--augment",
        "finetune-kfold",
        "--out",
        tmp_path / "seen.html",
        "--json",
        "-q",
    ]
    said = run_command(
        *words, *set_arguments({"preprocessing.size_px": 32, "backbone.name": "test_resnet"})
    )
    assert said.code == 0
    seen = json.loads(said.out)
    assert seen["augmentation"].keys() >= {"flip", "rotate", "dropout"}
    assert (tmp_path / "seen.html").read_text("utf-8").count("data:image/") >= len(seen["images"])
