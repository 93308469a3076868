"""A prediction on a local Ray with two workers, one of which is killed: the rows are those of a
prediction without Ray, byte for byte.

    python stress/kill_ray.py MODEL IMAGES [--after 300]

IMAGES is a folder with enough images that both workers are busy, some thousands. The seconds of both
predictions are printed: Ray starts processes first, so few images take longer with it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import tellapart

WORKERS = 2


def worker_processes() -> list[int]:
    """The numbers of the processes below this one that answer images."""
    parents, workers = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        parents[int(folder.name)] = int(fields[1])
        if b"ray::" in command and b"Map" in command:
            workers.append(int(folder.name))
    return sorted(number for number in workers if is_below(number, os.getpid(), parents))


def is_below(number: int, top: int, parents: dict[int, int]) -> bool:
    """Whether a process was started by another one, at any distance."""
    while number in parents and number != top:
        number = parents[number]
    return number == top


def kill_when(part: Path, rows: int, killed: list[int]) -> None:
    """Kill a worker when so many rows are written and both workers are there."""
    while not killed:
        time.sleep(0.1)
        written = part.read_bytes().count(b"\n") if part.exists() else 0
        workers = worker_processes()
        if written >= rows and len(workers) >= WORKERS:
            os.kill(workers[0], signal.SIGKILL)
            killed.append(workers[0])


def timed(function: Callable[[], object]) -> float:
    """The seconds that a call takes."""
    begun = time.monotonic()
    function()
    return time.monotonic() - begun


def main() -> None:
    """Predict with and without Ray, kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--after", type=int, default=300, help="rows before the kill")
    options = parser.parse_args()
    import ray

    ray.init(num_cpus=WORKERS, log_to_driver=False, include_dashboard=False)
    with tempfile.TemporaryDirectory() as folder:
        plain, spread = Path(folder, "plain.jsonl"), Path(folder, "ray.jsonl")
        killed: list[int] = []
        place = spread.with_name("ray.jsonl.part")
        threading.Thread(target=kill_when, args=(place, options.after, killed), daemon=True).start()

        def predict(out: Path, engine: str | None) -> object:
            return tellapart.predict(
                options.model, options.images, out=out, keep=False, engine=engine, quiet=True
            )

        with_ray = timed(lambda: predict(spread, "ray"))
        without = timed(lambda: predict(plain, None))
        rows = spread.read_bytes().count(b"\n")
        print(f"{rows:,} rows: {with_ray:.1f} s with Ray, {without:.1f} s without, killed {killed}")
        if not killed:
            sys.exit("FAILED: no worker was killed; give more images")
        if spread.read_bytes() != plain.read_bytes():
            sys.exit("FAILED: the rows differ")
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
