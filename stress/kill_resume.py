"""Stop trainings at random moments and resume them: each ends with the very numbers of one that
nobody disturbed.

    python stress/kill_resume.py [DATA] [--recipe cifar10-cnn] [--kills 20] [--row 10] [--stops 4]
    [--seed 0]

`--kills` trainings are each killed once (SIGKILL, the whole process group) and resumed, one more is
killed before its first checkpoint, one `--row` times in a row, and `--stops` are stopped by SIGTERM
or SIGINT: exit code 4 within ten seconds, and a checkpoint at that very step. At the end all
tensors of the last checkpoint and of the best network, history.csv but for its seconds, and the
test scores must equal those of the undisturbed training, bit for bit. All the while, every 50 ms, a
checkpoint that can be used is there from the first one on, the best network that it refers to too,
and the folder stays small. Without DATA, small images are made.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from running import TELLAPART, Checks, write_classes

SETTINGS = ["training.threads=1", "training.memory_format=contiguous", "training.epochs=3"]
EPOCHS = 3
SAMPLE_SECONDS = 0.05
LIMIT_SECONDS = 600.0
STOP_SECONDS = 10.0
CLOCK_SECONDS = 0.02  # by which a file system's clock may lag behind
MOST_STEPS, MOST_BESTS, MOST_PARTS = (
    3,
    4,
    2,
)  # files at one moment: those that are kept, and one that takes a place
NAME = re.compile(r"(step|best)-([0-9]{12})\.([0-9a-f]{32})\.safetensors")


@dataclass(frozen=True)
class Bench:
    """What all trainings of this script share."""

    data: Path
    folder: Path
    recipe: str
    checks: Checks

    def begin(self, name: str, checkpoint_seconds: float = 0.2) -> Watched:
        """A new training."""
        settings = [
            f"--set={setting}"
            for setting in (*SETTINGS, f"training.checkpoint_seconds={checkpoint_seconds}")
        ]
        words = [
            "train",
            str(self.data),
            "--recipe",
            self.recipe,
            "--name",
            name,
            "--out",
            str(self.folder / "runs"),
        ]
        return Watched(self, name, self._start([*words, *settings, "--json"]))

    def resume(self, name: str) -> Watched:
        """The same training, where it was stopped."""
        return Watched(
            self, name, self._start(["train", "--resume", str(self.run_of(name)), "--json"])
        )

    def run_of(self, name: str) -> Path | None:
        """The run folder of that name, once it is there."""
        return next(
            (run for run in (self.folder / "runs").glob(f"*-{name}") if run.name[0] != "."), None
        )

    def _start(self, words: list[str]) -> subprocess.Popen[str]:
        with (self.folder / "errors.txt").open("w") as errors:
            return subprocess.Popen(
                [*TELLAPART, *words],
                start_new_session=True,
                env={**os.environ, "TELLAPART_CACHE": str(self.folder / "cache")},
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )


@dataclass
class Watched:
    """A process that trains, and what was seen of its run folder."""

    bench: Bench
    name: str
    process: subprocess.Popen[str]
    faults: set[str] = field(default_factory=set)
    saved: bool = False  # whether there ever was a checkpoint, and a best network
    best: bool = False

    def until_it_trains(self) -> None:
        """Wait until the process holds the lock of its run folder, or has ended."""
        self._watch(self._holds_lock)

    def until_it_saves(self) -> None:
        """Wait until there is a checkpoint that was not there before, or the process has ended."""
        before = self.checkpoints()
        self._watch(lambda: self.checkpoints() != before)

    def watch(self, seconds: float) -> None:
        """Look on for some time, or until the process ends."""
        end = time.monotonic() + seconds
        self._watch(lambda: time.monotonic() >= end)

    def kill(self) -> None:
        """SIGKILL the process group, and look once more."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        self._look()
        self._tell()

    def end(self) -> int:
        """Wait until it ends by itself; returns its exit code."""
        self._watch(lambda: False)
        self._tell()
        return self.process.wait()

    def checkpoints(self, kind: str = "step") -> list[Path]:
        """Its files of one kind, the newest last."""
        return sorted(file for file in self._files(f"{kind}-*") if NAME.fullmatch(file.name))

    def _files(self, pattern: str) -> list[Path]:
        run = self.bench.run_of(self.name)
        return list((run / "checkpoints").glob(pattern)) if run else []

    def _holds_lock(self) -> bool:
        run = self.bench.run_of(self.name)
        lock = run / "checkpoints" / "lock" if run else None
        return lock is not None and lock.exists() and lock.read_text() == str(self.process.pid)

    def _watch(self, over: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT_SECONDS
        while self.process.poll() is None and not over():
            self._look()
            time.sleep(SAMPLE_SECONDS)
            if time.monotonic() > end:
                self.kill()
                sys.exit(f"FAILED: {self.name} does not end")

    def _look(self) -> None:
        steps, bests = self.checkpoints(), self.checkpoints("best")
        self.saved |= bool(steps)
        self.best |= bool(bests)
        usable = self._usable()
        if self.saved and not usable:
            self.faults.add("no checkpoint can be used")
        if self.best and not (
            bests or self.checkpoints("best")
        ):  # the listing may change while it is read
            self.faults.add("the best network is gone")
        parts = self._files(".*.part")
        if len(steps) > MOST_STEPS or len(bests) > MOST_BESTS or len(parts) > MOST_PARTS:
            self.faults.add(
                f"{len(steps)} checkpoints, {len(bests)} best networks and {len(parts)} parts"
            )

    def _usable(self) -> bool:
        """Whether some checkpoint is whole, and the best network that it refers to is there."""
        for _ in range(3):  # the files may change while they are read
            for file in reversed(self.checkpoints()):
                try:
                    best = facts_of(file).get("best")
                    if best is None or facts_of(file.with_name(best)) is not None:
                        return True
                except (OSError, ValueError):
                    continue
        return False

    def _tell(self) -> None:
        self.bench.checks.that(
            not self.faults,
            f"{self.name}: there was always a checkpoint to go on from",
            self.faults,
        )


def facts_of(file: Path) -> dict[str, Any]:
    """The facts in a checkpoint; ValueError where its content has not the digest of its name."""
    data, match = file.read_bytes(), NAME.fullmatch(file.name)
    if match is None or hashlib.sha256(data).hexdigest()[:32] != match[3]:
        raise ValueError(f"{file} is damaged")
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return dict(json.loads(header["__metadata__"]["tellapart.checkpoint"])["facts"])


def outcome(run: Path) -> dict[str, Any]:
    """All that must be equal in the end: name → value."""
    from safetensors.torch import load_file

    found: dict[str, Any] = {}
    for kind in ("step", "best"):
        files = sorted((run / "checkpoints").glob(f"{kind}-*.safetensors"))
        for file in files[-1:]:
            found[kind] = int(file.name[5:17])
            for name, tensor in load_file(file).items():
                found[f"{kind} {name}"] = (
                    str(tensor.dtype),
                    tuple(tensor.shape),
                    tensor.numpy().tobytes(),
                )
    rows = csv.DictReader((run / "history.csv").read_text().splitlines())
    found["history"] = [
        {name: value for name, value in row.items() if name != "seconds"} for row in rows
    ]
    found["test"] = json.loads((run / "metrics.json").read_text())["test"]
    return found


def check_end(bench: Bench, name: str, expected: dict[str, Any]) -> None:
    """Resume a training to its end, and compare."""
    code = bench.resume(name).end()
    run = bench.run_of(name)
    bench.checks.that(
        code in (0, 3),
        f"{name}: resumed, exit code {code}",
        (bench.folder / "errors.txt").read_text(),
    )
    if code in (0, 3) and run is not None:
        found = outcome(run)
        unlike = sorted(
            key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)
        )
        bench.checks.that(
            not unlike,
            f"{name}: equals the undisturbed training",
            f"{len(unlike)} differ: {unlike[:4]}",
        )


