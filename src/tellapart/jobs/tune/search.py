"""The search of a study: trials one after the other, then the best settings once more, with test."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.engine import make_url

from tellapart.errors import Interrupted, UserError, one_line
from tellapart.evaluation.trial_row import TrialRow
from tellapart.experiments.claims import Hold
from tellapart.experiments.database import DATABASE_ERRORS
from tellapart.experiments.study import FINAL, OpenTrial
from tellapart.jobs.tune.study import OpenStudy, with_train_scores
from tellapart.jobs.tune.trial import (
    Bench,
    Outcome,
    begun_run,
    clear_checkpoints,
    run_trial,
    without_test,
)
from tellapart.phrases import count_of, in_groups
from tellapart.pipeline.data import Data
from tellapart.pipeline.probe import FrozenBackbone, TrainedModel, fit_train, frozen_for
from tellapart.pipeline.record import Trained, write_run
from tellapart.pipeline.request import Request, inside
from tellapart.pipeline.run import Run
from tellapart.pipeline.services import Services
from tellapart.pipeline.ship import ship
from tellapart.pipeline.train_index import train_index
from tellapart.progress import duration
from tellapart.report.tune.trial_table import score_text, setting, short
from tellapart.runs.folder import RunFolder
from tellapart.runs.history import BEST

POLL_SECONDS = 0.5  # between two looks whether another process has ended
ENDING_SECONDS = 15.0  # of the final training, beyond its trial: model file, checks, report
HOPELESS = 20  # failed trials of one command, and none finished: an endless search then ends

clock = time.monotonic


@dataclass
class Search:
    """One process at work on a study.

    Args:
        opened: the study.
        services: store, console and clock of the verb.
        started: when the command was, by `clock`.
        budget: seconds for the whole command; None means no limit.
        storage: the database as the user named it, password and all.
        failed: trials of this process that failed.
    """

    opened: OpenStudy
    services: Services
    started: float
    budget: float | None
    storage: str | None
    failed: int = 0

    @property
    def bench(self) -> Bench:
        """What all trials are measured on."""
        opened, metric = self.opened, self.opened.study.settings.metric
        return Bench(
            request=opened.request,
            catalog=without_test(opened.data.catalog),
            metric=metric,
            shown="accuracy" if metric == "loss" else metric,
            folds=opened.folds,
            folder=self._trials,
            services=self.services,
            stop_at=self._stop_at(),
            clock=clock,
        )

    @property
    def _trials(self) -> Path:
        return self.opened.run.path / "trials"

    @property
    def how_to_join(self) -> str:
        """The command that goes on with the study."""
        words = ["tellapart", "tune", "--study", str(self.opened.run.path)]
        url = make_url(self.storage) if self.storage else None
        hidden = url.render_as_string(hide_password=True) if url else ""
        return shlex.join([*words, "--storage", hidden] if "***" in hidden else words)

    def aim(self, trials: int | None) -> None:
        """Settle how many trials there are to be, and say so."""
        study, bench = self.opened.study, self.bench
        if trials is not None or (self.budget is not None and not study.rows()):
            study.total = trials
        if study.total is None and self.budget is None:
            raise UserError(
                "How long to go on is not said.", "Give --trials, how many in all, or --budget 30m."
            )
        many = "as many trials as there is time for"
        if study.total is not None:
            many = count_of(study.total, "trial")
        self.services.console.say(
            f"Study {self.opened.run.path}: {many}, judged by {bench.metric} {self.opened.judged}"
            f" ({in_groups(bench.count, bench.clusters, 'image')}); another process joins with:"
        )
        self.services.console.say(f"  {self.how_to_join}")  # alone, so that it can be copied

    def run(self) -> None:
        """Run trials, until there are as many as there are to be, or no time for another."""
        study = self.opened.study
        with self.services.console.track("Trials", study.total, self._ended()) as task:
            task.ends_at = None if self.budget is None else self.started + self.budget
            while not study.is_over and not self._late():
                taken = study.take(self.opened.space)
                if taken is None:
                    time.sleep(POLL_SECONDS)
                    continue
                with taken:
                    self._run_one(taken)
                task.done = self._ended()
        self.services.clock.lap("trials")

    def train_best(self) -> Run | None:
        """Train the best settings once more, by this process or another.

        Returns:
            None where it is left to another process.
        """
        study = self.opened.study
        while True:
            best = study.best()
            done = [final for final in study.finals if best and final["trial"] == best.number]
            if done:
                path = self.opened.run.path / BEST / str(done[-1]["run"])
                return open_final(path) if path.is_dir() else None
            if not study.is_over and study.others_work(POLL_SECONDS):
                self.services.console.say(
                    "Other processes are still at work; the last of them trains the best."
                )
                return None
            if best is None:
                raise self._nothing_finished()
            # A better one may have come meanwhile.
            if best == study.best() and study.claims.take(FINAL):
                with Hold(study.claims, FINAL):
                    return self._train_final(best)
            time.sleep(POLL_SECONDS)

    def _train_final(self, best: TrialRow) -> Run:
        study, run = self.opened.study, train_final(self.opened, best, self.services)
        accuracy = run.metrics.accuracy
        study.add_final(
            {
                "trial": best.number,
                "run": run.path.name,
                "study": self.opened.run.path.name,
                "folder": self.opened.id,
                "test": str(accuracy) if accuracy.count else None,
            }
        )
        return run

    def _late(self) -> bool:
        """Whether there is no time for one more trial and the final training; or none has finished,
        nor will.
        """
        if self.budget is None:
            return False
        times, left = self._times(), self.started + self.budget - clock()
        if times:
            return left < float(np.median(times)) + self._reserve(times)
        endless = self.opened.study.total is None
        return (self.failed > 0 and left < 0) or (self.failed >= HOPELESS and endless)

    def _ended(self) -> int:
        """How many trials have ended, in whatever way."""
        return sum(row.state != "running" for row in self.opened.study.rows())

    def _times(self) -> list[float]:
        """Seconds of the finished trials."""
        rows = self.opened.study.rows()
        return [row.seconds for row in rows if row.state == "finished" and row.seconds is not None]

    def _reserve(self, times: list[float]) -> float:
        """Seconds for the final training: as long as the longest trial, since that one may win."""
        return max(times) + ENDING_SECONDS

    def _stop_at(self) -> float | None:
        if self.budget is None:
            return None
        times = self._times()
        return self.started + self.budget - self._reserve(times) if times else None

    def _run_one(self, trial: OpenTrial) -> None:
        """One trial, to its end; whatever fails in it, the other trials go on."""
        began = clock()

        def facts(outcome: Outcome) -> dict[str, Any]:
            return {**outcome.facts, "seconds": round(clock() - began, 2)}

        try:
            recipe = self.opened.trial_recipe(trial.settings, trial.seed)
            outcome = run_trial(self.bench, with_train_scores(recipe), trial)
            recorded = self._record(trial, outcome, facts(outcome))
        except (Interrupted, *DATABASE_ERRORS):
            raise
        except Exception as error:
            seconds = {"seconds": round(clock() - began, 2)}
            recorded = trial.fail(_reason(error), seconds)
            self.failed += recorded
        if recorded:
            clear_checkpoints(self._trials, f"trial-{trial.number:04}*")
            self._say(trial.number)
        else:
            self.services.console.say(f"trial {trial.number}: another process has taken it over")

    def _record(self, trial: OpenTrial, outcome: Outcome, facts: Mapping[str, Any]) -> bool:
        """Write down how a trial ended; returns whether it is still this process's trial."""
        if outcome.abandoned:
            return False
        if outcome.stopped:
            value = None if np.isnan(outcome.value) else outcome.value
            return trial.stop(value, {**facts, "reason": outcome.stopped})
        if np.isnan(outcome.value):
            metric = self.opened.study.settings.metric
            raise UserError(f"The val {metric} is not a number.")
        return trial.finish(outcome.value, dict(facts))

    def _say(self, number: int) -> None:
        """How a trial ended, and which is the best so far."""
        study, metric = self.opened.study, self.opened.study.settings.metric
        row = next(row for row in study.rows() if row.number == number)
        best = study.best()
        value = row.reason
        if np.isfinite(row.value):
            value = f"val {metric} {score_text(metric, row.value)}"
        so_far = f"; best {score_text(metric, best.value)}, trial {best.number}" if best else ""
        settings = ", ".join(f"{short(key)} {setting(text)}" for key, text in row.settings.items())
        took = duration(row.seconds or 0)
        self.services.console.say(
            f"trial {number} {row.state} in {took}: {value}{so_far} ({settings})"
        )

    def _nothing_finished(self) -> UserError:
        rows = self.opened.study.rows()
        reasons = [row.reason for row in rows if row.state == "failed" and row.reason]
        failed = f"; one failed with: {reasons[0]}" if reasons else ""
        return UserError(
            f"None of {count_of(len(rows), 'trial')} has finished{failed}",
            "Mend that, or search another space.",
        )


