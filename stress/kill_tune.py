"""Two processes on one study, killed at random moments: no finished trial is lost, none is run
twice to its end.

    python stress/kill_tune.py [DATA] [--trials 24] [--kills 10] [--recipe cifar10-lenet] [--seed 0]
    [--storage URL]

Each kill is a SIGKILL of one of the two, while it works on the study; it is then started again and
joins. All the while, what the database says of a finished trial may never change, and a trial's
run, once written to its end, may not be written again. At the end there are exactly as many trials
as were ordered, each with one run folder; no process has told of the end of a trial that another
one told of too; and every trial that finished has the very value that it has in a study that nobody
disturbed, so those that were cut in the middle went on bit for bit. The sampler is the random one,
whose draws hang on the trial's number alone. Without DATA, small images are made. With a URL
(postgresql://USER@HOST/NAME), the killed study is in that database, under a new name.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import secrets
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from running import TELLAPART, Checks, kill, write_classes
from sqlalchemy import Engine, create_engine, text

SETTINGS = [
    "training.threads=1",
    "training.memory_format=contiguous",
    "training.trackers=",
    "split.val=0.2",
]
CHECKPOINT = "training.checkpoint_seconds=0.5"
LOOK_SECONDS = 0.3
LIMIT_SECONDS = 3600.0
TOLD = re.compile(r"^trial (\d+) (finished|pruned|failed) in", re.MULTILINE)
TRIALS = """SELECT t.trial_id, a.value_json, t.state, t.datetime_complete, v.value FROM trials t
    JOIN trial_user_attributes a ON a.trial_id = t.trial_id AND a.key = 'number'
    JOIN studies s ON s.study_id = t.study_id AND s.study_name = :study
    LEFT JOIN trial_values v ON v.trial_id = t.trial_id"""


@dataclass
class Bench:
    """The processes of one study, and all that was seen of it."""

    data: Path
    folder: Path
    recipe: str
    trials: int
    checks: Checks
    faults: set[str] = field(default_factory=set)
    ended: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    logs: dict[str, int] = field(default_factory=dict)
    errors: list[Path] = field(default_factory=list)

    def begin(self, name: str, storage: str | None = None) -> subprocess.Popen[bytes]:
        """The process that makes the study, in its folder or in a database that others use too."""
        words = [
            str(self.data),
            "--trials",
            str(self.trials),
            "--recipe",
            self.recipe,
            "--sampler",
            "random",
        ]
        settings = [word for one in (*SETTINGS, CHECKPOINT) for word in ("--set", one)]
        where = ["--storage", storage, "--study", secrets.token_hex(8)] if storage else []
        return self._start(
            [*words, *settings, *where, "--name", name, "--out", str(self.folder / "runs")]
        )

    def join(self, study: Path) -> subprocess.Popen[bytes]:
        """One more process, or one that was killed again."""
        return self._start(["--study", str(study)])

    def study(self, name: str, process: subprocess.Popen[bytes]) -> Path:
        """The study's folder, once it is there."""
        begun = time.monotonic()
        while process.poll() is None and time.monotonic() - begun < LIMIT_SECONDS:
            for path in (self.folder / "runs").glob(f"*-{name}"):
                if not path.name.startswith("."):
                    return path
            time.sleep(LOOK_SECONDS)
        sys.exit(f"FAILED: no study appeared: {self.errors[-1].read_text()[-2000:]}")

    def look(self, study: Path) -> None:
        """See that what was finished stays as it was."""
        for number, row in finished(study).items():
            if self.ended.setdefault(number, row) != row:
                self.faults.add(f"trial {number} was {self.ended[number]}, and is {row}")
        if self.ended.keys() - finished(study).keys():
            self.faults.add("a finished trial is gone")
        for log in study.glob("trials/*/log.txt"):
            written = log.stat().st_mtime_ns
            if self.logs.setdefault(log.parent.name, written) != written:
                self.faults.add(f"{log.parent.name} was written to its end twice")

    def _start(self, words: list[str]) -> subprocess.Popen[bytes]:
        self.errors.append(self.folder / f"errors-{len(list(self.folder.glob('errors-*')))}.txt")
        with self.errors[-1].open("wb") as errors:
            return subprocess.Popen(
                [*TELLAPART, "tune", *words],
                start_new_session=True,
                env={**os.environ, "TELLAPART_CACHE": str(self.folder / "cache"), "COLUMNS": "400"},
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )


