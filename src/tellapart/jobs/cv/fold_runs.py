"""Folds by gradient: each is an ordinary run in the folder of the cross-validation.

A fold is trained on the images in hand. Its run folder is the record, and the way to resume it.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.catalog.duplicates import clusters
from tellapart.catalog.names import escape
from tellapart.catalog.table import SPLITS, Catalog
from tellapart.errors import Refused
from tellapart.evaluation.fold_scores import FoldScores
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.scores import accuracy, loss
from tellapart.evaluation.standards import Standards
from tellapart.experiments.fold_plan import FoldPlan, fold_splits, repeat_seed
from tellapart.experiments.out_of_fold import OutOfFold, logits_of
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.modelfile.card import ModelCard
from tellapart.modelfile.predictor import load
from tellapart.models.to_onnx import at_rest
from tellapart.pipeline.data import Data, data_in_hand
from tellapart.pipeline.ensemble import Member
from tellapart.pipeline.findings import find_all
from tellapart.pipeline.gradient import train_network
from tellapart.pipeline.head_file import read_head
from tellapart.pipeline.open import open_run
from tellapart.pipeline.probe import FrozenBackbone, fit_train
from tellapart.pipeline.record import Trained
from tellapart.pipeline.request import Request, inside
from tellapart.pipeline.services import Services
from tellapart.pipeline.torch_module import trained_embedder
from tellapart.recipe import Recipe, recipe_items
from tellapart.report.parts.wording import decimal, percent
from tellapart.runs.folder import PART, RunFolder
from tellapart.runs.history import read_history
from tellapart.runs.saved_predictions import read_predictions
from tellapart.training.callbacks import EpochTable
from tellapart.training.hardware import Hardware


@dataclass(frozen=True, kw_only=True)
class FoldRun:
    """A finished fold.

    Args:
        path: its run folder.
        predictions: of its model file, for the images that the fold holds out.
        history: a row an epoch.
        training: the facts about its training.
        calibration: temperature and distance of its model file.
        shipped: "probe" or "fine-tuned" where the fold chose between the two; else empty.
        counts: split → number of images.
        seconds: the whole fold.
        card: of its model file.
    """

    path: Path
    predictions: Predictions
    history: tuple[Mapping[str, float], ...]
    training: Mapping[str, Any]
    calibration: Mapping[str, Any]
    shipped: str
    counts: Mapping[str, int]
    seconds: float
    card: ModelCard = field(repr=False)

    @property
    def best_epoch(self) -> int:
        """The epoch whose network was kept: without val the last one."""
        return int(self.training["best_epoch"] or self.training["epochs"])

    @property
    def moves(self) -> list[str]:
        """The flips and turns to which its probe was invariant."""
        return list(self.training["invariant_moves"])

    def facts(self, run: Path) -> dict[str, Any]:
        """What is recorded of it, plain values.

        Args:
            run: the folder of the cross-validation.
        """
        row = self.history[self.best_epoch - 1]
        names = ("train_accuracy", "val_loss", "val_accuracy")
        return {
            "run": escape(self.path.relative_to(run).as_posix()),
            "train_images": self.counts["train"],
            "val_images": self.counts["val"],
            "epochs": self.training["epochs"],
            "best_epoch": self.best_epoch,
            "train_loss": row.get("train_loss", row["loss"]),
            **{name: row[name] for name in names if name in row},
            **({"shipped": self.shipped} if self.shipped else {}),
            "seconds": self.seconds,
        }

    @property
    def network(self) -> ExportedNetwork:
        """What must be said of its network's weights; without the graph."""
        versions = self.card.versions
        return ExportedNetwork(
            graph=b"",
            preprocessing=self.card.preprocessing,
            source=self.card.licences["weights source"],
            licence=self.card.licences["weights"],
            digest=self.card.digests["weights"],
            versions={name: text for name, text in versions.items() if name != "tellapart"},
        )


