"""Claims: who works on what, where several processes share a database."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from tellapart.experiments import claims
from tellapart.experiments.claims import Claims, Hold, made_once
from tellapart.experiments.database import database_of, open_storage


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


def test_a_claim_that_beats_is_never_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claims, "STALE_SECONDS", -1.0)
    engine = open_storage(database_of(tmp_path)).engine
    holder, other = Claims(engine, "study"), Claims(engine, "study")
    assert holder.take(0)
    for _ in range(3):
        assert not other.take(0)
        assert holder.beat(0)
    holder.release(0)
    assert other.take(0) and not holder.beat(0)
    engine.dispose()


def test_a_holder_learns_that_it_was_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    engine = open_storage(database_of(tmp_path)).engine
    holder, other = Claims(engine, "study"), Claims(engine, "study")
    assert holder.take(0)
    with Hold(holder, 0) as hold:
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
    holder, other = Claims(engine, "study"), Claims(engine, "study")

    # A beat reads, and writes where nothing has changed: here it takes its time between the two.
    @event.listens_for(engine, "before_cursor_execute")
    def wait(connection: Any, cursor: Any, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE"):
            time.sleep(0.005)

    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.001)
    assert holder.take(0)
    with Hold(holder, 0) as hold:
        assert all(hold.is_mine() for _ in range(20))
        before = other.of_others()
        time.sleep(0.1)
        assert other.of_others() != before and not hold.lost
    engine.dispose()