def rows(study: Path) -> list[tuple[Any, ...]]:
    """Number, state, moment of the end and value of every trial, as the database has them."""
    about = json.loads((study / "study.json").read_text())
    own = f"sqlite:///file:{study / 'study.sqlite'}?mode=ro&uri=true&timeout=60"
    with engine(about["storage"] or own).connect() as database:
        found = database.execute(text(TRIALS), {"study": about["study"]})
        return [(int(number), state, moment, value) for _, number, state, moment, value in found]


@cache
def engine(url: str) -> Engine:
    """The database."""
    return create_engine(url)


def finished(study: Path) -> dict[int, tuple[Any, ...]]:
    """Number → state, moment of the end and value."""
    return {row[0]: row[1:] for row in rows(study) if row[1] in ("COMPLETE", "PRUNED", "FAIL")}


def working(study: Path) -> set[int]:
    """The trials that are not finished."""
    return {row[0] for row in rows(study) if row[1] == "RUNNING"}


def disturb(bench: Bench, kills: int, chance: random.Random, storage: str | None) -> Path:
    """Two processes on one study, killed in turn by chance; the study's folder, once both have
    ended by themselves.
    """
    first = bench.begin("killed", storage)
    study = bench.study("killed", first)
    processes = [first, bench.join(study)]
    done, next_kill, begun = 0, time.monotonic() + chance.uniform(3, 10), time.monotonic()
    while any(process.poll() is None for process in processes):
        bench.look(study)
        if done < kills and time.monotonic() > next_kill and working(study):
            place = chance.randrange(2)
            if processes[place].poll() is not None:
                break  # it has ended by itself, before the study did
            kill(processes[place])
            done += 1
            print(
                f"        kill {done}: {len(finished(study))} finished, {sorted(working(study))} at"
                " work",
                flush=True,
            )
            processes[place] = bench.join(study)
            next_kill = time.monotonic() + chance.uniform(2, 10)
        if time.monotonic() - begun > LIMIT_SECONDS:
            for process in processes:
                kill(process)
            sys.exit("FAILED: the study does not end")
        time.sleep(LOOK_SECONDS)
    bench.checks.that(done == kills, f"{kills} kills while trials were at work", done)
    codes = [process.returncode for process in processes]
    bench.checks.that(
        codes == [0, 0], "both processes ended well", (codes, bench.errors[-1].read_text()[-2000:])
    )
    return study


def check(bench: Bench, study: Path, quiet: Path) -> None:
    """Nothing lost, nothing twice, and the same values."""
    checks, found = bench.checks, rows(study)
    checks.that(not bench.faults, "what was finished stayed as it was", bench.faults)
    numbers = sorted(row[0] for row in found)
    checks.that(numbers == list(range(bench.trials)), f"{bench.trials} trials, each once", numbers)
    checks.that(len(finished(study)) == bench.trials, "all of them ended", working(study))
    runs = sorted(run.name[-4:] for run in (study / "trials").glob("*-trial-*"))
    checks.that(
        runs == [f"{number:04}" for number in numbers],
        "each has one run folder, and nothing is left",
        runs,
    )
    told = sorted(
        int(match[1]) for file in bench.errors for match in TOLD.finditer(file.read_text())
    )
    checks.that(len(told) == len(set(told)), "no trial was told of twice", told)
    checks.that(len(list((study / "best").glob("*-trial-*"))) == 1, "the best was trained once")
    if len(finished(study)) < bench.trials:
        return
    both = {
        number for number in numbers if {end(study, number), end(quiet, number)} == {"COMPLETE"}
    }
    unlike = [number for number in both if finished(study)[number][2] != finished(quiet)[number][2]]
    checks.that(bool(both), "some trials finished in both studies", both)
    checks.that(not unlike, f"{len(both)} trials have the values of the undisturbed study", unlike)


def end(study: Path, number: int) -> str:
    """How a trial ended."""
    return str(finished(study)[number][0])


def main() -> None:
    """Kill, join, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--recipe", default="cifar10-lenet")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--storage", help="a database's URL, without a password")
    options = parser.parse_args()
    chance, checks = random.Random(options.seed), Checks()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = options.data.resolve() if options.data else write_classes(folder / "photos", 60)
        quiet = Bench(data, folder, options.recipe, options.trials, checks)
        process = quiet.begin("quiet")
        undisturbed = quiet.study("quiet", process)
        checks.that(
            process.wait() == 0,
            "the undisturbed study ended well",
            quiet.errors[-1].read_text()[-2000:],
        )
        bench = Bench(data, folder, options.recipe, options.trials, checks)
        print("        the undisturbed study has ended", flush=True)
        study = disturb(bench, options.kills, chance, options.storage)
        check(bench, study, undisturbed)
    checks.finish()


if __name__ == "__main__":
    main()