def train_folds(
    request: Request,
    folder: Path,
    data: Data,
    plan: FoldPlan,
    frozen: FrozenBackbone | None,
    services: Services,
) -> list[FoldRun]:
    """Every fold's run, in the plan's order: finished ones are read, the others trained.

    Args:
        folder: of the cross-validation. This process holds its lock.
        frozen: has embedded the images, where the recipe starts at a probe.

    Raises:
        Interrupted, UserError, Refused: as a training.
    """
    folder = folder / "folds"
    for rest in folder.glob(f".*{PART}"):  # of a fold that was killed before it began
        shutil.rmtree(rest)
    begun = _begun_runs(folder)
    trainer = _FoldTrainer(request, folder, data.catalog, plan, frozen, services, begun)
    runs = []
    with services.console.track("Folds", plan.folds * plan.repeats) as advance:
        for repeat, fold in plan.each:
            runs.append(trainer.fold_run(repeat, fold))
            advance()
    return runs


@dataclass(frozen=True)
class _FoldTrainer:
    """Trains the folds of one cross-validation."""

    request: Request
    folder: Path
    catalog: Catalog
    plan: FoldPlan
    frozen: FrozenBackbone | None
    services: Services
    begun: Mapping[str, Path]

    def fold_run(self, repeat: int, fold: int) -> FoldRun:
        """One fold: read where it is finished, else gone on with or begun."""
        console, label = self.services.console, self.plan.told(repeat, fold)
        path = self.begun.get(self.plan.name(repeat, fold))
        if path and RunFolder(path).finished:
            done = read_fold(path)
        else:
            console.say(f"{label}: {'goes on' if path else 'begins'}")
            done = self._trained(repeat, fold, path)
        console.say(
            f"{label}: accuracy {percent(accuracy(done.predictions))}, log loss"
            f" {loss(done.predictions):.3f} on {len(done.predictions):,} images; best epoch"
            f" {done.best_epoch} of {len(done.history)}"
        )
        return done

    def _trained(self, repeat: int, fold: int, path: Path | None) -> FoldRun:
        recipe = replace(self.request.recipe, seed=repeat_seed(self.plan.seed, repeat))
        request = inside(
            self.request, recipe, self.folder, self.plan.name(repeat, fold), resumed=path
        )
        splits = fold_splits(self.catalog, self.plan, repeat, fold, recipe.splitting)
        catalog = self.catalog.with_splits(splits)
        data = data_in_hand(catalog, find_all(catalog, None))
        services = self.services.silent()
        training = recipe.training
        table = EpochTable(self.services.console, training.batch_size, training.monitor)
        with open_run(request) as run:
            start = None
            if self.frozen:
                with services.step("head", "Fitting the head") as task:
                    start = fit_train(self.frozen, catalog, recipe, task.reach)
            run.begin(data)
            hardware = Hardware(recipe.training)
            trained = train_network(
                request, run, data, services, hardware, start=start, callbacks=[table]
            )
            assert trained  # one process trains the folds
            return fold_of(trained, run.folder.path, services.clock.seconds()["all"])


def _begun_runs(folder: Path) -> dict[str, Path]:
    """The runs of folds that are there, by their names."""
    return {
        str(RunFolder(file.parent).read_json("run.json")["name"]): file.parent
        for file in sorted(folder.glob("*/run.json"))
    }


def fold_of(trained: Trained, path: Path, seconds: float) -> FoldRun:
    """A fold that has just been trained."""
    shipped, catalog = trained.shipped, trained.data.catalog
    return FoldRun(
        path=path,
        predictions=shipped.test,
        history=trained.history,
        training=trained.training,
        calibration=shipped.calibration.as_json(),
        shipped=trained.comparison.shipped if trained.comparison else "",
        counts={split: len(catalog.split(split)) for split in SPLITS},
        seconds=seconds,
        card=shipped.card,
    )


def read_fold(path: Path) -> FoldRun:
    """A finished fold, from its folder alone.

    Raises:
        Refused: a file of it is gone or damaged.
    """
    rows = read_history(path)
    if not rows:
        raise Refused(f"{path / 'history.csv'} is gone or damaged.", "Put a good copy there.")
    metrics = RunFolder(path).read_json("metrics.json")
    return FoldRun(
        path=path,
        predictions=read_predictions(path / "predictions-test.parquet"),
        history=tuple(rows),
        training=metrics["training"],
        calibration=metrics["calibration"],
        shipped=str(metrics.get("comparison", {}).get("shipped", "")),
        counts=metrics["splits"]["counts"],
        seconds=metrics["seconds"]["all"],
        card=load(path).card,
    )


