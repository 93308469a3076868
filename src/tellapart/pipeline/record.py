"""What a training leaves behind: all that it found out, written down as a run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tellapart.catalog.findings import Finding
from tellapart.catalog.names import escape
from tellapart.catalog.slice_columns import saved_extras
from tellapart.catalog.split_findings import find_leaks
from tellapart.catalog.table import SPLITS, Catalog
from tellapart.evaluation.abstention import familiar_promise, selective
from tellapart.evaluation.calibration_check import check_calibration
from tellapart.evaluation.comparison import Comparison
from tellapart.evaluation.learning_curve import LearningCurve
from tellapart.evaluation.left_out import LeftOut
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.modelfile.licences import in_words, warning
from tellapart.pipeline.data import Data, changed_finding
from tellapart.pipeline.fold_record import Folded, write_folds
from tellapart.pipeline.head_file import write_head
from tellapart.pipeline.kept_facts import KeptFacts, unused_images
from tellapart.pipeline.pages import timestamp
from tellapart.pipeline.request import Request
from tellapart.pipeline.run_report import write_pages
from tellapart.pipeline.services import Services
from tellapart.pipeline.ship import Shipped
from tellapart.pipeline.train_index import TrainIndex
from tellapart.probe.fit import Probe
from tellapart.recipe import Recipe, recipe_values
from tellapart.runs.data_place import write_data_place
from tellapart.runs.environment import environment
from tellapart.runs.folder import FIXES, RunFolder, new_run
from tellapart.runs.saved_splits import save_splits

_NOTHING_HELD_OUT = (
    "Nothing could be held out, since every class is one image, one group or one set of copies. So"
    " the probabilities are not calibrated, and nothing is called unsure or unfamiliar. Add images."
)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """All that a training found out; the run folder is this, written down.

    Args:
        recipe: how it was trained.
        data: what it was trained and measured on.
        shipped: the model file and its numbers.
        probe: where the head is one, or the training started from one.
        history: one row an epoch of gradient training, name → value.
        training: facts about gradient training, name → plain value.
        rates: epochs done and the learning rate there.
        comparison: how the fine-tuned network compares with the probe.
        folds: of a cross-validation, what they measured.
        left_out: how well a class that was never shown would be noticed. None if not measured.
        learning: how the accuracy grows with the number of images. None if not measured.
        preset: what a preset chose and why, as plain values; empty without one.
        index: the embedded train images, for the nearest of them. None where none is at hand.
    """

    recipe: Recipe
    data: Data
    shipped: Shipped
    probe: Probe | None = None
    history: tuple[Mapping[str, float], ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    rates: tuple[tuple[float, float], ...] = ()
    comparison: Comparison | None = None
    folds: Folded | None = None
    left_out: LeftOut | None = None
    learning: LearningCurve | None = None
    preset: Mapping[str, Any] = field(default_factory=dict)
    index: TrainIndex | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What there is to say about the data, and which images changed up to the last check."""
        changed = list(self.shipped.changed)
        more = (changed_finding(changed),) if changed else ()
        if self.probe is not None and not self.shipped.calibration.count:
            more = (*more, Finding("remark", _NOTHING_HELD_OUT, ()))
        if forbids := warning(self.shipped.network.licence):
            more = (*more, Finding("remark", forbids, ()))
        return (*self.data.findings, *more)


def write_run(trained: Trained, request: Request, services: Services) -> Path:
    """Write a run folder at once; returns its path."""
    room = 2 * len(trained.shipped.model) + (trained.index.size if trained.index else 0)
    with new_run(request.runs, escape(request.name), needs_bytes=room) as run:
        write_data_place(run, request.source)
        write_beginning(run, trained.recipe, trained.data.catalog)
        write_results(run, trained, request.name, services)
    return run.path


def write_beginning(run: RunFolder, recipe: Recipe, catalog: Catalog) -> None:
    """Write what is decided before anything is learned: recipe, environment, catalog, splits."""
    run.write_yaml("recipe.yaml", recipe_values(recipe))
    run.write_json("environment.json", environment())
    _write_catalog(run, catalog)
    if catalog.fixes:
        run.write(FIXES, catalog.fixes.fixes.text)
    save_splits(run, catalog)


