"""`train`: a folder of pictures in, a checked model file and its report out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import FeatureStore, cache_folder
from tellapart.catalog.names import escape
from tellapart.catalog.scan import drop_empty_classes
from tellapart.catalog.sources import read_source
from tellapart.catalog.splits import make_folds, make_splits
from tellapart.catalog.table import Catalog
from tellapart.evaluation.metrics import Metrics, measure
from tellapart.evaluation.predictions import Predictions
from tellapart.export.compose import EMBEDDING, compose_features, compose_model, cut_at
from tellapart.export.gate import check_parity, check_reported
from tellapart.export.references import torch_references
from tellapart.jobs.backbone import TorchSide
from tellapart.jobs.findings import find_all, refuse_findings
from tellapart.jobs.looking import look_through, memory_for, name_of
from tellapart.jobs.record import Trained, card_for, write_run
from tellapart.keyed import keyed_numbers
from tellapart.modelfile.predictor import Predictor, load
from tellapart.modelfile.session import Session
from tellapart.progress import Talk
from tellapart.recipe import Recipe
from tellapart.recipes import load_recipe
from tellapart.runs.folder import check_room
from tellapart.runs.saved_splits import read_splits
from tellapart.training.features import FeatureExtractor
from tellapart.training.head import build_head, calibrate, known_directions
from tellapart.training.probe import fit_probe

GATE_PICTURES = 64
REPORTED_PICTURES = 16  # test pictures whose reported answer is compared with the shipped file's, from the file on disk
TYPICAL_RUN_BYTES = 32_000_000
MOST_KNOWN = 2000  # training pictures whose embeddings the file holds, to measure how far a new one is from them


@dataclass(frozen=True)
class Run:
    """A finished training.

    Args:
        path: the run folder. model: the model file in it. report: the HTML report in it.
        classes: C names, in the order of the model's columns.
        metrics: of the test split, by the model file; None without test pictures.
        statuses: status → number of files.
        seconds: the whole training, and of its steps.
        warnings: what the user should know, a sentence each.
    """

    path: Path
    model: Path
    report: Path
    classes: tuple[str, ...]
    metrics: Metrics
    statuses: Mapping[str, int]
    seconds: Mapping[str, float]
    warnings: tuple[str, ...]

    def predictor(self) -> Predictor:
        """The shipped model, loaded."""
        return load(self.model)

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "run": escape(str(self.path)),
            "model": escape(str(self.model)),
            "report": escape(str(self.report)),
            "classes": list(self.classes),
            "test": self.metrics.as_json(),
            "statuses": dict(self.statuses),
            "warnings": list(self.warnings),
            "seconds": self.seconds["all"],
            "steps": {name: value for name, value in self.seconds.items() if name != "all"},
        }


def train(
    data: str | PathLike[str],
    *,
    recipe: str | Recipe = "probe",
    out: str | PathLike[str] = "runs",
    name: str | None = None,
    seed: int | None = None,
    splits: str | PathLike[str] | None = None,
    group_by: str | None = None,
    strict: bool = False,
    set: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Run:
    """Train, check and measure an image classifier; write everything into a new run folder.

    Args:
        data: a folder with one folder a class, a folder with train/val/test, the Tiny ImageNet layout, or a table.
        recipe: the name of a recipe, a YAML file, or a Recipe.
        out: the folder that holds runs.
        name: what to call the run; the data's name by default.
        seed: of every random decision; the recipe's by default.
        splits: the splits.parquet of an earlier run, or that run's folder, to use its splits again.
        group_by: what must stay on one side of the split: "column:NAME" of a table, "folder", "folder:N",
            "name:PATTERN" of file names, or "burst".
        strict: refuse where leaks or label conflicts are found, rather than report them.
        set: recipe keys and their values, for example {"head.weighting": "balanced"}.
        quiet: print nothing.

    Raises:
        UserError: something that the user can fix. The data is only read, never changed.
    """
    talk, clock = Talk(quiet=quiet), _Clock()
    options = load_recipe(recipe, set, {"seed": seed, "split.group_by": group_by})
    source, runs = Path(data), Path(out)

    catalog = read_source(source, group_column=options.split.group_column)
    called = name or name_of(source)
    talk.say(f"{called}: {catalog.source}; {len(catalog):,} files, {len(catalog.classes)} classes")

    check_room(runs, TYPICAL_RUN_BYTES)
    saved_splits = read_splits(Path(splits)) if splits else None

    torch_side = TorchSide(options, talk)
    network = torch_side.exported()
    clock.lap("network")

    with FeatureStore(cache_folder()) as store:
        features = FeatureExtractor(compose_features(network.graph, network.preprocessing), store)
        with memory_for(catalog, options) as memory:
            catalog = look_through(catalog, options, memory, talk, visitor=features)
        catalog = drop_empty_classes(catalog)
        talk.say(
            f"{int(catalog.ok.sum()):,} pictures read; features computed for {features.computed:,}, kept for the rest"
        )
        clock.lap("features")

        parts = saved_splits.of(catalog) if saved_splits else make_splits(catalog, options.split, options.seed)
        findings = find_all(catalog, parts, None if saved_splits else options.split)
        for finding in findings:
            talk.say(f"note: {finding.text}")
        if strict:
            refuse_findings(findings)

        train_rows, val_rows, test_rows = (np.flatnonzero(parts == split) for split in ("train", "val", "test"))
        folds = make_folds(catalog, train_rows, options.head.folds, options.seed)
        probe = fit_probe(
            features.of(catalog, train_rows), catalog.labels[train_rows], folds, len(catalog.classes), options.head
        )
        clock.lap("head")

        known = known_directions(features.of(catalog, _chosen(catalog, train_rows, MOST_KNOWN, "known", options.seed)))
        calibration = calibrate(probe, features.of(catalog, val_rows), catalog.labels[val_rows], known, options.answer)
        head = build_head(probe, known, calibration)
        card = card_for(catalog, parts, network, options, calibration)
        model = compose_model(network.graph, network.preprocessing, head, card)
        clock.lap("model file")

        checked = _chosen(catalog, val_rows if len(val_rows) else train_rows, GATE_PICTURES, "gate", options.seed)
        references = torch_references(
            catalog,
            checked,
            network,
            features.graph_digest,
            store,
            torch_side.embed,
            options.decoding.max_pixels,
        )
        parity = check_parity(model, head, network.preprocessing, references)
        clock.lap("gate")

    # The metrics are those of the shipped file: its own nodes behind the embedding, run on the embeddings that its own
    # nodes before it gave in the scan. For some test pictures that is held against the whole file, from disk.
    tail = Session(cut_at(model, EMBEDDING, ["probabilities", "unfamiliarity"]))
    val, test = (_predictions(tail, catalog, rows, features, card.detects_unfamiliar) for rows in (val_rows, test_rows))
    shown = _chosen(catalog, test_rows, REPORTED_PICTURES, "reported", options.seed)
    check_reported(Predictor(model), catalog, shown, test)
    train_counts = np.array(card.train_counts)
    metrics = measure(test, seed=options.seed, baseline_label=int(train_counts.argmax()), class_counts=train_counts)
    clock.lap("metrics")

    trained = Trained(
        recipe=options,
        catalog=catalog,
        splits=parts,
        findings=findings,
        network=network,
        probe=probe,
        calibration=calibration,
        parity=parity,
        val=val,
        test=test,
        metrics=metrics,
        model=model,
    )
    path = write_run(trained, runs, escape(called), talk, clock.seconds)
    return Run(
        path=path,
        model=path / "model.onnx",
        report=path / "report.html",
        classes=catalog.classes,
        metrics=metrics,
        statuses=catalog.status_counts,
        seconds=clock.seconds(),
        warnings=tuple(finding.text for finding in findings),
    )


def _chosen(catalog: Catalog, rows: NDArray[np.int64], most: int, purpose: str, seed: int) -> NDArray[np.int64]:
    """At most `most` of the rows, chosen by seed and content."""
    return rows[np.argsort(keyed_numbers(seed, purpose, catalog.digests[rows]), kind="stable")[:most]]


def _predictions(
    tail: Session, catalog: Catalog, rows: NDArray[np.int64], features: FeatureExtractor, measures_distance: bool
) -> Predictions:
    """What the model file says of one split."""
    answers = [
        tail.run(embedding[None], ["probabilities", "unfamiliarity"]) for embedding in features.of(catalog, rows)
    ]
    num_classes = len(catalog.classes)
    return Predictions(
        probs=np.array([probs[0] for probs, _ in answers], np.float32).reshape(-1, num_classes),
        labels=catalog.labels[rows],
        paths=tuple(catalog.paths[rows]),
        classes=catalog.classes,
        unfamiliarity=np.array([far[0] for _, far in answers], np.float32) if measures_distance else None,
    )


class _Clock:
    """Seconds of each step."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._steps: dict[str, float] = {}

    def lap(self, step: str) -> None:
        now = time.monotonic()
        self._steps[step] = round(now - self._last, 2)
        self._last = now

    def seconds(self) -> dict[str, float]:
        return {**self._steps, "all": round(time.monotonic() - self._start, 2)}
