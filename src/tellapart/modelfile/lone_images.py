"""Images that come alone, answered on as many threads as prove fastest for them.

Several threads answer a lone image sooner: in three quarters of the time on two cores. They answer
many images later, so those keep one thread each. `benchmarks/session_options.py` measures both.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import UserError
from tellapart.machine import MachineWatch, machine_facts
from tellapart.modelfile.session import Session, runtime_version

if TYPE_CHECKING:
    from tellapart.cache import RuntimeMemory

# A second session takes 85 ms to open and 11 MB, and saves 2 to 3 ms an image (int8, two cores).
LONE_BEFORE = 32
PAIRS = 12  # images that are answered both ways
WATCHED = 32  # images after which it is looked again whether others use the machine
WORTH = 0.9  # of the time: smaller gains are within the noise of a trial
MOST_SECONDS = 3.0  # that all trials of a model may add

Floats = list[NDArray[np.float32]]


class LoneImages:
    """Runs a graph for lone images. Many threads may use it at once.

    The first images get one thread. Then some are answered both ways, and the faster way is kept,
    unless its bits differ. Twice as many threads are tried for as long as they win. What won is
    remembered for this graph, runtime and machine. What is measured while others use the machine is
    not remembered, and what is remembered is not taken while they do. Several threads wait for such
    others at each layer, so while they work, one thread answers.

    Args:
        model: the graph.
        single: a session of it with one thread.
        cores: how many threads there may be.
        memory: of what was measured before. None means the user's cache.
        opened: opens a session of a graph with so many threads.
        clock: the time in seconds.
    """

    def __init__(
        self,
        model: bytes,
        single: Session,
        cores: int,
        *,
        memory: RuntimeMemory | None = None,
        opened: Callable[[bytes, int], Session] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._model, self._single, self._cores = model, single, cores
        self._memory, self._opened, self._clock = memory, opened or _waiting, clock
        self._guard, self._trying = threading.Lock(), threading.Lock()
        self._process, self._at_work, self._before = os.getpid(), 0, 0
        self.threads = 1
        self._best, self._rival = single, single
        self._pairs: list[tuple[float, float]] = []
        self._added = 0.0
        self._step: Callable[[NDArray[Any], Sequence[str]], Floats] = (
            single.run if cores == 1 else self._count
        )

    @contextmanager
    def entered(self) -> Iterator[bool]:
        """While an image is answered: whether no other one was when it came."""
        with self._guard:
            self._at_work += 1
            lone = self._at_work == 1
        try:
            yield lone
        finally:
            with self._guard:
                self._at_work -= 1

    def run(self, batch: NDArray[Any], outputs: Sequence[str]) -> Floats:
        """The chosen outputs for a lone image, as `Session.run` gives them."""
        # A forked process lacks the threads. Who finds the lock taken is not alone.
        if os.getpid() != self._process or not self._trying.acquire(blocking=False):
            return self._single.run(batch, outputs)
        try:
            return self._step(batch, outputs)
        finally:
            self._trying.release()

    def _count(self, batch: NDArray[Any], outputs: Sequence[str]) -> Floats:
        """Answer one of the first images, and see at the last of them what is known."""
        if not self._before:
            self._watch = MachineWatch()
        self._before += 1
        if self._before == LONE_BEFORE:
            self._begin()
        return self._single.run(batch, outputs)

    def _begin(self) -> None:
        """Take what is remembered, or try two threads."""
        if self._memory is None:
            from tellapart.cache import RuntimeMemory  # loading it would delay short programs

            self._memory = RuntimeMemory()
        kept = self._known((self._memory.recall(self._key()) or {}).get("lone_threads"))
        busy, self._watch = self._watch.is_busy(), MachineWatch()
        if kept is None or busy:
            self._try_more()
            return
        if kept > 1 and (session := self._open(kept)):
            self._best, self.threads = session, kept
        self._settle()

    def _known(self, kept: Any) -> int | None:
        """A remembered number of threads; None where it is none that may be used here."""
        return kept if isinstance(kept, int) and 1 <= kept <= self._cores else None

    def _key(self) -> str:
        parts = [
            "lone",
            hashlib.sha256(self._model).hexdigest(),
            runtime_version(),
            *machine_facts(),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def _open(self, threads: int) -> Session | None:
        try:
            return self._opened(self._model, threads)
        except UserError:  # for want of memory; one session answers as well
            return None

    def _try_more(self) -> None:
        """Let twice as many threads stand against the best, where there are so many cores."""
        more = 2 * self.threads
        if more > self._cores:
            self._end()
        elif rival := self._open(more):
            self._rival, self._pairs, self._step = rival, [], self._compare
        else:  # which says nothing of the next time
            self._settle()

    def _compare(self, batch: NDArray[Any], outputs: Sequence[str]) -> Floats:
        """Answer an image both ways. They take turns in being first, which finds colder caches."""
        if len(self._pairs) % 2:
            rival_answer, rival_took = self._timed(self._rival, batch, outputs)
            answer, took = self._timed(self._best, batch, outputs)
        else:
            answer, took = self._timed(self._best, batch, outputs)
            rival_answer, rival_took = self._timed(self._rival, batch, outputs)
        self._pairs.append((took, rival_took))
        self._added += rival_took
        if any(map(_differ, answer, rival_answer)):
            self._end()
        elif len(self._pairs) == PAIRS or self._added + rival_took > MOST_SECONDS:
            self._decide()
        return answer

    def _timed(
        self, session: Session, batch: NDArray[Any], outputs: Sequence[str]
    ) -> tuple[Floats, float]:
        began = self._clock()
        return session.run(batch, outputs), self._clock() - began

    def _decide(self) -> None:
        took, rival_took = map(statistics.median, zip(*self._pairs, strict=True))
        if rival_took > WORTH * took:
            self._end()
            return
        self._best, self.threads = self._rival, 2 * self.threads
        if len(self._pairs) == PAIRS:  # otherwise there is no time for another trial
            self._try_more()
        else:
            self._end()

    def _end(self) -> None:
        """Keep the best way, and let go of the other session."""
        self._rival = self._best
        if self._memory and not self._watch.is_busy():
            self._memory.remember(self._key(), {"lone_threads": self.threads})
        self._settle()

    def _settle(self) -> None:
        self._watch, self._before, self._calm = MachineWatch(), 0, True
        self._step = self._answer if self.threads > 1 else self._single.run

    def _answer(self, batch: NDArray[Any], outputs: Sequence[str]) -> Floats:
        """Answer in the best way, or on one thread after others have used the machine."""
        self._before += 1
        if self._before % WATCHED == 0:
            self._calm, self._watch = not self._watch.is_busy(), MachineWatch()
        return (self._best if self._calm else self._single).run(batch, outputs)


def _waiting(model: bytes, threads: int) -> Session:
    """A session whose threads wait. Those that spin are 4 % faster, and slow other programs."""
    return Session(model, threads, spin=False)


def _differ(answer: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    return answer.tobytes() != other.tobytes()
