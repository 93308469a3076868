"""Is the promised accuracy kept, what does it cost, and are balanced probabilities true?

    python benchmarks/promises.py [DATA ...] [--models 300] [--splits 8] [--out
    benchmarks/results/promises.json]

Simulated: models whose confidences are true, with 60, 300 and 1,500 images to calibrate on. How
often the promise is kept on new images, or nothing is promised; and how many images are answered.

DATA: folders that `tellapart train` takes. Each is divided several times, a quarter for test. The
probe is fitted twice: with a val of 15 % that calibrates, as it was done before, and with
out-of-fold answers of all images that are not test. Accuracy, log loss and calibration error of
both on the same test images; and what the thresholds of both schemes come to.

Balanced: two classes at 5 : 1 and 20 : 1, a balanced probe, with a temperature alone and with a
bias: the mean probability of the rare class against its share.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recording import about

from tellapart.evaluation.calibration import Scaling, fit_scaling
from tellapart.evaluation.metrics import measure
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.threshold import Threshold, fit_threshold
from tellapart.extensions import Extensions
from tellapart.options import HeadOptions
from tellapart.pipeline.data import load_data, read_data
from tellapart.pipeline.probe import frozen_for
from tellapart.pipeline.request import new_request
from tellapart.pipeline.services import open_services
from tellapart.probe.fit import fit_probe, num_folds
from tellapart.recipe import Recipe

TARGET = 0.95
TEST_SHARE, VAL_SHARE = 0.25, 0.15
KINDS = {"94 % right": (4.0, 2.0), "88 % right": (2.5, 1.5), "79 % right": (1.5, 1.2)}
COUNTS = (60, 300, 1500)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", type=Path)
    parser.add_argument("--models", type=int, default=300, help="simulated ones of each kind")
    parser.add_argument("--splits", type=int, default=8, help="of each data set")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/promises.json"))
    words = parser.parse_args()
    results: dict[str, Any] = {
        "simulated": [simulated(kind, count, words.models) for kind in KINDS for count in COUNTS],
        "balanced": [balanced(ratio) for ratio in (5, 20)],
    }
    for data in words.data:
        features, labels = embedded(data)
        results[data.name] = [compared(features, labels, seed) for seed in range(words.splits)]
        print(data.name, json.dumps(summary(results[data.name])), flush=True)
    record = {**about([data.name for data in words.data]), "results": results}
    words.out.write_text(json.dumps(record, indent=1) + "\n")


def predictions(probs: NDArray[np.float32], labels: NDArray[np.int64]) -> Predictions:
    names = tuple(map(str, range(max(probs.shape))))
    return Predictions(probs, labels, names[: len(probs)], names[: probs.shape[1]])


def threshold_by_share(answers: Predictions) -> float:
    """The earlier rule: the lowest confidence whose share of right answers reaches the target."""
    order = np.argsort(-answers.confidence)
    confidence, correct = answers.confidence[order], answers.correct[order]
    enough = np.flatnonzero(np.cumsum(correct) / np.arange(1, len(order) + 1) >= TARGET)
    if len(order) < 20 or not enough.size:
        return TARGET
    return max(float(confidence[enough[-1]]), 0.5) if enough[-1] < len(order) - 1 else 0.5


def draw(rng: np.random.Generator, kind: str, count: int) -> Predictions:
    """Answers of a model of two classes whose confidences are true."""
    mean, spread = KINDS[kind]
    confidence = 1 / (1 + np.exp(-np.abs(rng.normal(mean, spread, count))))
    labels = (rng.random(count) >= confidence).astype(np.int64)
    return predictions(np.stack([confidence, 1 - confidence], 1).astype(np.float32), labels)


def simulated(kind: str, count: int, models: int) -> dict[str, Any]:
    rng = np.random.default_rng(count)
    new = draw(np.random.default_rng(1), kind, 400_000)
    by_confidence = np.argsort(-new.confidence)
    right = np.cumsum(new.correct[by_confidence]) / np.arange(1, len(new) + 1)
    sorted_confidence = -new.confidence[by_confidence]

    def outcome(confidence: float) -> tuple[float, float]:
        answered = int(np.searchsorted(sorted_confidence, -confidence, side="right"))
        return answered / len(new), float(right[answered - 1]) if answered else 1.0

    rows = []
    for _ in range(models):
        answers = draw(rng, kind, count)
        new_rule = fit_threshold(answers, TARGET)
        coverage, accuracy = outcome(new_rule.confidence)
        old_coverage, old_accuracy = outcome(threshold_by_share(answers))
        rows.append(
            (
                not new_rule.promised or accuracy >= TARGET,
                new_rule.promised,
                coverage,
                accuracy >= TARGET,
                old_accuracy >= TARGET,
                old_coverage,
            )
        )
    names = ("kept_or_none", "promised", "coverage", "reached", "reached_before", "coverage_before")
    means = dict(zip(names, np.mean(rows, axis=0).round(3).tolist(), strict=True))
    result = {"kind": kind, "count": count, "models": models, **means}
    print(json.dumps(result), flush=True)
    return result


def embedded(data: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(N, D) embeddings by the default backbone, and labels, of all usable images."""
    with open_services(quiet=True) as services:
        request = new_request(
            data, Recipe(), out=Path("runs"), name=None, splits=None, strict=False
        )
        catalog = read_data(request, services.console)
        frozen = frozen_for(request.recipe, services, Extensions(), catalog)
        assert frozen
        catalog = load_data(request, catalog, services.console, frozen.features).catalog
        rows = np.flatnonzero(catalog.ok)
        return frozen.features.of(catalog, rows), catalog.labels[rows]


