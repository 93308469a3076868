"""Fixtures of the tests of `tune`: quick databases, a space, and trials that train nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.storages import RDBStorage
from sqlalchemy import Engine, event

from helpers.images import write_tiny
from helpers.studies import SPACE, bowl
from tellapart.evaluation.trial_row import TrialRow
from tellapart.experiments import study as study_room
from tellapart.experiments.database import database_of, open_storage
from tellapart.jobs.tune import search
from tellapart.jobs.tune.study import OpenStudy
from tellapart.pipeline.services import Services


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that has its tables and no study; making them takes most of a second."""
    folder = tmp_path_factory.mktemp("empty")
    open_storage(database_of(folder)).engine.dispose()
    return folder / "study.sqlite"


@pytest.fixture(autouse=True, scope="module")
def quick_databases(empty_database: Path) -> Iterator[None]:
    """Databases that are copied from an empty one, and that do not wait for the disk."""

    def opened(url: str) -> RDBStorage:
        path = Path(url.removeprefix("sqlite:///"))
        if url.startswith("sqlite:///") and path.parent.is_dir() and not path.exists():
            shutil.copy(empty_database, path)
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
def made_up(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """No training: `trial` makes up a trial's outcome, and `finals` lists the trials that were
    trained at the end.
    """
    untested = SimpleNamespace(accuracy=SimpleNamespace(count=0))
    world = SimpleNamespace(trial=bowl, finals=[], metrics=untested)

    def final(opened: OpenStudy, best: TrialRow, services: Services) -> SimpleNamespace:
        world.finals.append(best.number)
        folder = opened.run.path / "best" / f"trial-{best.number:04}"
        folder.mkdir(parents=True)
        return opened_final(folder)

    def opened_final(folder: Path) -> SimpleNamespace:
        return SimpleNamespace(path=folder, metrics=world.metrics)

    monkeypatch.setattr(search, "run_trial", lambda *of: world.trial(*of))
    monkeypatch.setattr(search, "train_final", final)
    monkeypatch.setattr(search, "open_final", opened_final)
    monkeypatch.setattr(search, "POLL_SECONDS", 0.01)
    return world
