"""`tune`: trials judged without test, shared between processes, stopped and gone on with; the page
tells them.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import Engine, event
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError
from typer.testing import CliRunner

from helpers.images import write_tiny
from helpers.pages import HOSTILE, Page
from helpers.runs import TINY
from tellapart.cli.main import app
from tellapart.errors import Interrupted, Refused, UserError
from tellapart.evaluation.scores import loss
from tellapart.evaluation.trial_row import TrialRow
from tellapart.experiments import claims
from tellapart.experiments import study as study_room
from tellapart.experiments.claims import Claims, Hold, made_once
from tellapart.experiments.space import Space, read_space
from tellapart.experiments.study import (
    Study,
    StudySettings,
    database_of,
    open_or_create,
    open_storage,
    tenths_of,
)
from tellapart.jobs.cv.cross_validate import cross_validate
from tellapart.jobs.tune import trial as trials
from tellapart.jobs.tune import tune as tuning
from tellapart.jobs.tune.trial import Bench, Outcome, Stopped, Watch
from tellapart.jobs.tune.tune import Tuned, tune
from tellapart.recipe import Recipe
from tellapart.recipe_files import load_recipe
from tellapart.report.tune.page import TuningInput, render_tuning, summary_lines
from tellapart.report.tune.parallel import parallel
from tellapart.report.tune.trial_table import trials_table
from tellapart.runs.saved_predictions import read_predictions
from tellapart.tables import write_table

SPACE = """
training.lr: {low: 1e-4, high: 1e-1, log: true}
training.epochs: [1, 2, 4]
training.optimizer: [sgd, adam]
training.momentum: {choices: [0.5, 0.9], when: {training.optimizer: sgd}}
"""
RECIPE = load_recipe("cifar10-lenet", {"split.val": 0.2})
ROWS = (
    TrialRow(
        number=0,
        state="finished",
        settings={"training.lr": 0.001, "backbone.name": HOSTILE},
        value=0.5,
        scores={"train_loss": 0.4, "val_loss": 0.5, "val_accuracy": 0.8},
        epochs=2,
        seconds=3.0,
    ),
    TrialRow(
        number=1,
        state="failed",
        settings={"training.lr": 0.1},
        value=math.nan,
        reason=f"no memory {HOSTILE}",
    ),
    TrialRow(
        number=2,
        state="finished",
        settings={"training.lr": 0.01, "backbone.name": "cnn"},
        value=0.2,
    ),
)


def bowl(bench: Bench, recipe: Recipe, watch: Watch) -> Outcome:
    """A trial of no time: the loss is lowest at a rate of 0.003."""
    loss = (math.log10(recipe.training.lr) + 2.5) ** 2 + 0.01 * recipe.training.epochs
    return Outcome(
        value=loss, scores={"val_loss": loss, "train_loss": loss / 2}, epochs=recipe.training.epochs
    )


@pytest.fixture(autouse=True, scope="module")
def quick_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Databases that are copied from an empty one rather than made anew, and that do not wait for
    the disk.
    """
    empty = tmp_path_factory.mktemp("empty") / "study.sqlite"
    open_storage(database_of(empty.parent)).engine.dispose()

    def opened(url: str) -> RDBStorage:
        path = Path(url.removeprefix("sqlite:///"))
        if url.startswith("sqlite:///") and path.parent.is_dir() and not path.exists():
            shutil.copy(empty, path)
        return open_storage(url)

    def hurry(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", hurry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_room, "open_storage", opened)
        yield
    event.remove(Engine, "connect", hurry)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "tiny")


@pytest.fixture
def space(tmp_path: Path) -> Path:
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    return file


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """No training: `trial` makes up a trial's outcome, and `finals` lists the trials that were
    trained at the end.
    """
    world = SimpleNamespace(trial=bowl, finals=[])

    def final(work: Any, best: TrialRow) -> Path:
        world.finals.append(best.number)
        folder = work.opened.run.path / "best" / f"trial-{best.number:04}"
        folder.mkdir(parents=True)
        return folder

    monkeypatch.setattr(tuning, "run_trial", lambda *of: world.trial(*of))
    monkeypatch.setattr(tuning._Work, "_final_run", final)
    monkeypatch.setattr(tuning, "_measured", lambda run: None)
    monkeypatch.setattr(tuning, "POLL_SECONDS", 0.01)
    return world


