"""One trial of a study: settings in, a value of val out. No trial ever sees a test image."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tellapart.cache import FeatureStore
from tellapart.catalog.scan import scan
from tellapart.catalog.table import Catalog, Column
from tellapart.errors import UserError
from tellapart.evaluation.calibration import fit_temperature
from tellapart.evaluation.scores import METRICS, better
from tellapart.experiments.fold_plan import FoldPlan, pool_of
from tellapart.experiments.fold_probes import fit_fold_probes
from tellapart.jobs.cv.pool import frozen_backbone, probe_on
from tellapart.jobs.train import train
from tellapart.modelfile.layers import Layers
from tellapart.pipeline.learned import predictions_by
from tellapart.pipeline.looking import memory_for
from tellapart.pipeline.ship import reference_rows
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.progress import Advance, Console
from tellapart.recipe import Recipe
from tellapart.runs.folder import RunFolder
from tellapart.runs.history import read_history
from tellapart.runs.lock import locked
from tellapart.runs.saved_splits import save_splits

if TYPE_CHECKING:
    from tellapart.training.events import Event

QUIET = Console(quiet=True)


class Watch(Protocol):
    """What a trial tells of itself while it runs."""

    @property
    def number(self) -> int:
        """Of the trial."""

    @property
    def lost(self) -> bool:
        """Whether another process has taken the trial over."""

    @property
    def reported(self) -> dict[int, float]:
        """Step → value, so far."""

    def report(self, step: int, value: float) -> bool:
        """How it goes; returns whether to stop."""
        ...


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all trials of a study are measured on.

    Args:
        source: the data.
        catalog: looked at.
        splits: "" for test images.
        metric: that decides.
        shown: a second one for the table.
        folds: of all but the test images, one of which judges while the others train; None: val
            decides.
        folder: of the study's trials, for those that have run folders.
        stop_at: when, by `time.monotonic`, a trial is stopped for want of time; None: never.
    """

    source: Path
    catalog: Catalog
    splits: Column
    metric: str
    shown: str
    folds: FoldPlan | None
    folder: Path
    store: FeatureStore
    stop_at: float | None = None

    @property
    def count(self) -> int:
        """The images by which a trial is judged."""
        return int(
            (self.splits == "val").sum() if self.folds is None else (self.folds.fold_of >= 0).sum()
        )

    def divisions(self) -> Iterator[Column]:
        """The splits that a trial trains with, one after the other."""
        if self.folds is None:
            yield self.splits
            return
        for repeat, fold in self.folds.each:
            splits = self.splits.copy()
            splits[self.folds.rows] = np.where(self.folds.fold_of[repeat] == fold, "val", "train")
            yield splits


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended.

    Args:
        value: of the metric.
        scores: "train_loss", "val_loss" and so on, for the table.
        epochs: that it trained.
        run: the name of its run folder, or "".
    """

    value: float
    scores: Mapping[str, float] = field(default_factory=dict)
    epochs: int | None = None
    run: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """What is recorded beside the value: plain, and finite."""
        scores = {name: value for name, value in self.scores.items() if math.isfinite(value)}
        return {"scores": scores, "epochs": self.epochs, "run": self.run}


class Stopped(Exception):
    """The trial was stopped early: it has an outcome, of what was trained."""

    def __init__(self, reason: str, outcome: Outcome) -> None:
        super().__init__(reason)
        self.reason, self.outcome = reason, outcome


class Abandoned(Exception):
    """Another process has taken the trial over."""


def run_trial(bench: Bench, recipe: Recipe, watch: Watch) -> Outcome:
    """Train with the recipe, and judge it.

    Raises:
        Stopped: it will not win.
        Abandoned: it is another process's now.
        Interrupted: the user stops the study.
    """
    if recipe.method == "probe":
        return _probe(bench, recipe, watch)
    outcomes: list[Outcome] = []
    for fold, splits in enumerate(bench.divisions()):
        _check_ours(watch)
        try:
            outcomes.append(_by_gradient(bench, recipe, splits, fold, watch))
        except Stopped as stopped:
            if bench.folds is None:
                raise
            raise Stopped(
                stopped.reason, _mean(outcomes)
            ) from None  # one fold, half trained, is no mean of all
        if bench.folds and fold + 1 < bench.folds.folds:
            mean = _mean(outcomes)
            if watch.report(fold + 1, mean.value):
                raise Stopped("behind the median of the others", mean)
    return _mean(outcomes)


def _mean(outcomes: list[Outcome]) -> Outcome:
    """The mean over folds; NaN without one."""
    if not outcomes:
        return Outcome(value=math.nan)
    scores = {
        name: float(np.mean([one.scores.get(name, math.nan) for one in outcomes]))
        for name in outcomes[0].scores
    }
    value = float(np.mean([one.value for one in outcomes]))
    return Outcome(value=value, scores=scores, epochs=outcomes[0].epochs, run=outcomes[0].run)


def _check_ours(watch: Watch) -> None:
    if watch.lost:
        raise Abandoned


def _probe(bench: Bench, recipe: Recipe, watch: Watch) -> Outcome:
    """Heads on features, which all trials with the same backbone and the same preprocessing
    share.
    """
    features = frozen_backbone(recipe, bench.store, QUIET).features
    _look(bench, recipe, features)
    heads = _heads(bench, recipe, features, lambda: _check_ours(watch))
    divisions = zip(heads, bench.divisions(), strict=True)
    return _mean([_scored(bench, layers, splits, features) for layers, splits in divisions])


def _heads(
    bench: Bench, recipe: Recipe, features: FeatureExtractor, advance: Advance
) -> Sequence[Layers]:
    """A head for each division, calibrated as `train` or `cv` would: what is shipped is what is to
    be judged.
    """
    catalog = bench.catalog
    if bench.folds is None:
        train, val = (np.flatnonzero(bench.splits == split) for split in ("train", "val"))
        layers = probe_on(features, catalog, train, recipe).layers
        return [
            layers.scaled(
                fit_temperature(layers.logits(features.of(catalog, val)), catalog.labels[val])
            )
        ]
    pool = features.of(catalog, bench.folds.rows)
    known = np.searchsorted(
        bench.folds.rows, reference_rows(catalog, pool_of(bench.splits), pool.shape[1], recipe.seed)
    )
    return fit_fold_probes(pool, known, catalog, bench.folds, recipe.head, advance).layers


def _scored(bench: Bench, layers: Layers, splits: Column, features: FeatureExtractor) -> Outcome:
    """What a head is worth on train and on val."""
    scores: dict[str, float] = {}
    for split in ("train", "val"):
        rows = np.flatnonzero(splits == split)
        said = predictions_by(layers, features.of(bench.catalog, rows), bench.catalog, rows)
        scores |= {
            f"{split}_{name}": METRICS[name](said) for name in {"loss", bench.metric, bench.shown}
        }
    return Outcome(value=scores[f"val_{bench.metric}"], scores=scores)


def _look(bench: Bench, recipe: Recipe, features: FeatureExtractor) -> None:
    """The features of all images but those of test."""
    part = bench.catalog.rows(np.asarray(bench.splits != ""))
    with memory_for(part, recipe) as memory:
        now = scan(part, max_pixels=recipe.decoding.max_pixels, hook=features, memory=memory)
    changed = part.paths[(now.digests != part.digests) | ~now.ok]
    if len(changed):
        raise UserError(
            f"{len(changed):,} images were changed during the study ({changed[0]!r}).",
            "Restore them, or begin anew.",
        )


def _by_gradient(bench: Bench, recipe: Recipe, splits: Column, fold: int, watch: Watch) -> Outcome:
    """An ordinary run in the study's folder, new or gone on with; its checkpoints go when it is
    over.
    """
    folded = bench.folds is not None
    name = f"trial-{watch.number:04}" + f"-fold-{fold + 1}" * folded
    begun = next(
        (run for run in sorted(bench.folder.glob(f"*-{name}")) if not run.name.startswith(".")),
        None,
    )
    callback = _Judge(bench, watch, prunes=not folded)
    if begun:
        _check_free(begun)
        run = train(bench.source, resume=begun, callbacks=[callback], quiet=True)
    else:
        kept = bench.folder / (f"fold-{fold + 1}" if folded else "")
        save_splits(RunFolder(kept), bench.catalog, splits)
        run = train(
            bench.source,
            recipe=recipe,
            splits=kept,
            out=bench.folder,
            name=name,
            callbacks=[callback],
            quiet=True,
        )
    outcome = _outcome_of(run.path, bench.metric)
    clear_checkpoints(bench.folder, name)
    return outcome


class _Judge:
    """Listens to a training, and stops it when it will not win, or the time is up."""

    def __init__(self, bench: Bench, watch: Watch, *, prunes: bool) -> None:
        self._bench, self._watch, self._prunes = bench, watch, prunes
        self._best: float | None = None
        self._last = Outcome(value=math.nan)
        if prunes:
            for value in watch.reported.values():
                self._best = value if better(bench.metric, value, self._best) else self._best

    def __call__(self, event: Event) -> None:
        if self._watch.lost:
            raise Abandoned
        if event.name == "epoch_completed":
            self._judge(event)
        elif (
            event.name == "iteration_completed"
            and self._bench.stop_at
            and time.monotonic() > self._bench.stop_at
        ):
            raise Stopped("the time was up", self._last)

    def _judge(self, event: Event) -> None:
        from tellapart.experiments.study import tenths_of

        value = event.scores.get(f"val_{self._bench.metric}", math.nan)
        if better(self._bench.metric, value, self._best):
            self._best = value
        best = math.nan if self._best is None else self._best
        self._last = Outcome(
            value=best, scores=_with_loss(event.scores, event.loss), epochs=event.epoch
        )
        if not self._prunes or math.isnan(best):
            return
        behind = [self._watch.report(tenth, best) for tenth in tenths_of(event.epoch, event.epochs)]
        if any(behind) and event.epoch < event.epochs:
            raise Stopped("behind the median of the others", self._last)


def _with_loss(scores: Mapping[str, float], loss: float | None) -> dict[str, float]:
    return {**({} if loss is None else {"train_loss": loss}), **scores}


def _outcome_of(run: Path, metric: str) -> Outcome:
    """The best epoch of a finished run, by its history."""
    rows = read_history(run)
    best: dict[str, float] | None = None
    for row in rows:
        if better(
            metric, row.get(f"val_{metric}", math.nan), best[f"val_{metric}"] if best else None
        ):
            best = row
    if best is None:
        raise UserError(f"The run has no val {metric}.", "See its log.txt.")
    scores = _with_loss(
        {name: best[name] for name in best if name.startswith(("train_", "val_"))}, best.get("loss")
    )
    return Outcome(value=best[f"val_{metric}"], scores=scores, epochs=len(rows), run=run.name)


def _check_free(run: Path) -> None:
    """See that nobody trains there, who then has lost the trial and does not know it yet."""
    try:
        with locked(run):
            return
    except UserError:
        raise Abandoned from None


def clear_checkpoints(folder: Path, name: str) -> None:
    """Remove the checkpoints of a trial that is over, and what a killed process left of its
    beginning: a study of many trials would fill the disk with them. One that was stopped is then no
    run to go on with.
    """
    for run in folder.glob(f"*-{name}"):
        if not RunFolder(run).finished:
            (run / "run.json").unlink(missing_ok=True)
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
    for part in folder.glob(f".*-{name}.part"):
        shutil.rmtree(part, ignore_errors=True)
