"""A training that has so much time: it plans its steps, and ends behind the one that runs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.training import PER_EPOCH, STEPS, Outcome, at, run_fit
from tellapart.errors import Interrupted
from tellapart.evaluation.scores import METRICS
from tellapart.training.events import Event
from tellapart.training.phases import TrainingData
from tellapart.training.runtime import RuntimeSettings


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


def test_the_deadline_ends_it_behind_the_step_that_runs(
    tmp_path: Path, data: TrainingData, passes: Callable[[float], float]
):
    changes = {"training.epochs": 1000}
    slowly = at("iteration_completed", 4, lambda: passes(11))
    outcome = run_fit(
        tmp_path,
        data,
        changes,
        callbacks=[slowly],
        deadline=1010,
        runtime=RuntimeSettings(1, "contiguous", 1e-6),
    )
    assert (outcome.progress.step, outcome.progress.ended) == (4, "the time was up")
    assert [row["step"] for row in outcome.progress.history] == [3, 4]
    assert outcome.event_names[-2:] == ["epoch_completed", "run_completed"]


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
    tmp_path: Path, data: TrainingData, passes: Callable[[float], float]
):
    slowly = at("iteration_completed", 4, lambda: passes(11))
    outcome = run_fit(tmp_path, data, callbacks=[slowly], deadline=1010)
    used = [event.lr for event in outcome.events if event.name == "iteration_completed"]
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
    rates = [event.lr for event in outcome.events if event.name == "iteration_completed"]
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
    rates = [event.lr for event in outcome.events if event.name == "iteration_completed"]
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
    outcomes: list[Outcome] = []
    with pytest.raises(Interrupted):
        run_fit(
            tmp_path,
            data,
            changes,
            **{**context, "callbacks": [*context["callbacks"], asked]},
            into=outcomes,
        )
    outcomes.append(run_fit(tmp_path, data, changes, **context))
    rates = [
        event.lr
        for outcome in outcomes
        for event in outcome.events
        if event.name == "iteration_completed"
    ]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] < 0.1 * rates[0]
    assert len(rates) == outcomes[-1].progress.step == 30
