"""Who works on what, where several processes share a database: each piece of work has at most one
holder.

A claim is a row with its holder's number and a counter that the holder raises every few seconds.
Whoever sees the counter stand still for long enough takes the claim over, by an UPDATE that only
succeeds while the row is as it was seen. So no two processes ever hold the same claim, and the
clocks of two machines are never compared.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

BEAT_SECONDS = 2.0
MAKING_TRIES, MAKING_SECONDS = 5, 0.3  # where other processes make the same tables
STALE_SECONDS = (
    20.0  # without a beat: the holder is gone. Long enough for a process that the system holds up
)

Made = TypeVar("Made")

_CLAIMS = Table(
    "tellapart_claims",
    MetaData(),
    Column("study", String(255), primary_key=True),
    Column("work", Integer, primary_key=True, autoincrement=False),
    Column("holder", String(32), nullable=False),
    Column("beat", Integer, nullable=False),
)


class Claims:
    """The claims of one study, as one process sees them.

    Args:
        engine: of the database.
        study: the study's name in it.
    """

    def __init__(self, engine: Engine, study: str) -> None:
        self._engine, self._study = engine, study
        self._me = secrets.token_hex(16)
        self._seen: dict[
            int, tuple[str, int, float]
        ] = {}  # work → holder and beat, and when they were first seen so
        made_once(lambda: _CLAIMS.metadata.create_all(engine))

    def take(self, work: int) -> bool:
        """Take a piece of work that nobody holds, or whose holder is gone; whether that
        succeeded.
        """
        found = self._read(work)
        if found is None:
            return self._insert(work)
        holder, beat = found
        if holder == self._me or not self._is_stale(work, holder, beat):
            return False
        return self._changed(work, holder, beat, self._me)

    def of_others(self) -> frozenset[tuple[int, str, int]]:
        """Work, holder and beat of what others hold who are not known to be gone. What is new in
        it, somebody did.
        """
        query = select(_CLAIMS.c.work, _CLAIMS.c.holder, _CLAIMS.c.beat)
        with self._engine.begin() as connection:
            rows = connection.execute(
                query.where(_CLAIMS.c.study == self._study, _CLAIMS.c.holder != self._me)
            ).all()
        return frozenset(
            (work, holder, beat)
            for work, holder, beat in rows
            if not self._is_stale(work, holder, beat)
        )

    def beat(self, work: int) -> bool:
        """Say that this process still works on it; False: another one has taken it over."""
        found = self._read(work)
        return found is not None and found[0] == self._me and self._changed(work, *found, self._me)

    def release(self, work: int) -> None:
        """Let go of it, if this process holds it: the next one need not wait."""
        with self._engine.begin() as connection:
            connection.execute(
                delete(_CLAIMS).where(*self._row(work), _CLAIMS.c.holder == self._me)
            )

    def _read(self, work: int) -> tuple[str, int] | None:
        with self._engine.begin() as connection:
            row = connection.execute(
                select(_CLAIMS.c.holder, _CLAIMS.c.beat).where(*self._row(work))
            ).one_or_none()
        return None if row is None else (str(row[0]), int(row[1]))

    def _insert(self, work: int) -> bool:
        try:
            with self._engine.begin() as connection:
                connection.execute(
                    insert(_CLAIMS).values(study=self._study, work=work, holder=self._me, beat=0)
                )
        except IntegrityError:  # another process was quicker
            return False
        return True

    def _changed(self, work: int, holder: str, beat: int, new_holder: str) -> bool:
        """Raise the counter, if the row is still as it was read: the database lets only one process
        do that.
        """
        as_read = (*self._row(work), _CLAIMS.c.holder == holder, _CLAIMS.c.beat == beat)
        with self._engine.begin() as connection:
            done = connection.execute(
                update(_CLAIMS).where(*as_read).values(holder=new_holder, beat=beat + 1)
            )
        return done.rowcount == 1

    def _is_stale(self, work: int, holder: str, beat: int) -> bool:
        now = time.monotonic()
        before = self._seen.get(work)
        if before is None or before[:2] != (holder, beat):
            self._seen[work] = (holder, beat, now)
            return False
        return now - before[2] > STALE_SECONDS

    def _row(self, work: int) -> tuple[ColumnElement[bool], ...]:
        return _CLAIMS.c.study == self._study, _CLAIMS.c.work == work


class Hold:
    """A claim that is kept alive, by a thread, while the `with` statement lasts; then it is
    released.

    Args:
        claims: that it was taken from.
        work: which.
    """

    def __init__(self, claims: Claims, work: int) -> None:
        self.lost = False
        self._claims, self._work = claims, work
        self._lock = (
            threading.Lock()
        )  # a beat reads and then writes: two at once, and one would find the claim changed
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def is_mine(self) -> bool:
        """Whether this process still holds it, asked now."""
        with self._lock:
            self.lost |= not self._claims.beat(self._work)
        return not self.lost

    def __enter__(self) -> Hold:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._claims.release(self._work)

    def _keep(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            try:
                if not self.is_mine():
                    return
            except (
                SQLAlchemyError
            ):  # the database is away for a moment; if for long, another process takes over
                continue


def made_once(make: Callable[[], Made]) -> Made:
    """What `make` returns, which makes tables or rows where they are missing.

    Two processes that begin at the same moment both find them missing, and the database lets only
    one make them; the other looks again. PostgreSQL calls that an integrity or a programming error;
    SQLite and MySQL an operational one, which a server that is not there is too.
    """
    for _ in range(MAKING_TRIES - 1):
        try:
            return make()
        except (IntegrityError, OperationalError, ProgrammingError) as error:
            if isinstance(error, OperationalError) and "already exists" not in str(error):
                raise
            time.sleep(MAKING_SECONDS)
    return make()