def dealt(labels: NDArray[np.int64], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    fold_of = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        fold_of[rows] = np.arange(len(rows)) % folds
    return fold_of


def compared(features: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> dict[str, Any]:
    """One division: the scheme with val, and the one with out-of-fold answers."""
    rng, options = np.random.default_rng(seed), HeadOptions()
    num_classes = int(labels.max()) + 1
    folds = num_folds(features.shape[1], num_classes, options)
    place = dealt(labels, 20, rng)
    test, pool = place < 20 * TEST_SHARE, np.flatnonzero(place >= 20 * TEST_SHARE)
    in_val = dealt(labels[pool], 20, rng) < 20 * VAL_SHARE
    val, train = pool[in_val], pool[~in_val]

    def head(rows: NDArray[np.int64]) -> Any:
        fold_of = dealt(labels[rows], folds, rng)
        return fit_probe(features[rows], labels[rows], fold_of, num_classes, options)

    before, now = head(train), head(pool)
    on_val = before.layers.logits(features[val])
    schemes = {
        "val": (before, on_val, labels[val]),
        "out_of_fold": (now, now.logits, labels[pool]),
    }
    result: dict[str, Any] = {"seed": seed, "folds": folds}
    for name, (probe, logits, truth) in schemes.items():
        scaling = fit_scaling(logits, truth)
        shown = predictions(
            scaling.probabilities(probe.layers.logits(features[test])), labels[test]
        )
        held = predictions(scaling.probabilities(logits), truth)
        threshold = fit_threshold(held, TARGET)
        metrics = measure(shown, seed=seed)
        result[name] = {
            **{key: getattr(metrics, key).value for key in ("accuracy", "log_loss", "ece")},
            "proven": answered(shown, threshold.confidence) | described(threshold),
            "by_share": answered(shown, threshold_by_share(held)),
        }
    return result


def described(threshold: Threshold) -> dict[str, Any]:
    return {"promised": threshold.promised, "needed": threshold.needed}


def answered(shown: Predictions, confidence: float) -> dict[str, Any]:
    chosen = shown.confidence >= confidence
    right = float(shown.correct[chosen].mean()) if chosen.any() else 1.0
    return {"coverage": float(chosen.mean()), "accuracy": right}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the divisions, and how often the target was reached on test."""
    found: dict[str, Any] = {"folds": rows[0]["folds"]}
    for scheme in ("val", "out_of_fold"):
        scores = [row[scheme] for row in rows]
        found[scheme] = {
            key: round(float(np.mean([score[key] for score in scores])), 4)
            for key in ("accuracy", "log_loss", "ece")
        }
        for rule in ("proven", "by_share"):
            outcomes = [score[rule] for score in scores]
            found[scheme][rule] = {
                "coverage": round(float(np.mean([o["coverage"] for o in outcomes])), 3),
                "reached": sum(o["accuracy"] >= TARGET for o in outcomes),
                "kept_or_none": sum(
                    not o.get("promised", True) or o["accuracy"] >= TARGET for o in outcomes
                ),
                "promised": sum(o.get("promised", True) for o in outcomes),
            }
    return found


def balanced(ratio: int) -> dict[str, Any]:
    """A balanced probe on two overlapping clouds, one of them rare."""
    rng = np.random.default_rng(ratio)

    def cloud(count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        labels = (rng.random(count) < 1 / (ratio + 1)).astype(np.int64)
        points = rng.normal(size=(count, 8)) + 0.6 * labels[:, None]
        return points.astype(np.float32), labels

    (features, labels), (new, truth) = cloud(2000), cloud(40_000)
    options = HeadOptions(weighting="balanced")
    probe = fit_probe(features, labels, dealt(labels, 5, rng), 2, options)
    shares = np.bincount(labels) / len(labels)
    result: dict[str, Any] = {"ratio": ratio, "share": round(float(truth.mean()), 4)}
    kinds: dict[str, Scaling] = {
        "temperature": fit_scaling(probe.logits, labels),
        "bias": fit_scaling(probe.logits, labels, shares=shares),
    }
    for name, scaling in kinds.items():
        probs = scaling.probabilities(probe.layers.logits(new))
        result[name] = {
            "mean_probability": round(float(probs[:, 1].mean()), 4),
            "classwise_error": round(classwise_error(probs[:, 1], truth), 4),
            "log_loss": round(measure(predictions(probs, truth)).log_loss.value, 4),
        }
    print(json.dumps(result), flush=True)
    return result


def classwise_error(probs: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """The mean gap between the probability of the rare class and its share, over 15 bins."""
    bins = np.minimum((probs * 15).astype(int), 14)
    gaps = np.bincount(bins, weights=probs - truth, minlength=15)
    return float(np.abs(gaps).sum() / len(truth))


if __name__ == "__main__":
    main()
