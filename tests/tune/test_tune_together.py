"""Joining a study: by its folder or its name in a database, and what is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError

from helpers.studies import RECIPE, SPACE, bowl, search
from tellapart.errors import Refused, UserError
from tellapart.evaluation.metrics import proportion
from tellapart.experiments import claims
from tellapart.experiments.database import database_of
from tellapart.experiments.space import read_space
from tellapart.experiments.study import open_or_create
from tellapart.jobs.tune.trial import Bench, Outcome, Watch
from tellapart.jobs.tune.tune import tune
from tellapart.recipe import Recipe


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
    tiny: Path,
    space: Path,
    made_up: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
):
    monkeypatch.setattr(claims, "STALE_SECONDS", 0.3)  # the claim cannot be released
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


def test_a_final_training_in_another_folder_is_told_with_its_score(
    tiny: Path, space: Path, made_up: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    made_up.metrics = SimpleNamespace(accuracy=proportion(45, 50), as_json=dict)
    monkeypatch.setattr(
        time, "strftime", lambda *_: "20261101-080000"
    )  # both folders of the same second
    shared = {"storage": f"sqlite:///{tiny.parent / 'all.sqlite'}", "study": "a"}
    first = search(tiny, space, recipe=RECIPE, **shared, trials=1)
    other = tune(tiny, **shared, out=tiny.parent / "other", quiet=True)
    assert (made_up.finals, other.run) == ([0], None)
    assert (
        other.lines[-1]
        == f"The final training is in another folder of the study, {first.path.name}: the test"
        f" accuracy is {proportion(45, 50)}."
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
