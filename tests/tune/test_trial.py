"""One trial: by folds, stopped by time, and by gradient from its checkpoint."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers.runs import TINY
from helpers.studies import RECIPE, trials_of
from tellapart.errors import Interrupted
from tellapart.evaluation.scores import loss
from tellapart.jobs.cv.cross_validate import cross_validate
from tellapart.jobs.tune import trial as trials
from tellapart.jobs.tune.trial import BEHIND, OUT_OF_TIME, Outcome
from tellapart.jobs.tune.tune import tune
from tellapart.runs.saved_predictions import read_predictions
from tellapart.training.events import Event


def test_a_trial_that_was_stopped_is_no_run_to_go_on_with(tmp_path: Path):
    for name, files in (
        ("a-trial-0001", ["run.json"]),
        ("a-trial-0001-fold-2", ["run.json", "log.txt"]),
    ):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        for file in files:
            (tmp_path / name / file).write_text("{}")
    trials.clear_checkpoints(tmp_path, "trial-0001*")
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert left == [f"a-trial-0001-fold-2/{name}" for name in ("log.txt", "run.json")]
    assert not list(tmp_path.glob("*/checkpoints"))


def fold_outcomes(monkeypatch: pytest.MonkeyPatch, outcomes: list[Outcome]) -> SimpleNamespace:
    """A bench of three folds, whose trainings end with these outcomes one after the other."""
    following = iter(outcomes)
    monkeypatch.setattr(trials, "train_fold", lambda *_: next(following))
    return SimpleNamespace(folds=SimpleNamespace(folds=3), divisions=lambda: range(3))


def ended(value: float) -> Outcome:
    return Outcome(value=value, scores={"val_loss": value}, epochs=5)


def test_of_folds_the_mean_counts_and_a_trial_behind_ends_early(monkeypatch: pytest.MonkeyPatch):
    bench = fold_outcomes(monkeypatch, [ended(1.0), ended(2.0), ended(6.0)])
    reported: list[tuple[int, float]] = []
    watch = SimpleNamespace(lost=False, report=lambda *report: bool(reported.append(report)))
    assert trials.run_trial(bench, RECIPE, watch).value == 3.0
    assert reported == [(1, 1.0), (2, 1.5)]
    bench = fold_outcomes(monkeypatch, [ended(1.0)])
    behind = SimpleNamespace(lost=False, report=lambda *_: True)
    assert trials.run_trial(bench, RECIPE, behind).stopped == BEHIND


@pytest.mark.parametrize(("complete", "mean"), [([], math.nan), ([1.0, 2.0], 1.5)])
def test_of_folds_that_are_stopped_by_time_the_complete_ones_count(
    monkeypatch: pytest.MonkeyPatch, complete: list[float], mean: float
):
    late = Outcome(value=9.0, epochs=1, stopped=OUT_OF_TIME)
    bench = fold_outcomes(monkeypatch, [*map(ended, complete), late])
    watch = SimpleNamespace(lost=False, report=lambda *_: False)
    outcome = trials.run_trial(bench, RECIPE, watch)
    assert outcome.stopped == OUT_OF_TIME
    assert outcome.value == pytest.approx(mean, nan_ok=True)


def test_a_trial_that_another_process_took_over_is_abandoned(monkeypatch: pytest.MonkeyPatch):
    bench = fold_outcomes(monkeypatch, [ended(1.0)])
    assert trials.run_trial(bench, RECIPE, SimpleNamespace(lost=True)).abandoned


def test_a_study_of_probes_ends_with_a_tested_model(photos: Path):
    fixed = {
        "backbone.name": "tf_efficientnet_lite0",
        "preprocessing.mode": "squash",
        "preprocessing.size_px": 64,
    }
    tuned = tune(
        photos, trials=2, out=photos.parent / "runs", set={**fixed, "split.val": 0.2}, quiet=True
    )
    assert [row.state for row in tuned.rows] == ["finished", "finished"]
    assert {"train_loss", "val_loss", "train_accuracy", "val_accuracy"} <= tuned.rows[
        0
    ].scores.keys()
    assert tuned.metrics.accuracy.count > 0 and tuned.model.is_file()
    assert (
        tuned.as_json()["test"]["accuracy"]
        == json.loads((tuned.run / "metrics.json").read_text())["test"]["accuracy"]
    )
    shipped = loss(read_predictions(tuned.run / "predictions-val.parquet"))
    assert tuned.best.value == pytest.approx(shipped, abs=1e-5)
    assert not (tuned.path / "trials").exists()
    assert {
        "study.json",
        "study.sqlite",
        "splits.parquet",
        "tuning.html",
        "trials.csv",
        "log.txt",
    } <= {file.name for file in tuned.path.iterdir()}


def test_a_probe_in_folds_is_judged_as_cv_judges_it(photos: Path):
    fixed = {
        "backbone.name": "tf_efficientnet_lite0",
        "preprocessing.mode": "squash",
        "preprocessing.size_px": 64,
    }
    options = {"folds": 3, "out": photos.parent / "runs", "set": fixed, "quiet": True}
    validation = cross_validate(photos, **options).as_json()
    tuned = tune(photos, trials=1, **options)
    assert tuned.rows[0].value == pytest.approx(validation["mean"]["log_loss"], abs=1e-5)


def test_trials_by_gradient_go_on_from_their_checkpoints(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    space = tiny.parent / "space.yaml"
    space.write_text("training.epochs: [3]\ntraining.lr: [0.001, 0.01]")
    options = {
        "recipe": "cifar10-lenet",
        "space": space,
        "trials": 2,
        "set": {**TINY, "split.val": 0.2},
    }
    whole = tune(tiny, **options, out=tiny.parent / "whole", quiet=True)
    judge = trials.Judge.__call__

    def interrupts(self: trials.Judge, event: Event) -> str | None:
        place = (self.watch.number, event.name, event.epoch, event.batch)
        if place == (1, "iteration_completed", 2, 2):
            monkeypatch.setattr(trials.Judge, "__call__", judge)
            signal.raise_signal(signal.SIGINT)
        return judge(self, event)

    monkeypatch.setattr(trials.Judge, "__call__", interrupts)
    with pytest.raises(Interrupted, match="Go on with: tellapart tune --study"):
        tune(tiny, **options, out=tiny.parent / "cut", quiet=True)
    (folder,) = (tiny.parent / "cut").iterdir()
    done = tune(study=folder, quiet=True)
    assert trials_of(done) == trials_of(whole)
    assert [len(list((folder / "trials").glob(f"*-trial-{number:04}"))) for number in (0, 1)] == [
        1,
        1,
    ]
    assert not list((folder / "trials").glob("*/checkpoints"))
    assert done.metrics.as_json() == whole.metrics.as_json()
