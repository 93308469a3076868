"""Folds by gradient: each is an ordinary run in the folder of the cross-validation, made, resumed
or read back.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tellapart.catalog.names import escape
from tellapart.catalog.table import Catalog
from tellapart.errors import Refused
from tellapart.evaluation.fold_scores import FoldScores
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.scores import accuracy, loss
from tellapart.experiments.fold_plan import FoldPlan, fold_splits, repeat_seed
from tellapart.experiments.out_of_fold import OutOfFold, logits_of
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.jobs.train import train
from tellapart.modelfile.layers import Layers
from tellapart.modelfile.predictor import load
from tellapart.models.backbones import load_backbone
from tellapart.models.classifier import build_classifier
from tellapart.models.to_onnx import at_rest
from tellapart.pipeline.ensemble import Member
from tellapart.pipeline.learned import Embed
from tellapart.pipeline.request import Order
from tellapart.progress import Console
from tellapart.recipe import Recipe, recipe_items
from tellapart.report.parts.wording import decimal, percent
from tellapart.runs.folder import PART, RunFolder
from tellapart.runs.history import read_history
from tellapart.runs.saved_predictions import read_predictions
from tellapart.runs.saved_splits import save_splits
from tellapart.training.callbacks import epoch_line
from tellapart.training.checkpoints import Checkpoints
from tellapart.training.events import Callback, Event


@dataclass(frozen=True)
class FoldRun:
    """A finished fold.

    Args:
        path: its run folder.
        answers: of its model file to what the fold holds out.
        metrics: its metrics.json.
        history: a row an epoch.
    """

    path: Path
    answers: Predictions
    metrics: Mapping[str, Any]
    history: tuple[Mapping[str, float], ...]

    @property
    def shipped(self) -> str:
        """ "probe" or "fine-tuned" where the fold chose between the two; else empty."""
        return str(self.metrics.get("comparison", {}).get("shipped", ""))

    @property
    def best_epoch(self) -> int:
        """The epoch whose network was kept: without val the last one."""
        facts = self.metrics["training"]
        return int(facts["best_epoch"] or facts["epochs"])

    @property
    def moves(self) -> list[str]:
        """The flips and turns that it found invariant."""
        return list(self.metrics["training"]["invariant_moves"])

    def facts(self, run: Path) -> dict[str, Any]:
        """What is to be said of it, as plain values; `run` is the folder of the
        cross-validation.
        """
        row, counts = self.history[self.best_epoch - 1], self.metrics["splits"]["counts"]
        scores = {
            "train_loss": row.get("train_loss", row["loss"]),
            **{
                name: row[name]
                for name in ("train_accuracy", "val_loss", "val_accuracy")
                if name in row
            },
        }
        return {
            "run": escape(self.path.relative_to(run).as_posix()),
            "train_images": counts["train"],
            "val_images": counts["val"],
            "epochs": self.metrics["training"]["epochs"],
            "best_epoch": self.best_epoch,
            **scores,
            **({"shipped": self.shipped} if self.shipped else {}),
            "seconds": self.metrics["seconds"]["all"],
        }


def make_fold_runs(
    order: Order, run: RunFolder, catalog: Catalog, plan: FoldPlan, console: Console
) -> list[FoldRun]:
    """Every fold's run, in the plan's order: what is finished is read back, the rest is resumed or
    made.

    Raises:
        Interrupted, UserError, Refused: as `train`.
    """
    folder = run.path / "folds"
    for rest in folder.glob(f".*{PART}"):
        shutil.rmtree(
            rest
        )  # of a fold that was killed before it began; this process holds the folder's lock
    return [
        _made(order, folder, catalog, plan, repeat, fold, console) for repeat, fold in plan.each
    ]


def _made(
    order: Order,
    folder: Path,
    catalog: Catalog,
    plan: FoldPlan,
    repeat: int,
    fold: int,
    console: Console,
) -> FoldRun:
    name, told = plan.name(repeat, fold), plan.told(repeat, fold)
    path = _begun(folder).get(name)
    if path is None or not RunFolder(path).finished:
        console.say(f"{told}: {'goes on' if path else 'begins'}")
        callbacks = [_tell_epochs(console, told)]
        if path is not None:
            train(order.source, resume=path, quiet=True, callbacks=callbacks)
        else:
            recipe = replace(order.recipe, seed=repeat_seed(plan.seed, repeat))
            with TemporaryDirectory() as place:
                splits = fold_splits(catalog, plan, repeat, fold, recipe.split)
                save_splits(RunFolder(Path(place)), catalog, splits)
                options: dict[str, Any] = {
                    "recipe": recipe,
                    "out": folder,
                    "name": name,
                    "splits": place,
                }
                path = train(order.source, **options, quiet=True, callbacks=callbacks).path
    done = read_fold(path)
    console.say(
        f"{told}: accuracy {percent(accuracy(done.answers))}, log loss {loss(done.answers):.3f} on "
        f"{len(done.answers):,} images; best epoch {done.best_epoch} of {len(done.history)}"
    )
    return done


def _begun(folder: Path) -> dict[str, Path]:
    """The runs of folds that are there, by their names."""
    found = {}
    for path in sorted(folder.glob("*/run.json")):
        found[str(RunFolder(path.parent).read_json("run.json")["name"])] = path.parent
    return found


def _tell_epochs(console: Console, told: str) -> Callback:
    def callback(event: Event) -> None:
        if event.name == "epoch_completed":
            few = {
                name: value
                for name, value in event.scores.items()
                if name in ("val_loss", "val_accuracy")
            }
            console.say(f"{told}, {epoch_line(replace(event, scores=few))}")

    return callback


def read_fold(path: Path) -> FoldRun:
    """A finished fold, from its folder alone.

    Raises:
        Refused: a file of it is gone or damaged.
    """
    rows = read_history(path)
    if not rows:
        raise Refused(f"{path / 'history.csv'} is gone or damaged.", "Put a good copy there.")
    metrics = RunFolder(path).read_json("metrics.json")
    return FoldRun(path, read_predictions(path / "predictions-test.parquet"), metrics, tuple(rows))


def answers_of(runs: Sequence[FoldRun], plan: FoldPlan, catalog: Catalog, run: Path) -> OutOfFold:
    """The folds' answers, each image's where the plan has it. One that changed meanwhile has no
    answer.
    """
    place = {path: position for position, path in enumerate(catalog.paths[plan.rows])}
    shape = (plan.repeats, len(plan.rows))
    probs = np.zeros((*shape, len(catalog.classes)), np.float32)
    logits, far, answered = np.zeros_like(probs), np.zeros(shape, np.float32), np.zeros(shape, bool)
    for (repeat, _), one in zip(plan.each, runs, strict=True):
        rows = np.array([place[path] for path in one.answers.paths], np.int64)
        calibration = one.metrics["calibration"]
        answered[repeat, rows] = True
        probs[repeat, rows] = one.answers.probs
        logits[repeat, rows] = logits_of(one.answers.probs, calibration["temperature"])
        if one.answers.unfamiliarity is not None:
            far[repeat, rows] = one.answers.unfamiliarity * calibration["unfamiliar_distance"]
    measured = all(one.answers.unfamiliarity is not None for one in runs)
    facts = {where: one.facts(run) for where, one in zip(plan.each, runs, strict=True)}
    return OutOfFold(
        plan, catalog.labels[plan.rows], probs, logits, answered, far if measured else None, facts
    )


def network_of(one: FoldRun) -> ExportedNetwork:
    """What must be said of a fold's network, from its model file; without the graph."""
    card = load(one.path).card
    return ExportedNetwork(
        graph=b"",
        preprocessing=card.preprocessing,
        source=card.licences["weights source"],
        licence=card.licences["weights"],
        digest=card.digests["weights"],
        versions={name: version for name, version in card.versions.items() if name != "tellapart"},
    )


