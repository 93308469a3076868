"""The worker processes of a server: started, watched, and started again when they die.

    Desk.answer ──▶ waits for an idle worker ──▶ Worker.ask ──▶ the frame that it answers with
                       │ too long: TooLate          │ too long, or dead: the worker is replaced

Images that have waited too long, or whose client is gone, are not computed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from tellapart.errors import Fault
from tellapart.processes import environment, python_command
from tellapart.server.limits import Limits
from tellapart.server.worker import frame

LONGEST_LINE = 2**24  # of a frame: the probabilities of 100,000 classes
START_SECONDS = 60.0
MOST_DEATHS, WITHIN_SECONDS = 5, 60.0  # beyond these the server gives up


class Refusal(Exception):
    """Why an image is not answered.

    Args:
        code: one word, as "busy".
        status: of the HTTP response.
        message: a sentence for the client.
    """

    def __init__(self, code: str, status: int, message: str) -> None:
        super().__init__(message)
        self.code, self.status, self.message = code, status, message

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON object of the response."""
        return {"error": {"code": self.code, "message": self.message}, "request_id": request_id}

    @property
    def headers(self) -> dict[str, str]:
        """Of the response: when to come back, or how to show the token."""
        if self.status == 401:
            return {"www-authenticate": 'Basic realm="tellapart", charset="UTF-8"'}
        return {"retry-after": "1"} if self.status in (429, 503) else {}


# Not exceptions: one that is raised again keeps the frames of every time before.
BUSY = ("busy", 429, "Too many images are waiting. Try again in a moment.")
TOO_LATE = ("too_late", 504, "The image waited too long, and was not looked at.")
TOO_SLOW = ("too_slow", 504, "The image took too long to answer, and was given up.")
DIED = ("worker_died", 503, "The process that answered this image ended. Try once more.")
STOPPING = ("stopping", 503, "The server is stopping.")


