"""How fast is the head fitted, how near the optimum, and is it as good as scikit-learn's?

    python benchmarks/head.py [DATA ...] [--rows 10000,85000,500000] [--classes 200] [--rounds 3]
        [--out benchmarks/results/head.json]

Generated: rows of 1,280 numbers in as many classes, with a covariance that falls as that of real
embeddings does. Each fit is a fresh process over a mapped file, with both cores: seconds, those of
the processor (which other work on the machine changes less), peak memory, accuracy and calibrated
log loss on 10,000 other rows, and the objective against the least one. scikit-learn's fits stand
beside, in turn, up to 85,000 rows.

DATA: folders that `tellapart train` takes; the solar cells of `elpv-dataset` are added where it is
installed. Each is divided several times, a quarter for test. Accuracy and log loss of both heads on
the same test images.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from promises import dealt, embedded
from recording import about, environment
from sklearn_head import fit_by_sklearn
from threadpoolctl import threadpool_limits
from unfamiliar import write_cells

from tellapart.evaluation.calibration import fit_scaling
from tellapart.options import HeadOptions
from tellapart.probe import fit
from tellapart.probe.regression import Fit, Regression, Rows, Scale, measure_spectrum

WIDTH = 1280
HELD_ROWS = 10_000
MOST_CONVERGED_ROWS = 85_000
CONVERGED = 1e-5  # the gap of what counts as the least objective, as a share of it
TEST_TWENTIETHS = 5  # of a real set
FITS = {"tellapart": fit.fit_probe, "scikit-learn": fit_by_sklearn}


def generate(folder: Path, count: int, num_classes: int, seed: int) -> None:
    """Write rows, labels, and other rows of the same classes.

    Eigenvalue j of the covariance falls as (j + 6)^-1.05, which is within a third of that of
    `tf_efficientnet_lite0` on CIFAR-10 and Tiny ImageNet. The centres of the classes lie in the 64
    largest directions and have 0.3 of the variance there. Rows vary more or less around them, and a
    tenth lie between two, so that C has an optimum in the middle of its values.
    """
    rng = np.random.default_rng(seed)
    falling = (np.arange(1, WIDTH + 1) + 6.0) ** -1.05
    deviations = np.sqrt(falling / falling.sum() * WIDTH).astype(np.float32)
    centres = rng.standard_normal((num_classes, WIDTH), np.float32) * np.sqrt(0.3)
    centres[:, 64:] = 0
    noise = np.where(np.arange(WIDTH) < 64, np.sqrt(0.7), 1).astype(np.float32)
    turn = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH), np.float32))[0]
    for name, rows in (("train", count), ("held", HELD_ROWS)):
        labels = rng.integers(0, num_classes, rows)
        shape = (rows, WIDTH)
        features = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, shape)
        for start in range(0, rows, 4096):
            some = labels[start : start + 4096]
            spread = np.exp(0.35 * rng.standard_normal((len(some), 1), np.float32) - 0.06)
            mixed = rng.random((len(some), 1), np.float32) * (rng.random((len(some), 1)) < 0.1)
            other = centres[rng.integers(0, num_classes, len(some))]
            points = centres[some] + mixed.astype(np.float32) * (other - centres[some])
            points += spread * noise * rng.standard_normal((len(some), WIDTH), np.float32)
            # Embeddings are positive, and most are small.
            features[start : start + 4096] = np.maximum((points * deviations) @ turn + 1, 0)
        np.save(folder / f"{name}-labels.npy", labels)
        del features


def measure_fit(side: str, folder: Path, num_classes: int) -> dict[str, Any]:
    """One fit and its answers, in this process."""
    features, labels = np.load(folder / "train.npy", mmap_mode="r"), _labels(folder, "train")
    fold_of = dealt(labels, fit.num_folds(WIDTH, num_classes, HeadOptions()), _rng())
    begin, cpu_begin = time.perf_counter(), time.process_time()
    probe = FITS[side](features, labels, fold_of, num_classes, HeadOptions())
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    np.savez(folder / f"{side}.npz", weight=probe.layers.weight, bias=probe.layers.bias, c=probe.c)
    held = np.load(folder / "held.npy")
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_gib": peak,
        "file_gib": features.nbytes / 2**30,
        "c": probe.c,
        "folds": len(np.unique(fold_of)),
        "tried": len(probe.fold_losses),
        **_scores(probe, labels, held, _labels(folder, "held")),
    }


def measure_objectives(folder: Path, num_classes: int) -> dict[str, Any]:
    """How far the objective of each side is above the least one, in shares of it."""
    features, labels = np.load(folder / "train.npy", mmap_mode="r"), _labels(folder, "train")
    result: dict[str, Any] = {}
    with threadpool_limits(1):
        scale = Scale(features)
        rows = Rows(features, scale)
        places = np.linspace(0, len(rows) - 1, min(len(rows), 4 * WIDTH)).astype(np.int64)
        spectrum = measure_spectrum(Rows(features, scale, places)[:])
        model = Regression(rows, labels, num_classes, spectrum, in_parallel=True)
        for file in sorted(folder.glob("*.npz")):
            kept = np.load(file)
            weight = kept["weight"].astype(np.float64)
            bias = kept["bias"] + weight @ scale.mean
            start, c = np.column_stack([weight * scale.spread, bias]), float(kept["c"])
            result[file.stem] = {"c": c, **_objective(model.fit(c, start, tolerance=np.inf))}
            if len(rows) <= MOST_CONVERGED_ROWS:
                least = model.fit(c, start, tolerance=CONVERGED)
                result[file.stem]["least"] = least.loss
                result[file.stem]["above_least"] = result[file.stem]["loss"] / least.loss - 1
                result[file.stem]["least_gap"] = least.gap / least.loss
    return result


def _objective(found: Fit) -> dict[str, float]:
    return {"loss": found.loss, "proven_gap": found.gap / found.loss}


def _labels(folder: Path, name: str) -> NDArray[np.int64]:
    labels: NDArray[np.int64] = np.load(folder / f"{name}-labels.npy")
    return labels


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _scores(
    probe: fit.Probe,
    labels: NDArray[np.int64],
    features: NDArray[np.float32],
    truth: NDArray[np.int64],
) -> dict[str, float]:
    """Accuracy and log loss of calibrated answers."""
    answered = np.isfinite(probe.logits[:, 0])
    scaling = fit_scaling(probe.logits[answered], labels[answered])
    probs = scaling.probabilities(probe.layers.logits(features))
    own = probs[np.arange(len(truth)), truth]
    return {
        "accuracy": float((probs.argmax(axis=1) == truth).mean()),
        "log_loss": float(-np.log(np.maximum(own, 1e-7)).mean()),
    }


def compare_real(data: Path, splits: int) -> list[dict[str, Any]]:
    """Both heads on several divisions of one data set."""
    features, labels = embedded(data)
    num_classes, rows = int(labels.max()) + 1, []
    for seed in range(splits):
        rng = np.random.default_rng(seed)
        place = dealt(labels, 20, rng)
        test, pool = place < TEST_TWENTIETHS, np.flatnonzero(place >= TEST_TWENTIETHS)
        folds = fit.num_folds(features.shape[1], num_classes, HeadOptions())
        fold_of = dealt(labels[pool], folds, rng)
        row: dict[str, Any] = {"seed": seed, "images": len(pool)}
        for side, fit_side in FITS.items():
            begin = time.process_time()
            probe = fit_side(features[pool], labels[pool], fold_of, num_classes, HeadOptions())
            seconds = time.process_time() - begin
            scores = _scores(probe, labels[pool], features[test], labels[test])
            row[side] = {"cpu_seconds": seconds, "c": probe.c, **scores}
        rows.append(row)
    return rows


def _in_a_process(*words: object) -> dict[str, Any]:
    command = [sys.executable, __file__, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare_generated(count: int, words: argparse.Namespace) -> dict[str, Any]:
    """Both sides in turn, each round over the same rows."""
    num_classes = words.classes
    both = count <= words.sklearn_rows
    sides = list(FITS) if both else ["tellapart"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        generate(folder, count, num_classes, words.seed)
        found: dict[str, Any] = {"rows": count, "classes": num_classes, "rounds": []}
        for _ in range(words.rounds if both else 1):
            row = {
                side: _in_a_process("--side", side, "--folder", folder, "--classes", num_classes)
                for side in sides
            }
            print(count, json.dumps(row), flush=True)
            found["rounds"].append(row)
        found["objectives"] = _in_a_process(
            "--side", "objectives", "--folder", folder, "--classes", num_classes
        )
    print(count, json.dumps(found["objectives"]), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", type=Path)
    parser.add_argument("--rows", default="10000,85000,500000", help="separated by commas")
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--sklearn-rows", type=int, default=85_000, help="the most it is given")
    parser.add_argument("--rounds", type=int, default=3, help="of both sides")
    parser.add_argument("--splits", type=int, default=5, help="of each data set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/head.json"))
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.side == "objectives":
        print(json.dumps(measure_objectives(words.folder, words.classes)))
    elif words.side:
        print(json.dumps(measure_fit(words.side, words.folder, words.classes)))
    else:
        record(words)


def record(words: argparse.Namespace) -> None:
    """Measure everything, and write the result after each part of it."""
    counts = [int(count) for count in words.rows.split(",") if count]
    sources = {data.name: data for data in words.data}
    result: dict[str, Any] = {
        **about(["generated", *sources], words.seed),
        "generated": [],
        "real": {},
    }

    def write() -> None:
        words.out.write_text(json.dumps(result, indent=1) + "\n")

    for count in counts:
        result["generated"].append(compare_generated(count, words))
        write()
    with tempfile.TemporaryDirectory() as temporary:
        if words.data and importlib.util.find_spec("elpv_dataset"):
            sources["elpv"] = write_cells(Path(temporary) / "cells.csv")
        for name, data in sources.items():
            result["real"][name] = compare_real(data, words.splits)
            print(name, json.dumps(result["real"][name]), flush=True)
            write()


if __name__ == "__main__":
    main()
