"""How fast does tellapart train, against the tutorials' own code?

    python benchmarks/training.py CIFAR10 PHOTOS [--rounds 3] [--only lenet,cnn,lite0,kept] [--out
    result.json]

Both folders hold train/ and test/, one folder a class in each. Two sides, each in a fresh process,
in turn, over warm files, with the same hyperparameters: `tutorials.py` and, without any cache,
`stopwatch.py`. Neither is told how many threads to use. Timed is the training alone, between two
optimizer steps; what tellapart prepares before its first step (the scan, the decoding) stands
beside it. `kept` is timed over all its epochs, beginning with the one that computes what is kept,
and both with and without the preparation; an epoch of the ordinary loop is like any other, so a
part of one gives its rate.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recording import about

HERE = Path(__file__).parent

# No val: both sides train on all of train/.
ORDINARY_LOOP = {
    "method": "fit",
    "split.val": 0,
    "training.batch_size": 32,
    "training.optimizer": "adamw",
    "training.lr": 0.001,
    "training.weight_decay": 0.01,
    "training.schedule": "constant",
    "augmentation.crop_area": 0.08,
    "augmentation.flip": 0.5,
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A tutorial, tellapart's recipe for it, and the optimizer steps between which they are
    timed.
    """

    photos: bool = False  # else CIFAR-10
    recipe: str
    settings: dict[str, object] = field(default_factory=dict)
    batch: int
    begin: int
    end: int
    epochs: int = 0  # tellapart is timed over so many whole epochs instead


CASES = {
    "lenet": Case(recipe="cifar10-lenet", batch=4, begin=50, end=4000),
    "cnn": Case(recipe="cifar10-cnn", batch=10, begin=50, end=1500),
    "lite0": Case(photos=True, recipe="probe", settings=ORDINARY_LOOP, batch=32, begin=1, end=7),
    "kept": Case(
        photos=True,
        recipe="probe",
        settings={**ORDINARY_LOOP, "training.epochs": 10, "freeze.upto": "all", "freeze.views": 2},
        batch=32,
        begin=1,
        end=20,
        epochs=10,
    ),
}


def one_round(name: str, data: Path) -> dict[str, float]:
    """Images a second of both sides, their ratio, and what else they say."""
    case = CASES[name]
    counted = case.batch * (case.end - case.begin)
    own_counted = case.epochs * _count(data / "train") or counted
    ordinary = _json("tutorials.py", name, data / "train", case.begin, case.end)
    steps = (0, 0) if case.epochs else (case.begin, case.end)
    own = _json(
        "stopwatch.py", data, case.recipe, *steps, *(f"{k}={v}" for k, v in case.settings.items())
    )
    row = {
        "ordinary": counted / ordinary["seconds"],
        "tellapart": own_counted / own["seconds"],
        "ratio": own_counted / own["seconds"] / (counted / ordinary["seconds"]),
        "preparation_seconds": own["preparation"],
        "ordinary_images": counted,
        "tellapart_images": own_counted,
        **{f"ordinary_{key}": ordinary[key] for key in ("threads", "loss")},
        **{f"tellapart_{key}": own[key] for key in ("threads", "loss")},
    }
    if case.epochs:
        row["with_preparation"] = own_counted / (own["seconds"] + own["preparation"])
        row["ratio_with_preparation"] = row["with_preparation"] / row["ordinary"]
    return row


def _json(script: str, *words: object) -> dict[str, float]:
    """What a script prints, run in a fresh process with an empty cache."""
    command = [sys.executable, str(HERE / script), *map(str, words)]
    with tempfile.TemporaryDirectory() as cache:
        variables = {**os.environ, "TELLAPART_CACHE": cache}
        done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    if done.returncode != 0:
        sys.exit(f"{script} {' '.join(map(str, words))} failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _count(folder: Path) -> int:
    return sum(file.is_file() for file in folder.rglob("*"))


def measure(
    names: list[str], data: dict[str, Path], rounds: int
) -> dict[str, list[dict[str, float]]]:
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(1, rounds + 1):
        for name in names:
            row = one_round(name, data[name])
            rows[name].append(row)
            print(
                f"round {number}, {name}: " + ", ".join(f"{k} {v:.4g}" for k, v in row.items()),
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cifar10", type=Path, help="CIFAR-10 as a folder with train/ and test/")
    parser.add_argument(
        "photos", type=Path, help="a folder with train/ and test/, one folder a class in each"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(CASES), help="some of them, separated by commas")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    names = options.only.split(",")
    data = {name: options.photos if CASES[name].photos else options.cifar10 for name in names}
    for file in (
        file for folder in set(data.values()) for file in folder.rglob("*") if file.is_file()
    ):
        file.read_bytes()  # warm file cache for both sides
    rows = measure(names, data, options.rounds)
    result: dict[str, Any] = {
        **about(sorted({folder.name for folder in data.values()})),
        "threads": "each side's own, in its rows",
        "median": {
            name: {
                key: round(statistics.median(row[key] for row in rows[name]), 3)
                for key in rows[name][0]
            }
            for name in names
        },
        "cases": {name: asdict(CASES[name]) for name in names},
        "rounds": rows,
    }
    print(json.dumps(result["median"], indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