def out_of_fold(
    runs: Sequence[FoldRun], plan: FoldPlan, catalog: Catalog, folder: Path
) -> OutOfFold:
    """The folds' answers, each image's where the plan has it.

    An image that changed meanwhile has no answer.
    """
    place = {path: position for position, path in enumerate(catalog.paths[plan.rows])}
    shape = (plan.repeats, len(plan.rows))
    probs = np.zeros((*shape, len(catalog.classes)), np.float32)
    logits, far, answered = np.zeros_like(probs), np.zeros(shape, np.float32), np.zeros(shape, bool)
    answers = np.zeros(shape, np.int64)
    for (repeat, _), run in zip(plan.each, runs, strict=True):
        predictions, calibration = run.predictions, run.calibration
        rows = np.array([place[path] for path in predictions.paths], np.int64)
        answered[repeat, rows] = True
        answers[repeat, rows] = predictions.answers
        probs[repeat, rows] = predictions.probs
        logits[repeat, rows] = logits_of(
            predictions.probs, calibration["temperature"], calibration["bias"]
        )
        if predictions.unfamiliarity is not None:
            far[repeat, rows] = predictions.unfamiliarity * calibration["unfamiliar_distance"]
    measured = all(run.predictions.unfamiliarity is not None for run in runs)
    facts = {place: run.facts(folder) for place, run in zip(plan.each, runs, strict=True)}
    labels, cluster_of = catalog.labels[plan.rows], clusters(catalog)[plan.rows]
    standards = {
        place: Standards.from_json(run.calibration["standards"])
        for place, run in zip(plan.each, runs, strict=True)
        if run.calibration["standards"]
    }
    return OutOfFold(
        plan=plan,
        labels=labels,
        clusters=cluster_of,
        probs=probs,
        logits=logits,
        answered=answered,
        distances=far if measured else None,
        answers=answers,
        facts=facts,
        standards=standards,
    )


def experiment_of(recipe: Recipe, scores: FoldScores, runs: Sequence[FoldRun]) -> dict[str, str]:
    """The row of the table of experiments: the settings that people vary, and their scores."""
    plain = dict(recipe_items(Recipe()))
    augmentation = [
        f"{key.removeprefix('augmentation.').replace('_', ' ')} {value}"
        for key, value in recipe_items(recipe)
        if key.startswith("augmentation.") and value != plain[key]
    ]
    facts = [fold.facts for fold in scores.each]

    def mean(name: str) -> float:
        values = [fold.get(name, math.nan) for fold in facts]
        return float(np.mean(values))

    return {
        "Backbone": recipe.backbone.name,
        "Rate": f"{recipe.training.lr:g}",
        "Epochs": str(recipe.training.epochs),
        "Augmentation": ", ".join(augmentation) or "none",
        "Size, px": str(runs[0].card.preprocessing.size_px),
        "Train loss": decimal(mean("train_loss")),
        "Train accuracy": percent(mean("train_accuracy")),
        "Val loss": decimal(mean("val_loss")),
        "Val accuracy": percent(mean("val_accuracy")),
        "Out-of-fold loss": decimal(scores.mean["log_loss"]),
        "Out-of-fold accuracy": percent(scores.mean["accuracy"]),
    }


def member_of(fold: FoldRun, request: Request, frozen: FrozenBackbone | None) -> Member:
    """A fold's model as a member of an ensemble, from its record.

    The networks of all folds are not held in memory while the folds train: they may be many.
    """
    folder = RunFolder(fold.path)
    if frozen and fold.shipped == "probe":
        embed = frozen.embed
    else:
        networks = request.extensions.networks
        embed = at_rest(trained_embedder(folder, request.recipe, fold.card, networks)).embed
    model = (fold.path / "model.onnx").read_bytes()
    return Member(model, read_head(folder), embed, fold.card.digests["weights"])