def search(data: Path, space: Path | None = None, **options: Any) -> Tuned:
    usual: dict[str, Any] = {"space": space}
    usual |= {} if "study" in options else {"recipe": RECIPE, "metric": "loss"}
    out = {"out": data.parent / "runs", "quiet": True}
    return tune(data, **{**usual, **out, **options})


def told(tuned: Tuned) -> list[tuple[int, str, Mapping[str, Any], float]]:
    return [(row.number, row.state, row.settings, row.value) for row in tuned.rows]


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
    told = CliRunner().invoke(app, [str(word) for word in [*words, "--out", out, "--quiet"]])
    page, model = told.stdout.splitlines()[-2:]
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
    one, same, other = (
        search(tiny, space, trials=8, seed=seed, name=f"s{seed}") for seed in (0, 0, 1)
    )
    assert told(one) == told(same)
    assert told(one)[1:] != told(other)[1:]


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
    assert told(search(tiny, study=folder)) == told(whole)


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
            raise Stopped("behind the median of the others", Outcome(value=-5.0, epochs=1))
        return bowl(bench, recipe, watch)

    made_up.trial = trial
    tuned = search(tiny, space, trials=2)
    assert (tuned.rows[1].state, tuned.rows[1].value, tuned.rows[1].epochs) == ("pruned", -5.0, 1)
    assert tuned.best.number == 0


def test_no_trial_sees_a_test_image(tiny: Path, space: Path, made_up: SimpleNamespace):
    seen: list[Bench] = []
    made_up.trial = lambda bench, recipe, watch: seen.append(bench) or bowl(bench, recipe, watch)
    search(tiny, space, trials=1)
    assert set(seen[0].splits) == {"train", "val", ""}


