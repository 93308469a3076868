"""One trial of a study: settings in, a value of val out. No trial ever sees a test image."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tellapart.catalog.duplicates import clusters
from tellapart.catalog.table import Catalog, text_column
from tellapart.errors import UserError
from tellapart.evaluation.scores import METRICS, better
from tellapart.experiments.fold_plan import FoldPlan, pool_of
from tellapart.experiments.fold_probes import fit_fold_probes
from tellapart.experiments.study import tenths_of
from tellapart.pipeline.data import data_in_hand
from tellapart.pipeline.findings import find_all
from tellapart.pipeline.probe import (
    FrozenBackbone,
    fit_train,
    frozen_backbone,
    predictions_by,
)
from tellapart.pipeline.request import Request, inside
from tellapart.pipeline.services import Services
from tellapart.pipeline.ship import calibrated_head, class_costs, class_shares, reference_rows
from tellapart.probe.head import CalibratedHead
from tellapart.recipe import Recipe
from tellapart.runs.folder import RunFolder
from tellapart.runs.history import read_history
from tellapart.runs.lock import InUse

if TYPE_CHECKING:
    from tellapart.training.events import Event

OUT_OF_TIME = "the time was up"
BEHIND = "behind the median of the others"


class Watch(Protocol):
    """What a trial reports to while it runs."""

    @property
    def number(self) -> int:
        """The number of the trial."""

    @property
    def lost(self) -> bool:
        """Whether another process has taken the trial over."""

    @property
    def reported(self) -> dict[int, float]:
        """Step → value, so far."""

    def report(self, step: int, value: float) -> bool:
        """Report a value; returns whether the trial should stop."""
        ...


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all trials of a study are measured on.

    Args:
        request: what a training of the study is asked for.
        catalog: with "" as the split of test images.
        metric: what trials are ranked by.
        shown: a second metric for the table.
        folds: of all but the test images, one of which judges while the others train. None means
            that val judges.
        folder: of the study's trials, for those that have run folders.
        services: store, console and clock of the verb.
        stop_at: when, by `time.monotonic`, a trial is stopped for want of time; None: never.
        clock: tells the time.
    """

    request: Request
    catalog: Catalog
    metric: str
    shown: str
    folds: FoldPlan | None
    folder: Path
    services: Services
    stop_at: float | None = None
    clock: Callable[[], float] = time.monotonic

    @property
    def count(self) -> int:
        """The number of images by which a trial is judged."""
        if self.folds is None:
            return len(self.catalog.split("val"))
        return int((self.folds.fold_of >= 0).sum())

    @property
    def clusters(self) -> int:
        """The number of these images if copies and the images of a group count once."""
        rows = self.catalog.split("val")
        if self.folds is not None:
            rows = self.folds.rows[(self.folds.fold_of >= 0).any(axis=0)]
        return len(np.unique(clusters(self.catalog)[rows]))

    def divisions(self) -> Iterator[Catalog]:
        """The catalogs that a trial trains with, one after the other."""
        if self.folds is None:
            yield self.catalog
            return
        for repeat, fold in self.folds.each:
            splits = self.catalog.splits.copy()
            splits[self.folds.rows] = np.where(self.folds.fold_of[repeat] == fold, "val", "train")
            yield self.catalog.with_splits(splits)