def open_final(path: Path) -> Run:
    """A final training that was finished before."""
    return Run.open(path)


def train_final(opened: OpenStudy, best: TrialRow, services: Services) -> Run:
    """The best settings once more, with test: new, gone on with, or found finished."""
    name, folder = f"trial-{best.number:04}", opened.run.path / BEST
    begun = begun_run(folder, name) or _whole_run(folder, name)
    if begun and RunFolder(begun).finished:
        return Run.open(begun)
    services.console.say(
        f"Training the best, trial {best.number}, once more, and measuring it on test"
    )
    recipe = opened.trial_recipe(best.settings, opened.study.seed_of(best.number))
    request = inside(opened.request, recipe, folder, name, resumed=begun)
    with services.step("final training", "Training the best settings once more"):
        return _train_in_hand(request, opened.data, services.silent())


def _whole_run(folder: Path, name: str) -> Path | None:
    """The run of a probe, which appears whole."""
    found = sorted(folder.glob(f"*-{name}"))
    return next((path for path in found if not path.name.startswith(".")), None)


def _train_in_hand(request: Request, data: Data, services: Services) -> Run:
    """An ordinary training on the study's data."""
    recipe = request.recipe
    frozen = frozen_for(recipe, services, request.extensions, data.catalog)
    if not recipe.by_gradient:
        assert frozen
        model = _probe(frozen, data, request, services)
        with services.step("model file", "Making and checking the model file"):
            shipped = ship(model, data.catalog, recipe, services.store)
        trained = Trained(
            recipe=recipe,
            data=data,
            shipped=shipped,
            probe=model.probe,
            index=train_index(model, data.catalog, request),
        )
        return Run.open(write_run(trained, request, services))
    from tellapart.pipeline.gradient import train_network
    from tellapart.pipeline.open import open_run
    from tellapart.training.hardware import Hardware

    with open_run(request) as run:
        start = _probe(frozen, data, request, services) if frozen else None
        run.begin(data)
        hardware = Hardware(recipe.training)
        train_network(request, run, data, services, hardware, start=start)
        return Run.open(run.folder.path)


def _probe(
    frozen: FrozenBackbone, data: Data, request: Request, services: Services
) -> TrainedModel:
    """A probe on the study's data, which has embedded all that is measured."""
    catalog, recipe = data.catalog, request.recipe
    rows = np.flatnonzero(catalog.splits != "")
    frozen.embed_rows(catalog, rows, recipe, services.console)
    with services.step("head", "Fitting the head") as task:
        return fit_train(frozen, catalog, recipe, task.reach)


def _reason(error: Exception) -> str:
    """Why a trial failed, in a line."""
    text = error.message if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return one_line(text, 300)
