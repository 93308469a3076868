"""The loop: it learns, tells what it does, keeps the best, stops in time, and after a kill ends
with the same bits.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from helpers.catalogs import scan_folder
from helpers.images import write_classes
from helpers.training import (
    CopiedCheckpoints,
    Outcome,
    classifier_of,
    run_fit,
    same_bits,
    small_recipe,
    training_data_of,
    without_seconds,
)
from tellapart.errors import Interrupted, Refused, UserError
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.scores import METRICS, accuracy
from tellapart.images.sampling import batch_bounds, image_keys, plan_epoch
from tellapart.models.backbones import one_thread
from tellapart.models.classifier import Classifier
from tellapart.progress import Console
from tellapart.training.callbacks import PrintLosses
from tellapart.training.checkpoints import Checkpoints
from tellapart.training.events import Event
from tellapart.training.hardware import Hardware
from tellapart.training.phases import TrainingData
from tellapart.training.runtime import RuntimeSettings
from tellapart.training.schedules import rate_at

PER_EPOCH, EPOCHS = 3, 3  # 19 train images in batches of 8
STEPS = PER_EPOCH * EPOCHS
AUGMENTED = {"augmentation.crop_area": 0.5, "augmentation.flip": 0.5, "augmentation.rotate": 0.5}


@pytest.fixture(autouse=True, scope="module")
def threads() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """19 train images of three classes, 7, 7 and 5, and 6 of val."""
    folder = write_classes(tmp_path_factory.mktemp("fit") / "photos", 9)
    for name in ("000", "001"):
        (folder / "sky" / f"{name}.jpg").unlink()
    return training_data_of(scan_folder(folder))


@pytest.fixture(scope="module")
def without_val(data: TrainingData) -> TrainingData:
    return TrainingData(data.train, None, data.preprocessing)


class Killed(BaseException):
    """The end of a process, as far as the loop can tell."""


def kill() -> None:
    raise Killed


def at(name: str, step: int, action: Callable[[], object]) -> Callable[[Event], object]:
    """A callback that does something at one event, and returns what comes of it."""

    def callback(event: Event) -> object:
        return action() if (event.name, event.step) == (name, step) else None

    return callback


def scored(values: list[float]) -> Callable[[Predictions], float]:
    """A metric with one value after the other, an epoch each."""
    left = iter(values)
    return lambda predictions: next(left)


# ── it learns ──


def test_the_loss_of_nineteen_images_falls_to_nothing(tmp_path: Path, without_val: TrainingData):
    changes = {"training.epochs": 40, "training.lr": 0.1, "training.schedule": "constant"}
    losses = [row["loss"] for row in run_fit(tmp_path, without_val, changes).progress.history]
    assert losses[0] == pytest.approx(math.log(3), abs=0.1)
    assert losses[-1] < 0.05


@pytest.mark.parametrize("weighting", ["none", "balanced"])
def test_it_does_what_the_plainest_loop_does(
    tmp_path: Path, without_val: TrainingData, weighting: str
):
    changes = {
        "training.momentum": 0.5,
        "training.weight_decay": 0.01,
        "training.warmup_steps": 2,
        "head.weighting": weighting,
    }
    ours, plain = run_fit(tmp_path, without_val, changes), plainest_loop(without_val, changes)
    assert ours.progress.step == STEPS
    for name, value in ours.weights.items():
        torch.testing.assert_close(value, plain[name], atol=1e-6, rtol=1e-4)


def plainest_loop(data: TrainingData, changes: dict[str, Any]) -> dict[str, Tensor]:
    """Torch's own SGD and weighted cross-entropy on whole batches, each weight moved once a
    batch.
    """
    recipe, images = small_recipe(changes), data.train
    classifier, options = classifier_of(recipe), recipe.training
    optimizer = torch.optim.SGD(classifier.parameters(), momentum=0.5, weight_decay=0.01)
    counts = torch.from_numpy(np.bincount(images.labels)).float()
    weights = counts.sum() / (3 * counts) if recipe.head.weighting == "balanced" else None
    for epoch in range(EPOCHS):
        plan = plan_epoch(
            image_keys(recipe.seed, images.paths), images.labels, images.weights, epoch, options
        ).positions
        for number, (begin, end) in enumerate(batch_bounds(len(plan), options.batch_size)):
            ((pixels, _),) = images.batches([plan[begin:end]])
            inputs = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
            rate = rate_at(epoch * PER_EPOCH + number, STEPS, PER_EPOCH, options)
            optimizer.param_groups[0]["lr"] = options.lr * rate
            optimizer.zero_grad()
            labels = torch.from_numpy(images.labels[plan[begin:end]])
            functional.cross_entropy(classifier.train()(inputs), labels, weights).backward()
            optimizer.step()
    return dict(classifier.state_dict())


def test_weights_change_in_a_step_and_at_no_other_time(tmp_path: Path, data: TrainingData):
    seen: list[tuple[str, Tensor]] = []
    kept: list[Classifier] = []

    def callback(event: Event) -> None:
        if event.name.startswith("iteration"):
            seen.append((event.name, kept[0].head[-1].weight.detach().clone()))

    run_fit(
        tmp_path, data, {"training.monitor": "accuracy"}, callbacks=[callback], prepare=kept.append
    )
    moved = [not torch.equal(before[1], after[1]) for before, after in pairwise(seen)]
    assert moved == [event == "iteration_started" for event, _ in seen[:-1]]
    assert len(seen) == 2 * STEPS


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(
    tmp_path: Path, data: TrainingData
):
    one, same, other = (
        run_fit(tmp_path / name, data, {**AUGMENTED, "seed": seed}, dropout=0.2)
        for name, seed in (("one", 1), ("same", 1), ("other", 2))
    )
    assert same_bits(one.weights, same.weights)
    assert not torch.equal(one.weights["head.1.weight"], other.weights["head.1.weight"])


def test_what_others_draw_by_chance_is_neither_used_nor_disturbed(
    tmp_path: Path, data: TrainingData
):
    torch.manual_seed(1)
    one = run_fit(tmp_path / "one", data, dropout=0.5)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)
    assert same_bits(one.weights, run_fit(tmp_path / "other", data, dropout=0.5).weights)


def test_chance_falls_otherwise_in_each_step(tmp_path: Path, data: TrainingData):
    drawn: list[float] = []

    def hook(module: torch.nn.Module, inputs: tuple[Tensor]) -> None:
        if module.training:
            drawn.append(torch.rand(1).item())

    run_fit(tmp_path, data, prepare=lambda classifier: classifier.register_forward_pre_hook(hook))
    assert len(drawn) == len(set(drawn)) == STEPS


# ── what it tells ──


def test_the_moments_come_in_order(tmp_path: Path, data: TrainingData):
    epoch = [
        "epoch_started",
        *["iteration_started", "iteration_completed"] * PER_EPOCH,
        "epoch_completed",
    ]
    assert run_fit(tmp_path, data).event_names == ["run_started", *epoch * EPOCHS, "run_completed"]


def test_each_moment_says_where_it_is(tmp_path: Path, data: TrainingData):
    events = run_fit(tmp_path, data).events
    middle = [(one.name, one.epoch, one.step, one.batch) for one in events[9:15]]
    assert middle == [
        ("epoch_started", 2, 3, 0),
        ("iteration_started", 2, 3, 1),
        ("iteration_completed", 2, 4, 1),
        ("iteration_started", 2, 4, 2),
        ("iteration_completed", 2, 5, 2),
        ("iteration_started", 2, 5, 3),
    ]
    assert [(one.name, one.epoch, one.step) for one in (events[0], events[-2], events[-1])] == [
        ("run_started", 1, 0),
        ("epoch_completed", 3, STEPS),
        ("run_completed", 3, STEPS),
    ]
    assert {(one.epochs, one.steps) for one in events} == {(EPOCHS, STEPS)}
    assert all(before.seconds <= after.seconds for before, after in pairwise(events))


def test_losses_and_scores_come_with_the_moments_that_have_them(tmp_path: Path, data: TrainingData):
    outcome = run_fit(tmp_path, data)
    for event in outcome.events:
        assert (event.loss is not None) == event.name.endswith(
            ("iteration_completed", "epoch_completed")
        )
        assert bool(event.scores) == (event.name == "epoch_completed")
    losses = [one.loss for one in outcome.events if one.name == "iteration_completed"]
    told = [one for one in outcome.events if one.name == "epoch_completed"]
    assert [one.loss for one in told] == pytest.approx(
        np.reshape(losses, (EPOCHS, PER_EPOCH)).mean(axis=1)
    )
    assert [{**one.scores, "loss": one.loss} for one in told] == [
        {name: row[name] for name in row if name not in ("epoch", "step", "lr", "seconds")}
        for row in outcome.progress.history
    ]


def test_the_rate_that_is_told_is_the_schedules(tmp_path: Path, data: TrainingData):
    outcome = run_fit(tmp_path, data, {"training.warmup_steps": 2})
    options = small_recipe({"training.warmup_steps": 2}).training
    rates = [0.02 * rate_at(step, STEPS, PER_EPOCH, options) for step in range(STEPS)]
    for event in ("iteration_started", "iteration_completed"):
        assert [one.lr for one in outcome.events if one.name == event] == pytest.approx(rates)
    assert [row["lr"] for row in outcome.progress.history] == pytest.approx(
        rates[PER_EPOCH - 1 :: PER_EPOCH]
    )


def test_the_history_is_written_whole_after_each_epoch(tmp_path: Path, data: TrainingData):
    outcome = run_fit(tmp_path, data)
    assert [len(rows) for rows in outcome.written] == [1, 2, 3]
    assert outcome.written[-1] == outcome.progress.history
    assert [(row["epoch"], row["step"]) for row in outcome.progress.history] == [
        (1, 3),
        (2, 6),
        (3, 9),
    ]


# ── metrics, and the best network ──


def test_every_metric_is_computed_on_val_each_epoch(tmp_path: Path, data: TrainingData):
    row = run_fit(tmp_path, data).progress.history[0]
    assert {name for name in row if name.startswith("val_")} == {f"val_{name}" for name in METRICS}
    assert not any(name.startswith("train_") for name in row)


def test_train_is_evaluated_on_request(tmp_path: Path, data: TrainingData):
    changes = {**AUGMENTED, "training.evaluate_train": True, "training.epochs": 1}
    row = run_fit(tmp_path, data, changes).progress.history[0]
    assert {name for name in row if name.startswith("train_")} == {
        f"train_{name}" for name in METRICS
    }


def test_metrics_see_each_val_image_once_in_its_order(tmp_path: Path, data: TrainingData):
    seen: list[Predictions] = []
    run_fit(
        tmp_path,
        data,
        metrics={**METRICS, "look": lambda predictions: seen.append(predictions) or 0.0},
    )
    assert [one.paths for one in seen] == [data.val.paths] * EPOCHS
    assert [one.labels.tolist() for one in seen] == [data.val.labels.tolist()] * EPOCHS
    np.testing.assert_allclose(seen[0].probs.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "values", "best"),
    [("mine", [0.2, 0.9, 0.4], 2), ("my_error", [0.2, 0.1, 0.4], 2), ("mine", [1, 1, 1], 1)],
)
def test_a_metric_of_the_user_picks_the_best(
    tmp_path: Path, data: TrainingData, name: str, values: list[float], best: int
):
    at_end: dict[int, dict[str, Tensor]] = {}
    kept: list[Classifier] = []

    def callback(event: Event) -> None:
        if event.name == "epoch_completed":
            at_end[event.epoch] = {
                key: value.clone() for key, value in kept[0].state_dict().items()
            }

    metrics = {**METRICS, name: scored(values)}
    changes = {"training.monitor": name}
    outcome = run_fit(
        tmp_path, data, changes, metrics=metrics, callbacks=[callback], prepare=kept.append
    )
    assert (outcome.progress.best_epoch, outcome.progress.best_value) == (best, values[best - 1])
    assert same_bits(outcome.weights, at_end[best])
    assert not same_bits(at_end[1], at_end[2])
    assert not any(module.training for module in outcome.classifier.modules())


def test_an_unknown_metric_for_the_best_is_refused_with_the_names(
    tmp_path: Path, data: TrainingData
):
    with pytest.raises(
        UserError,
        match=r"Unknown metric for training.monitor: 'acuracy'. Did you mean 'accuracy'\?.*f1",
    ):
        run_fit(tmp_path, data, {"training.monitor": "acuracy"})


def test_without_val_it_ends_with_the_last_network(tmp_path: Path, without_val: TrainingData):
    outcome = run_fit(tmp_path, without_val)
    last = outcome.last.tensors
    assert outcome.progress.best is None
    assert same_bits(outcome.weights, {name: last[name] for name in outcome.weights})
    assert not list(tmp_path.glob("best-*"))


def test_a_metric_that_is_no_number_is_left_out_and_never_the_best(
    tmp_path: Path, data: TrainingData
):
    metrics = {**METRICS, "mine": scored([math.nan, 0.5, math.inf])}
    progress = run_fit(tmp_path, data, {"training.monitor": "mine"}, metrics=metrics).progress
    assert [row.get("val_mine") for row in progress.history] == [None, 0.5, None]
    assert (progress.best_epoch, progress.stale) == (2, 1)


# ── it stops ──


def test_it_stops_after_so_many_epochs_without_a_better_one(tmp_path: Path, data: TrainingData):
    metrics = {**METRICS, "mine": scored([0.5, 0.6, 0.6, 0.1, 0.9])}
    changes = {"training.monitor": "mine", "training.patience": 2, "training.epochs": 5}
    outcome = run_fit(tmp_path, data, changes, metrics=metrics)
    assert len(outcome.progress.history) == 4
    assert outcome.progress.ended == "2 epochs without a better val mine"
    assert (outcome.progress.best_epoch, outcome.event_names[-1]) == (2, "run_completed")


@pytest.mark.parametrize("rate", [1e9, 1e30])
def test_a_loss_that_is_no_number_stops_it_with_step_and_rate(
    tmp_path: Path, data: TrainingData, rate: float
):
    made: list[Outcome] = []
    changes = {"training.lr": rate, "training.warmup_steps": 1, "training.checkpoint_seconds": 0}
    with pytest.raises(UserError) as caught:
        run_fit(tmp_path, data, changes, into=made)
    step, lr = re.search(
        r"at step (\d+) \(learning rate (\S+)\): the training has gone astray", str(caught.value)
    ).groups()
    started = next(one for one in reversed(made[0].events) if one.name == "iteration_started")
    assert started.lr == float(lr)
    assert int(step) in (started.step, started.step + 1)
    assert "tellapart find-rate" in caught.value.hint
    assert_finite(made[0])


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("seconds", [0, 3600])
def test_a_weight_that_is_no_number_is_never_kept(
    tmp_path: Path, data: TrainingData, value: float, seconds: int
):
    made: list[Outcome] = []

    def poison() -> None:
        made[0].classifier.head[-1].weight.data[0, 0] = value

    changes = {"training.checkpoint_seconds": seconds}
    with pytest.raises(
        UserError, match=r"(loss is nan|holds NaN|holds NaN or infinity) at step \d"
    ):
        run_fit(
            tmp_path,
            data,
            changes,
            callbacks=[at("iteration_completed", 2 * PER_EPOCH, poison)],
            into=made,
        )
    assert made[0].last.step in (PER_EPOCH, 2 * PER_EPOCH - 1)
    assert_finite(made[0])


@pytest.mark.parametrize("name", ["weight", "running_var"])
def test_what_the_loss_does_not_show_is_found_within_ten_steps(
    tmp_path: Path, data: TrainingData, monkeypatch: pytest.MonkeyPatch, name: str
):
    made: list[Outcome] = []

    def poison() -> None:
        norm = next(
            module
            for module in made[0].classifier.modules()
            if isinstance(module, torch.nn.BatchNorm2d)
        )
        getattr(norm, name).data[0] = math.inf
        monkeypatch.setattr(
            functional,
            "cross_entropy",
            lambda logits, *of, **how: 0 * logits.nan_to_num(0, 0, 0)[:, 0],
        )

    changes = {
        "backbone.name": "cnn",
        "training.batch_size": 1,
        "training.freeze_batch_norm": True,
        "training.epochs": 1,
    }
    with pytest.raises(UserError, match=r"holds NaN or infinity at step 10 .*gone astray"):
        run_fit(
            tmp_path, data, changes, callbacks=[at("iteration_completed", 3, poison)], into=made
        )
    assert_finite(made[0])


def test_early_stopping_needs_val_and_the_best_a_metric(tmp_path: Path, without_val: TrainingData):
    with pytest.raises(UserError, match=r"training.patience has no val to watch. Leave it out"):
        run_fit(tmp_path, without_val, {"training.patience": 2})
    with pytest.raises(
        UserError, match=r"Unknown metric for training.monitor: 'acuracy'. Did you mean 'accuracy'"
    ):
        run_fit(tmp_path, without_val, {"training.monitor": "acuracy"})


def assert_finite(outcome: Outcome) -> None:
    kept = [outcome.last]
    if outcome.last.facts["best"]:
        kept.append(outcome.checkpoints.load_best(outcome.last.facts["best"]))
    for checkpoint in kept:
        assert all(
            value.isfinite().all()
            for value in checkpoint.tensors.values()
            if value.is_floating_point()
        )


def test_the_deadline_ends_it_behind_the_step_that_runs(tmp_path: Path, data: TrainingData):
    deadline = time.monotonic() + 0.3
    changes = {"training.epochs": 1000}
    slowly = at(
        "iteration_completed", 4, lambda: time.sleep(max(0.0, deadline - time.monotonic() + 0.01))
    )
    outcome = run_fit(
        tmp_path,
        data,
        changes,
        callbacks=[slowly],
        deadline=deadline,
        runtime=RuntimeSettings(1, "contiguous", 1e-6),
    )
    assert (outcome.progress.step, outcome.progress.ended) == (4, "the time was up")
    assert [row["step"] for row in outcome.progress.history] == [3, 4]
    assert outcome.event_names[-2:] == ["epoch_completed", "run_completed"]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], float]:
    """A clock that stands at 1,000 seconds, and goes on by as many as this is called with. It
    returns what it shows.
    """
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def passed(seconds: float) -> float:
        clock[0] += seconds
        return clock[0]

    return passed


def test_the_deadline_counts_the_evaluation_too(
    tmp_path: Path, data: TrainingData, passes: Callable[[float], float]
):
    changes = {
        "training.epochs": 50,
        "training.evaluate_train": True,
        "training.checkpoint_seconds": 1e6,
    }
    outcome = run_fit(
        tmp_path,
        data,
        changes,
        metrics={
            **METRICS,
            "slow": lambda predictions: passes(5 if len(predictions.labels) == 6 else 20),
        },
        callbacks=[lambda event: passes(event.name == "iteration_completed")],
        deadline=1100,
        runtime=RuntimeSettings(1, "contiguous", 1 / 8),
    )
    # An epoch is 3 s of steps, then 20 and 5 s of evaluation. After 84 s there is no time for train
    # any more.
    assert ["train_slow" in row for row in outcome.progress.history] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert (outcome.progress.ended, passes(0)) == ("the time was up", 1100)


def test_the_rates_of_a_run_that_was_cut_short_stay_those_it_learned_at(
    tmp_path: Path, data: TrainingData
):
    deadline = time.monotonic() + 0.3
    slowly = at(
        "iteration_completed", 4, lambda: time.sleep(max(0.0, deadline - time.monotonic() + 0.01))
    )
    outcome = run_fit(tmp_path, data, callbacks=[slowly], deadline=deadline)
    used = [one.lr for one in outcome.events if one.name == "iteration_completed"]
    assert outcome.progress.history[-1]["lr"] == used[-1]
    assert outcome.progress.steps == STEPS


@pytest.mark.parametrize("guess", [1e-6, 1.25, 4.0])
def test_as_many_steps_are_planned_as_there_is_time_for(
    tmp_path: Path, data: TrainingData, passes: Callable[[float], float], guess: float
):
    """By the pace of the steps that were made, whatever was thought of it before."""
    changes = {
        "training.epochs": 1000,
        "training.schedule": "cosine",
        "training.checkpoint_seconds": 1e6,
    }
    outcome = run_fit(
        tmp_path,
        data,
        changes,
        metrics={**METRICS, "slow": lambda predictions: passes(30)},
        callbacks=[lambda event: passes(10 * (event.name == "iteration_completed"))],
        deadline=1000 + 8 * (PER_EPOCH * 10 + 30) + 10 + 30 + 5,
        runtime=RuntimeSettings(1, "contiguous", guess),
    )
    assert (outcome.progress.step, outcome.progress.ended) == (8 * PER_EPOCH + 1, "the time was up")
    rates = [one.lr for one in outcome.events if one.name == "iteration_completed"]
    assert rates[-1] < 0.1 * rates[0]
    assert [row["lr"] for row in outcome.progress.history] == [
        *rates[PER_EPOCH - 1 :: PER_EPOCH],
        rates[-1],
    ]


def test_what_the_views_of_a_frozen_part_take_is_planned_too(
    tmp_path: Path, data: TrainingData, passes: Callable[[float], float]
):
    changes = {
        "training.epochs": 50,
        "training.schedule": "cosine",
        "training.checkpoint_seconds": 1e6,
    }
    changes |= {"freeze.upto": "all", "freeze.views": 4, "augmentation.flip": 0.5}

    def work(event: Event) -> None:
        if event.name == "iteration_started":
            passes(10 + 60 * (event.batch == 1 and event.epoch <= 4))

    deadline = 1000 + 2 * (60 + PER_EPOCH * 10) + 15
    outcome = run_fit(tmp_path, data, changes, callbacks=[work], deadline=deadline)
    assert (outcome.progress.step, outcome.progress.ended) == (2 * PER_EPOCH, "the time was up")
    rates = [one.lr for one in outcome.events if one.name == "iteration_completed"]
    assert rates[-1] < 0.1 * rates[0]
    assert passes(0) <= deadline


def test_a_resumed_run_goes_on_with_the_plan_that_it_had(
    tmp_path: Path, data: TrainingData, passes: Callable[[float], float]
):
    changes = {
        "training.epochs": 1000,
        "training.schedule": "cosine",
        "training.checkpoint_seconds": 1e6,
    }
    context = {
        "callbacks": [lambda event: passes(10 * (event.name == "iteration_completed"))],
        "deadline": 1305.0,
    }
    asked = at("iteration_completed", 20, lambda: os.kill(os.getpid(), signal.SIGINT))
    made: list[Outcome] = []
    with pytest.raises(Interrupted):
        run_fit(
            tmp_path,
            data,
            changes,
            **{**context, "callbacks": [*context["callbacks"], asked]},
            into=made,
        )
    made.append(run_fit(tmp_path, data, changes, **context))
    rates = [
        one.lr for outcome in made for one in outcome.events if one.name == "iteration_completed"
    ]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] < 0.1 * rates[0]
    assert len(rates) == made[-1].progress.step == 30


# ── precision and clipping ──


def test_a_step_is_no_longer_than_its_clipped_gradient(tmp_path: Path, without_val: TrainingData):
    changes = {
        "training.clip_norm": 1e-3,
        "training.momentum": 0.0,
        "training.epochs": 1,
        "training.batch_size": 19,
    }
    before = classifier_of(small_recipe(changes)).state_dict()
    after = run_fit(tmp_path, without_val, changes).weights
    moved = math.sqrt(sum((after[name] - before[name]).square().sum().item() for name in before))
    assert moved == pytest.approx(0.02 * 1e-3, rel=1e-2)


def test_bf16_learns_on_a_cpu(tmp_path: Path, data: TrainingData):
    outcome = run_fit(tmp_path / "bf16", data, {"training.precision": "bf16"})
    full = run_fit(tmp_path / "full", data)
    for mine, exact in zip(outcome.progress.history, full.progress.history, strict=True):
        assert mine["loss"] == pytest.approx(exact["loss"], abs=0.02)
    assert not same_bits(outcome.weights, full.weights)
    assert {value.dtype for value in outcome.weights.values()} == {torch.float32}


# ── after a kill it goes on with the same bits ──

CASES: dict[str, dict[str, Any]] = {
    "sgd": {"training.momentum": 0.9},
    "adam": {"training.optimizer": "adam", "training.lr": 1e-3, "training.schedule": "one_cycle"},
    "adamw": {"training.optimizer": "adamw", "training.lr": 1e-3, "training.weight_decay": 0.1},
    "augmented": {**AUGMENTED, "augmentation.mixup": 0.2, "augmentation.erase": 0.5},
    "weighted": {
        "head.weighting": "balanced",
        "training.label_smoothing": 0.1,
        "training.accumulation": 2,
    },
    "drawn": {"training.sampling": "balanced", "training.clip_norm": 0.1},
    "patience": {"training.patience": 1, "training.monitor": "worse_error", "training.epochs": 9},
    "views": {**AUGMENTED, "freeze.upto": "blocks.1", "freeze.views": 2},
    "unfreezing": {
        "freeze.upto": "all",
        "freeze.unfreeze": ("1:blocks.3", "2:all"),
        "training.optimizer": "adam",
    },
    "views, unfreezing": {
        "freeze.upto": "all",
        "freeze.unfreeze": ("1:blocks.2",),
        "freeze.views": 1,
    },
    "scaled": {"training.precision": "fp16", "training.momentum": 0.9, "training.clip_norm": 1.0},
    "norms": {"backbone.name": "cnn", "freeze.upto": "blocks.1", "freeze.batch_norm": False},
}
METRICS_OF_CASES = {**METRICS, "worse_error": lambda predictions: -abs(accuracy(predictions) - 0.5)}


@pytest.fixture(scope="module", params=CASES)
def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, data: TrainingData
) -> tuple[str, Outcome, list[str], Path]:
    """A training that nobody interrupted; what it printed; and its checkpoints as they were after
    each save.
    """
    folder = tmp_path_factory.mktemp("whole")
    printed = Console(quiet=True)
    checkpoints = CopiedCheckpoints(folder / "checkpoints", folder / "copies")
    outcome = resumed(checkpoints, data, request.param, printed)
    return request.param, outcome, said(printed), folder / "copies"


def resumed(
    checkpoints: Path | CopiedCheckpoints, data: TrainingData, case: str, printed: Console
) -> Outcome:
    return run_fit(
        checkpoints,
        data,
        {"training.checkpoint_seconds": 0, **CASES[case]},
        dropout=0.3,
        metrics=METRICS_OF_CASES,
        callbacks=[PrintLosses(printed, 2)],
    )


def said(console: Console) -> list[str]:
    return [line.partition(" ")[2] for line in console.lines]


# The saves are those of steps 0, 1, 2, 3, then of the first epoch's end, of steps 4, 5, 6, the
# second epoch's end …
@pytest.mark.parametrize("save", [0, 2, 3, 4, 7, -2])
def test_a_killed_run_ends_with_the_bits_of_one_that_was_not(
    whole: tuple[str, Outcome, list[str], Path], data: TrainingData, tmp_path: Path, save: int
):
    case, uninterrupted, printed_by_whole, copies = whole
    copy = sorted(copies.iterdir(), key=lambda path: int(path.name))[save]
    shutil.copytree(copy, tmp_path / "checkpoints")
    printed = Console(quiet=True)
    outcome = resumed(tmp_path / "checkpoints", data, case, printed)
    assert same_bits(outcome.weights, uninterrupted.weights)
    assert same_bits(outcome.last.tensors, uninterrupted.last.tensors)
    assert without_seconds(outcome.last.facts) == without_seconds(uninterrupted.last.facts)
    assert without_seconds(outcome.progress.as_facts()) == without_seconds(
        uninterrupted.progress.as_facts()
    )
    assert printed_by_whole[len(printed_by_whole) - len(printed.lines) :] == said(printed)


def test_the_cases_of_resume_are_what_they_are_called(whole: tuple[str, Outcome, list[str], Path]):
    case, outcome, _, copies = whole
    assert len(list(copies.iterdir())) == 1 + outcome.progress.step + len(outcome.progress.history)
    assert (outcome.progress.ended != "") == (case == "patience")
    scales = [
        Checkpoints(copy, "run", Console(quiet=True)).newest().facts["scaling"]
        for copy in copies.iterdir()
    ]
    assert (len({scale.get("scale") for scale in scales}) > 2) == (case == "scaled")


def test_killed_between_the_best_network_and_the_checkpoint_it_goes_on_from_the_one_before(
    tmp_path: Path, data: TrainingData
):
    metrics = {**METRICS, "mine": lambda predictions: time.monotonic()}
    changes = {"training.monitor": "mine"}
    for step in (3, 6):
        with pytest.raises(Killed):
            run_fit(
                tmp_path / "a",
                data,
                changes,
                metrics=metrics,
                callbacks=[at("epoch_completed", step, kill)],
            )
    outcome = run_fit(tmp_path / "a", data, changes, metrics=metrics)
    whole = run_fit(tmp_path / "b", data, changes, metrics=metrics)
    assert outcome.events[0].step == PER_EPOCH
    assert outcome.progress.best_epoch == whole.progress.best_epoch == EPOCHS
    assert same_bits(outcome.weights, whole.weights)


def test_killed_in_the_middle_of_an_epoch_it_goes_on_in_it(tmp_path: Path, data: TrainingData):
    with pytest.raises(Killed):
        run_fit(
            tmp_path / "a",
            data,
            {"training.checkpoint_seconds": 0},
            callbacks=[at("iteration_started", 5, kill)],
        )
    outcome = run_fit(tmp_path / "a", data)
    assert [(one.name, one.step, one.batch) for one in outcome.events[:4]] == [
        ("run_started", 5, 0),
        ("epoch_started", 5, 0),
        ("iteration_started", 5, 3),
        ("iteration_completed", 6, 3),
    ]
    assert same_bits(outcome.weights, run_fit(tmp_path / "b", data).weights)


def test_a_finished_training_is_not_trained_again(tmp_path: Path, data: TrainingData):
    first, again = run_fit(tmp_path, data), run_fit(tmp_path, data)
    assert again.event_names == ["run_started", "run_completed"]
    assert same_bits(first.weights, again.weights)


def test_a_callback_that_was_not_there_before_begins_anew(tmp_path: Path, data: TrainingData):
    changes = {"training.checkpoint_seconds": 0}
    with pytest.raises(Killed):
        run_fit(tmp_path, data, changes, callbacks=[at("iteration_started", 4, kill)])
    printed = Console(quiet=True)
    run_fit(tmp_path, data, changes, callbacks=[PrintLosses(printed, 3)])
    assert len(said(printed)) == 2


def test_the_checkpoint_of_another_network_is_refused(tmp_path: Path, data: TrainingData):
    run_fit(tmp_path, data, {"training.epochs": 1})
    with pytest.raises(
        Refused,
        match=r"is of another network: it lacks 'embedder.*Resume with the run's own recipe",
    ):
        run_fit(tmp_path, data, {"training.epochs": 1, "backbone.name": "cnn"})


# ── a callback stops it, and reads the network ──


@pytest.mark.parametrize("answer", ["stop", False])
def test_a_callback_stops_it_after_the_step_and_val_is_evaluated(
    tmp_path: Path, data: TrainingData, answer: object
):
    stops = at("iteration_completed", 5, lambda: answer)
    outcome = run_fit(tmp_path, data, callbacks=[stops])
    assert (outcome.progress.step, outcome.progress.ended) == (5, "a callback stopped it")
    assert [row["step"] for row in outcome.progress.history] == [3, 5]
    assert "val_accuracy" in outcome.progress.history[-1]
    assert outcome.event_names[-2:] == ["epoch_completed", "run_completed"]


@pytest.mark.parametrize("name", ["run_started", "epoch_started", "iteration_started"])
def test_a_callback_that_stops_it_before_a_step_waits_for_the_step(
    tmp_path: Path, data: TrainingData, name: str
):
    outcome = run_fit(tmp_path, data, callbacks=[at(name, 0, lambda: "stop")])
    assert (outcome.progress.step, len(outcome.progress.history)) == (1, 1)


def test_a_callback_stops_it_at_the_end_of_an_epoch(tmp_path: Path, data: TrainingData):
    stops = at("epoch_completed", 2 * PER_EPOCH, lambda: "stop")
    outcome = run_fit(tmp_path, data, callbacks=[stops])
    assert len(outcome.progress.history) == 2
    assert outcome.last.facts["ended"] == outcome.progress.ended == "a callback stopped it"


@pytest.mark.parametrize("name", ["iteration_completed", "epoch_completed", "run_completed"])
def test_a_training_that_is_over_was_not_stopped(tmp_path: Path, data: TrainingData, name: str):
    outcome = run_fit(tmp_path, data, callbacks=[at(name, STEPS, lambda: "stop")])
    assert (outcome.progress.step, outcome.progress.ended) == (STEPS, "")


def test_a_training_that_a_callback_stopped_is_over_when_it_is_resumed(
    tmp_path: Path, data: TrainingData
):
    first = run_fit(tmp_path, data, callbacks=[at("iteration_completed", 4, lambda: "stop")])
    again = run_fit(tmp_path, data)
    assert again.event_names == ["run_started", "run_completed"]
    assert (again.progress.step, again.progress.ended) == (4, "a callback stopped it")
    assert same_bits(first.weights, again.weights)


def test_what_callbacks_return_beside_changes_nothing(tmp_path: Path, data: TrainingData):
    answers = [lambda event: 0, lambda event: np.zeros(2), lambda event: True]
    outcome = run_fit(tmp_path, data, callbacks=answers)
    assert (outcome.progress.step, outcome.progress.ended) == (STEPS, "")


def test_each_event_has_the_network_as_it_is_then(tmp_path: Path, data: TrainingData):
    outcome = run_fit(tmp_path, data)
    assert {id(event.network) for event in outcome.events} == {id(outcome.classifier)}
    assert outcome.events[0].network(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


# ── somebody asks it to stop ──


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [2, 3])
def test_a_signal_ends_it_behind_the_step_with_its_state_saved(
    tmp_path: Path, data: TrainingData, number: int, step: int
):
    made: list[Outcome] = []
    asked = at("iteration_started", step - 1, lambda: os.kill(os.getpid(), number))
    with pytest.raises(
        Interrupted, match=f"Interrupted after step {step} of 9; the state is saved"
    ) as caught:
        run_fit(tmp_path / "a", data, callbacks=[asked], into=made)
    assert caught.value.hint == "Go on with: tellapart train --resume HERE"
    assert made[0].last.step == step
    outcome = run_fit(tmp_path / "a", data)
    assert same_bits(outcome.weights, run_fit(tmp_path / "b", data).weights)


def test_going_on_with_other_threads_is_told(tmp_path: Path, data: TrainingData):
    asked = at("iteration_started", 3, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        run_fit(tmp_path, data, callbacks=[asked])
    more = RuntimeSettings(2, "contiguous")
    outcome = run_fit(tmp_path, data, runtime=more)
    assert outcome.console.lines[0].endswith(
        "note: It goes on with other hardware, threads or kernels: the last bits may differ"
    )
    assert outcome.progress.runtime == more.as_json()


@pytest.mark.parametrize("step", [PER_EPOCH, STEPS])
def test_a_signal_while_val_is_looked_at_ends_it_behind_the_epoch(
    tmp_path: Path, data: TrainingData, step: int
):
    made: list[Outcome] = []
    asked = at("epoch_completed", step, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match=f"after step {step} of 9"):
        run_fit(tmp_path / "a", data, callbacks=[asked], into=made)
    assert made[0].last.step == step
    assert len(made[0].last.facts["history"]) == step // PER_EPOCH
    outcome = run_fit(tmp_path / "a", data)
    assert same_bits(outcome.weights, run_fit(tmp_path / "b", data).weights)


def test_two_signals_end_it_at_once_and_leave_the_last_checkpoint(
    tmp_path: Path, data: TrainingData
):
    made: list[Outcome] = []

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path, data, callbacks=[at("iteration_started", 4, twice)], into=made)
    assert made[0].last.step == PER_EPOCH


# ── images that change meanwhile ──


def test_lost_images_are_in_the_progress_and_not_in_the_scores(tmp_path: Path):
    folder = write_classes(tmp_path / "photos", 5)
    catalog = scan_folder(folder)
    (folder / "brick" / "004.jpg").write_bytes(b"another")
    (folder / "leaf" / "000.jpg").unlink()
    sizes: list[int] = []
    metrics = {**METRICS, "size": lambda predictions: sizes.append(len(predictions)) or 0.0}
    outcome = run_fit(
        tmp_path / "run", training_data_of(catalog), {"training.epochs": 1}, metrics=metrics
    )
    assert sizes == [5]
    assert [line.split(" is no longer")[0] for line in outcome.progress.lost] == [
        "brick/004.jpg (brick)",
        "leaf/000.jpg (leaf)",
    ]


def test_a_process_without_a_image_of_a_batch_ends_rather_than_let_the_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = write_classes(tmp_path / "photos", 5)
    data = training_data_of(scan_folder(folder))
    data.train.lost[0] = "0 (brick) is no longer what it was"
    one_a_batch = {"training.epochs": 1, "training.batch_size": 1}
    assert run_fit(tmp_path / "alone", data, one_a_batch).progress.done
    monkeypatch.setattr(Hardware, "share", (0, 2))
    with pytest.raises(Refused, match="All images of a process's part") as caught:
        run_fit(tmp_path / "together", data, one_a_batch)
    assert caught.value.hint.endswith(
        "go on without them: tellapart train --resume HERE --accept-changes"
    )