def check_kill(bench: Bench, name: str, moment: float, expected: dict[str, Any]) -> None:
    """One training, killed so many seconds after it has begun to train."""
    training = bench.begin(name)
    training.until_it_trains()
    training.watch(moment)
    training.kill()
    print(
        f"        {name}: killed after {moment:.2f} s, {len(training.checkpoints())} checkpoints",
        flush=True,
    )
    if moment == 0:
        bench.checks.that(not training.checkpoints(), f"{name}: killed before the first checkpoint")
    check_end(bench, name, expected)


def check_row(bench: Bench, name: str, moments: list[float], expected: dict[str, Any]) -> None:
    """One training, killed many times, each time after it has come a little further."""
    for number, moment in enumerate(moments):
        training = bench.resume(name) if number else bench.begin(name)
        training.until_it_saves()
        training.watch(moment)
        training.kill()
        print(
            f"        {name}: killed at {[file.name[:17] for file in training.checkpoints()]}",
            flush=True,
        )
    check_end(bench, name, expected)


def check_stop(
    bench: Bench, name: str, stop: signal.Signals, moment: float, expected: dict[str, Any]
) -> None:
    """One training, asked to stop after its first epoch. Before the signal it saves only at the end
    of an epoch.
    """
    training = bench.begin(name, checkpoint_seconds=3600)
    training.until_it_saves()
    training.watch(moment)
    asked = time.time()
    training.process.send_signal(stop)
    code, seconds = training.end(), time.time() - asked
    what = f"{name}: exit code {code} {seconds:.1f} s after {stop.name}"
    bench.checks.that(code == 4 and seconds < STOP_SECONDS, what)
    newest = training.checkpoints()[-1]
    after_epoch = int(newest.name[5:17]) % (expected["step"] // EPOCHS) == 0
    saved = after_epoch or newest.stat().st_mtime > asked - CLOCK_SECONDS
    bench.checks.that(saved, f"{name}: has a checkpoint at the step where it stopped", newest)
    check_end(bench, name, expected)


@dataclass(frozen=True)
class Undisturbed:
    """What a training ends with, the seconds from its beginning to its last checkpoint, and those
    to its end.
    """

    outcome: dict[str, Any]
    trains: float
    lasts: float


def undisturbed(bench: Bench) -> Undisturbed:
    """A training that nobody stops."""
    training = bench.begin("quiet")
    training.until_it_trains()
    begun = time.time()
    code, run = training.end(), bench.run_of("quiet")
    lasts = time.time() - begun
    if code not in (0, 3) or run is None:
        sys.exit(f"FAILED: exit code {code}: {(bench.folder / 'errors.txt').read_text()[-2000:]}")
    return Undisturbed(outcome(run), training.checkpoints()[-1].stat().st_mtime - begun, lasts)


def main() -> None:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--recipe", default="cifar10-cnn")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--row", type=int, default=10)
    parser.add_argument("--stops", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # where it is ignored, our trainings would ignore it too
    chance, checks = random.Random(options.seed), Checks()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = options.data.resolve() if options.data else write_classes(folder / "photos", 200)
        bench = Bench(data, folder, options.recipe, checks)
        quiet = undisturbed(bench)
        expected = quiet.outcome
        print(
            f"        {expected['step']} steps in {quiet.trains:.1f} s, the end after"
            f" {quiet.lasts:.1f} s",
            flush=True,
        )
        check_kill(bench, "early", 0, expected)
        for number in range(1, options.kills + 1):
            # Every fifth also where it is evaluated, exported and written down.
            moment = chance.uniform(0, quiet.trains if number % 5 else quiet.lasts)
            check_kill(bench, f"killed{number}", moment, expected)
        check_row(
            bench,
            "row",
            [chance.uniform(0, quiet.trains / 20) for _ in range(options.row)],
            expected,
        )
        for number in range(1, options.stops + 1):
            stop = (signal.SIGTERM, signal.SIGINT)[number % 2]
            check_stop(
                bench, f"stopped{number}", stop, chance.uniform(0, quiet.trains / 2), expected
            )
    checks.finish()


if __name__ == "__main__":
    main()
