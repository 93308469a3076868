"""Files that change, vanish or are forbidden while they are read; and data that must stay as it is.

    python stress/changing_data.py [--images 1000] [--rounds 5] [--seed 0]

First, a folder is trained on and predicted: its listing, modes, times and contents are the same
before and after, also when nothing in it may be written. Then, round after round, one file in two
hundred, and at least ten, is cut, deleted, forbidden (mode 000), or replaced by a bomb or another
image at some moment of a `predict` and of a `train`. The runs must end well and name each file
once; a file left alone has the answer of an undisturbed run, and the others that of what they held
at some moment, or a status: never any other. A training may also refuse to go on, in one line and
without a run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl
from running import (
    TELLAPART,
    Checks,
    Done,
    files_below,
    run,
    state_of,
    train,
    try_to_train,
    write_classes,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
odd: Any = import_module("helpers.odd_images")

Answers = dict[str, tuple[str, str, float]]  # path below the data → status, answer, confidence


def answers_of(
    model: Path, data: Path, folder: Path, meanwhile: Callable[[], object] = lambda: None
) -> tuple[Done, Answers, int]:
    """How `predict` on a folder ended, what it said of each file, and in how many rows."""
    table = folder / "answers.jsonl"
    table.unlink(missing_ok=True)
    command = [*TELLAPART, "predict", str(model), str(data), "--out", str(table), "--quiet"]
    done = run(command, folder, meanwhile=meanwhile)
    rows = [json.loads(line) for line in table.read_text().splitlines()] if table.exists() else []
    answers = {
        str(Path(row["path"]).relative_to(data)): (
            str(row["status"]),
            str(row["answer"] or ""),
            float(row["confidence"] or 0),
        )
        for row in rows
    }
    return done, answers, len(rows)


def same(one: tuple[str, str, float], other: tuple[str, str, float]) -> bool:
    """Whether two answers are one, up to the rounding of a batch of another size."""
    return one[:2] == other[:2] and abs(one[2] - other[2]) < 1e-3


def disturb(
    victims: dict[Path, str], seconds: float, bomb: bytes, stranger: bytes, chance: random.Random
) -> None:
    """Do to each file what is written beside it, spread over that many seconds."""
    moments = sorted(chance.uniform(0, seconds) for _ in victims)
    begun = time.monotonic()
    for moment, (path, what) in zip(moments, victims.items(), strict=True):
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        match what:
            case "cut":
                os.truncate(path, path.stat().st_size // 2)
            case "deleted":
                path.unlink()
            case "forbidden":
                path.chmod(0)
            case _:
                aside = path.parent.parent.parent / "aside"
                aside.write_bytes(bomb if what == "bomb" else stranger)
                aside.replace(path)


REFUSED, CHANGED = (
    5,
    "was changed while it was used",
)  # exit code and words of a training that refuses to go on

# What a file may be called, beside "ok", once this was done to it.
BECOMES = {
    "cut": "truncated",
    "deleted": "missing",
    "forbidden": "unreadable",
    "bomb": "too_large",
    "replaced": "ok",
}


def check_untouched(checks: Checks, folder: Path, images: int) -> None:
    """Training and prediction leave the data as it was, also where it may not be written."""
    data = write_classes(folder / "quiet" / "data", min(images, 40))
    for kind in ("writable", "read-only"):
        if kind == "read-only":
            for path in [*data.rglob("*"), data]:
                path.chmod(0o555 if path.is_dir() else 0o444)
        before = state_of(data)
        _, model = train(data, folder, f"quiet-{kind}")
        checks.that(state_of(data) == before, f"train left {kind} data as it was")
        done, _, rows = answers_of(model, data, folder)
        checks.ended_well(done, f"predict on {kind} data", codes=(0,))
        checks.that(rows == len(files_below(data)), f"predict answered for all {rows} files")
        checks.that(state_of(data) == before, f"predict left {kind} data as it was")
    for path in [data, *data.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


class Disturbed:
    """A folder of images, what an undisturbed run says of them, and rounds of change during
    others.
    """

    def __init__(self, checks: Checks, folder: Path, images: int, chance: random.Random) -> None:
        """Write the images, train a model, and run both verbs once in peace."""
        self.checks, self.folder, self.chance = checks, folder, chance
        self.outcomes: Counter[str] = Counter()
        _, self.model = train(
            write_classes(folder / "small" / "data", 40, first_seed=10**6), folder, "small"
        )
        self.data = write_classes(folder / "large" / "data", images)
        self.contents = {path: path.read_bytes() for path in files_below(self.data)}
        self.names = {self.name_of(path) for path in self.contents}
        strangers = files_below(write_classes(folder / "strangers" / "data", 1, first_seed=10**7))
        self.bomb, self.stranger = odd.bit_bomb(), strangers[0].read_bytes()
        _, answers, _ = answers_of(self.model, strangers[0].parent, folder)
        (self.of_stranger,) = answers.values()
        quiet, self.undisturbed, _ = answers_of(self.model, self.data, folder)
        trained, _ = train(self.data, folder, "undisturbed")
        self.predict_seconds, self.train_seconds = quiet.seconds, trained.seconds

    def name_of(self, path: Path) -> str:
        """The path below the data."""
        return str(path.relative_to(self.data))

    def victims(self) -> dict[Path, str]:
        """Everything as it was at first, but for what will be done to these files."""
        for path, content in self.contents.items():
            path.unlink(missing_ok=True)
            path.write_bytes(content)
        chosen = self.chance.sample(
            sorted(self.contents), max(2 * len(BECOMES), len(self.contents) // 200)
        )
        return {path: [*BECOMES][place % len(BECOMES)] for place, path in enumerate(chosen)}

    def predict(self, what: str) -> None:
        """One disturbed `predict`: no answer but to what a file held at some moment."""
        victims = self.victims()
        done, answers, rows = answers_of(
            self.model,
            self.data,
            self.folder,
            lambda: disturb(victims, self.predict_seconds, self.bomb, self.stranger, self.chance),
        )
        self.check(what, done, victims, {name: answer[0] for name, answer in answers.items()}, rows)
        touched = {self.name_of(path): how for path, how in victims.items()}
        right = {
            name: [
                self.undisturbed[name],
                *([self.of_stranger] if touched.get(name) == "replaced" else []),
            ]
            for name in answers
        }
        wrong = {
            name: answer
            for name, answer in answers.items()
            if answer[0] == "ok" and not any(same(answer, one) for one in right[name])
        }
        self.checks.that(not wrong, f"{what}: every answer is that to what the file held", wrong)

    def train(self, what: str, name: str) -> None:
        """One disturbed `train`, with nothing kept from those before: kept files would not be read
        again.
        """
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        victims = self.victims()
        done, runs = try_to_train(
            self.data,
            self.folder,
            name,
            lambda: disturb(victims, self.train_seconds, self.bomb, self.stranger, self.chance),
        )
        if done.code == REFUSED and CHANGED in done.errors:
            # Some images become the reference that the model file is checked against: those must
            # not change.
            self.checks.that(not runs, f"{what}: refused, and left no run", runs)
            self.checks.that(
                len(done.errors.splitlines()) == 1, f"{what}: refused in one line", done.errors
            )
            self.outcomes["refused → changed while it was used"] += 1
            return
        if not runs:
            self.checks.ended_well(done, what)
            return
        catalog = pl.read_parquet(runs[0] / "catalog.parquet")
        statuses = dict(zip(catalog["path"].to_list(), catalog["status"].to_list(), strict=True))
        self.check(what, done, victims, statuses, len(catalog))

    def check(
        self, what: str, done: Done, victims: dict[Path, str], statuses: dict[str, str], rows: int
    ) -> None:
        """What holds for both verbs. `statuses`: of each file that has a row; `rows`: how many
        there are.
        """
        self.checks.ended_well(done, what)
        self.checks.that(
            set(statuses) <= self.names and rows == len(statuses), f"{what}: no file has two rows"
        )
        touched = {self.name_of(path): how for path, how in victims.items()}
        lost = (
            self.names - set(statuses) - {name for name, how in touched.items() if how == "deleted"}
        )
        self.checks.that(
            not lost, f"{what}: every file has a row, unless it went before it was listed", lost
        )
        strange = {
            name: (touched.get(name), status)
            for name, status in statuses.items()
            if status not in ("ok", BECOMES.get(touched.get(name, "")))
        }
        self.checks.that(
            not strange, f"{what}: a file is what it was or what it became, else ok", strange
        )
        self.outcomes.update(
            f"{touched[name]} → {statuses[name]}" for name in touched if name in statuses
        )


def main() -> None:
    """Make, disturb, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=300, help="of each class")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    checks = Checks()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        check_untouched(checks, folder, options.images)
        disturbed = Disturbed(checks, folder, options.images, random.Random(options.seed))
        print(
            f"undisturbed: predict {disturbed.predict_seconds:.0f} s, train"
            f" {disturbed.train_seconds:.0f} s"
        )
        for number in range(1, options.rounds + 1):
            disturbed.predict(f"round {number}, predict")
            disturbed.train(f"round {number}, train", f"round-{number}")
        print(
            "        "
            + ", ".join(f"{number} {what}" for what, number in sorted(disturbed.outcomes.items()))
        )
    checks.finish()


if __name__ == "__main__":
    main()
