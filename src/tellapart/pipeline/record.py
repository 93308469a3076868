"""What a training leaves behind: the run folder, and the card in the model file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tellapart.catalog.names import escape
from tellapart.catalog.splits import find_leaks
from tellapart.catalog.table import SPLITS, Catalog, Column
from tellapart.evaluation.abstention import selective
from tellapart.evaluation.calibration import Calibration
from tellapart.evaluation.comparison import Comparison
from tellapart.evaluation.metrics import Metrics
from tellapart.evaluation.predictions import Predictions
from tellapart.export.gate import Parity
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.modelfile.card import ModelCard
from tellapart.pipeline.fold_record import Folded, write_folds
from tellapart.pipeline.request import Order
from tellapart.probe.fit import Probe
from tellapart.progress import Console, duration
from tellapart.recipe import Recipe, flat_items, recipe_values
from tellapart.report.parts.data_section import Finding
from tellapart.report.run.page import ReportInput, render
from tellapart.runs.environment import environment
from tellapart.runs.folder import RunFolder, new_run, open_run
from tellapart.runs.identity import VERSION, new_identity
from tellapart.runs.lock import locked
from tellapart.runs.saved_splits import save_splits


@dataclass(frozen=True, kw_only=True)
class Trained:
    """All that a training found out; the run folder is this, written down.

    Args:
        network: as it is shipped.
        probe: where the head is one, or training began at one.
        history: one row an epoch of gradient training, name → value.
        training: facts about gradient training, name → plain value.
        rates: epochs done and the learning rate there.
        comparison: how the fine-tuned network stands to the probe.
        folds: of a cross-validation, what they measured.
    """

    recipe: Recipe
    catalog: Catalog
    splits: Column
    findings: tuple[Finding, ...]
    network: ExportedNetwork
    calibration: Calibration
    parity: Parity
    val: Predictions
    test: Predictions
    metrics: Metrics
    model: bytes
    probe: Probe | None = None
    history: tuple[Mapping[str, float], ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    rates: tuple[tuple[float, float], ...] = ()
    comparison: Comparison | None = None
    folds: Folded | None = None


def card_for(
    catalog: Catalog,
    splits: Column,
    network: ExportedNetwork,
    recipe: Recipe,
    calibration: Calibration,
) -> ModelCard:
    """The model file's card. It tells neither when nor where it was made: the same training gives
    the same file.
    """
    return ModelCard(
        classes=catalog.classes,
        preprocessing=network.preprocessing,
        temperature=calibration.temperature,
        calibration_count=calibration.count,
        confidence_threshold=calibration.confidence_threshold,
        detects_unfamiliar=calibration.unfamiliar_distance is not None,
        train_counts=tuple(catalog.counts(splits == "train").tolist()),
        backbone=recipe.backbone.name,
        max_pixels=recipe.decoding.max_pixels,
        digests={
            "recipe": (
                hashlib.sha256(
                    json.dumps(recipe_values(recipe), sort_keys=True).encode()
                ).hexdigest()
            ),
            "catalog": catalog.digest,
            "weights": network.digest,
        },
        licences={"weights": network.licence, "weights source": network.source},
        versions={"tellapart": VERSION, **network.versions},
    )


def write_run(
    trained: Trained,
    runs: Path,
    name: str,
    console: Console,
    seconds: Callable[[], Mapping[str, float]],
) -> Path:
    """Write the run folder at once; returns its path."""
    with new_run(runs, name, needs_bytes=2 * len(trained.model)) as run:
        splits_digest = write_beginning(run, trained.recipe, trained.catalog, trained.splits)
        write_results(run, trained, name, splits_digest, console, seconds)
    return run.path


def begin_run(
    order: Order, catalog: Catalog, splits: Column, held: ExitStack, **more: Any
) -> RunFolder:
    """The folder of a new run, there and locked from now on so that it can be resumed; `more` is
    for its identity.
    """

    def begin(run: RunFolder) -> None:
        options = {"own_splits": order.own_splits, **more}
        identity = new_identity(run.path, name=order.name, data=order.source, options=options)
        run.write_json("run.json", identity.as_json())
        write_beginning(run, order.recipe, catalog, splits)

    run = open_run(order.runs, escape(order.name), begin)
    held.enter_context(locked(run.path))
    return run


def write_beginning(run: RunFolder, recipe: Recipe, catalog: Catalog, splits: Column) -> str:
    """What is decided before anything is learned: recipe, environment, catalog, splits. Returns the
    splits' hash.
    """
    run.write_yaml("recipe.yaml", recipe_values(recipe))
    run.write_json("environment.json", environment())
    _write_catalog(run, catalog)
    return save_splits(run, catalog, splits)


def write_results(
    run: RunFolder,
    trained: Trained,
    name: str,
    splits_digest: str,
    console: Console,
    seconds: Callable[[], Mapping[str, float]],
) -> None:
    """What the training found out: model file, predictions, metrics, report, log."""
    run.write("model.onnx", trained.model)
    run.write_predictions("predictions-val.parquet", trained.val)
    run.write_predictions("predictions-test.parquet", trained.test)
    if trained.folds:
        write_folds(run, trained.catalog, trained.folds)
    run.write_json("metrics.json", _metrics(trained, splits_digest, seconds()))
    run.write("report.html", render(_report(trained, name, splits_digest, seconds())))
    console.say(
        f"Run {run.path.name} written after {duration(seconds()['all'])}, seed"
        f" {trained.recipe.seed}"
    )
    run.write("log.txt", "\n".join(console.lines) + "\n")


def _write_catalog(run: RunFolder, catalog: Catalog) -> None:
    run.write_table(
        "catalog.parquet",
        {
            "path": catalog.paths,
            "label": catalog.labels,
            "class": [catalog.classes[label] if label >= 0 else None for label in catalog.labels],
            "given_split": catalog.given_splits,
            "group": catalog.groups,
            "status": catalog.statuses,
            "notes": catalog.notes,
            "width": catalog.widths,
            "height": catalog.heights,
            "sha256": catalog.digests,
        },
        {
            "tellapart.catalog": catalog.digest,
            "tellapart.classes": json.dumps(catalog.classes, ensure_ascii=False),
        },
    )


def _metrics(
    trained: Trained, splits_digest: str, seconds: Mapping[str, float]
) -> dict[str, object]:
    calibration = trained.calibration
    learned = {
        "probe": trained.probe and trained.probe.as_json(),
        "training": trained.training,
        "comparison": trained.comparison and trained.comparison.as_json(),
        "folds": trained.folds and trained.folds.as_json(),
    }
    return {
        "test": trained.metrics.as_json(),
        "answering": selective(trained.test, calibration.confidence_threshold).as_json(),
        "calibration": calibration.as_json(),
        **{how: values for how, values in learned.items() if values},
        "parity": trained.parity.as_json(),
        "splits": {
            "hash": splits_digest,
            "counts": {split: int((trained.splits == split).sum()) for split in SPLITS},
            "leaks": len(find_leaks(trained.catalog, trained.splits)),
        },
        "warnings": [finding.text for finding in trained.findings],
        "seed": trained.recipe.seed,
        "seconds": dict(seconds),
    }


def _report(
    trained: Trained, name: str, splits_digest: str, seconds: Mapping[str, float]
) -> ReportInput:
    catalog, network, parity = trained.catalog, trained.network, trained.parity
    has_test, has_val = len(trained.test) > 0, len(trained.val) > 0
    return ReportInput(
        title=name,
        created=time.strftime("%d %B %Y, %H:%M"),
        catalog=catalog.replace(remarks=()),  # they are among the findings
        splits=trained.splits,
        findings=tuple(finding for finding in trained.findings if finding.kind != "rejected"),
        predictions=trained.test if has_test else None,
        val_predictions=trained.val if has_val else None,
        metrics=trained.metrics if has_test else None,
        threshold=trained.calibration.confidence_threshold,
        temperature=trained.calibration.temperature,
        history=trained.history,
        rates=trained.rates,
        comparison=trained.comparison,
        folds=trained.folds,
        out_of_fold=trained.folds.out.predictions(catalog, 0) if trained.folds else None,
        model={
            "Backbone": trained.recipe.backbone.name,
            "Weights": f"{network.source}, SHA-256 {network.digest[:16]}…",
            "Licence of the weights": network.licence,
            **(
                {"Members": str(trained.folds.members)}
                if trained.folds and trained.folds.members
                else {}
            ),
            "Preprocessing": str(network.preprocessing),
            "Size of the file": f"{len(trained.model) / 1e6:.1f} MB",
            "Checked against torch": (
                f"{parity.images} images; largest difference {parity.from_files:.4f} "
                f"from files, {parity.from_tensors:.6f} from tensors"
            ),
        },
        provenance={
            "Data": {
                "Recognised as": catalog.source,
                "Catalog": catalog.digest,
                "Splits": splits_digest,
            },
            "Recipe": _flat(recipe_values(trained.recipe)),
            **({"Training": _flat(trained.training)} if trained.training else {}),
            "Environment": _flat(environment()),
            "Seconds": {step: f"{value:.1f}" for step, value in seconds.items()},
        },
    )


def _flat(values: Mapping[str, object]) -> dict[str, str]:
    return {
        key: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for key, value in flat_items(values)
        if value not in (None, "")
    }
