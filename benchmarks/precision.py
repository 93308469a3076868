"""What does int8 change: accuracy, log loss, and how well a left-out class is noticed?

    python benchmarks/precision.py DATA [DATA ...] [--divisions 5] [--most 4000]
        [--out benchmarks/results/precision.json]

DATA: folders that `tellapart train` takes, and "elpv" for the solar cells of the package. Each is
embedded by lite0 in int8 and in fp32 and by lite2 in int8 and in fp32, and divided several times, a
quarter for test. The networks of a division share it, so the differences are paired. At most --most
images of a set are taken, chosen by the order of their names.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from promises import dealt, predictions
from recording import about

from tellapart.evaluation.calibration import fit_scaling
from tellapart.evaluation.metrics import measure
from tellapart.extensions import Extensions
from tellapart.options import BackboneOptions, HeadOptions
from tellapart.pipeline.data import load_data, read_data
from tellapart.pipeline.probe import frozen_for
from tellapart.pipeline.request import new_request
from tellapart.pipeline.services import open_services
from tellapart.probe.fit import fit_probe, num_folds
from tellapart.probe.left_out import leave_each_class_out
from tellapart.recipe import Recipe

TEST_SHARE = 0.25
NETWORKS = {
    f"lite{number} {precision}": BackboneOptions(
        name=f"tf_efficientnet_lite{number}", precision=precision
    )
    for number in (0, 2)
    for precision in ("int8", "fp32")
}
PAIRS = (("lite0 int8", "lite0 fp32"), ("lite2 int8", "lite0 fp32"), ("lite2 int8", "lite2 fp32"))
MEASURES = ("accuracy", "log_loss", "left_out")


def embedded(
    data: Any, backbone: BackboneOptions, most: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], tuple[str, ...]]:
    """Embeddings (N, D), labels, and the names of the classes."""
    with open_services(quiet=True) as services:
        recipe = Recipe(backbone=backbone)
        request = new_request(data, recipe, out=Path("runs"), name=None, splits=None, strict=False)
        catalog = read_data(request, services.console)
        kept = np.zeros(len(catalog), bool)
        kept[np.unique(np.linspace(0, len(catalog) - 1, most).astype(int))] = True
        catalog = catalog.rows(kept)
        frozen = frozen_for(recipe, services, Extensions(), catalog)
        assert frozen
        catalog = load_data(request, catalog, services.console, frozen.features).catalog
        rows = np.flatnonzero(catalog.ok)
        found = np.asarray(frozen.features.of(catalog, rows), np.float32)
        return found, catalog.labels[rows], catalog.classes


def measured(
    features: NDArray[np.float32], labels: NDArray[np.int64], classes: tuple[str, ...], seed: int
) -> dict[str, float]:
    """A probe on three quarters, measured on the rest."""
    rng, options = np.random.default_rng(seed), HeadOptions()
    place = dealt(labels, 20, rng)
    test, pool = place < 20 * TEST_SHARE, np.flatnonzero(place >= 20 * TEST_SHARE)
    fold_of = dealt(labels[pool], num_folds(features.shape[1], len(classes), options), rng)
    probe = fit_probe(features[pool], labels[pool], fold_of, len(classes), options)
    scaling = fit_scaling(probe.logits, labels[pool])
    shown = predictions(scaling.probabilities(probe.layers.logits(features[test])), labels[test])
    metrics = measure(shown, seed=seed)
    left = leave_each_class_out(
        features[pool], labels[pool], fold_of, classes, probe.c, options, always=True
    )
    return {
        "accuracy": metrics.accuracy.value,
        "log_loss": metrics.log_loss.value,
        "left_out": left.mean if left else float("nan"),
    }


def difference(rows: list[dict[str, float]], others: list[dict[str, float]]) -> dict[str, Any]:
    """The mean of the paired differences, and its standard error over the divisions."""
    found = {}
    for name in MEASURES:
        gaps = np.array([row[name] - other[name] for row, other in zip(rows, others, strict=True)])
        error = gaps.std(ddof=1) / np.sqrt(len(gaps)) if len(gaps) > 1 else float("nan")
        found[name] = {"mean": round(float(gaps.mean()), 4), "error": round(float(error), 4)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+")
    parser.add_argument("--divisions", type=int, default=5)
    parser.add_argument("--most", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/precision.json"))
    words = parser.parse_args()
    results: dict[str, Any] = {}
    for data in words.data:
        name, source = Path(data).name, solar_cells() if data == "elpv" else Path(data)
        rows: dict[str, list[dict[str, float]]] = {}
        for network, backbone in NETWORKS.items():
            features, labels, classes = embedded(source, backbone, words.most)
            rows[network] = [
                measured(features, labels, classes, seed) for seed in range(words.divisions)
            ]
            means = {
                key: round(float(np.mean([row[key] for row in rows[network]])), 4)
                for key in MEASURES
            }
            print(name, len(labels), network, means, flush=True)
        results[name] = {
            "images": len(labels),
            "networks": rows,
            "differences": {
                f"{first} - {second}": difference(rows[first], rows[second])
                for first, second in PAIRS
            },
        }
        for pair, values in results[name]["differences"].items():
            print(name, pair, values, flush=True)
        words.out.write_text(json.dumps({**about(list(results)), "sets": results}, indent=1) + "\n")


def solar_cells() -> list[tuple[Any, str]]:
    """The cells of elpv-dataset, defective where the published probability is above a half."""
    import elpv_dataset.utils

    images, chances, _ = elpv_dataset.utils.load_dataset()
    kinds = np.where(np.asarray(chances) > 0.5, "defective", "functional")
    return list(zip(images, kinds.tolist(), strict=True))


if __name__ == "__main__":
    main()
