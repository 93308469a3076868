"""What the loop tells: its events, its history, its metrics; and the best network by one of them."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from helpers.training import (
    AUGMENTED,
    EPOCHS,
    PER_EPOCH,
    STEPS,
    run_fit,
    same_bits,
    scored,
    small_recipe,
)
from tellapart.errors import UserError
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.scores import METRICS
from tellapart.models.classifier import Classifier
from tellapart.training.events import Event
from tellapart.training.phases import TrainingData
from tellapart.training.schedules import rate_at

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
    middle = [(event.name, event.epoch, event.step, event.batch) for event in events[9:15]]
    assert middle == [
        ("epoch_started", 2, 3, 0),
        ("iteration_started", 2, 3, 1),
        ("iteration_completed", 2, 4, 1),
        ("iteration_started", 2, 4, 2),
        ("iteration_completed", 2, 5, 2),
        ("iteration_started", 2, 5, 3),
    ]
    assert [
        (event.name, event.epoch, event.step) for event in (events[0], events[-2], events[-1])
    ] == [
        ("run_started", 1, 0),
        ("epoch_completed", 3, STEPS),
        ("run_completed", 3, STEPS),
    ]
    assert {(event.epochs, event.steps) for event in events} == {(EPOCHS, STEPS)}
    assert all(before.seconds <= after.seconds for before, after in pairwise(events))


def test_losses_and_scores_come_with_the_moments_that_have_them(tmp_path: Path, data: TrainingData):
    outcome = run_fit(tmp_path, data)
    for event in outcome.events:
        assert (event.loss is not None) == event.name.endswith(
            ("iteration_completed", "epoch_completed")
        )
        assert bool(event.scores) == (event.name == "epoch_completed")
    losses = [event.loss for event in outcome.events if event.name == "iteration_completed"]
    epochs = [event for event in outcome.events if event.name == "epoch_completed"]
    assert [epoch.loss for epoch in epochs] == pytest.approx(
        np.reshape(losses, (EPOCHS, PER_EPOCH)).mean(axis=1)
    )
    assert [{**epoch.scores, "loss": epoch.loss} for epoch in epochs] == [
        {name: row[name] for name in row if name not in ("epoch", "step", "lr", "seconds")}
        for row in outcome.progress.history
    ]


def test_the_rate_that_is_told_is_the_schedules(tmp_path: Path, data: TrainingData):
    outcome = run_fit(tmp_path, data, {"training.warmup_steps": 2})
    options = small_recipe({"training.warmup_steps": 2}).training
    rates = [0.02 * rate_at(step, STEPS, PER_EPOCH, options) for step in range(STEPS)]
    for event in ("iteration_started", "iteration_completed"):
        assert [moment.lr for moment in outcome.events if moment.name == event] == pytest.approx(
            rates
        )
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
    assert [predictions.paths for predictions in seen] == [data.val.paths] * EPOCHS
    assert [predictions.labels.tolist() for predictions in seen] == [
        data.val.labels.tolist()
    ] * EPOCHS
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
