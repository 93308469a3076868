"""`tune`: many settings tried on train, judged by val or folds, and the best of them trained and
tested once.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.engine import make_url

from tellapart.cache import FeatureStore, cache_folder
from tellapart.catalog.names import escape
from tellapart.errors import Interrupted, UserError, one_line
from tellapart.evaluation.metrics import Metrics, measure
from tellapart.evaluation.trial_row import TrialRow
from tellapart.experiments.claims import Hold
from tellapart.experiments.study import DATABASE_ERRORS, FINAL, OpenTrial, database_words
from tellapart.jobs.train import train
from tellapart.jobs.tune.study import (
    Asked,
    OpenStudy,
    judged,
    open_study,
    trial_recipe,
    with_train_scores,
)
from tellapart.jobs.tune.trial import (
    Abandoned,
    Bench,
    Outcome,
    Stopped,
    clear_checkpoints,
    run_trial,
)
from tellapart.modelfile.predictor import load
from tellapart.progress import Console, duration
from tellapart.recipe import Recipe, recipe_items
from tellapart.report.tune.page import FEW_TRIALS, TuningInput, render_tuning, summary_lines
from tellapart.report.tune.trial_table import (
    score_text,
    setting,
    short,
    states,
    trials_table,
)
from tellapart.runs.folder import RunFolder
from tellapart.runs.history import BEST
from tellapart.runs.saved_predictions import read_predictions
from tellapart.tables import write_table

POLL_SECONDS = 0.5  # between two looks whether another process has ended
ENDING_SECONDS = (
    15.0  # of the final training, beside what its trial took: model file, checks, report
)
# failed trials of one command, and none finished: then a search without a number of trials ends
HOPELESS = 20


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A study, as far as it has come.

    Args:
        path: its folder.
        page, table: tuning.html and trials.csv in it.
        rows: the trials.
        best: the one that won; None: none has finished.
        metric: that decided.
        judged: where, in words.
        count: of how many images.
        seed: of the study.
        run: the folder of the final training; None: another process or machine has it.
        metrics: of test, by the model of the final training; None without one, or without test
            images.
        lines: what it found, for a terminal.
        seconds: of this command.
    """

    path: Path
    page: Path
    table: Path
    rows: tuple[TrialRow, ...]
    best: TrialRow | None
    metric: str
    judged: str
    count: int
    seed: int
    run: Path | None
    metrics: Metrics | None
    statuses: Mapping[str, int]
    lines: tuple[str, ...]
    seconds: float

    @property
    def model(self) -> Path | None:
        """The model file of the final training."""
        return None if self.run is None else self.run / "model.onnx"

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        best = None
        if self.best is not None:
            judged = {
                "metric": self.metric,
                "judged_by": self.judged,
                "count": self.count,
                "seed": self.seed,
            }
            best = {
                "trial": self.best.number,
                "settings": dict(self.best.settings),
                "value": self.best.value,
                **judged,
            }
        return {
            "study": escape(str(self.path)),
            "best": best,
            "test": None if self.metrics is None else self.metrics.as_json(),
            "run": None if self.run is None else escape(str(self.run)),
            "model": None if self.model is None else escape(str(self.model)),
            "counts": states(self.rows),
            "trials": [row.as_json() for row in self.rows],
            "statuses": dict(self.statuses),
            "page": escape(str(self.page)),
            "table": escape(str(self.table)),
            "seconds": self.seconds,
        }


