"""Claims on pieces of work, for processes that share a database: each piece has at most one holder.

A claim is a row with its holder's number and a counter that the holder raises every few seconds.
A process that sees the counter stand still for long enough takes the claim over, by an UPDATE that
succeeds only while the row is as it was read. So no two processes ever hold the same claim, and the
clocks of two machines are never compared.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
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

BEAT_SECONDS = 2.0  # between two signs of life
MAKING_TRIES, MAKING_SECONDS = 5, 0.3  # while other processes make the same tables
# A holder without a beat for so long is gone. Ten beats leave room for a process that the system
# holds up.
STALE_SECONDS = 20.0

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
        # Work → its holder and beat, and when this process first read them, by its own clock.
        self._seen: dict[int, tuple[str, int, float]] = {}
        made_once(lambda: _CLAIMS.metadata.create_all(engine))

    def take(self, work: int) -> bool:
        """Take a piece of work that nobody holds, or whose holder is gone.

        Returns:
            whether this process holds it now.
        """
        found = self._read(work)
        if found is None:
            return self._insert(work)
        holder, beat = found
        if holder == self._me or not self._is_stale(work, holder, beat):
            return False
        return self._changed(work, holder, beat, self._me)

    def of_others(self) -> frozenset[tuple[int, str, int]]:
        """Work, holder and beat of each claim of another process that is not known to be gone.

        A row that is new since the last call is a sign of life.
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
        """Show that this process still works on it. False means that another has taken it over."""
        found = self._read(work)
        return found is not None and found[0] == self._me and self._changed(work, *found, self._me)

    def release(self, work: int) -> None:
        """Give up a claim of this process, so that the next one need not wait."""
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
        """Raise the counter if the row is still as it was read. Only one process can succeed."""
        as_read = (*self._row(work), _CLAIMS.c.holder == holder, _CLAIMS.c.beat == beat)
        with self._engine.begin() as connection:
            done = connection.execute(
                update(_CLAIMS).where(*as_read).values(holder=new_holder, beat=beat + 1)
            )
        return done.rowcount == 1

    def _is_stale(self, work: int, holder: str, beat: int) -> bool:
        clock = time.monotonic()
        seen = self._seen.get(work)
        if seen is None or seen[:2] != (holder, beat):
            self._seen[work] = (holder, beat, clock)
            return False
        return clock - seen[2] > STALE_SECONDS

    def _row(self, work: int) -> tuple[ColumnElement[bool], ...]:
        return _CLAIMS.c.study == self._study, _CLAIMS.c.work == work


class Hold:
    """A claim that a thread keeps alive while the `with` statement lasts. Its end releases it.

    Args:
        claims: where it was taken.
        work: the piece of work.
    """

    def __init__(self, claims: Claims, work: int) -> None:
        self.lost = False
        self._claims, self._work = claims, work
        # A beat reads and then writes. Of two at once, one would find the claim changed.
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def is_mine(self) -> bool:
        """Ask the database whether this process still holds it."""
        with self._lock:
            self.lost |= not self._claims.beat(self._work)
        return not self.lost

    def __enter__(self) -> Hold:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._claims.release(self._work)

    def _keep(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            try:
                if not self.is_mine():
                    return
            except SQLAlchemyError:
                # The database is away for a moment. If it stays away, another process takes over.
                continue


def made_once(make: Callable[[], Made]) -> Made:
    """Call `make`, which makes tables or rows that are missing, and return what it returns.

    Two processes that start at the same moment both find them missing, and the database lets only
    one make them; the other tries again. PostgreSQL calls that an integrity or a programming error.
    SQLite and MySQL call it an operational error, and so they call a server that is not there.
    """
    for _ in range(MAKING_TRIES - 1):
        try:
            return make()
        except (IntegrityError, OperationalError, ProgrammingError) as error:
            if isinstance(error, OperationalError) and "already exists" not in str(error):
                raise
            time.sleep(MAKING_SECONDS)
    return make()
