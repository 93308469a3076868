"""Files looked at by processes of their own, where the interpreter's lock is not shared.

Threads do for photos; of many small files two threads look at half as many as one. A process that a
decoder brings down costs the one file, which gets its verdict. Not `multiprocessing`: it would run
the user's script again in each process.

    python -m tellapart.catalog.workers ROOT MAX_PIXELS        one path a line in, one line of JSON a file out
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from dataclasses import astuple
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tellapart.catalog.files import Folder
from tellapart.catalog.inspect import Eyes, Memory, Verdict
from tellapart.threads import map_ahead, usable_cores

# Together less than a pipe holds, also of the longest paths: neither side waits for the other to
# make room.
AT_ONCE = 15
READY = b"ready\n"
CRASHED = Verdict("corrupt")  # on a file that brings a decoder down


def start_workers(root: Path, max_pixels: int) -> list[Worker]:
    """A process for each core.

    Raises:
        OSError: none can be started here.
    """
    return [Worker(root, max_pixels) for _ in range(usable_cores())]


def look_apart(
    workers: Sequence[Worker], paths: Sequence[str], memory: Memory
) -> Generator[Verdict, None, None]:
    """The verdicts on files, in their order; the workers end with it.

    Args:
        paths: as the catalog has them.
        memory: keeps what is found; it is not asked.
    """
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def look_at(some: Sequence[str]) -> list[Verdict]:
        worker = idle.get()
        try:
            return [
                _kept(path, found, memory)
                for path, found in zip(some, worker.look_at(some), strict=True)
            ]
        finally:
            idle.put(worker)

    try:
        parts = (paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE))
        with contextlib.closing(map_ahead(look_at, parts)) as looking:
            for verdicts in looking:
                yield from verdicts
    finally:
        for worker in workers:
            worker.close()


def _kept(path: str, found: dict[str, Any], memory: Memory) -> Verdict:
    """A verdict, after the memory was told what the process would have told it."""
    verdict = _verdict(found["verdict"])
    if "content" in found:
        memory.remember_content(_verdict(found["content"]), base64.b64decode(found["print"]))
    if "stamp" in found:
        memory.remember(path, tuple(found["stamp"]), verdict)
    return verdict


def _verdict(values: Sequence[Any]) -> Verdict:
    status, notes, *rest = values
    return Verdict(status, tuple(notes), *rest)


class Worker:
    """One process; another one is started when it dies.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, root: Path, max_pixels: int) -> None:
        self._command = [
            sys.executable,
            "-m",
            "tellapart.catalog.workers",
            os.fspath(root),
            str(max_pixels),
        ]
        self._start()

    def _start(self) -> None:
        there = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, env=there)  # noqa: S603 - our own
        if not self._process.stdout or self._process.stdout.readline() != READY:
            self.close()
            raise OSError("no process for the scan can be started")

    def look_at(self, paths: Sequence[str]) -> list[dict[str, Any]]:
        """What was found of at most AT_ONCE files."""
        found: list[dict[str, Any]] = []
        while waiting := paths[len(found) :]:
            assert self._process.stdin and self._process.stdout
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(
                    "".join(json.dumps(path) + "\n" for path in waiting).encode()
                )
                self._process.stdin.flush()
            for _ in waiting:
                line = self._process.stdout.readline()
                if not line.endswith(b"\n"):  # it died over this file
                    found.append({"verdict": astuple(CRASHED)})
                    self.close()
                    self._start()
                    break
                found.append(json.loads(line))
        return found

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


class _Notes:
    """A memory that knows nothing, and notes what it is told of one file."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}

    def recall(self, path: str, stamp: str) -> Verdict | None:
        """Nothing."""

    def recall_content(self, digest: str) -> Verdict | None:
        """Nothing."""

    def remember(self, path: str, stamp: tuple[str, float], verdict: Verdict) -> None:
        """Note the stamp."""
        self.told["stamp"] = stamp

    def remember_content(self, verdict: Verdict, print_: bytes) -> None:
        """Note the content."""
        self.told |= {"content": astuple(verdict), "print": base64.b64encode(print_).decode()}


def serve(root: Path, max_pixels: int) -> None:
    """Answer until there is no more to ask."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches every process; the first one ends the others
    notes = _Notes()
    eyes = Eyes(Folder(root), max_pixels, None, notes)
    sys.stdout.buffer.write(READY)
    sys.stdout.flush()
    for line in sys.stdin.buffer:
        notes.told = {}
        verdict = eyes.look_at(json.loads(line))
        sys.stdout.write(json.dumps({"verdict": astuple(verdict), **notes.told}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
