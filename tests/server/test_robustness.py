"""Overload, death and stopping: every request gets an answer or a reason, and the server goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from helpers.serving import Reply, serving
from tellapart.errors import Fault
from tellapart.server import workers
from tellapart.server.limits import Limits
from tellapart.server.workers import Desk, Refusal


class FakeWorker:
    """A worker that answers when a test lets it."""

    made: list[FakeWorker]

    def __init__(self) -> None:
        self.alive, self.free = True, asyncio.Event()
        self.asked: list[bytes] = []
        self.lone: list[bool] = []
        self._end = asyncio.Event()
        self.made.append(self)

    @classmethod
    async def start(cls, models: bytes) -> FakeWorker:
        return cls()

    async def ask(self, head: dict[str, Any], body: bytes) -> dict[str, Any]:
        self.asked.append(body)
        self.lone.append(head["lone"])
        free, end = (asyncio.ensure_future(event.wait()) for event in (self.free, self._end))
        await asyncio.wait({free, end}, return_when=asyncio.FIRST_COMPLETED)
        free.cancel()
        end.cancel()
        if not self.alive:
            raise EOFError
        return {"status": "ok", "seconds": {}}

    async def ended(self) -> None:
        await self._end.wait()
        self.alive = False

    def kill(self) -> None:
        self.alive = False
        self._end.set()


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> list[FakeWorker]:
    FakeWorker.made = []
    monkeypatch.setattr(workers, "Worker", FakeWorker)
    return FakeWorker.made


def with_desk(test: Callable[[Desk], Any], count: int = 1, **limits: Any) -> None:
    async def body() -> None:
        desk = Desk({}, count, Limits(**limits))
        await desk.open()
        try:
            await test(desk)
        finally:
            await desk.close()

    asyncio.run(body())


def soon(seconds: float = 30.0) -> float:
    return time.monotonic() + seconds


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not come to be")


def test_an_image_that_waited_too_long_is_not_computed(fakes: list[FakeWorker]):
    async def test(desk: Desk) -> None:
        first = asyncio.create_task(desk.answer({}, b"first", soon()))
        await until(lambda: bool(fakes[0].asked))
        with pytest.raises(Refusal, match="waited too long"):
            await desk.answer({}, b"late", soon(0.05))
        fakes[0].free.set()
        await first
        await desk.answer({}, b"next", soon())
        assert fakes[0].asked == [b"first", b"next"] and desk.computed == 2

    with_desk(test)


def test_an_image_whose_client_went_away_is_not_computed(fakes: list[FakeWorker]):
    async def test(desk: Desk) -> None:
        tasks = [asyncio.create_task(desk.answer({}, b"%d" % n, soon())) for n in range(4)]
        await until(lambda: desk.waiting == 3)
        tasks[1].cancel()
        tasks[0].cancel()  # which is being computed: its answer is read, and dropped
        await until(lambda: desk.waiting == 2)
        fakes[0].free.set()
        await asyncio.gather(*tasks[2:])
        assert fakes[0].asked == [b"0", b"2", b"3"]

    with_desk(test)


def test_a_client_that_leaves_as_its_turn_comes_blocks_nobody(fakes: list[FakeWorker]):
    async def test(desk: Desk) -> None:
        first = asyncio.create_task(desk.answer({}, b"first", soon()))
        await until(lambda: bool(fakes[0].asked))
        leaving = asyncio.create_task(desk.answer({}, b"leaving", soon()))
        await until(lambda: desk.waiting == 1)
        fakes[0].free.set()
        await first  # the worker is given to the second in this moment
        leaving.cancel()
        await asyncio.wait({leaving})
        await desk.answer({}, b"third", soon())

    with_desk(test)


def test_only_an_image_that_finds_all_workers_idle_is_alone(fakes: list[FakeWorker]):
    async def test(desk: Desk) -> None:
        tasks = [asyncio.create_task(desk.answer({}, b"", soon(), lone=True)) for _ in range(3)]
        await until(lambda: desk.waiting == 1)
        for fake in fakes:
            fake.free.set()
        await asyncio.gather(*tasks)
        await desk.answer({}, b"", soon(), lone=True)
        await desk.answer({}, b"one of several", soon())
        assert sorted(fakes[0].lone + fakes[1].lone) == [False, False, False, True, True]

    with_desk(test, count=2)


def test_images_that_come_alone_go_to_the_same_worker(fakes: list[FakeWorker]):
    async def test(desk: Desk) -> None:
        for fake in fakes:
            fake.free.set()
        for _ in range(4):
            await desk.answer({}, b"", soon(), lone=True)
        await desk.answer({}, b"", soon())
        await desk.answer({}, b"", soon(), lone=True)
        assert sorted(fake.lone.count(True) for fake in fakes) == [0, 5]


def test_what_else_was_answered_changes_no_worker_for_lone_images(fakes: list[FakeWorker]):
    async def test(desk: Desk) -> None:
        for fake in fakes:
            fake.free.set()
        await desk.answer({}, b"", soon(), lone=True)
        other, favourite = sorted(fakes, key=lambda fake: len(fake.lone))
        other.free.clear()
        tasks = [asyncio.create_task(desk.answer({}, b"", soon())) for _ in range(2)]
        await until(lambda: tasks[0].done() or tasks[1].done())
        other.free.set()
        await asyncio.gather(*tasks)
        await desk.answer({}, b"", soon(), lone=True)
        assert favourite.lone == [True, False, True]

    with_desk(test, count=2)


def test_too_many_that_wait_are_refused_at_once(fakes: list[FakeWorker]):
    async def test(desk: Desk) -> None:
        tasks = [asyncio.create_task(desk.answer({}, b"", soon())) for _ in range(3)]
        await until(lambda: desk.waiting == 2)
        with pytest.raises(Refusal) as caught:
            desk.admit(1)
        assert caught.value.status == 429
        fakes[0].free.set()
        await asyncio.gather(*tasks)
        desk.admit(3)  # one is answered at once, and two wait
        with pytest.raises(Refusal):
            desk.admit(4)

    with_desk(test, waiting=2)


def test_an_image_that_takes_too_long_costs_its_worker(fakes: list[FakeWorker]):
    async def test(desk: Desk) -> None:
        with pytest.raises(Refusal) as caught:
            await desk.answer({}, b"slow", soon())
        assert caught.value.status == 504
        await until(lambda: desk.alive == 1 and len(fakes) == 2)
        fakes[1].free.set()
        assert (await desk.answer({}, b"next", soon()))["status"] == "ok"
        assert not desk.gave_up.is_set()

    with_desk(test, compute_seconds=0.1)


def test_a_worker_that_dies_over_an_image_is_replaced(fakes: list[FakeWorker]):
    async def test(desk: Desk) -> None:
        task = asyncio.create_task(desk.answer({}, b"deadly", soon()))
        await until(lambda: bool(fakes[0].asked))
        fakes[0].kill()
        with pytest.raises(Refusal) as caught:
            await task
        assert caught.value.status == 503
        await until(lambda: desk.ready and len(fakes) == 2)

    with_desk(test)


def test_five_deaths_in_a_minute_are_enough(fakes: list[FakeWorker]):
    async def test(desk: Desk) -> None:
        for number in range(5):
            assert not desk.gave_up.is_set()
            await until(lambda number=number: len(fakes) == number + 1 and desk.alive == 1)
            fakes[number].kill()
        await until(desk.gave_up.is_set)
        assert not desk.ready

    with_desk(test)


def test_a_worker_that_cannot_start_is_our_fault(monkeypatch: pytest.MonkeyPatch):
    async def start(models: bytes) -> None:
        raise OSError("no")

    monkeypatch.setattr(workers.Worker, "start", start)
    with pytest.raises(Fault, match="cannot be started"):
        with_desk(lambda desk: asyncio.sleep(0))


# ── the same with real processes ──


def test_killed_workers_come_back(model: Path, image: bytes):
    with serving(model, workers=2) as server:
        for number in server.workers():
            os.kill(number, signal.SIGKILL)
        server.wait_until(lambda: server.ask("/v2/health/ready").status == 503, 2)
        assert server.ask("/v2/health/live").status == 200
        server.wait_until(lambda: server.ask("/v2/health/ready").status == 200)
        assert server.predict(image).status == 200


def test_workers_that_die_again_and_again_end_the_server(model: Path):
    with serving(model, workers=1) as server:
        end = time.monotonic() + 60
        while server.process.poll() is None and time.monotonic() < end:
            for number in server.workers() if server.process.poll() is None else []:
                os.kill(number, signal.SIGKILL)
            time.sleep(0.05)
        assert server.process.returncode not in (None, 0)


def test_overload_is_refused_and_over_soon(model: Path, image: bytes):
    with serving(model, workers=1, limits={"waiting": 4}) as server:

        def ask(_: int) -> tuple[Reply, float]:
            began = time.monotonic()
            return server.predict(image), time.monotonic() - began

        with ThreadPoolExecutor(24) as clients:
            found = list(clients.map(ask, range(240)))
        statuses = [reply.status for reply, _ in found]
        assert set(statuses) <= {200, 429} and statuses.count(429) > 0 < statuses.count(200)
        assert all(reply.headers["retry-after"] == "1" for reply, _ in found if reply.status == 429)
        assert server.predict(image).status == 200
        text = server.ask("/metrics").body.decode()
        assert f'tellapart_refused_total{{reason="busy"}} {statuses.count(429)}.0' in text


def test_a_stop_loses_no_request_that_was_taken(model: Path, image: bytes):
    with serving(model, workers=1) as server:
        with ThreadPoolExecutor(8) as clients:
            asked = [clients.submit(server.predict, image) for _ in range(8)]
            server.wait_until(lambda: '"predict"' in "".join(server.lines))
            code = server.stop()
            replies = []
            for future in asked:
                try:
                    replies.append(future.result())
                except OSError:  # the listening socket was closed before
                    continue
        assert code == 0
        assert {reply.status for reply in replies} <= {200, 503}
        assert any(reply.status == 200 for reply in replies)


def test_a_second_signal_ends_it_at_once(model: Path):
    with serving(model, workers=1) as server:
        # A request that never ends keeps the first signal waiting.
        import socket

        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(
                b"POST /v1/models/m/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
            )
            time.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert server.process.poll() is None
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(3) != 0


def test_the_answer_of_a_worker_is_json_alone(model: Path, image: bytes):
    with serving(model, workers=1) as server:
        found = json.loads(server.predict(image).body)
        assert "seconds" not in found and "bytes" not in found
        assert set(found["ms"]) == {"decode", "compute", "wait"}
