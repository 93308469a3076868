"""Processes that inspect files, so that they do not share the interpreter's lock.

Threads suffice for photos, but two threads inspect half as many small files as one does. A decoder
that crashes takes down one process, which costs one file: it gets its verdict all the same. This is
not `multiprocessing`, which would run the user's script again in each process.

    python -m tellapart.catalog.workers ROOT RULES

reads one path a line, and writes one line of JSON a file.
"""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tellapart.catalog.files import Folder
from tellapart.catalog.inspect import Inspector, Memory, Verdict
from tellapart.cores import usable_cores
from tellapart.decoders.levels import Levels
from tellapart.decoders.rules import DecodeRules
from tellapart.processes import environment, python_command
from tellapart.threads import map_ahead

# Files that a process is asked about at once. Even the longest paths are together less than a pipe
# holds, so neither side waits for the other to make room.
AT_ONCE = 15
READY = b"ready\n"
CRASHED = Verdict(
    "corrupt", detail="The decoder ended over it."
)  # of a file that makes a decoder crash


def start_workers(root: Path, rules: DecodeRules) -> list[Worker]:
    """Start a process for each core.

    Raises:
        OSError: none can be started here.
    """
    return [Worker(root, rules) for _ in range(usable_cores())]


def inspect_in_processes(
    workers: Sequence[Worker], paths: Sequence[str], memory: Memory
) -> Generator[Verdict, None, None]:
    """The verdicts on files, in their order. The workers end with the generator.

    Args:
        workers: those that `start_workers` has started.
        paths: as the catalog has them.
        memory: keeps what is found; it is not asked.
    """
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def inspect(batch: Sequence[str]) -> list[Verdict]:
        worker = idle.get()
        try:
            answers = worker.inspect(batch)
        finally:
            idle.put(worker)
        pairs = zip(batch, answers, strict=True)
        return [remember_answer(path, answer, memory) for path, answer in pairs]

    try:
        batches = (paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE))
        with contextlib.closing(map_ahead(inspect, batches)) as inspected:
            for verdicts in inspected:
                yield from verdicts
    finally:
        for worker in workers:
            worker.close()


def remember_answer(path: str, answer: Mapping[str, Any], memory: Memory) -> Verdict:
    """A verdict, once the memory knows all that another process has found.

    Args:
        path: as the catalog has it.
        answer: of `answer_noting`.
        memory: keeps what was found.
    """
    verdict = _verdict(answer["verdict"])
    if "content" in answer:
        thumbnail = base64.b64decode(answer["thumbnail"])
        memory.remember_content(_verdict(answer["content"]), thumbnail)
    if "stamp" in answer:
        memory.remember(path, tuple(answer["stamp"]), verdict)
    return verdict


def _as_values(verdict: Verdict) -> tuple[Any, ...]:
    # Not `astuple`, which copies all that it finds and takes longer than the hash of a small file.
    levels = verdict.levels and (verdict.levels.kind, verdict.levels.low, verdict.levels.high)
    return (
        verdict.status,
        verdict.notes,
        verdict.width,
        verdict.height,
        verdict.digest,
        verdict.taken,
        verdict.detail,
        levels,
        verdict.decoded_by,
    )


def _verdict(values: Sequence[Any]) -> Verdict:
    status, notes, width, height, digest, taken, detail, levels, decoded_by = values
    found = Levels(*levels) if levels else None
    return Verdict(status, tuple(notes), width, height, digest, taken, detail, found, decoded_by)


class Worker:
    """One process. Another one is started when it dies.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, root: Path, rules: DecodeRules) -> None:
        self._root = root
        words = root, json.dumps(rules.as_json())
        self.command = python_command("tellapart.catalog.workers", *words)
        self.start()

    def start(self) -> None:
        """Start the process, or another one where it has died."""
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(  # noqa: S603 - a command of our own
            self.command, stdin=pipe, stdout=pipe, env=environment(self._root)
        )
        if not self._process.stdout or self._process.stdout.readline() != READY:
            self.close()
            raise OSError("no process for the scan can be started")

    def inspect(self, paths: Sequence[str]) -> list[dict[str, Any]]:
        """What was found of at most AT_ONCE files."""
        found: list[dict[str, Any]] = []
        while waiting := paths[len(found) :]:
            assert self._process.stdin and self._process.stdout
            lines = "".join(json.dumps(path) + "\n" for path in waiting)
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(lines.encode())
                self._process.stdin.flush()
            for _ in waiting:
                line = self._process.stdout.readline()
                if not line.endswith(b"\n"):  # the process died over this file
                    found.append({"verdict": _as_values(CRASHED)})
                    self.close()
                    self.start()
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


class Notes:
    """A memory that knows nothing, and notes what it is to remember of one file."""

    def __init__(self) -> None:
        self.noted: dict[str, Any] = {}

    def recall(self, path: str, stamp: str) -> Verdict | None:
        """Nothing."""

    def recall_content(self, digest: str) -> Verdict | None:
        """Nothing."""

    def remember(self, path: str, stamp: tuple[str, float], verdict: Verdict) -> None:
        """Note the stamp."""
        self.noted["stamp"] = stamp

    def remember_content(self, verdict: Verdict, thumbnail: bytes) -> None:
        """Note the content."""
        encoded = base64.b64encode(thumbnail).decode()
        self.noted |= {"content": _as_values(verdict), "thumbnail": encoded}


def answer_noting(inspector: Inspector, notes: Notes, path: str) -> dict[str, Any]:
    """The verdict on a file, and what is to be remembered of it, as values of JSON.

    Args:
        inspector: has these notes as its memory.
        notes: are emptied first.
        path: as the catalog has it.
    """
    notes.noted = {}
    return {"verdict": _as_values(inspector.inspect(path)), **notes.noted}


def serve(root: Path, rules: DecodeRules) -> None:
    """Answer until standard input ends."""
    # Ctrl-C reaches every process of the terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    notes = Notes()
    inspector = Inspector(Folder(root), rules, None, notes)
    sys.stdout.buffer.write(READY)
    sys.stdout.flush()
    for line in sys.stdin.buffer:
        answer = answer_noting(inspector, notes, json.loads(line))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), DecodeRules.from_json(json.loads(sys.argv[2])))
