"""Does the learning curve say what twice as many images bring about?

    python benchmarks/growth.py DATA... --model RUN [--images 350] [--repeats 20] [--out benchmarks/results/growth.json]

DATA are folders with one folder a class. Of each, so many images are drawn, and the curve of a
report is fitted to them. Then a head learns from twice as many, and one from the drawn ones alone.
All other images say how much more it is right. The interval should hold that gain in 19 of 20.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recording import about, found_share

import tellapart
from tellapart.keyed import keyed_numbers
from tellapart.options import HeadOptions
from tellapart.probe.fit import fit_probe
from tellapart.probe.learning_curve import learning_curve
from tellapart.sources.source import read_source

C = 0.01  # a usual choice of the probe on such embeddings
FOLDS = 5
TESTED = 1000  # images at most that say how much more is right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--images", type=int, default=350)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--model", type=Path, required=True, help="a run, for its network")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    predictor = tellapart.load(arguments.model)
    result: dict[str, Any] = {}
    for data in arguments.data:
        features, labels = embedded(predictor, data, 2 * arguments.images + TESTED)
        trials = [
            trial(features, labels, arguments.images, seed) for seed in range(arguments.repeats)
        ]
        held = sum(entry["low"] <= entry["gain"] <= entry["high"] for entry in trials)
        means = {
            name: round(float(np.mean([entry[name] for entry in trials])), 4) for name in trials[0]
        }
        result[data.name] = {"held": found_share(held, len(trials)), "means": means}
    result |= {"images": arguments.images}
    result |= about([data.name for data in arguments.data])
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(f"{text}\n")


def embedded(
    predictor: tellapart.Predictor, data: Path, count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The embeddings of so many random images, and their labels."""
    catalog = read_source(data)
    known = np.flatnonzero(catalog.labels >= 0)
    keys = keyed_numbers(0, "benchmark", catalog.paths[known].tolist())
    rows = known[np.argsort(keys, kind="stable")[:count]]
    root = Path(catalog.files.place)
    features = predictor.embed([root / catalog.paths[row] for row in rows.tolist()])
    return features, catalog.labels[rows]


def trial(
    features: NDArray[np.float32], labels: NDArray[np.int64], images: int, seed: int
) -> dict[str, float]:
    """One draw: what the curve expects, and what came of twice as many images."""
    order = np.random.default_rng(seed).permutation(len(labels))
    drawn, doubled, rest = order[:images], order[: 2 * images], order[2 * images :]
    num_classes = int(labels.max()) + 1
    curve = learning_curve(
        features[drawn],
        labels[drawn],
        np.arange(images) % FOLDS,
        np.arange(images),
        num_classes,
        C,
        HeadOptions(),
        seed=seed,
    )
    if curve is None:
        raise SystemExit("The images are too few for a curve: give more with --images.")
    before, after = (
        accuracy(features, labels, rows, rest, num_classes) for rows in (drawn, doubled)
    )
    return {
        "gain": after - before,
        "expected": curve.gain.value,
        "low": curve.gain.low,
        "high": curve.gain.high,
    }


def accuracy(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    learned: NDArray[np.int64],
    tested: NDArray[np.int64],
    num_classes: int,
) -> float:
    """Of a head that learned from some images, on others."""
    options = replace(HeadOptions(), c_values=(C,))
    no_folds = np.full(len(learned), -1)
    layers = fit_probe(features[learned], labels[learned], no_folds, num_classes, options).layers
    return float((layers.logits(features[tested]).argmax(axis=1) == labels[tested]).mean())


if __name__ == "__main__":
    main()
