"""What a server does when everything goes wrong at once.

    python stress/server_limits.py MODEL IMAGES [--only overload,slow,large,deaths,soak,fuzz] [--seconds 30]
        [--soak 20000] [--seed 0]

- overload: many more clients than workers. Every request is answered, or refused with 429 within
  100 ms; the sum is right, memory stays flat, and latency is as before five seconds later.
- slow: 200 connections that drip one byte a second are closed, and others notice little.
- large: 50 bodies over the limit at once; memory grows by less than twice the limit.
- deaths: workers are killed at random moments under load. Whenever `ready` says yes, the next
  image is answered; in the end everything is.
- soak: many requests, half of them no images. No status 500; memory, threads and open files flat.
- fuzz: random bytes on the socket. The server answers or closes, and goes on.

A failed check ends the script with code 1.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tellapart.sources.walk import IMAGE_SUFFIXES

SERVE = """
import json, sys, tellapart
limits = tellapart.Limits(**json.loads(sys.argv[2]))
tellapart.serve(["m=" + sys.argv[1]], port=int(sys.argv[3]), limits=limits, quiet=True)
"""
PORT = 8899


def check(holds: bool, words: str) -> None:
    """Say whether something holds; end the script where it does not."""
    print(f"{'ok    ' if holds else 'FAILED'} {words}", flush=True)
    if not holds:
        sys.exit(1)


class Served:
    """A server in a process of its own."""

    def __init__(self, model: Path, **limits: float) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        words = [sys.executable, "-c", SERVE, str(model), json.dumps(limits), str(PORT)]
        self.process = subprocess.Popen(words, stderr=self._log)
        self._wait_until_ready()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self._log.close()
        check(code == 0, f"the server stopped with code {code}")

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.status("/v2/health/ready") == 200:
                    return
            time.sleep(0.1)
        check(False, "the server is ready within a minute")

    def status(self, path: str, body: bytes | None = None) -> int:
        """The status of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET" if body is None else "POST", path, body)
            response = connection.getresponse()
            response.read()
            return response.status

    def predict(self, body: bytes) -> int:
        """The status of one image."""
        return self.status("/v1/models/m/predict", body)

    def workers(self) -> list[int]:
        """The process numbers of the workers."""
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [int(number) for number in Path(children).read_text().split()]

    def memory(self) -> float:
        """MiB that the server and its workers hold, pages that they share counted by their shares.

        Mapped files do not count: how much of them is theirs depends on who else uses them.
        """
        total = 0
        for process in (self.process.pid, *self.workers()):
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
                total += next(
                    int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:")
                )
        return total / 1024

    def handles(self) -> tuple[int, int]:
        """How many files are open, and how many threads there are."""
        place = Path(f"/proc/{self.process.pid}")
        return len(list((place / "fd").iterdir())), len(list((place / "task").iterdir()))


def timed(served: Served, body: bytes) -> tuple[int, float]:
    """The status of an image, and the seconds that it took."""
    began = time.monotonic()
    return served.predict(body), time.monotonic() - began


def quiet_latency(served: Served, bodies: list[bytes]) -> list[float]:
    """Seconds of images asked one after the other, sorted."""
    return sorted(timed(served, bodies[place % len(bodies)])[1] for place in range(40))