def tune(
    data: str | PathLike[str] | None = None,
    *,
    trials: int | None = None,
    budget_seconds: float | None = None,
    recipe: str | Recipe | None = None,
    space: str | PathLike[str] | None = None,
    storage: str | None = None,
    study: str | PathLike[str] | None = None,
    folds: int | None = None,
    metric: str | None = None,
    sampler: str | None = None,
    out: str | PathLike[str] = "runs",
    name: str | None = None,
    seed: int | None = None,
    splits: str | PathLike[str] | None = None,
    group_by: str | None = None,
    strict: bool = False,
    set: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Tuned:
    """Try settings, keep every trial, train the best once more, and measure that on test once.

    Several processes share a study: the second joins by `study`, and takes all settings from it. A
    trial whose process was killed is gone on with by another one. No trial sees a test image.

    Args:
        data: as for `train`; None: the recipe's public data set, or the data of the study that is
            joined.
        trials: how many there are to be in the whole study, whoever runs them.
        budget_seconds: for this command with the final training. At least one trial ends, whatever
            it takes.
        recipe: to search around; "probe" by default.
        space: a YAML file of recipe keys, each with a list of choices, or with low, high and
            perhaps log or step; the recipe's own space by default, without the keys that `set`
            names and the weights that are not here.
        storage: a database for many machines, as "postgresql://USER@HOST/NAME"; a SQLite file in
            the study's folder by default, for the processes of one machine.
        study: the folder of a study to join or to go on with; with `storage`, the name of a study
            in it.
        folds: judge by so many folds of train and val, rather than by val.
        metric: that decides, of val; the recipe's `training.monitor`, for probes the loss, by
            default.
        sampler: "tpe", which learns from the trials before, or "random".
        out, name, seed, splits, group_by, strict, set: as for `train`.
        quiet: print nothing.

    Raises:
        UserError: something that the user can fix; no trial finished.
        Refused: the study to join is of other data or has other settings.
        Interrupted: the user stopped it; what is finished is kept, and the message says how to go
            on.
    """
    started, console = time.monotonic(), Console(quiet=quiet)
    for option, value in (("trials", trials), ("budget", budget_seconds)):
        if value is not None and value <= 0:
            raise UserError(f"{option} must be above 0, got {value:g}.", f"Set it with --{option}.")
    asked = Asked(
        data=None if data is None else Path(data),
        recipe=recipe,
        set=set or {},
        seed=seed,
        splits=None if splits is None else Path(splits),
        group_by=group_by,
        strict=strict,
        out=Path(out),
        name=name,
        space=None if space is None else Path(space),
        metric=metric,
        folds=folds,
        sampler=sampler,
        storage=storage,
        study=None if study is None else str(study),
    )
    if study is None and trials is None and budget_seconds is None:
        raise UserError("How long to search is not said.", "Give --trials 20, or --budget 30m.")
    opened = open_study(asked, console)
    with ExitStack() as held:
        held.callback(opened.study.close)
        work = _Work(
            opened,
            console,
            held.enter_context(FeatureStore(cache_folder())),
            started,
            budget_seconds,
            storage,
        )
        work.aim(trials)
        try:
            work.search()
            final = work.train_best()
        except (KeyboardInterrupt, Interrupted):
            work.write_page(None)
            raise Interrupted(
                "Interrupted; finished trials are kept, and the one at work goes on from where it"
                " was.",
                f"Go on with: {work.how_to_join}",
            ) from None
        except DATABASE_ERRORS as error:
            raise UserError(
                f"The study's database can no longer be used ({database_words(error)}). It keeps"
                " what is finished.",
                f"See that it runs and has room, then go on with: {work.how_to_join}",
            ) from error
        return work.tell(final)


@dataclass
class _Work:
    """One process at work on a study."""

    opened: OpenStudy
    console: Console
    store: FeatureStore
    started: float
    budget: float | None
    storage: str | None
    failed: int = 0  # trials of this process
    bench: Bench = field(init=False)

    def __post_init__(self) -> None:
        opened, settings = self.opened, self.opened.study.settings
        self.bench = Bench(
            source=opened.source,
            catalog=opened.catalog,
            splits=opened.trial_splits,
            metric=settings.metric,
            shown="accuracy" if settings.metric == "loss" else settings.metric,
            folds=opened.folds,
            folder=opened.run.path / "trials",
            store=self.store,
        )

    @property
    def how_to_join(self) -> str:
        """The command that goes on with the study."""
        words = ["tellapart", "tune", "--study", str(self.opened.run.path)]
        hidden = make_url(self.storage).render_as_string(hide_password=True) if self.storage else ""
        return shlex.join([*words, "--storage", hidden] if "***" in hidden else words)

    def aim(self, trials: int | None) -> None:
        """How many trials there are to be."""
        study = self.opened.study
        if trials is not None or (self.budget is not None and not study.rows()):
            study.total = trials
        if study.total is None and self.budget is None:
            raise UserError(
                "How long to go on is not said.", "Give --trials, how many in all, or --budget 30m."
            )
        count = (
            "as many trials as there is time for"
            if study.total is None
            else f"{study.total:,} trials"
        )
        self.console.say(
            f"Study {self.opened.run.path}: {count}, judged by {self.bench.metric} {judged(self.opened)} "
            f"({self.bench.count:,} images); another process joins with: {self.how_to_join}"
        )

    def search(self) -> None:
        """Trials, until there are as many as there are to be, or there is no time for another."""
        study = self.opened.study
        while not study.is_over and not self._late():
            taken = study.take(self.opened.space)
            if taken is None:
                time.sleep(POLL_SECONDS)
                continue
            with taken:
                self._run(taken)

    def train_best(self) -> Path | None:
        """The folder of the final training, by this process or another; None: it is left to those
        still at work.
        """
        study = self.opened.study
        while True:
            best = study.best()
            done = [final for final in study.finals if best and final["trial"] == best.number]
            if done:
                run = self.opened.run.path / BEST / str(done[-1]["run"])
                return run if run.is_dir() else None
            if not study.is_over and study.others_work(POLL_SECONDS):
                self.console.say(
                    "Other processes are still at work; the last of them trains the best."
                )
                return None
            if best is None:
                raise self._nothing_finished()
            if best == study.best() and study.claims.take(
                FINAL
            ):  # a better one may have come meanwhile
                with Hold(study.claims, FINAL):
                    run = self._final_run(best)
                    metrics = _measured(run)
                    tested = None if metrics is None else str(metrics.accuracy)
                    where = {"study": self.opened.run.path.name, "folder": self.opened.id}
                    study.add_final(
                        {"trial": best.number, "run": run.name, **where, "test": tested}
                    )
                return run
            time.sleep(POLL_SECONDS)

    def write_page(self, run: Path | None) -> tuple[TuningInput, Metrics | None]:
        """The page and the table, as the study stands now."""
        opened, study = self.opened, self.opened.study
        rows, metrics, best = study.rows(), _measured(run), study.best()
        finals = [final for final in study.finals if best and final["trial"] == best.number]
        elsewhere = [final for final in finals if final["folder"] != opened.id]
        finished = sum(row.state == "finished" for row in rows)
        told = TuningInput(
            title=opened.name,
            created=time.strftime("%d %B %Y, %H:%M"),
            metric=self.bench.metric,
            shown=self.bench.shown,
            judged=judged(opened),
            count=self.bench.count,
            seed=study.settings.seed,
            keys=opened.space.keys,
            logs=frozenset(one.key for one in opened.space.parameters if one.log),
            rows=rows,
            best=best,
            importances=study.importances() if finished >= FEW_TRIALS else {},
            test=metrics,
            elsewhere=(
                (elsewhere[-1]["study"], elsewhere[-1]["test"])
                if elsewhere and run is None
                else None
            ),
            looks=len(study.finals),
            ran=self._ran(),
        )
        table = trials_table(rows, opened.space.keys, self.bench.metric, self.bench.shown)
        write_table(opened.run.path / "trials.csv", *table)
        opened.run.write("tuning.html", render_tuning(told))
        return told, metrics

    def tell(self, run: Path | None) -> Tuned:
        """What the study found."""
        told, metrics = self.write_page(run)
        seconds = round(time.monotonic() - self.started, 2)
        self.console.say(f"The page of the study is written, after {duration(seconds)}")
        self.opened.run.write("log.txt", "\n".join(self.console.lines) + "\n")
        return Tuned(
            path=self.opened.run.path,
            page=self.opened.run.path / "tuning.html",
            table=self.opened.run.path / "trials.csv",
            rows=tuple(told.rows),
            best=told.best,
            metric=told.metric,
            judged=told.judged,
            count=told.count,
            seed=told.seed,
            run=run,
            metrics=metrics,
            statuses=self.opened.catalog.status_counts,
            lines=tuple(summary_lines(told)),
            seconds=seconds,
        )

    def _late(self) -> bool:
        """Whether there is no time for one more trial and the final training; or none has finished,
        nor will.
        """
        if self.budget is None:
            return False
        times, left = self._times(), self.started + self.budget - time.monotonic()
        if times:
            return left < float(np.median(times)) + self._reserve(times)
        return (self.failed > 0 and left < 0) or (
            self.failed >= HOPELESS and self.opened.study.total is None
        )

    def _times(self) -> list[float]:
        """Seconds of the finished trials."""
        return [
            row.seconds
            for row in self.opened.study.rows()
            if row.state == "finished" and row.seconds is not None
        ]

    def _reserve(self, times: list[float]) -> float:
        """Seconds for the final training: as long as the longest trial, since the longest may
        win.
        """
        return max(times) + ENDING_SECONDS

    def _run(self, taken: OpenTrial) -> None:
        """One trial, to its end."""
        began = time.monotonic()
        try:
            recipe = with_train_scores(trial_recipe(self.opened, taken.settings, taken.seed))
            outcome = run_trial(replace(self.bench, stop_at=self._stop_at()), recipe, taken)
            if np.isnan(outcome.value):
                raise UserError(f"The val {self.bench.metric} is not a number.")
            recorded = taken.finish(outcome.value, self._facts(outcome, began))
        except Stopped as stopped:
            value = stopped.outcome.value
            facts = {**self._facts(stopped.outcome, began), "reason": stopped.reason}
            recorded = taken.stop(None if np.isnan(value) else value, facts)
        except Abandoned:
            recorded = False
        except (Interrupted, *DATABASE_ERRORS):
            raise
        except Exception as error:  # whatever it is, the other trials can do without this one
            recorded = taken.fail(_reason(error), {"seconds": round(time.monotonic() - began, 2)})
            self.failed += recorded
        if recorded:
            clear_checkpoints(self.bench.folder, f"trial-{taken.number:04}*")
            self._say(taken.number)
        else:
            self.console.say(f"trial {taken.number}: another process has taken it over")

    def _stop_at(self) -> float | None:
        if self.budget is None:
            return None
        times = self._times()
        return self.started + self.budget - self._reserve(times) if times else None

    def _facts(self, outcome: Outcome, began: float) -> dict[str, Any]:
        return {**outcome.facts, "seconds": round(time.monotonic() - began, 2)}

    def _say(self, number: int) -> None:
        """How a trial ended, and which is the best so far."""
        study, metric = self.opened.study, self.bench.metric
        row, best = next(row for row in study.rows() if row.number == number), study.best()
        value = (
            f"val {metric} {score_text(metric, row.value)}"
            if np.isfinite(row.value)
            else row.reason
        )
        so_far = f"; best {score_text(metric, best.value)}, trial {best.number}" if best else ""
        settings = ", ".join(f"{short(key)} {setting(one)}" for key, one in row.settings.items())
        self.console.say(
            f"trial {number} {row.state} in {duration(row.seconds or 0)}: {value}{so_far}"
            f" ({settings})"
        )

    def _final_run(self, best: TrialRow) -> Path:
        """The best settings once more, with test: new, gone on with, or found finished."""
        name = f"trial-{best.number:04}"
        folder = self.opened.run.path / BEST
        begun = next(
            (run for run in sorted(folder.glob(f"*-{name}")) if not run.name.startswith(".")), None
        )
        if begun and RunFolder(begun).finished:
            return begun
        self.console.say(
            f"Training the best, trial {best.number}, once more, and measuring it on test"
        )
        if begun:
            return train(self.opened.source, resume=begun, quiet=True).path
        recipe = trial_recipe(self.opened, best.settings, self.opened.study.seed_of(best.number))
        return train(
            self.opened.source,
            recipe=recipe,
            splits=self.opened.run.path,
            out=folder,
            name=name,
            quiet=True,
        ).path

    def _nothing_finished(self) -> UserError:
        rows = self.opened.study.rows()
        reasons = [row.reason for row in rows if row.state == "failed" and row.reason]
        told = f"; one failed with: {reasons[0]}" if reasons else ""
        return UserError(
            f"None of {len(rows)} trials has finished{told}", "Mend that, or search another space."
        )

    def _ran(self) -> dict[str, str]:
        opened, settings = self.opened, self.opened.study.settings
        fixed = dict(recipe_items(opened.space.base))
        told = (
            "backbone.name",
            "preprocessing.size_px",
            "training.lr",
            "training.epochs",
            "training.batch_size",
        )
        by_gradient = opened.space.base.method != "probe"
        kept = [
            f"{key} {setting(fixed[key])}"
            for key in told
            if key not in opened.space.keys and (by_gradient or not key.startswith("training."))
        ]
        return {
            "Recipe": opened.space.base.name,
            "Searched": ", ".join(opened.space.keys),
            "Not searched, among others": ", ".join(kept) or "nothing of note",
            "Judged by": f"{settings.metric} {judged(opened)}, {self.bench.count:,} images",
            "Sampler": "TPE, after a few random trials" if settings.sampler == "tpe" else "random",
            "First trial": "the recipe's own settings, as far as they lie in the space",
            "Data": f"{opened.catalog.source}; {int(opened.catalog.ok.sum()):,} images",
            "Splits": settings.splits,
            "Seed": str(settings.seed),
        }


def _measured(run: Path | None) -> Metrics | None:
    """The metrics of test, from the folder of the final training."""
    if run is None:
        return None
    test = read_predictions(run / "predictions-test.parquet")
    if not len(test):
        return None
    counts = np.array(load(run).card.train_counts)
    seed = RunFolder(run).read_json("metrics.json")["seed"]
    return measure(test, seed=seed, class_counts=counts)


def _reason(error: Exception) -> str:
    """Why a trial failed, in a line."""
    told = error.message if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return one_line(told, 300)
