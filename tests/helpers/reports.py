"""What a report shows, made up: a catalog, predictions, and the whole input of the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tellapart.catalog.files import Folder
from tellapart.catalog.table import Catalog
from tellapart.decoding import Decoded
from tellapart.evaluation.metrics import measure
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.rule import AnswerRule
from tellapart.evaluation.threshold import Threshold
from tellapart.report.run.page import ReportInput


class Drawer(Folder):
    """A folder in which every path leads to one of a few files."""

    def __init__(self, root: Path, count: int) -> None:
        super().__init__(root)
        object.__setattr__(self, "count", count)

    def read(self, path: str) -> bytes | Decoded:
        return super().read(f"{len(path) % self.count}.png")


def make_catalog(
    root: Path, files: int, classes: tuple[str, ...], paths: list[str], labels: list[int]
) -> Catalog:
    count = len(paths)
    return Catalog(
        files=Drawer(root, files),
        source="One folder a class.",
        classes=classes,
        paths=np.array(paths, dtype=str),
        labels=np.array(labels, np.int64),
        given_splits=np.full(count, ""),
        groups=np.full(count, ""),
        statuses=np.full(count, "ok", dtype="U20"),
        details=np.full(count, "", object),
        notes=np.full(count, "", dtype="U60"),
        widths=np.full(count, 40),
        heights=np.full(count, 30),
        digests=np.array([f"{row:064x}" for row in range(count)]),
        taken=np.full(count, ""),
        copies=np.arange(count),
        splits=np.full(count, ""),
        weights=np.ones(count),
    )


def noise_catalog(
    root: Path, classes: tuple[str, ...], each: int, files: int, rng: np.random.Generator
) -> Catalog:
    """`each` images a class. All paths of a class lead to one of a few files of noise."""
    for number in range(files):
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(
            root / f"{number}.png"
        )
    paths = [f"c{label}/{number}.png" for label in range(len(classes)) for number in range(each)]
    return make_catalog(
        root, files, classes, paths, [label for label in range(len(classes)) for _ in range(each)]
    )


def make_predictions(catalog: Catalog, rows: np.ndarray, strength: float = 2.0) -> Predictions:
    rng = np.random.default_rng(0)
    labels = catalog.labels[rows]
    scores = np.exp(rng.normal(size=(len(rows), len(catalog.classes))))
    scores[np.arange(len(rows)), labels] *= np.exp(strength)
    probs = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    return Predictions(probs, labels, tuple(map(str, catalog.paths[rows])), catalog.classes)


def make_report(
    root: Path, classes: tuple[str, ...] = ("ant", "bee"), each: int = 30, files: int = 6
) -> ReportInput:
    """`each` images a class, a third of them in each split. All paths of a class lead to one of a
    few files.
    """
    catalog = noise_catalog(root, classes, each, files, np.random.default_rng(0))
    splits = np.array([("train", "val", "test")[row % 3] for row in range(len(catalog))])
    catalog = catalog.with_splits(splits)
    test, val = (
        make_predictions(catalog, np.flatnonzero(splits == name)) for name in ("test", "val")
    )
    return ReportInput(
        title="Insects",
        created="1 May 2025",
        catalog=catalog,
        predictions=test,
        val_predictions=val,
        metrics=measure(test, baseline_label=0),
        threshold=Threshold(0.7, 0.95, True, 90, 1.0, None),
        rule=AnswerRule(0.7),
        temperature=1.1,
        model={"backbone": "lite0", "parameters": 4_652_008},
        provenance={"Recipe": {"name": "default"}},
    )