def experiment_of(recipe: Recipe, scores: FoldScores, runs: Sequence[FoldRun]) -> dict[str, str]:
    """The row of the table of experiments: the settings that are usually tried, and what came of
    them.
    """
    plain = dict(recipe_items(Recipe()))
    augmentation = [
        f"{key.removeprefix('augmentation.').replace('_', ' ')} {value}"
        for key, value in recipe_items(recipe)
        if key.startswith("augmentation.") and value != plain[key]
    ]
    facts = [one.facts for one in scores.each]

    def mean(name: str) -> float:
        return (
            float(np.mean([one[name] for one in facts]))
            if all(name in one for one in facts)
            else math.nan
        )

    return {
        "Backbone": recipe.backbone.name,
        "Rate": f"{recipe.training.lr:g}",
        "Epochs": str(recipe.training.epochs),
        "Augmentation": ", ".join(augmentation) or "none",
        "Size, px": str(load(runs[0].path).card.preprocessing.size_px),
        "Train loss": decimal(mean("train_loss")),
        "Train accuracy": percent(mean("train_accuracy")),
        "Val loss": decimal(mean("val_loss")),
        "Val accuracy": percent(mean("val_accuracy")),
        "Out-of-fold loss": decimal(scores.mean["log_loss"]),
        "Out-of-fold accuracy": percent(scores.mean["accuracy"]),
    }


def member_of(one: FoldRun, recipe: Recipe, by_probe: Embed | None, console: Console) -> Member:
    """A fold's model as a member of an ensemble.

    Args:
        by_probe: what the frozen backbone says in torch, for a fold that shipped the probe.
    """
    model = (one.path / "model.onnx").read_bytes()
    embed = (
        by_probe if by_probe and one.shipped == "probe" else _trained_network(one, recipe, console)
    )
    return Member(model, _layers_of(model), embed, load(one.path).card.digests["weights"])


def _layers_of(model: bytes) -> Layers:
    """The head of a model file, with its temperature."""
    graph = onnx.load_from_string(model).graph
    values = {one.name: one for one in graph.initializer}
    numbers = {
        name: numpy_helper.to_array(one)
        for name, one in values.items()
        if not name.startswith("network/")
    }
    count = sum(name.startswith("hidden_") and name.endswith("_weight") for name in numbers)
    hidden = [
        (numbers[f"hidden_{one}_weight"], numbers[f"hidden_{one}_bias"])
        for one in range(1, count + 1)
    ]
    return Layers(tuple(hidden), numbers["weight"], numbers["bias"])


def _trained_network(one: FoldRun, recipe: Recipe, console: Console) -> Embed:
    """The network that a fold kept, in torch."""
    card = load(one.path).card
    backbone = load_backbone(recipe.backbone, card.preprocessing, recipe.seed)
    classifier = build_classifier(backbone, recipe.head, len(card.classes), recipe.seed)
    identity = RunFolder(one.path).read_json("run.json")["id"]
    checkpoints = Checkpoints(one.path / "checkpoints", identity, console)
    kept = checkpoints.newest()
    if kept is None:
        raise Refused(
            f"The checkpoints of {one.path} are gone.", "Put them back, or leave --ensemble out."
        )
    if best := kept.facts["best"]:
        kept = checkpoints.load_best(best)
    classifier.load_state_dict({name: kept.tensors[name] for name in classifier.state_dict()})
    return at_rest(classifier.embedder).embed
