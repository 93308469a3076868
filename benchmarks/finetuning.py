"""What does fine-tuning add to the probe, and in how many minutes?

    python benchmarks/finetuning.py [--data FOLDER] [--seeds 0,1,2] [--recipe finetune] [--set
    KEY=VALUE] [--most IMAGES] [--out x.json]

Without a folder, over the 2,624 solar cells of `elpv-dataset`: one stratified 75/25 split for each
seed, from images to labels as in examples/solar_cells.py (a cell whose defect probability is 0.5 or
more is defective), cells that were measured twice on both sides. With one, over its own split, seed
by seed. Both recipes begin without any cache; minutes are those of the whole command.

The last columns say what the run shipped, how far from the probe to the end of the training the
fine-tuned network lies, how much better val found it, and what it took to be shipped. `--set
training.ema=0.998` and `--set training.keep=best` are tried in the same way. With --most, a part of
each class of the train images is used, for a first impression.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from recording import about
from sklearn.model_selection import train_test_split

import tellapart

TEST_SHARE = 0.25


def cells() -> list[tuple[str, str]]:
    """Path and label of every image in the installed package."""
    spec = importlib.util.find_spec("elpv_dataset")
    assert spec and spec.submodule_search_locations
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    rows = [line.split() for line in (folder / "labels.csv").read_text().splitlines()]
    return [(str(folder / path), "defect" if float(p) >= 0.5 else "intact") for path, p, _ in rows]


def write_split(path: Path, seed: int) -> Path:
    """A table of the cells with a quarter of each label as test; val is tellapart's to cut from
    train. Its path.
    """
    rows = cells()
    labels = [label for _, label in rows]
    _, test = train_test_split(rows, test_size=TEST_SHARE, stratify=labels, random_state=seed)
    tested = set(test)
    with path.open("w", newline="") as file:
        table = [(*row, "test" if row in tested else "train") for row in rows]
        csv.writer(file).writerows([("path", "label", "split"), *table])
    return path


def measure(data: Path, recipe: str, seed: int, settings: list[str]) -> dict[str, Any]:
    """One training, as a user would run it: its test accuracy with its interval, minutes, and what
    its run recorded.
    """
    with tempfile.TemporaryDirectory() as temporary:
        command = [
            sys.executable,
            "-m",
            "tellapart",
            "train",
            str(data),
            "--recipe",
            recipe,
            "--seed",
            str(seed),
        ]
        command += [
            "--out",
            temporary,
            "--json",
            *(word for setting in settings for word in ("--set", setting)),
        ]
        variables = {**os.environ, "TELLAPART_CACHE": f"{temporary}/cache"}
        start = time.perf_counter()
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, env=variables, check=False
        )
        minutes = (time.perf_counter() - start) / 60
        if done.returncode not in (0, 3):
            sys.exit(f"{' '.join(command[1:])} failed:\n{done.stdout[-2000:]}")
        run = json.loads(done.stdout.splitlines()[-1])
        metrics = json.loads((Path(run["run"]) / "metrics.json").read_text())
    recorded = {key: metrics[key] for key in ("comparison", "training") if key in metrics}
    return {
        "accuracy": run["test"]["accuracy"],
        "minutes": minutes,
        "steps": run["steps"],
        **recorded,
    }


def one_split(
    data: Path | None, seed: int, recipe: str, settings: list[str], most: int | None
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        source = data or write_split(Path(temporary) / "cells.csv", seed)
        if most:
            source = write_part(source, Path(temporary) / "part.csv", most, seed)
        probe, tuned = measure(source, "probe", seed, []), measure(source, recipe, seed, settings)
    difference = tuned["accuracy"]["value"] - probe["accuracy"]["value"]
    return {"seed": seed, "probe": probe, "tuned": tuned, "difference": difference}


def write_part(source: Path, path: Path, most: int, seed: int) -> Path:
    """A table of at most so many train images, all classes alike, and all others. Its path."""
    catalog = tellapart.explore(source, out=path.parent / "explored", quiet=True).catalog
    root = Path(catalog.files.place)
    usable = np.flatnonzero(catalog.labels >= 0).tolist()
    random.Random(seed).shuffle(usable)
    each = -(-most // len(catalog.classes))
    taken: Counter[int] = Counter()
    rows = []
    for number in usable:
        label, split = int(catalog.labels[number]), str(catalog.given_splits[number])
        taken[label] += split in ("", "train")
        if split not in ("", "train") or taken[label] <= each:
            rows.append((str(root / catalog.paths[number]), catalog.classes[label], split))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    return path


def line(row: dict[str, Any]) -> str:
    """One split as a row of the table.

    >>> accuracy = {"value": 0.85, "low": 0.82, "high": 0.88}
    >>> side = {"accuracy": accuracy, "minutes": 2.0}
    >>> line({"seed": 0, "probe": side, "tuned": side, "difference": 0.0})
    '| 0 | 85.0 % (82.0 to 88.0) | 85.0 % (82.0 to 88.0) | +0.0 | 2.0 | 2.0 | |'
    """
    sides = row["probe"], row["tuned"]
    percents = [[100 * side["accuracy"][key] for key in ("value", "low", "high")] for side in sides]
    accuracies = [f"{value:.1f} % ({low:.1f} to {high:.1f})" for value, low, high in percents]
    minutes = [f"{side['minutes']:.1f}" for side in sides]
    cells = [str(row["seed"]), *accuracies, f"{100 * row['difference']:+.1f}", *minutes]
    return f"| {' | '.join(cells)} | {chosen(row['tuned'])}|"


def chosen(side: dict[str, Any]) -> str:
    """What a run shipped and why, in words; empty where nothing was chosen."""
    training = side.get("training", {})
    if "choice" not in training:
        return ""
    choice, shipped = training["choice"], side["comparison"]["shipped"]
    tuned = side["comparison"]["second"]["value"]
    return (
        f"{shipped}; at {100 * training['share']:.0f} % fine-tuned {100 * tuned:.1f} %,"
        f" {choice['standard_errors']:+.1f} standard errors "
    )


def means(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {
        "probe": statistics.fmean(row["probe"]["accuracy"]["value"] for row in rows),
        "tuned": statistics.fmean(row["tuned"]["accuracy"]["value"] for row in rows),
        "difference": statistics.fmean(row["difference"] for row in rows),
        "probe_minutes": statistics.fmean(row["probe"]["minutes"] for row in rows),
        "tuned_minutes": statistics.fmean(row["tuned"]["minutes"] for row in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, help="a folder with a split of its own; else the solar cells"
    )
    parser.add_argument(
        "--seeds", default="0,1,2", help="one split each, or one training each of the folder's own"
    )
    parser.add_argument("--recipe", default="finetune", help="what is held against the probe")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of that recipe"
    )
    parser.add_argument("--most", type=int, help="train images, for a first impression")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    rows = []
    for seed in map(int, options.seeds.split(",")):
        rows.append(one_split(options.data, seed, options.recipe, options.set, options.most))
        print(line(rows[-1]), flush=True)
    result = {
        **about([options.data.name if options.data else "elpv-dataset"]),
        "seed": options.seeds,
        "threads": "each training's own",
        "recipe": options.recipe,
        "set": options.set,
        "most": options.most,
        "mean": {key: round(value, 4) for key, value in means(rows).items()},
        "splits": rows,
    }
    heads = (
        "seed",
        "probe",
        options.recipe,
        "points",
        "minutes of the probe",
        f"minutes of {options.recipe}",
        "shipped",
    )
    print(
        "\n"
        + "\n".join(["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", *map(line, rows)])
    )
    print(json.dumps(result["mean"]))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