def without_test(catalog: Catalog) -> Catalog:
    """The catalog as trials get it: test images belong to no split."""
    splits = np.where(catalog.splits == "test", "", catalog.splits)
    return catalog.with_splits(text_column(splits.tolist()))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended.

    Args:
        value: of the metric; NaN where there is none yet.
        scores: "train_loss", "val_loss" and so on, for the table.
        epochs: how many it trained.
        run: the name of its run folder, or "".
        stopped: why it was stopped early; empty where it was not.
        abandoned: whether another process has taken the trial over.
    """

    value: float = math.nan
    scores: Mapping[str, float] = field(default_factory=dict)
    epochs: int | None = None
    run: str = ""
    stopped: str = ""
    abandoned: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """What is recorded beside the value: plain, and finite."""
        scores = {name: value for name, value in self.scores.items() if math.isfinite(value)}
        return {"scores": scores, "epochs": self.epochs, "run": self.run}


ABANDONED = Outcome(abandoned=True)


def run_trial(bench: Bench, recipe: Recipe, watch: Watch) -> Outcome:
    """Train with the recipe, and judge it.

    Raises:
        Interrupted: the user stops the study.
    """
    if not recipe.by_gradient:
        return _by_probe(bench, recipe, watch)
    # All folds share the features; where every fold is finished, none are computed.
    embedded = cache(lambda: _embedded(bench, recipe))
    outcomes: list[Outcome] = []
    for fold, catalog in enumerate(bench.divisions()):
        if watch.lost:
            return ABANDONED
        outcome = train_fold(bench, recipe, catalog, fold, watch, embedded)
        if outcome.abandoned or (outcome.stopped and bench.folds is None):
            return outcome
        if outcome.stopped:  # a fold that is half trained does not belong into a mean
            return replace(_mean(outcomes), stopped=outcome.stopped)
        outcomes.append(outcome)
        if bench.folds and fold + 1 < bench.folds.folds:
            mean = _mean(outcomes)
            if watch.report(fold + 1, mean.value):
                return replace(mean, stopped=BEHIND)
    return _mean(outcomes)


def _mean(outcomes: list[Outcome]) -> Outcome:
    """The mean over folds; NaN without one."""
    if not outcomes:
        return Outcome()
    first = outcomes[0]
    scores = {
        name: float(np.mean([outcome.scores.get(name, math.nan) for outcome in outcomes]))
        for name in first.scores
    }
    value = float(np.mean([outcome.value for outcome in outcomes]))
    return Outcome(value=value, scores=scores, epochs=first.epochs, run=first.run)


def _by_probe(bench: Bench, recipe: Recipe, watch: Watch) -> Outcome:
    """Heads on features, which all trials with one backbone and preprocessing share."""
    frozen = _embedded(bench, recipe)
    if bench.folds is None:
        heads: Sequence[CalibratedHead] | None = [_val_head(bench, recipe, frozen)]
    else:
        heads = _fold_heads(bench, recipe, frozen, bench.folds, watch)
    if heads is None or watch.lost:
        return ABANDONED
    divisions = zip(heads, bench.divisions(), strict=True)
    return _mean([_scored(bench, head, catalog, frozen) for head, catalog in divisions])


def _embedded(bench: Bench, recipe: Recipe) -> FrozenBackbone:
    """The trial's frozen backbone, which has embedded all images but those of test."""
    services, extensions = bench.services.silent(), bench.request.extensions
    with services.console.step("Preparing the network"):
        frozen = frozen_backbone(
            recipe, services.store, services.console, extensions, bench.catalog
        )
    rows = np.flatnonzero(bench.catalog.splits != "")
    changed = frozen.embed_rows(bench.catalog, rows, recipe, services.console)
    if changed:
        raise UserError(
            f"{len(changed):,} images were changed during the study ({changed[0]!r}).",
            "Restore them, or begin anew.",
        )
    return frozen


def _val_head(bench: Bench, recipe: Recipe, frozen: FrozenBackbone) -> CalibratedHead:
    """A head, calibrated as `train` would: what is shipped is what is judged."""
    with bench.services.console.step("Fitting the head") as task:
        model = fit_train(frozen, bench.catalog, recipe, task.reach)
    with bench.services.console.step("Calibrating the head"):
        head, calibration = calibrated_head(model, bench.catalog, recipe)
    return CalibratedHead(head.layers, calibration.rule)


class _Lost(Exception):
    """Another process has taken the trial over; raised and caught in this module alone."""


