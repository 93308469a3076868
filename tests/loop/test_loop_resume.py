"""After a kill, the loop goes on with the same bits."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.training import (
    AUGMENTED,
    EPOCHS,
    PER_EPOCH,
    CopiedCheckpoints,
    Outcome,
    at,
    run_fit,
    same_bits,
    without_seconds,
)
from tellapart.errors import Refused
from tellapart.evaluation.scores import METRICS, accuracy
from tellapart.progress import Console
from tellapart.training.callbacks import PrintLosses
from tellapart.training.checkpoints import Checkpoints
from tellapart.training.phases import TrainingData


class Killed(BaseException):
    """The end of a process, as far as the loop can tell."""


def kill() -> None:
    raise Killed


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
    "averaged": {"backbone.name": "cnn", "training.ema": 0.5, "training.keep": "last"},
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
    return request.param, outcome, texts_of(printed), folder / "copies"


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


def texts_of(console: Console) -> list[str]:
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
    assert printed_by_whole[len(printed_by_whole) - len(printed.lines) :] == texts_of(printed)


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
    assert [(event.name, event.step, event.batch) for event in outcome.events[:4]] == [
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
    assert len(texts_of(printed)) == 2


def test_the_checkpoint_of_another_network_is_refused(tmp_path: Path, data: TrainingData):
    run_fit(tmp_path, data, {"training.epochs": 1})
    with pytest.raises(
        Refused,
        match=r"is of another network: it lacks 'embedder.*Resume with the run's own recipe",
    ):
        run_fit(tmp_path, data, {"training.epochs": 1, "backbone.name": "cnn"})
