"""What ends a training: patience, numbers that are none, a callback, a signal."""

from __future__ import annotations

import math
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from helpers.training import PER_EPOCH, STEPS, Outcome, at, run_fit, same_bits, scored
from tellapart.errors import Interrupted, UserError
from tellapart.evaluation.scores import METRICS
from tellapart.training.phases import TrainingData
from tellapart.training.runtime import RuntimeSettings

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
    outcomes: list[Outcome] = []
    changes = {"training.lr": rate, "training.warmup_steps": 1, "training.checkpoint_seconds": 0}
    with pytest.raises(UserError) as caught:
        run_fit(tmp_path, data, changes, into=outcomes)
    step, lr = re.search(
        r"at step (\d+) \(learning rate (\S+)\): the training has diverged", str(caught.value)
    ).groups()
    started = next(
        event for event in reversed(outcomes[0].events) if event.name == "iteration_started"
    )
    assert started.lr == float(lr)
    assert int(step) in (started.step, started.step + 1)
    assert "tellapart find-rate" in caught.value.hint
    assert_finite(outcomes[0])


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("seconds", [0, 3600])
def test_a_weight_that_is_no_number_is_never_kept(
    tmp_path: Path, data: TrainingData, value: float, seconds: int
):
    outcomes: list[Outcome] = []

    def poison() -> None:
        outcomes[0].classifier.head[-1].weight.data[0, 0] = value

    changes = {"training.checkpoint_seconds": seconds}
    with pytest.raises(
        UserError, match=r"(loss is nan|holds NaN|holds NaN or infinity) at step \d"
    ):
        run_fit(
            tmp_path,
            data,
            changes,
            callbacks=[at("iteration_completed", 2 * PER_EPOCH, poison)],
            into=outcomes,
        )
    assert outcomes[0].last.step in (PER_EPOCH, 2 * PER_EPOCH - 1)
    assert_finite(outcomes[0])


@pytest.mark.parametrize("name", ["weight", "running_var"])
def test_what_the_loss_does_not_show_is_found_within_ten_steps(
    tmp_path: Path, data: TrainingData, monkeypatch: pytest.MonkeyPatch, name: str
):
    outcomes: list[Outcome] = []

    def poison() -> None:
        norm = next(
            module
            for module in outcomes[0].classifier.modules()
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
    with pytest.raises(UserError, match=r"holds NaN or infinity at step 10 .*diverged"):
        run_fit(
            tmp_path, data, changes, callbacks=[at("iteration_completed", 3, poison)], into=outcomes
        )
    assert_finite(outcomes[0])


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
    outcomes: list[Outcome] = []
    asked = at("iteration_started", step - 1, lambda: os.kill(os.getpid(), number))
    with pytest.raises(
        Interrupted, match=f"Interrupted after step {step} of 9; the state is saved"
    ) as caught:
        run_fit(tmp_path / "a", data, callbacks=[asked], into=outcomes)
    assert caught.value.hint == "Go on with: tellapart train --resume HERE"
    assert outcomes[0].last.step == step
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
    outcomes: list[Outcome] = []
    asked = at("epoch_completed", step, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match=f"after step {step} of 9"):
        run_fit(tmp_path / "a", data, callbacks=[asked], into=outcomes)
    assert outcomes[0].last.step == step
    assert len(outcomes[0].last.facts["history"]) == step // PER_EPOCH
    outcome = run_fit(tmp_path / "a", data)
    assert same_bits(outcome.weights, run_fit(tmp_path / "b", data).weights)


def test_two_signals_end_it_at_once_and_leave_the_last_checkpoint(
    tmp_path: Path, data: TrainingData
):
    outcomes: list[Outcome] = []

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path, data, callbacks=[at("iteration_started", 4, twice)], into=outcomes)
    assert outcomes[0].last.step == PER_EPOCH
