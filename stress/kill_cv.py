"""Kill one cross-validation many times in a row: it ends with the very numbers of one that nobody
disturbed.

    python stress/kill_cv.py [DATA] [--recipe cifar10-lenet] [--folds 3] [--kills 12] [--seed 0]
    [--ensemble]

Each kill is a SIGKILL of the whole process group, at a random moment after it has come a little
further; `tellapart cv --resume` then goes on. At the end all tensors of every fold and of the last
training, every out-of-fold answer and all scores must equal those of the undisturbed
cross-validation, bit for bit. Without DATA, small images are made.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars
from kill_resume import SETTINGS, outcome
from running import TELLAPART, Checks, kill, write_classes

LOOK_SECONDS = 0.1
LIMIT_SECONDS = 1800.0
SCORES = ("test", "answering", "calibration", "folds")


@dataclass(frozen=True)
class Bench:
    """What all processes of this script share; `words` say what is cross-validated, and how."""

    folder: Path
    words: list[str]

    def begin(self, name: str) -> subprocess.Popen[bytes]:
        """A new cross-validation."""
        return self._start([*self.words, "--name", name, "--out", str(self.folder / "runs")])

    def resume(self, name: str) -> subprocess.Popen[bytes]:
        """The same one, where it was killed; before its run folder is there, anew."""
        run = self.run_of(name)
        return self._start(["--resume", str(run)]) if run else self.begin(name)

    def run_of(self, name: str) -> Path | None:
        """Its run folder, once it is there."""
        return next(
            (run for run in (self.folder / "runs").glob(f"*-{name}") if run.name[0] != "."), None
        )

    def reached(self, name: str) -> set[Path]:
        """The checkpoints and results that it has."""
        run = self.run_of(name)
        return {*run.glob("**/step-*.safetensors"), *run.glob("**/metrics.json")} if run else set()

    @property
    def errors(self) -> str:
        """What the last process said."""
        return (self.folder / "errors.txt").read_text()

    def _start(self, words: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "errors.txt").open("w") as errors:
            return subprocess.Popen(
                [*TELLAPART, "cv", *words],
                start_new_session=True,
                env={**os.environ, "TELLAPART_CACHE": str(self.folder / "cache")},
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )


def everything(run: Path) -> dict[str, Any]:
    """All that must be equal in the end: name → value."""
    metrics = json.loads((run / "metrics.json").read_text())
    for fold in metrics["folds"]["each"]:
        del fold["run"], fold["seconds"]
    found: dict[str, Any] = {name: metrics[name] for name in SCORES}
    found["answers"] = polars.read_parquet(run / "predictions-folds.parquet").rows()
    trainings = sorted((run / "folds").iterdir())
    for training in [*trainings, *([run] if (run / "history.csv").exists() else [])]:
        what = training.name[-6:] if training in trainings else "last"
        found |= {
            f"{what}: {name}": value for name, value in outcome(training).items() if name != "test"
        }
    return found


def outcome_of(bench: Bench, name: str, code: int) -> dict[str, Any]:
    """Of a cross-validation that ended by itself."""
    run = bench.run_of(name)
    if code not in (0, 3) or run is None:
        sys.exit(f"FAILED: {name} ended with {code}: {bench.errors[-2000:]}")
    return everything(run)


def disturb(
    bench: Bench, name: str, kills: int, longest: float, chance: random.Random
) -> tuple[int, int]:
    """Kill and go on; returns how often it was killed, and the exit code of the process that came
    to the end.
    """
    process, done = bench.begin(name), 0
    while done < kills:
        before, moment = bench.reached(name), None
        begun, wait = time.monotonic(), chance.uniform(0, longest)
        while process.poll() is None and (moment is None or time.monotonic() < moment):
            if moment is None and bench.reached(name) != before:
                moment = time.monotonic() + wait
            if time.monotonic() - begun > LIMIT_SECONDS:
                kill(process)
                sys.exit(f"FAILED: {name} does not go on")
            time.sleep(LOOK_SECONDS)
        if process.poll() is not None:
            break
        kill(process)
        done += 1
        run = bench.run_of(name)
        folds = len(list((run / "folds").glob("*/metrics.json"))) if run else 0
        print(
            f"        kill {done}, {wait:.1f} s after it came further: {folds} folds are done",
            flush=True,
        )
        process = bench.resume(name)
    return done, process.wait()


def main() -> None:
    """Kill, go on, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--recipe", default="cifar10-lenet")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--ensemble", action="store_true", help="ship the folds rather than one more training"
    )
    options = parser.parse_args()
    chance, checks = random.Random(options.seed), Checks()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = options.data.resolve() if options.data else write_classes(folder / "photos", 400)
        words = [str(data), "--recipe", options.recipe, "--folds", str(options.folds)]
        words += [f"--set={setting}" for setting in (*SETTINGS, "training.checkpoint_seconds=0.2")]
        bench = Bench(folder, [*words, *(["--ensemble"] if options.ensemble else [])])
        begun = time.monotonic()
        expected = outcome_of(bench, "quiet", bench.begin("quiet").wait())
        seconds = time.monotonic() - begun
        print(f"        the undisturbed one took {seconds:.0f} s", flush=True)
        done, code = disturb(bench, "killed", options.kills, seconds / options.kills / 3, chance)
        checks.that(done == options.kills, f"killed {options.kills} times", done)
        found = outcome_of(bench, "killed", code)
        unlike = sorted(
            key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)
        )
        checks.that(
            not unlike, f"{len(expected)} things equal those of the undisturbed one", unlike[:6]
        )
    checks.finish()


if __name__ == "__main__":
    main()
