"""Which score tells images of other kinds, and of classes that were left out, from familiar ones?

    python benchmarks/unfamiliar.py --data FOLDER [--data FOLDER …] [--sizes 60,200,800,2000]
    [--out x.json]

Each folder has a train split and a val or test split. The solar cells of `elpv-dataset` are one more
set, of four classes: mono and poly, with and without a defect. Embeddings are those of the default
backbone. Three kinds of question are asked of probes fitted on few images and on many:

- left out: all classes but one are known, and images of that one are unfamiliar. At most eight
  classes of a set are left out, each for itself.
- two of many: two classes are known, and all others are unfamiliar. Five pairs of a set.
- far: all classes are known, and the other sets are unfamiliar, unless they show the same things.

AUROC is the chance that an unfamiliar image has the higher score than a familiar one. "passes" is
the share of unfamiliar images that pass where 5 % of the familiar test images are refused.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recording import about
from scipy.special import logsumexp
from scipy.stats import rankdata

from tellapart.catalog.scan import scan
from tellapart.extensions import Extensions
from tellapart.modelfile.familiarity import directions, evenness, measure_terms
from tellapart.options import HeadOptions
from tellapart.pipeline.probe import frozen_backbone
from tellapart.pipeline.services import open_services
from tellapart.probe.familiarity import fit_standards, fit_subspace
from tellapart.probe.fit import fit_probe
from tellapart.recipe import Recipe
from tellapart.sources.source import read_source

FOLDS = 5
MOST_TEST = 1000  # images of a set
SAME_THINGS = {"cats-dogs", "cifar10", "tiny-imagenet-20"}  # all have cats
PER_CLASS = 400  # train images of a class that are embedded
SHRINKAGE = 0.1  # of a covariance towards the unit matrix
Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Images:
    """Embedded images with the number of their class."""

    features: Matrix
    labels: NDArray[np.int64]

    def rows(self, chosen: NDArray[np.generic]) -> Images:
        return Images(self.features[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Question:
    """What a probe knows, familiar images that it never saw, and unfamiliar ones."""

    data: str
    kind: str
    size: int
    train: Images
    familiar: Matrix
    unfamiliar: dict[str, Matrix]
    c: float


def write_cells(path: Path) -> Path:
    """A table of the solar cells, with a quarter as test."""
    spec = importlib.util.find_spec("elpv_dataset")
    assert spec and spec.submodule_search_locations
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    rows = [line.split() for line in (folder / "labels.csv").read_text().splitlines()]
    tested = np.random.default_rng(0).random(len(rows)) < 0.25
    with path.open("w", newline="") as file:
        table = [
            (
                str(folder / name),
                f"{kind} {'defect' if float(defect) >= 0.5 else 'intact'}",
                "test" if test else "train",
            )
            for (name, defect, kind), test in zip(rows, tested, strict=True)
        ]
        csv.writer(file).writerows([("path", "label", "split"), *table])
    return path


def embed(sources: dict[str, Path]) -> dict[str, tuple[Images, Images]]:
    """Name → train and test images of each set, embedded by the default backbone."""
    recipe, found = Recipe(), {}
    with open_services(quiet=True) as services:
        catalogs = {name: read_source(source) for name, source in sources.items()}
        first = next(iter(catalogs.values()))
        frozen = frozen_backbone(recipe, services.store, services.console, Extensions(), first)
        for name, catalog in catalogs.items():
            rng, chosen = np.random.default_rng(0), np.zeros(len(catalog), bool)
            for split in np.unique(catalog.given_splits):
                for label in np.unique(catalog.labels):
                    rows = np.flatnonzero(
                        (catalog.given_splits == split) & (catalog.labels == label)
                    )
                    chosen[rng.permutation(rows)[:PER_CLASS]] = True
            catalog = scan(catalog.rows(chosen), hook=frozen.features)
            good = np.flatnonzero((catalog.statuses == "ok") & (catalog.labels >= 0))
            images = Images(frozen.features.of(catalog, good), catalog.labels[good])
            train = catalog.given_splits[good] == "train"
            test = np.flatnonzero(~train)[:: max(1, (~train).sum() // MOST_TEST)]
            found[name] = images.rows(train), images.rows(test)
    return found


def questions(data: dict[str, tuple[Images, Images]], sizes: list[int]) -> Iterator[Question]:
    """All questions, set by set and from few images to many."""
    rng = np.random.default_rng(0)
    for name, (train, test) in data.items():
        classes = np.unique(train.labels)
        alike = SAME_THINGS if name in SAME_THINGS else {name}
        others = {other: sides[1].features for other, sides in data.items() if other not in alike}
        for size in sizes:
            if size > 1.2 * len(train.labels):
                continue
            few = _some(train, size, rng)
            c = fit_probe(
                few.features, _places(few.labels), _folds(few.labels), len(classes), HeadOptions()
            ).c
            yield Question(name, "far", size, few, test.features, others, c)
            if len(classes) == 2:
                continue
            for label in rng.permutation(classes)[:8].tolist():
                familiar = test.features[test.labels != label]
                unfamiliar = {str(label): test.features[test.labels == label]}
                known = few.rows(few.labels != label)
                yield Question(name, "left out", size, known, familiar, unfamiliar, c)
            for _ in range(5):
                pair = rng.permutation(classes)[:2]
                both = train.rows(np.isin(train.labels, pair))
                if size > 1.2 * len(both.labels):
                    continue
                inside = np.isin(test.labels, pair)
                rest = {"rest": test.features[~inside]}
                known = _some(both, size, rng)
                yield Question(name, "two of many", size, known, test.features[inside], rest, c)


def _some(images: Images, size: int, rng: np.random.Generator) -> Images:
    """About `size` images, the same number of each class as far as there are as many."""
    classes = np.unique(images.labels)
    each = max(2, round(size / len(classes)))
    rows = [rng.permutation(np.flatnonzero(images.labels == label))[:each] for label in classes]
    return images.rows(np.concatenate(rows))


def _places(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _folds(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    folds, rng = np.zeros(len(labels), np.int64), np.random.default_rng(0)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        folds[rows] = np.arange(len(rows)) % FOLDS
    return folds


def scores(question: Question) -> dict[str, list[Matrix]]:
    """Score → its values for the familiar images, then for each set of unfamiliar ones."""
    train, shown = question.train, [question.familiar, *question.unfamiliar.values()]
    labels, folds = _places(train.labels), _folds(train.labels)
    fit = _fitter(int(labels.max()) + 1, question.c)
    logits = fit(train.features, labels)
    held_logits = np.zeros((len(labels), labels.max() + 1), np.float32)
    for fold in range(FOLDS):
        held = folds == fold
        held_logits[held] = fit(train.features[~held], labels[~held])(train.features[held])
    by_class = [logits(features) for features in shown]
    unit = directions(train.features)
    found = {
        "5 nearest neighbours": [
            1 - np.sort(directions(features) @ unit.T, axis=1)[:, -5:].mean(axis=1)
            for features in shown
        ],
        "generalized entropy": [_generalized_entropy(values) for values in by_class],
        "energy": [-logsumexp(values, axis=1) for values in by_class],
        "max logit": [-values.max(axis=1) for values in by_class],
        "evenness": [evenness(values) for values in by_class],
    }
    tied, whole = _mahalanobis(unit, labels), _mahalanobis(unit, np.zeros_like(labels))
    found["Mahalanobis"] = [tied(directions(features)) for features in shown]
    found["relative Mahalanobis"] = [
        near - whole(directions(features))
        for near, features in zip(found["Mahalanobis"], shown, strict=True)
    ]
    held_entropy = _generalized_entropy(held_logits)
    for kept in (16, 64, 128):
        found[f"residual {kept}"] = _residuals(train.features, shown, kept, raw=False)
    held = out_of_fold_terms(train.features, held_logits, folds)
    subspace = fit_subspace(train.features)
    terms = [
        measure_terms(subspace, features, values)
        for features, values in zip(shown, by_class, strict=True)
    ]
    found["shipped: residual and evenness, soft"] = [
        fit_standards(held).scores(values) for values in terms
    ]
    entropies = [
        np.stack([values[:, 0], entropy], axis=1)
        for values, entropy in zip(terms, found["generalized entropy"], strict=True)
    ]
    held_both = np.stack([held[:, 0], held_entropy], axis=1)
    found["residual and entropy, soft"] = [
        fit_standards(held_both).scores(values) for values in entropies
    ]
    found["residual and entropy, sum"] = [_sum(held_both, values) for values in entropies]
    found["residual 128 raw"] = _residuals(train.features, shown, 128, raw=True)
    held_raw = np.zeros(len(labels), np.float32)
    for fold in range(FOLDS):
        part = folds == fold
        (held_raw[part],) = _residuals(train.features[~part], [train.features[part]], 128, raw=True)
    found["pilot: residual 128 raw and entropy, sum"] = [
        _sum(np.stack([held_raw, held_entropy], axis=1), np.stack([raw, entropy], axis=1))
        for raw, entropy in zip(
            found["residual 128 raw"], found["generalized entropy"], strict=True
        )
    ]
    scale = held_logits.max(axis=1).mean() / held_raw.mean()
    found["ViM"] = [
        scale * raw + energy
        for raw, energy in zip(found["residual 128 raw"], found["energy"], strict=True)
    ]
    return found


def out_of_fold_terms(features: Matrix, logits: Matrix, folds: NDArray[np.int64]) -> Matrix:
    """(N, 2) residual and evenness, each by the other folds alone."""
    terms = np.zeros((len(features), 2), np.float32)
    for fold in range(FOLDS):
        held = folds == fold
        terms[held] = measure_terms(fit_subspace(features[~held]), features[held], logits[held])
    return terms


def _fitter(
    num_classes: int, c: float
) -> Callable[[Matrix, NDArray[np.int64]], Callable[[Matrix], Matrix]]:
    options = HeadOptions(c_values=(c,))

    def fit(features: Matrix, labels: NDArray[np.int64]) -> Callable[[Matrix], Matrix]:
        none = np.full(len(labels), -1)
        return fit_probe(features, labels, none, num_classes, options).layers.logits

    return fit


def _generalized_entropy(logits: Matrix, gamma: float = 0.1, most: int = 100) -> Matrix:
    """GEN of Liu, Lochman & Zach 2023, "GEN: Pushing the Limits of Softmax-Based
    Out-of-Distribution Detection", CVPR.
    """
    probs = np.exp(logits - logsumexp(logits, axis=1, keepdims=True)).astype(np.float64)
    top = np.sort(probs, axis=1)[:, -most:]
    return np.asarray((top**gamma * np.maximum(1 - top, 1e-12) ** gamma).sum(axis=1))


def _residuals(train: Matrix, shown: list[Matrix], kept: int, *, raw: bool) -> list[Matrix]:
    """The distance from the leading directions, at unit length or not."""
    form = (lambda features: features) if raw else directions
    mean = form(train).mean(axis=0)
    centred = form(train) - mean
    basis = np.random.default_rng(0).standard_normal((centred.shape[1], kept + 16))
    for _ in range(4):
        basis, _ = np.linalg.qr(centred.T @ (centred @ basis))
    _, _, turns = np.linalg.svd(centred @ basis, full_matrices=False)
    components = (turns[: min(kept, len(train) - 1)] @ basis.T).astype(np.float32)
    found = []
    for features in shown:
        rest = form(features) - mean
        found.append(np.linalg.norm(rest - (rest @ components.T) @ components, axis=1))
    return found


def _mahalanobis(train: Matrix, labels: NDArray[np.int64]) -> Callable[[Matrix], Matrix]:
    """The distance to the nearest class mean, by the shrunk covariance within classes."""
    means = np.stack([train[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    inside = train - means[labels]
    covariance = (1 - SHRINKAGE) * inside.T @ inside / len(train)
    covariance += SHRINKAGE * np.mean(inside**2) * np.eye(train.shape[1])
    root = np.linalg.inv(np.linalg.cholesky(covariance)).T.astype(np.float32)

    def distance(features: Matrix) -> Matrix:
        turned, centres = features @ root, means @ root
        squares = (turned**2).sum(1)[:, None] - 2 * turned @ centres.T + (centres**2).sum(1)
        return np.asarray(squares.min(axis=1))

    return distance


def _sum(held: Matrix, terms: Matrix) -> Matrix:
    spread = np.maximum(held.std(axis=0), 1e-12)
    return np.asarray(((terms - held.mean(axis=0)) / spread).sum(axis=1))


def auroc(familiar: Matrix, unfamiliar: Matrix) -> float:
    """The chance that an unfamiliar image has the higher score.

    >>> auroc(np.array([0.0, 1.0]), np.array([2.0, 3.0]))
    1.0
    """
    ranks, count = rankdata(np.concatenate([familiar, unfamiliar])), len(familiar)
    beaten = ranks[count:].sum() - len(unfamiliar) * (len(unfamiliar) + 1) / 2
    return float(beaten / (count * len(unfamiliar)))


def passes(familiar: Matrix, unfamiliar: Matrix) -> float:
    """The share of unfamiliar images that pass where 5 % of the familiar ones are refused."""
    return float(np.mean(unfamiliar <= np.quantile(familiar, 0.95, method="higher")))


def answer(question: Question) -> dict[str, Any]:
    """One row of the results: both numbers of each score, as means over the unfamiliar sets."""
    measured = {
        name: {
            "auroc": float(np.mean([auroc(familiar, values) for values in unfamiliar])),
            "passes": float(np.mean([passes(familiar, values) for values in unfamiliar])),
        }
        for name, (familiar, *unfamiliar) in scores(question).items()
    }
    return {
        "data": question.data,
        "kind": question.kind,
        "size": question.size,
        "train_images": len(question.train.labels),
        "classes": len(np.unique(question.train.labels)),
        "unfamiliar": list(question.unfamiliar),
        "c": question.c,
        "scores": measured,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Score by kind: mean AUROC and share that passes, each set and size counting once."""
    kinds = ("left out", "two of many", "far")
    lines = [f"{'score':42s} " + " ".join(f"{kind:>18s}" for kind in kinds)]
    for name in rows[0]["scores"]:
        cells = []
        for kind in kinds:
            places = sorted({(row["data"], row["size"]) for row in rows if row["kind"] == kind})
            means = [
                np.mean(
                    [
                        [row["scores"][name]["auroc"], row["scores"][name]["passes"]]
                        for row in rows
                        if (row["kind"], row["data"], row["size"]) == (kind, *place)
                    ],
                    axis=0,
                )
                for place in places
            ]
            area, passed = 100 * np.mean(means, axis=0) if means else (np.nan, np.nan)
            cells.append(f"{area:8.1f} {passed:7.1f} %")
        lines.append(f"{name:42s} " + " ".join(f"{cell:>18s}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    """Ask all questions, print the table, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--sizes", default="60,200,800,2000")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        cells = write_cells(Path(temporary) / "cells.csv")
        data = embed({**{folder.name: folder for folder in options.data}, "elpv": cells})
    rows = []
    for question in questions(data, [int(size) for size in options.sizes.split(",")]):
        rows.append(answer(question))
        print(question.data, question.kind, question.size, flush=True)
    print(table(rows))
    if options.out:
        result = {"about": about(list(data)), "rows": rows}
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