def overload(model: Path, bodies: list[bytes], options: argparse.Namespace) -> None:
    """Forty clients, each at once again after an answer or a refusal."""
    with Served(model, waiting=8) as served:
        before = statistics.median(quiet_latency(served, bodies))
        memory, end = served.memory(), time.monotonic() + options.seconds
        found: list[tuple[int, float]] = []

        def client(number: int) -> list[tuple[int, float]]:
            rng, own = random.Random(number), []
            while time.monotonic() < end:
                own.append(timed(served, rng.choice(bodies)))
                if own[-1][0] == 429:
                    time.sleep(0.1)
            return own

        with ThreadPoolExecutor(40) as clients:
            for own in clients.map(client, range(40)):
                found += own
        counts = Counter(status for status, _ in found)
        refused = sorted(seconds for status, seconds in found if status == 429)
        print(
            f"       {dict(counts)}; refusals take {1000 * refused[len(refused) // 2]:.0f} ms in the"
            f" median, {1000 * refused[int(0.99 * len(refused))]:.0f} ms at the 99th percentile"
        )
        check(set(counts) <= {200, 429}, "every request is answered or refused")
        check(refused[len(refused) // 2] < 0.1, "refusals take less than 100 ms in the median")
        grown = served.memory() / memory
        check(grown < 1.10, f"memory is {grown:.2f} of that before")
        time.sleep(5)
        after = statistics.median(quiet_latency(served, bodies))
        check(
            after < 2 * before,
            f"latency is {1000 * before:.0f} ms before and {1000 * after:.0f} after",
        )


def slow(model: Path, bodies: list[bytes], options: argparse.Namespace) -> None:
    """200 connections that send one byte a second."""
    with Served(model, receive_seconds=5) as served:
        before = quiet_latency(served, bodies)[38]
        head = b"POST /v1/models/m/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n"
        sockets = []
        for place in range(200):
            connection = socket.create_connection(("127.0.0.1", PORT))
            connection.sendall(head[: 20 + place % 40] if place % 2 else head + b"\r\nabc")
            connection.setblocking(False)
            sockets.append(connection)
        began, closed, beside = time.monotonic(), 0, []
        while sockets and time.monotonic() - began < 20:
            beside += [timed(served, bodies[0])[1]]
            for connection in list(sockets):
                try:
                    connection.send(b"x")
                    gone = connection.recv(4096) == b""
                except BlockingIOError:
                    continue
                except OSError:
                    gone = True
                if gone:
                    connection.close()
                    sockets.remove(connection)
                    closed += 1
            time.sleep(0.5)
        took = time.monotonic() - began
        check(closed == 200, f"all 200 are closed, after {took:.1f} s")
        late = sorted(beside)[int(0.95 * len(beside))]
        check(
            late < max(2 * before, 0.3),
            f"others wait {1000 * late:.0f} ms, {1000 * before:.0f} before",
        )


def large(model: Path, bodies: list[bytes], options: argparse.Namespace) -> None:
    """50 bodies over the limit at once, and 50 chunked ones that never end."""
    most = 5_000_000
    with Served(model, max_bytes=most) as served:
        served.predict(bodies[0])
        memory, highest, watching = served.memory(), [0.0], threading.Event()

        def watch() -> None:
            while not watching.is_set():
                highest[0] = max(highest[0], served.memory())
                time.sleep(0.05)

        watcher = threading.Thread(target=watch)
        watcher.start()
        with ThreadPoolExecutor(50) as clients:
            found = Counter(clients.map(lambda _: refused_or_closed(served, most + 1), range(50)))
        watching.set()
        watcher.join()
        check(set(found) <= {413, 0}, f"all are refused: {dict(found)}")
        grown = highest[0] - memory
        check(
            grown < 2 * most / 2**20 * 2,
            f"memory grew by {grown:.0f} MiB; a body may have {most / 2**20:.0f}",
        )
        check(served.predict(bodies[0]) == 200, "the next image is answered")


def refused_or_closed(served: Served, size: int) -> int:
    """The status of a body of zeros; 0 where the connection was closed while it was sent."""
    try:
        return served.predict(bytes(size))
    except OSError:
        return 0


def deaths(model: Path, bodies: list[bytes], options: argparse.Namespace) -> None:
    """A worker is killed now and then, with four clients at work."""
    with Served(model) as served:
        rng, end = random.Random(options.seed), time.monotonic() + options.seconds
        found: Counter[int] = Counter()
        promises: Counter[int] = Counter()

        def client(number: int) -> list[int]:
            own: list[int] = []
            while time.monotonic() < end:
                own.append(served.predict(bodies[len(own) % len(bodies)]))
            return own

        def killer() -> None:
            while time.monotonic() < end:
                time.sleep(rng.uniform(13, 18))  # five in a minute end the server, which is right
                if time.monotonic() < end:  # a kill after it would cost the last request
                    with contextlib.suppress(OSError, IndexError):
                        os.kill(rng.choice(served.workers()), signal.SIGKILL)

        thread = threading.Thread(target=killer, daemon=True)
        thread.start()
        with ThreadPoolExecutor(3) as clients:
            asked = [clients.submit(client, number) for number in range(3)]
            while time.monotonic() < end:
                if served.status("/v2/health/ready") == 200:
                    promises[served.predict(bodies[0])] += 1
            for own in asked:
                found.update(own.result())
        print(f"       clients saw {dict(found)}, and after `ready` {dict(promises)}")
        check(set(found) <= {200, 503}, "every request is answered, or told to try again")
        check(found[503] <= 2 * (1 + options.seconds // 13), "a death costs the requests in flight")
        thread.join(20)
        served._wait_until_ready()
        check(served.predict(bodies[0]) == 200, "the server is as before")


def soak(model: Path, bodies: list[bytes], options: argparse.Namespace) -> None:
    """Many requests on few connections, every second of them no image."""
    rng = random.Random(options.seed)
    bad = [b"", b"text", bodies[0][:300], bytes(3000), b"\x89PNG\r\n\x1a\n" + rng.randbytes(500)]
    bad += [bytes(b ^ (rng.random() < 0.01) for b in bodies[1][:5000]) for _ in range(20)]
    with Served(model) as served:

        def client(count: int) -> Counter[int]:
            own: Counter[int] = Counter()
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
            for place in range(count):
                body = bodies[place % len(bodies)] if place % 2 else bad[place % len(bad)]
                connection.request("POST", "/v1/models/m/predict", body)
                response = connection.getresponse()
                response.read()
                own[response.status] += 1
            connection.close()
            return own

        def many(count: int) -> Counter[int]:
            total: Counter[int] = Counter()
            with ThreadPoolExecutor(4) as clients:
                for own in clients.map(client, [count // 4] * 4):
                    total += own
            return total

        many(min(options.soak // 10, 2000))
        client(200)  # alone, for which a worker may open a second session
        memory, handles = served.memory(), served.handles()
        found = many(options.soak)
        print(f"       {dict(found)}")
        check(set(found) <= {200, 422}, "every request is answered")
        grown = served.memory() / memory
        check(grown < 1.05, f"memory is {grown:.3f} of that after warming up")
        check(served.handles() == handles, f"open files and threads are {handles}, as before")


def fuzz(model: Path, bodies: list[bytes], options: argparse.Namespace) -> None:
    """Random bytes, and requests with some bytes changed."""
    rng = random.Random(options.seed)
    seed = b"POST /v1/models/m/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody"
    with Served(model, receive_seconds=2) as served:
        statuses: Counter[bytes] = Counter()
        for place in range(1000):
            sent = rng.randbytes(rng.randint(1, 2000))
            if place % 2:
                changed = bytearray(seed)
                for _ in range(rng.randint(1, 4)):
                    changed[rng.randrange(len(changed))] = rng.randrange(256)
                sent = bytes(changed)
            connection = socket.create_connection(("127.0.0.1", PORT), timeout=5)
            with connection, contextlib.suppress(OSError):
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                statuses[connection.recv(100)[9:12]] += 1
        print(
            f"       statuses: { {key.decode(errors='replace'): count for key, count in statuses.items()} }"
        )
        check(b"500" not in statuses, "no request is a fault")
        check(served.predict(bodies[0]) == 200, "the next image is answered")


PARTS: dict[str, Callable[[Path, list[bytes], argparse.Namespace], None]] = {
    "overload": overload,
    "slow": slow,
    "large": large,
    "deaths": deaths,
    "soak": soak,
    "fuzz": fuzz,
}


def images(folder: Path) -> Iterator[bytes]:
    """Thirty images of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    for path in files[:: max(1, len(files) // 30)][:30]:
        yield path.read_bytes()


def main() -> None:
    """Run the parts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--soak", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    bodies = list(images(options.images))
    for name in options.only.split(","):
        print(name, flush=True)
        PARTS[name](options.model, bodies, options)


if __name__ == "__main__":
    main()