def write_results(run: RunFolder, trained: Trained, name: str, services: Services) -> None:
    """Write what the training found out: model file, predictions, metrics, report, log.

    The log comes last: a run with a log is finished.

    Args:
        run: the folder, with what was decided before anything was learned.
        trained: what the training found out.
        name: what the run is called.
        services: the clock and the console of the training.
    """
    shipped, clock, console = trained.shipped, services.clock, services.console
    run.write("model.onnx", shipped.model)
    if shipped.layers is not None:
        write_head(run, shipped.layers)
    run.write_predictions("predictions-val.parquet", shipped.val)
    run.write_predictions("predictions-test.parquet", shipped.test)
    if len(shipped.out_of_fold):
        run.write_predictions("predictions-train.parquet", shipped.out_of_fold)
    if trained.folds:
        write_folds(run, trained.data.catalog, trained.folds)
    if trained.index:
        with services.step("index", "Writing the index of train images"):
            trained.index.write(run)
    run.write_json("metrics.json", _metrics(trained, clock.seconds()))
    _facts(run, trained, escape(name)).write(run)
    with services.step("report", "Writing the report"):
        write_pages(run, trained.data.catalog.files)
    if forbids := warning(shipped.network.licence):
        console.say(f"note: {forbids}")
    console.say(f"Run {run.path.name} written, seed {trained.recipe.seed}")
    console.say(clock.summary())
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
            "taken": catalog.taken,
            **saved_extras(catalog),
        },
        {
            "tellapart.catalog": catalog.digest,
            "tellapart.classes": json.dumps(catalog.classes, ensure_ascii=False),
        },
    )


def _facts(run: RunFolder, trained: Trained, title: str) -> KeptFacts:
    catalog, folds = trained.data.catalog, trained.folds
    return KeptFacts(
        title=title,
        created=timestamp(),
        source=catalog.source,
        ignored=catalog.ignored,
        unused=unused_images(run, catalog),
        decoding=catalog.rules,
        findings=trained.findings,
        model=_model_facts(trained),
        licence=trained.shipped.network.licence,
        rates=trained.rates,
        histories=folds.histories if folds else {},
        experiment=folds.experiment if folds else {},
    )


def _metrics(trained: Trained, seconds: Mapping[str, float]) -> dict[str, object]:
    shipped, catalog = trained.shipped, trained.data.catalog
    calibration, check = shipped.calibration, check_calibration(shipped.test, trained.recipe.seed)
    learned = {
        "probe": trained.probe and trained.probe.as_json(),
        "training": trained.training,
        "comparison": trained.comparison and trained.comparison.as_json(),
        "folds": trained.folds and trained.folds.as_json(),
        "learning_curve": trained.learning and trained.learning.as_json(),
        "preset": dict(trained.preset),
    }
    return {
        "test": shipped.metrics.as_json(),
        "answering": selective(shipped.test, calibration.rule).as_json(),
        "calibration": calibration.as_json(),
        "calibration_check": check.as_json() if check else None,
        **{method: values for method, values in learned.items() if values},
        "unfamiliar": _unfamiliar(trained),
        "parity": shipped.parity.as_json(),
        "precision": {
            "numbers": shipped.network.precision,
            "distance_from_fp32": shipped.network.distance,
        },
        "splits": {
            "hash": trained.data.splits_digest,
            "counts": {split: len(catalog.split(split)) for split in SPLITS},
            "leaks": len(find_leaks(catalog)),
        },
        **({"fixes": catalog.fixes.as_json()} if catalog.fixes else {}),
        "warnings": [finding.text for finding in trained.findings],
        "seed": trained.recipe.seed,
        "seconds": dict(seconds),
    }


def _unfamiliar(trained: Trained) -> dict[str, object]:
    """What is known of how the model finds unfamiliar images. What was not measured is null."""
    calibration, share = trained.shipped.calibration, None
    if calibration.unfamiliar_distance is not None:
        share = familiar_promise(calibration.num_clusters, trained.recipe.answer.familiar_share)
    return {
        "familiar_share": share,
        "left_out": trained.left_out and trained.left_out.as_json(),
    }


def _model_facts(trained: Trained) -> dict[str, str]:
    network, parity = trained.shipped.network, trained.shipped.parity
    members = trained.folds.members if trained.folds else 0
    return {
        "Backbone": trained.recipe.backbone.name,
        "Weights": f"{network.source}, SHA-256 {network.digest[:16]}…",
        "Licence of the weights": in_words(network.licence),
        **({"Members": str(members)} if members else {}),
        "Preprocessing": str(network.preprocessing),
        "Size of the file": f"{len(trained.shipped.model) / 1e6:.1f} MB",
        "Precision": _precision(network),
        "Checked against its parts": (
            f"{parity.images} images; largest difference {parity.from_files:.4f}"
            f" from files, {parity.from_tensors:.6f} from tensors"
        ),
    }


def _precision(network: ExportedNetwork) -> str:
    if network.distance is None:
        return network.precision
    return f"{network.precision}; embeddings are {network.distance:.1%} from those of fp32"
