"""`tune`: trials judged without test, a budget, what fails, and the best trained at the end."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.studies import bowl, search, trials_of
from tellapart.cli.main import app
from tellapart.errors import Interrupted, UserError
from tellapart.jobs.tune import search as searching
from tellapart.jobs.tune import tune as tuning
from tellapart.jobs.tune.trial import BEHIND, Bench, Outcome, Watch
from tellapart.recipe import Recipe


def test_the_best_of_the_trials_is_trained_at_the_end(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    tuned = search(tiny, space, trials=8)
    assert [row.number for row in tuned.rows] == list(range(8))
    assert tuned.best.value == min(row.value for row in tuned.rows)
    assert made_up.finals == [tuned.best.number]
    assert tuned.run == tuned.path / "best" / f"trial-{tuned.best.number:04}"
    assert tuned.as_json()["best"]["settings"] == dict(tuned.best.settings)
    json.dumps(tuned.as_json(), allow_nan=False)


def test_the_command_names_the_page_and_the_model(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    pytest.importorskip("torch")
    out = tiny.parent / "runs"
    words = [
        "tune",
        tiny,
        "--space",
        space,
        "--recipe",
        "cifar10-lenet",
        "--set",
        "split.val=0.2",
        "--trials",
        2,
    ]
    result = CliRunner().invoke(app, [str(word) for word in [*words, "--out", out, "--quiet"]])
    page, model = result.stdout.splitlines()[-2:]
    [study] = out.iterdir()
    assert page == f"page      {study / 'tuning.html'}"
    assert model == f"model     {study / 'best' / f'trial-{made_up.finals[0]:04}' / 'model.onnx'}"


def test_the_first_trial_is_the_recipe_as_it_is(tiny: Path, space: Path, made_up: SimpleNamespace):
    first = search(tiny, space, trials=1).rows[0].settings
    own = {
        "training.lr": 0.001,
        "training.epochs": 2,
        "training.optimizer": "sgd",
        "training.momentum": 0.9,
    }
    assert first == own


def test_the_same_seed_gives_the_same_study(tiny: Path, space: Path, made_up: SimpleNamespace):
    first, same, other = (
        search(tiny, space, trials=8, seed=seed, name=f"s{seed}") for seed in (0, 0, 1)
    )
    assert trials_of(first) == trials_of(same)
    assert trials_of(first)[1:] != trials_of(other)[1:]


def test_the_sampler_learns_where_random_search_does_not(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    rows = {
        name: search(tiny, space, trials=24, sampler=name, name=name).rows
        for name in ("tpe", "random")
    }
    late = {name: np.median([row.value for row in of[12:]]) for name, of in rows.items()}
    assert late["tpe"] < 0.7 * late["random"]


def test_a_stopped_study_goes_on_to_the_same_trials(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    whole = search(tiny, space, trials=9)

    def stops(bench: Bench, recipe: Recipe, watch: Watch) -> Outcome:
        if watch.number == 4:
            made_up.trial = bowl
            raise KeyboardInterrupt
        return bowl(bench, recipe, watch)

    made_up.trial = stops
    with pytest.raises(Interrupted, match="Go on with: tellapart tune --study ") as error:
        search(tiny, space, trials=9, name="stopped")
    folder = Path(error.value.hint.rpartition(" ")[2])
    assert (folder / "tuning.html").exists()
    assert trials_of(search(tiny, study=folder)) == trials_of(whole)


def test_a_trial_that_fails_is_recorded_and_the_others_go_on(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    errors = {1: UserError("The loss is nan.", "Lower it."), 2: MemoryError("no room")}

    def trial(bench: Bench, recipe: Recipe, watch: Watch) -> Outcome:
        if error := errors.get(watch.number):
            raise error
        return bowl(bench, recipe, watch)

    made_up.trial = trial
    tuned = search(tiny, space, trials=4)
    assert [row.state for row in tuned.rows] == ["finished", "failed", "failed", "finished"]
    assert [row.reason for row in tuned.rows[1:3]] == ["The loss is nan.", "MemoryError: no room"]
    assert "The loss is nan." in tuned.page.read_text("utf-8")


def test_where_no_trial_finishes_the_reason_is_told(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    def trial(*_: object) -> Outcome:
        raise UserError("The weights of resnet18 are not here.")

    made_up.trial = trial
    with pytest.raises(
        UserError, match=r"None of 2 trials has finished; one failed with: The weights of resnet18"
    ):
        search(tiny, space, trials=2)


def test_a_value_that_is_no_number_is_a_failure(tiny: Path, space: Path, made_up: SimpleNamespace):
    made_up.trial = lambda bench, recipe, watch: (
        Outcome(value=math.nan) if watch.number == 1 else bowl(bench, recipe, watch)
    )
    assert [row.state for row in search(tiny, space, trials=2).rows] == ["finished", "failed"]


def test_a_stopped_trial_keeps_its_value_and_is_never_the_best(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    def trial(bench: Bench, recipe: Recipe, watch: Watch) -> Outcome:
        if watch.number == 1:
            return Outcome(value=-5.0, epochs=1, stopped=BEHIND)
        return bowl(bench, recipe, watch)

    made_up.trial = trial
    tuned = search(tiny, space, trials=2)
    assert (tuned.rows[1].state, tuned.rows[1].value, tuned.rows[1].epochs) == ("pruned", -5.0, 1)
    assert tuned.best.number == 0


def test_no_trial_sees_a_test_image(tiny: Path, space: Path, made_up: SimpleNamespace):
    seen: list[Bench] = []
    made_up.trial = lambda bench, recipe, watch: seen.append(bench) or bowl(bench, recipe, watch)
    search(tiny, space, trials=1)
    assert set(seen[0].catalog.splits) == {"train", "val", ""}


def test_folds_judge_every_image_but_those_of_test_once(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    seen: list[Bench] = []
    made_up.trial = lambda bench, recipe, watch: seen.append(bench) or bowl(bench, recipe, watch)
    tuned = search(tiny, space, trials=1, folds=3)
    divisions = list(seen[0].divisions())
    assert len(divisions) == 3
    held_out = sum((catalog.splits == "val").astype(int) for catalog in divisions)
    assert (held_out == (seen[0].catalog.splits != "")).all()
    assert "in 3 folds" in tuned.lines[0]


def test_more_trials_train_the_best_anew_only_where_there_is_a_better_one(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    first = search(tiny, space, trials=2)
    again = search(tiny, study=first.path)
    assert made_up.finals == [first.best.number] and trials_of(again) == trials_of(first)
    more = search(tiny, study=first.path, trials=12)
    assert len(more.rows) == 12
    assert made_up.finals == [first.best.number, more.best.number]


def test_a_budget_finishes_at_least_one_trial(tiny: Path, space: Path, made_up: SimpleNamespace):
    assert len(search(tiny, space, budget_seconds=0.01).rows) == 1


def test_a_budget_ends_before_the_trials_do(
    tiny: Path, space: Path, made_up: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    moments = iter(range(10**6))
    monkeypatch.setattr(searching, "clock", lambda: next(moments))
    monkeypatch.setattr(tuning, "clock", lambda: next(moments))
    assert 1 < len(search(tiny, space, trials=1000, budget_seconds=100).rows) < 50


def test_a_budget_ends_although_every_trial_fails(
    tiny: Path, space: Path, made_up: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    def trial(*_: object) -> Outcome:
        raise MemoryError("no room")

    made_up.trial = trial
    monkeypatch.setattr(searching, "HOPELESS", 3)
    with pytest.raises(
        UserError, match=r"None of 1 trial has finished; one failed with: MemoryError: no room"
    ):
        search(tiny, space, budget_seconds=0.01)
    with pytest.raises(UserError, match="None of 3 trials has finished"):
        search(tiny, space, budget_seconds=1000)
    made_up.trial = bowl
    joined = search(tiny, study=next((tiny.parent / "runs").iterdir()), budget_seconds=0.01)
    assert [row.state for row in joined.rows if row.state != "failed"] == ["finished"]