def test_folds_judge_every_image_but_those_of_test_once(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    seen: list[Bench] = []
    made_up.trial = lambda bench, recipe, watch: seen.append(bench) or bowl(bench, recipe, watch)
    tuned = search(tiny, space, trials=1, folds=3)
    divisions = list(seen[0].divisions())
    assert len(divisions) == 3
    held_out = sum((np.asarray(one) == "val").astype(int) for one in divisions)
    assert (held_out == (seen[0].splits != "")).all()
    assert "in 3 folds" in tuned.lines[0]


def test_of_folds_the_mean_counts_and_a_trial_behind_ends_early(monkeypatch: pytest.MonkeyPatch):
    values = iter([1.0, 2.0, 6.0])
    monkeypatch.setattr(
        trials,
        "_by_gradient",
        lambda *_: Outcome(value=(value := next(values)), scores={"val_loss": value}),
    )
    bench = SimpleNamespace(folds=SimpleNamespace(folds=3), divisions=lambda: range(3))
    reported: list[tuple[int, float]] = []
    watch = SimpleNamespace(lost=False, report=lambda *one: bool(reported.append(one)))
    assert trials.run_trial(bench, RECIPE, watch).value == 3.0
    assert reported == [(1, 1.0), (2, 1.5)]
    values = iter([1.0])
    with pytest.raises(Stopped, match="behind the median"):
        trials.run_trial(bench, RECIPE, SimpleNamespace(lost=False, report=lambda *_: True))


@pytest.mark.parametrize(("complete", "mean"), [([], math.nan), ([1.0, 2.0], 1.5)])
def test_of_folds_that_are_stopped_by_time_the_complete_ones_count(
    monkeypatch: pytest.MonkeyPatch, complete: list[float], mean: float
):
    values = iter(complete)

    def fold(*_: object) -> Outcome:
        if (value := next(values, None)) is None:
            raise Stopped("the time was up", Outcome(value=9.0, epochs=1))
        return Outcome(value=value, scores={"val_loss": value}, epochs=5)

    monkeypatch.setattr(trials, "_by_gradient", fold)
    bench = SimpleNamespace(folds=SimpleNamespace(folds=3), divisions=lambda: range(3))
    with pytest.raises(Stopped, match="the time was up") as stopped:
        trials.run_trial(bench, RECIPE, SimpleNamespace(lost=False, report=lambda *_: False))
    assert stopped.value.outcome.value == pytest.approx(mean, nan_ok=True)


def test_more_trials_train_the_best_anew_only_where_there_is_a_better_one(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    first = search(tiny, space, trials=2)
    again = search(tiny, study=first.path)
    assert made_up.finals == [first.best.number] and told(again) == told(first)
    more = search(tiny, study=first.path, trials=12)
    assert len(more.rows) == 12
    assert made_up.finals == [first.best.number, more.best.number]


def test_a_budget_finishes_at_least_one_trial(tiny: Path, space: Path, made_up: SimpleNamespace):
    assert len(search(tiny, space, budget_seconds=0.01).rows) == 1


def test_a_budget_ends_before_the_trials_do(
    tiny: Path, space: Path, made_up: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    moments = iter(range(10**6))
    monkeypatch.setattr(
        tuning, "time", SimpleNamespace(monotonic=lambda: next(moments), strftime=lambda _: "")
    )
    assert 1 < len(search(tiny, space, trials=1000, budget_seconds=100).rows) < 50


def test_a_budget_ends_although_every_trial_fails(
    tiny: Path, space: Path, made_up: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    def trial(*_: object) -> Outcome:
        raise MemoryError("no room")

    made_up.trial = trial
    monkeypatch.setattr(tuning, "HOPELESS", 3)
    with pytest.raises(
        UserError, match=r"None of 1 trials has finished; one failed with: MemoryError: no room"
    ):
        search(tiny, space, budget_seconds=0.01)
    with pytest.raises(UserError, match="None of 3 trials has finished"):
        search(tiny, space, budget_seconds=1000)
    made_up.trial = bowl
    joined = search(tiny, study=next((tiny.parent / "runs").iterdir()), budget_seconds=0.01)
    assert [row.state for row in joined.rows if row.state != "failed"] == ["finished"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "How long to search is not said"),
        ({"trials": 0}, "trials must be above 0"),
        ({"budget_seconds": -1.0}, "budget must be above 0"),
        ({"trials": 1, "study": "nowhere"}, "nowhere is no study's folder"),
        ({"trials": 1, "metric": "loss2"}, "Unknown metric 'loss2'"),
        ({"trials": 1, "sampler": "grid"}, "Unknown sampler 'grid'"),
        ({"trials": 1, "folds": 1}, "folds must be 2 to 20, got 1"),
        ({"trials": 1, "set": {"split.val": 0}}, "There is no val to judge trials by"),
        (
            {"trials": 1, "set": {"training.lr": 1}},
            "space.yaml searches training.lr, and --set fixes it",
        ),
        ({"trials": 1, "storage": "sqlite:///x.sqlite"}, "Name this one: --study NAME"),
        ({"trials": 1, "storage": "nonsense", "study": "a"}, "The storage is no database URL"),
        (
            {"trials": 1, "storage": "postgresql+psycopg://h/d", "study": "a"},
            "needs a driver that is not installed",
        ),
        ({"trials": 1, "storage": "sqlite:////nowhere/x.sqlite", "study": "a"}, "cannot be used"),
    ],
)
def test_wrong_use_is_told(
    tiny: Path, space: Path, made_up: SimpleNamespace, options: dict[str, Any], words: str
):
    with pytest.raises(UserError) as error:
        search(tiny, **{"recipe": RECIPE, "metric": "loss", "space": space, **options})
    assert words in str(error.value)


def test_a_password_is_never_shown():
    with pytest.raises(UserError) as error:
        open_storage("postgresql+psycopg://me:secret@h/d")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("folds", [0, 1, 21])
def test_too_few_or_too_many_folds_are_refused(
    tiny: Path, space: Path, made_up: SimpleNamespace, folds: int
):
    with pytest.raises(
        UserError, match=f"--folds must be 2 to 20, got {folds}. Leave it out to judge by val"
    ):
        search(tiny, space, trials=1, folds=folds)


def test_folds_that_the_images_do_not_allow_are_refused_before_anything_is_written(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    with pytest.raises(
        UserError, match="14 folds are more than the images allow: no class has one for each"
    ):
        search(tiny, space, trials=1, folds=14)
    assert not list((tiny.parent / "runs").glob("*"))


def test_a_space_that_cannot_be_read_is_told(tiny: Path, made_up: SimpleNamespace):
    with pytest.raises(UserError, match=r"cannot be read as a space \(no such file or directory\)"):
        search(tiny, tiny / "none.yaml", trials=1)


def test_with_all_of_the_space_set_nothing_is_left_to_search(tiny: Path, made_up: SimpleNamespace):
    fixed = {
        "backbone.name": "tf_efficientnet_lite0",
        "preprocessing.mode": "squash",
        "head.weighting": "none",
    }
    wanted = {**fixed, "preprocessing.size_px": 64, "preprocessing.share": None}
    with pytest.raises(UserError, match="Nothing is left to search"):
        search(tiny, None, trials=1, recipe="probe", set=wanted)


def test_who_joins_takes_the_settings_of_the_study(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    first = search(tiny, space, trials=2, folds=3, seed=5)
    joined = tune(study=first.path, trials=3, quiet=True)
    assert joined.rows[:2] == first.rows
    assert (joined.path, joined.metric, joined.seed, joined.judged) == (
        first.path,
        "loss",
        5,
        "in 3 folds",
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metric": "accuracy"}, "the metric is not the same"),
        ({"folds": 3}, "the folds are not the same"),
        ({"sampler": "random"}, "the sampler is not the same"),
        ({"seed": 3}, "the recipe and the seed are not the same"),
        ({"set": {"training.batch_size": 16}}, "the recipe is not the same"),
    ],
)
def test_who_joins_with_other_settings_is_refused(
    tiny: Path, space: Path, made_up: SimpleNamespace, options: dict[str, Any], words: str
):
    first = search(tiny, space, trials=1)
    with pytest.raises(Refused, match=words):
        search(tiny, study=first.path, **options)


def test_who_joins_with_another_space_or_other_data_is_refused(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    first = search(tiny, space, trials=1)
    space.write_text("training.lr: [0.1]")
    with pytest.raises(Refused, match="the space is not the same"):
        search(tiny, study=first.path, space=space)
    (tiny / "brick" / "000.png").unlink()
    with pytest.raises(Refused, match="1 image is gone"):
        search(tiny, study=first.path)


def test_a_study_of_another_format_is_refused(tiny: Path, space: Path, made_up: SimpleNamespace):
    first = search(tiny, space, trials=1)
    about = json.loads((first.path / "study.json").read_text())
    (first.path / "study.json").write_text(json.dumps({**about, "format": 99}))
    with pytest.raises(Refused, match="in another format"):
        search(tiny, study=first.path)


def test_many_studies_share_a_database_by_their_names(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    url = f"sqlite:///{tiny.parent / 'all.sqlite'}"
    shared = {"recipe": RECIPE, "space": space, "storage": url}
    first = search(tiny, **shared, study="a", trials=2, seed=1)
    other = search(tiny, **shared, study="b", trials=2, seed=2)
    elsewhere = tune(tiny, storage=url, study="a", trials=3, out=tiny.parent / "other", quiet=True)
    assert elsewhere.rows[:2] == first.rows != other.rows
    assert elsewhere.path.parent.name == "other"
    assert not (first.path / "study.sqlite").exists()


@pytest.mark.parametrize("kind", ["away", "wrapped"])
def test_a_database_that_goes_away_ends_the_search_but_no_trial(
    tiny: Path, space: Path, made_up: SimpleNamespace, kind: str
):
    begun: list[Recipe] = []

    def trial(bench: Bench, recipe: Recipe, watch: Watch) -> Outcome:
        begun.append(recipe)
        if len(begun) == 1:
            return bowl(bench, recipe, watch)
        if kind == "wrapped":
            raise StorageInternalError("the commit") from OperationalError(
                "", {}, Exception("the server is gone")
            )
        file = bench.folder.parent / "study.sqlite"
        file.rename(file.with_suffix(".away"))
        file.write_bytes(b"no database" * 1000)
        return bowl(bench, recipe, watch)

    made_up.trial = trial
    with pytest.raises(UserError, match="can no longer be used") as stopped:
        search(tiny, space, trials=2)
    assert ("the server is gone" if kind == "wrapped" else "sqlite3") in str(stopped.value)
    (folder,) = (tiny.parent / "runs").iterdir()
    assert f"tellapart tune --study {folder}" in str(stopped.value.hint)
    if kind == "away":
        (folder / "study.away").replace(folder / "study.sqlite")
    made_up.trial = bowl
    assert [row.state for row in search(tiny, study=folder).rows] == ["finished", "finished"]


@pytest.mark.parametrize(
    "error",
    [
        IntegrityError(
            "", {}, Exception('duplicate key value violates "pg_type_typname_nsp_index"')
        ),
        ProgrammingError("", {}, Exception('relation "studies" already exists')),
        OperationalError("", {}, Exception("table studies already exists")),
    ],
)
def test_tables_that_another_process_makes_at_the_same_moment_are_looked_for_again(
    monkeypatch: pytest.MonkeyPatch, error: SQLAlchemyError
):
    monkeypatch.setattr(claims, "MAKING_SECONDS", 0.0)
    left = [error, error]

    def make() -> str:
        if left:
            raise left.pop()
        return "made"

    assert made_once(make) == "made"
    left = [error] * claims.MAKING_TRIES
    with pytest.raises(type(error)):
        made_once(make)


def test_a_server_that_is_not_there_is_asked_once():
    asked = []

    def make() -> None:
        asked.append(1)
        raise OperationalError("", {}, Exception("Connection refused"))

    with pytest.raises(OperationalError):
        made_once(make)
    assert asked == [1]


def test_a_final_training_in_another_folder_is_told_with_its_score(
    tiny: Path, space: Path, made_up: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    measured = SimpleNamespace(accuracy="90.0 % (80.0 to 95.0, 50 images)", as_json=dict)
    monkeypatch.setattr(tuning, "_measured", lambda run: run and measured)
    monkeypatch.setattr(
        time, "strftime", lambda *_: "20261101-080000"
    )  # both folders of the same second
    shared = {"storage": f"sqlite:///{tiny.parent / 'all.sqlite'}", "study": "a"}
    first = search(tiny, space, recipe=RECIPE, **shared, trials=1)
    other = tune(tiny, **shared, out=tiny.parent / "other", quiet=True)
    assert (made_up.finals, other.run) == ([0], None)
    assert (
        other.lines[-1]
        == f"It was trained once more in another folder of the study, {first.path.name}: its test"
        " accuracy is 90.0 % (80.0 to 95.0, 50 images)."
    )


def test_a_study_whose_database_is_gone_is_refused(
    tiny: Path, space: Path, made_up: SimpleNamespace
):
    first = search(tiny, space, trials=2)
    (first.path / "study.sqlite").unlink()
    before = (first.path / "trials.csv").read_bytes()
    with pytest.raises(Refused, match=r"is not in its database \(.*study.sqlite\). Put that back"):
        search(tiny, study=first.path, trials=3)
    assert not (first.path / "study.sqlite").exists()
    assert (first.path / "trials.csv").read_bytes() == before


def settings_of(space: Space, **changes: Any) -> StudySettings:
    usual = {
        "catalog": "c",
        "splits": "s",
        "recipe": {},
        "space": space.as_json(),
        "metric": "loss",
        "folds": None,
    }
    return StudySettings(**{**usual, "seed": 0, "sampler": "random", **changes})


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Study, Study, Space]]:
    """One study as two processes see it. A claim is stale as soon as it is seen twice without a
    beat.
    """
    monkeypatch.setattr(claims, "STALE_SECONDS", -1.0)
    space = read_space(SPACE, RECIPE, "space")
    one, other = (
        open_or_create(database_of(tmp_path), "study", settings_of(space)) for _ in range(2)
    )
    one.total = 3
    yield one, other, space
    one.close()
    other.close()


def test_a_study_is_opened_with_the_settings_that_it_was_started_with(tmp_path: Path):
    settings = settings_of(read_space(SPACE, RECIPE, "space"))
    assert open_or_create(database_of(tmp_path), "study") is None
    open_or_create(database_of(tmp_path), "study", settings).close()
    again = open_or_create(database_of(tmp_path), "study")
    assert again.settings == settings
    again.close()


def test_a_study_with_other_settings_is_refused(tmp_path: Path):
    settings = settings_of(read_space(SPACE, RECIPE, "space"))
    open_or_create(database_of(tmp_path), "study", settings).close()
    with pytest.raises(Refused, match="the metric is not the same"):
        open_or_create(database_of(tmp_path), "study", replace(settings, metric="accuracy"))


def test_two_processes_never_work_on_the_same_trial(shared: tuple[Study, Study, Space]):
    one, other, space = shared
    numbers = [study.take(space).number for study in (one, other, one)]
    assert sorted(numbers) == [0, 1, 2]
    assert len(one.rows()) == 3


def test_a_trial_that_was_left_behind_is_gone_on_with(shared: tuple[Study, Study, Space]):
    one, other, space = shared
    one.total = 1
    left = one.take(space)
    left.report(1, 0.5)
    assert other.take(space) is None  # the first look: it may be alive
    taken = other.take(space)
    assert (taken.number, taken.settings, taken.seed) == (left.number, left.settings, left.seed)
    assert taken.reported == {1: 0.5}
    assert taken.finish(0.2, {})
    assert not left.finish(0.9, {})  # what it found out too late changes nothing
    assert [(row.state, row.value) for row in one.rows()] == [("finished", 0.2)]
    assert one.is_over


def test_who_was_held_up_writes_nothing_to_the_trial_of_another(shared: tuple[Study, Study, Space]):
    one, other, space = shared
    one.total = 1
    left = one.take(space)
    assert other.take(space) is None
    taken = other.take(space)
    assert left.report(1, 0.9)  # it is to be stopped
    assert not left.fail("no memory", {"seconds": 9.0})
    assert taken.reported == {} and one.rows()[0].reason == ""
    assert taken.finish(0.2, {"seconds": 1.0})
    assert not left.finish(0.9, {"seconds": 9.0})
    assert (one.rows()[0].value, one.rows()[0].seconds) == (0.2, 1.0)


def test_a_trial_that_another_finished_since_the_question_is_lost(
    shared: tuple[Study, Study, Space], monkeypatch: pytest.MonkeyPatch
):
    one, other, space = shared
    one.total = 1
    left = one.take(space)
    assert other.take(space) is None
    assert other.take(space).finish(0.2, {})
    monkeypatch.setattr(Hold, "is_mine", lambda _: True)
    assert (
        not left.finish(0.9, {"seconds": 9.0})
        and not left.stop(None, {})
        and not left.fail("no memory", {})
    )


def test_a_number_that_was_claimed_but_has_no_trial_yet_gets_one(
    shared: tuple[Study, Study, Space],
):
    one, other, space = shared
    assert one.claims.take(0)  # and then it was killed
    assert [other.take(space).number for _ in range(3)] == [1, 0, 2]


def test_who_was_killed_does_not_keep_the_best_from_being_trained(
    tiny: Path, space: Path, made_up: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(claims, "STALE_SECONDS", 0.3)

    def trial(bench: Bench, recipe: Recipe, watch: Watch) -> Outcome:
        url = database_of(bench.folder.parent)
        other = open_or_create(url, "study")
        assert other.take(read_space(SPACE, RECIPE, "space")).number == 1  # and then it is killed
        other.close()
        return bowl(bench, recipe, watch)

    made_up.trial = trial
    tuned = search(tiny, space, budget_seconds=0.01)
    assert made_up.finals == [0] and tuned.run is not None


def test_who_is_at_work_is_left_the_final_training(
    shared: tuple[Study, Study, Space], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(claims, "STALE_SECONDS", 10.0)
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.05)
    one, other, space = shared
    with other.take(space):
        assert one.others_work(0.01)
    assert not one.others_work(0.01)
    assert other.claims.take(study_room.FINAL)  # that is no trial
    assert not one.others_work(0.01)


def test_a_claim_that_beats_is_never_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claims, "STALE_SECONDS", -1.0)
    engine = open_storage(database_of(tmp_path)).engine
    one, other = Claims(engine, "study"), Claims(engine, "study")
    assert one.take(0)
    for _ in range(3):
        assert not other.take(0)
        assert one.beat(0)
    one.release(0)
    assert other.take(0) and not one.beat(0)
    engine.dispose()


def test_a_holder_learns_that_it_was_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    engine = open_storage(database_of(tmp_path)).engine
    one, other = Claims(engine, "study"), Claims(engine, "study")
    assert one.take(0)
    with Hold(one, 0) as hold:
        assert hold.is_mine()
        monkeypatch.setattr(claims, "STALE_SECONDS", -1.0)
        assert not other.take(0) and other.take(0)
        assert not hold.is_mine()
    assert other.beat(0)  # the end of the first one's hold has not touched it
    engine.dispose()


def test_a_holder_does_not_lose_its_claim_to_its_own_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    engine = open_storage(database_of(tmp_path)).engine
    one, other, read = Claims(engine, "study"), Claims(engine, "study"), Claims._read

    def slow(self: Claims, work: int) -> tuple[str, int] | None:
        found = read(self, work)
        time.sleep(0.005)
        return found

    monkeypatch.setattr(Claims, "_read", slow)
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.001)
    assert one.take(0)
    with Hold(one, 0) as hold:
        assert all(hold.is_mine() for _ in range(20))
        before = other.of_others()
        time.sleep(0.1)
        assert other.of_others() != before and not hold.lost
    engine.dispose()


def test_a_trial_is_stopped_when_it_is_behind_the_median_but_not_in_its_beginning(
    shared: tuple[Study, Study, Space],
):
    study, _, space = shared
    study.total = 5
    for _ in range(4):
        taken = study.take(space)
        assert not any(taken.report(tenth, 1.0) for tenth in range(1, 11))
        taken.finish(1.0, {})
    behind = study.take(space)
    assert [behind.report(tenth, 2.0) for tenth in (1, 2, 3)] == [False, False, True]


def test_a_training_of_any_length_ends_with_the_tenth_tenth():
    for epochs in range(1, 25):
        tenths = [tenth for epoch in range(1, epochs + 1) for tenth in tenths_of(epoch, epochs)]
        assert tenths == list(range(1, 11))


def test_an_equal_value_does_not_replace_the_first_best(shared: tuple[Study, Study, Space]):
    study, _, space = shared
    for value in (0.5, 0.2, 0.2):
        study.take(space).finish(value, {})
    assert study.best().number == 1


def page_input(**changes: Any) -> TuningInput:
    usual = {
        "title": HOSTILE,
        "created": "1 May 2025",
        "metric": "loss",
        "shown": "accuracy",
        "judged": "on val",
        "count": 40,
        "seed": 3,
        "keys": ("training.lr", "backbone.name"),
        "logs": frozenset({"training.lr"}),
        "rows": ROWS,
        "best": ROWS[2],
        "importances": {},
        "test": None,
        "elsewhere": None,
        "looks": 0,
        "ran": {"Recipe": HOSTILE},
    }
    return TuningInput(**{**usual, **changes})


def test_the_page_loads_nothing_and_holds_no_foreign_markup():
    page = Page(render_tuning(page_input(importances={"training.lr": 0.75, "backbone.name": 0.25})))
    assert all(value.startswith("#") for value in page.values("src", "href"))
    assert not [
        name for _, attrs in page.tags for name in attrs if name == "style" or name.startswith("on")
    ]
    assert "The best of 3 trials is trial 2: loss 0.2 on val (40 images, seed 3)." in page.text
    assert "no memory" in page.text


def test_the_page_of_a_study_without_a_finished_trial_says_so():
    page = Page(render_tuning(page_input(rows=ROWS[1:2], best=None)))
    assert "No trial has finished yet." in page.text


def test_too_few_trials_say_nothing_of_what_mattered():
    assert "2 finished trials are too few" in Page(render_tuning(page_input())).text


def test_a_second_look_at_test_is_told():
    score = SimpleNamespace(accuracy="90.0 % (80.0 to 95.0, 50 images)")
    lines = summary_lines(page_input(test=score, looks=2))
    assert any("Quote this one" in line for line in lines)
    assert lines[-1] == "The test set has now been looked at 2 times."


def table_of(rows: Sequence[TrialRow], keys: Sequence[str], folder: Path) -> list[dict[str, str]]:
    write_table(folder / "trials.csv", *trials_table(rows, keys, "loss", "accuracy"))
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_for_other_programs_has_every_number_in_full(tmp_path: Path):
    rows = table_of(ROWS, ["training.lr", "backbone.name"], tmp_path)
    assert [row["trial"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["val_accuracy"] == "0.8" and rows[0]["backbone.name"] == HOSTILE
    assert rows[1]["val_loss"] == rows[1]["val_loss_chosen"] == rows[1]["epochs"] == ""
    assert rows[1]["state"] == "failed" and rows[0]["seconds"] == "3.0"


def test_the_table_tells_a_setting_that_is_none_from_one_that_does_not_count(tmp_path: Path):
    every = ({"head.hidden": ""}, {"head.hidden": None}, {"head.hidden": "8"}, {})
    rows = [
        TrialRow(number=n, state="finished", settings=of, value=0.5) for n, of in enumerate(every)
    ]
    assert [row["head.hidden"] for row in table_of(rows, ["head.hidden"], tmp_path)] == [
        "none",
        "none",
        "8",
        "",
    ]


def test_the_table_holds_no_formula(tmp_path: Path):
    row = TrialRow(
        number=0, state="failed", settings={"backbone.name": "@cnn"}, value=math.nan, reason="=1+1"
    )
    (told,) = table_of([row], ["backbone.name"], tmp_path)
    assert (told["backbone.name"], told["reason"]) == ("'@cnn", "'=1+1")


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
    told = cross_validate(photos, **options).as_json()
    tuned = tune(photos, trials=1, **options)
    assert tuned.rows[0].value == pytest.approx(told["mean"]["log_loss"], abs=1e-5)


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
    judge = trials._Judge.__call__

    def interrupts(self: trials._Judge, event: Any) -> None:
        judge(self, event)
        if self._watch.number == 1 and (event.name, event.epoch, event.batch) == (
            "iteration_completed",
            2,
            2,
        ):
            monkeypatch.setattr(trials._Judge, "__call__", judge)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(trials._Judge, "__call__", interrupts)
    with pytest.raises(Interrupted, match="Go on with: tellapart tune --study"):
        tune(tiny, **options, out=tiny.parent / "cut", quiet=True)
    (folder,) = (tiny.parent / "cut").iterdir()
    done = tune(study=folder, quiet=True)
    assert told(done) == told(whole)
    assert [len(list((folder / "trials").glob(f"*-trial-{number:04}"))) for number in (0, 1)] == [
        1,
        1,
    ]
    assert not list((folder / "trials").glob("*/checkpoints"))
    assert done.metrics.as_json() == whole.metrics.as_json()


@pytest.mark.parametrize(
    "name", ["cnn", "tf_efficientnet_lite0", "a_network_with_a_very_long_name"]
)
def test_the_labels_of_the_first_rail_have_room(name: str):
    rows = [
        TrialRow(
            number=number,
            state="finished",
            settings={"backbone.name": one, "training.lr": 0.1},
            value=0.2,
        )
        for number, one in enumerate(("cnn", name))
    ]
    drawn = parallel(rows, ["backbone.name", "training.lr"], frozenset(), "loss", rows[0])
    assert drawn is not None
    first, *others = drawn.rails
    assert (
        first.x >= 6 * max(len(tick.text) for tick in first.ticks) + 6
    )  # a letter is about 6 px, the label 6 px away
    assert [point.split(",")[0] for point in drawn.strands[0].points.split()] == [
        str(one.x) for one in drawn.rails
    ]
    assert drawn.width > others[-1].x