def _fold_heads(
    bench: Bench, recipe: Recipe, frozen: FrozenBackbone, folds: FoldPlan, watch: Watch
) -> Sequence[CalibratedHead] | None:
    """A head for each fold, calibrated as `cv` would; None where the trial was taken over."""
    catalog = bench.catalog
    pool = frozen.features.of(catalog, folds.rows)
    divided = catalog.with_splits(pool_of(catalog.splits))
    rows = np.searchsorted(folds.rows, reference_rows(divided, pool.shape[1], recipe.seed))

    with bench.services.console.track("Fitting the folds", folds.folds * folds.repeats) as task:

        def advance() -> None:
            task()
            if watch.lost:
                raise _Lost

        try:
            return fit_fold_probes(
                pool,
                rows,
                catalog,
                folds,
                recipe.head,
                advance,
                shares=class_shares(divided, recipe),
                costs=class_costs(divided, recipe),
            ).heads
        except _Lost:
            return None


def _scored(
    bench: Bench, head: CalibratedHead, catalog: Catalog, frozen: FrozenBackbone
) -> Outcome:
    """The scores of a head on train and on val."""
    scores: dict[str, float] = {}
    for split in ("train", "val"):
        rows = catalog.split(split)
        features = frozen.features.of(catalog, rows)
        predictions = predictions_by(head.layers, features, catalog, rows, head.rule)
        for name in {"loss", bench.metric, bench.shown}:
            scores[f"{split}_{name}"] = METRICS[name](predictions)
    return Outcome(value=scores[f"val_{bench.metric}"], scores=scores)


def train_fold(
    bench: Bench,
    recipe: Recipe,
    catalog: Catalog,
    fold: int,
    watch: Watch,
    embedded: Callable[[], FrozenBackbone],
) -> Outcome:
    """Train by gradient with one division of the images, and judge it on val.

    It is an ordinary run in the study's folder, new or gone on with, on the images in hand. Its
    checkpoints go when it is over.

    Args:
        embedded: gives the trial's frozen backbone, where its recipe starts at a probe.
    """
    folded = bench.folds is not None
    name = f"trial-{watch.number:04}" + f"-fold-{fold + 1}" * folded
    resumed = begun_run(bench.folder, name)
    request = inside(bench.request, recipe, bench.folder, name, resumed=resumed)
    try:
        outcome = _trained(
            bench, request, catalog, Judge(bench, watch, prunes=not folded), embedded
        )
    except InUse:  # its process has lost the trial, and does not know it yet
        return ABANDONED
    if not outcome.abandoned:
        clear_checkpoints(bench.folder, name)
    return outcome


def _trained(
    bench: Bench,
    request: Request,
    catalog: Catalog,
    judge: Judge,
    embedded: Callable[[], FrozenBackbone],
) -> Outcome:
    """Train in the run folder of a trial, from wherever that stands."""
    with bench.services.console.step("Loading PyTorch"):
        from tellapart.pipeline.gradient import finish_network, fit_network
        from tellapart.pipeline.open import open_run
        from tellapart.training.hardware import Hardware
        from tellapart.training.loop import BY_CALLBACK

    recipe, services = request.recipe, bench.services.silent()
    with open_run(request) as run:
        path = run.folder.path
        if run.finished:
            return _outcome_of(read_history(path), bench.metric, path.name, recipe)
        data = data_in_hand(catalog, find_all(catalog, None))
        frozen = embedded() if recipe.starts_at_probe else None
        start = None
        if frozen:
            with services.step("head", "Fitting the head") as task:
                start = fit_train(frozen, catalog, recipe, task.reach)
        run.begin(data)
        hardware = Hardware(recipe.training)
        fitted = fit_network(request, run, data, services, hardware, start=start, callbacks=[judge])
        assert fitted  # one process runs a trial
        history, name = fitted.progress.history, run.folder.path.name
        if judge.outcome:
            return judge.outcome
        if fitted.progress.ended == BY_CALLBACK:  # by an earlier session, killed since
            return replace(_outcome_of(history, bench.metric, "", recipe), stopped=BEHIND)
        finish_network(request, run, data, services, fitted, start=start)
        return _outcome_of(history, bench.metric, name, recipe)