class Worker:
    """One process, which answers one image at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.alive = True

    @classmethod
    async def start(cls, models: bytes) -> Worker:
        """Start a process, and wait until it has loaded the models.

        Raises:
            OSError: it cannot be started.
        """
        process = await asyncio.create_subprocess_exec(
            *python_command("tellapart.server.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment(os.curdir),
            limit=LONGEST_LINE,
        )
        worker = cls(process)
        try:
            async with asyncio.timeout(START_SECONDS):
                await worker._exchange(models)
        except BaseException as error:
            worker.kill()
            if isinstance(error, TimeoutError | EOFError | OSError):
                raise OSError("no process can be started that answers") from error
            raise
        return worker

    async def ask(self, head: Mapping[str, Any], body: bytes) -> dict[str, Any]:
        """What the process answers to one image.

        Raises:
            EOFError: the process has died.
        """
        return await self._exchange(frame(head, body))

    async def _exchange(self, sent: bytes) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(sent)
            await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        received: dict[str, Any] = json.loads(line)
        del received["bytes"]  # of a body, which answers have not
        return received

    async def ended(self) -> None:
        """Wait until the process has ended."""
        await self._process.wait()
        self.alive = False

    def kill(self) -> None:
        """End the process at once."""
        self.alive = False
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


class Desk:
    """All workers, and the images that wait for one of them.

    Args:
        models: name → bytes of a model file.
        workers: how many processes answer.
        limits: of waiting and computing.
        runs: name → run folder, of models whose run has an index.
    """

    def __init__(
        self,
        models: Mapping[str, bytes],
        workers: int,
        limits: Limits,
        runs: Mapping[str, str] | None = None,
    ) -> None:
        known = runs or {}
        loads = [
            frame({"ask": "load", "model": name, "run": known.get(name)}, file)
            for name, file in models.items()
        ]
        self._models = b"".join([*loads, frame({"ask": "begin"})])
        self._count, self._limits = workers, limits
        self._idle: deque[Worker] = deque()
        self._favourite: Worker | None = None  # for lone images: one that can take several threads
        self._waiting: deque[asyncio.Future[Worker]] = deque()
        self._alive: set[Worker] = set()
        self._deaths: deque[float] = deque(maxlen=MOST_DEATHS)
        self._killed: set[Worker] = set()  # by us, since they took too long
        self._tasks: list[asyncio.Task[None]] = []
        self.gave_up = asyncio.Event()
        self.stopping = False
        self.computed = 0

    @property
    def waiting(self) -> int:
        """How many images wait for a worker."""
        return sum(not place.done() for place in self._waiting)

    @property
    def alive(self) -> int:
        """How many workers can answer."""
        return len(self._alive)

    @property
    def ready(self) -> bool:
        """Whether an image that comes now will be answered."""
        return bool(self._alive) and not self.stopping

    async def open(self) -> None:
        """Start all workers, and watch over them.

        Raises:
            Fault: none can be started.
        """
        try:
            first = await asyncio.gather(*(Worker.start(self._models) for _ in range(self._count)))
        except OSError as error:
            raise Fault(
                "The processes that answer images cannot be started.",
                "See whether `tellapart predict` works with the same models.",
            ) from error
        self._tasks = [asyncio.create_task(self._keep(worker)) for worker in first]

    async def close(self) -> None:
        """End all workers. Images that still wait get no answer."""
        self.stopping = True
        for task in self._tasks:
            task.cancel()
        for worker in list(self._alive):
            worker.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, worker: Worker) -> None:
        """Watch a worker, and put another one in its place whenever it ends."""
        while True:
            self._alive.add(worker)
            self._release(worker)
            try:
                await worker.ended()
            finally:
                self._alive.discard(worker)
                with contextlib.suppress(ValueError):
                    self._idle.remove(worker)
            if worker not in self._killed:
                self._deaths.append(time.monotonic())
            self._killed.discard(worker)
            worker = await self._started_anew()

    async def _started_anew(self) -> Worker:
        while True:
            if (
                len(self._deaths) == MOST_DEATHS
                and time.monotonic() - self._deaths[0] < WITHIN_SECONDS
            ):
                self.gave_up.set()
                await asyncio.Event().wait()  # until the server ends
            try:
                return await Worker.start(self._models)
            except OSError:
                self._deaths.append(time.monotonic())
                await asyncio.sleep(0.5)

    def _release(self, worker: Worker) -> None:
        """Give an idle worker to whoever has waited longest."""
        while worker.alive and self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(worker)
                return
        if worker.alive:
            self._idle.append(worker)

    def admit(self, images: int) -> None:
        """See that so many images may wait.

        Raises:
            Refusal: too many wait already, or the server is stopping.
        """
        if self.stopping:
            raise Refusal(*STOPPING)
        free = len(self._idle)
        if self.waiting + images - free > self._limits.waiting:
            raise Refusal(*BUSY)

    async def answer(
        self, head: Mapping[str, Any], body: bytes, deadline: float, *, lone: bool = False
    ) -> dict[str, Any]:
        """What a worker answers to one image. Cancelled, it is not computed if it still waits.

        Args:
            head: what is asked of which model.
            body: a file or pixels.
            deadline: on the clock of `time.monotonic`.
            lone: whether no other image came with it. Where none is answered either, the worker may
                use several threads.

        Raises:
            Refusal: there is no answer.
        """
        lone = lone and len(self._idle) == len(self._alive)
        favourite = self._favourite
        if lone and favourite and favourite in self._idle:
            self._idle.remove(favourite)
            self._idle.append(favourite)
        worker = await self._next(deadline)
        if lone:
            self._favourite = worker
        began = time.monotonic()
        head = {**head, "lone": lone}
        # Shielded, so that a client who goes away does not leave half an answer in the pipe.
        found = await asyncio.shield(asyncio.ensure_future(self._computed(worker, head, body)))
        found["seconds"]["worker"] = time.monotonic() - began
        return found

    async def _next(self, deadline: float) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
        place: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await asyncio.wait({place}, timeout=max(0.0, deadline - time.monotonic()))
        except asyncio.CancelledError:
            self._leave(place)
            raise
        if not place.done():
            self._leave(place)
            raise Refusal(*TOO_LATE)
        return place.result()

    def _leave(self, place: asyncio.Future[Worker]) -> None:
        if place.done() and not place.cancelled():
            self._release(place.result())
        place.cancel()
        with contextlib.suppress(ValueError):
            self._waiting.remove(place)

    async def _computed(
        self, worker: Worker, head: Mapping[str, Any], body: bytes
    ) -> dict[str, Any]:
        self.computed += 1
        try:
            async with asyncio.timeout(self._limits.compute_seconds):
                found = await worker.ask(head, body)
        except TimeoutError:
            self._killed.add(worker)
            worker.kill()
            raise Refusal(*TOO_SLOW) from None
        except EOFError:
            worker.kill()
            raise Refusal(*DIED) from None
        self._release(worker)
        return found