class Judge:
    """A callback that stops a training when it will not win, or the time is up.

    Attributes:
        outcome: how the trial ended, once the judge has stopped it.
    """

    def __init__(self, bench: Bench, watch: Watch, *, prunes: bool) -> None:
        self.outcome: Outcome | None = None
        self._bench, self.watch, self._prunes = bench, watch, prunes
        self._best: float | None = None
        self._last = Outcome()
        if prunes:
            for value in watch.reported.values():
                self._best = value if better(bench.metric, value, self._best) else self._best

    def __call__(self, event: Event) -> str | None:
        """Judge the training at an event; "stop" ends it."""
        if self.outcome is None:
            self.outcome = self._judged(event)
        return "stop" if self.outcome else None

    def _judged(self, event: Event) -> Outcome | None:
        """How the trial ends here; None if it goes on."""
        if self.watch.lost:
            return ABANDONED
        if event.name == "epoch_completed":
            return self._at_epoch(event)
        stop_at = self._bench.stop_at
        if event.name == "iteration_completed" and stop_at and self._bench.clock() > stop_at:
            return replace(self._last, stopped=OUT_OF_TIME)
        return None

    def _at_epoch(self, event: Event) -> Outcome | None:
        metric = self._bench.metric
        value = event.scores.get(f"val_{metric}", math.nan)
        if better(metric, value, self._best):
            self._best = value
        best = math.nan if self._best is None else self._best
        scores = _with_loss(event.scores, event.loss)
        self._last = Outcome(value=best, scores=scores, epochs=event.epoch)
        if not self._prunes or math.isnan(best):
            return None
        tenths = tenths_of(event.epoch, event.epochs)
        behind = [self.watch.report(tenth, best) for tenth in tenths]
        if any(behind) and event.epoch < event.epochs:
            return replace(self._last, stopped=BEHIND)
        return None


def _with_loss(scores: Mapping[str, float], loss: float | None) -> dict[str, float]:
    return {**({} if loss is None else {"train_loss": loss}), **scores}


def _outcome_of(
    history: Sequence[Mapping[str, float]], metric: str, run: str, recipe: Recipe
) -> Outcome:
    """The epoch whose network a training keeps, by its history: the best one, or the last one."""
    best: Mapping[str, float] | None = None
    for row in history[-1:] if recipe.training.keep == "last" else history:
        value = row.get(f"val_{metric}", math.nan)
        if better(metric, value, best[f"val_{metric}"] if best else None):
            best = row
    if best is None:
        raise UserError(f"The run has no val {metric}.", "See its log.txt.")
    scores = {name: best[name] for name in best if name.startswith(("train_", "val_"))}
    return Outcome(
        value=best[f"val_{metric}"],
        scores=_with_loss(scores, best.get("loss")),
        epochs=len(history),
        run=run,
    )


def begun_run(folder: Path, name: str) -> Path | None:
    """The run of that name that was begun in a folder of runs, if there is one."""
    files = sorted(folder.glob(f"*-{name}/run.json"))
    return next((file.parent for file in files if not file.parent.name.startswith(".")), None)


def clear_checkpoints(folder: Path, name: str) -> None:
    """Remove the checkpoints of a trial that is over, and what a killed process left of its start.

    A study of many trials would fill the disk with them. A trial that was stopped is then no run to
    go on with.
    """
    for run in folder.glob(f"*-{name}"):
        if not RunFolder(run).finished:
            (run / "run.json").unlink(missing_ok=True)
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
    for part in folder.glob(f".*-{name}.part"):
        shutil.rmtree(part, ignore_errors=True)
