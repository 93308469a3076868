"""`tune`: many settings tried on train, judged by val or folds; the best trained and tested once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

from tellapart.catalog.names import escape
from tellapart.errors import Interrupted, UserError
from tellapart.evaluation.metrics import Metrics
from tellapart.evaluation.trial_row import TrialRow
from tellapart.experiments.database import DATABASE_ERRORS, database_words
from tellapart.extensions import Extensions, Parts
from tellapart.home import user_path
from tellapart.jobs.tune.search import Search, clock
from tellapart.jobs.tune.study import OpenStudy, StudyRequest, open_study
from tellapart.phrases import count_of, in_groups
from tellapart.pipeline.pages import timestamp
from tellapart.pipeline.request import as_source
from tellapart.pipeline.run import Run
from tellapart.pipeline.services import open_services
from tellapart.progress import Console
from tellapart.recipe import Recipe, recipe_items
from tellapart.report.tune.page import FEW_TRIALS, TuningInput, render_tuning, summary_lines
from tellapart.report.tune.trial_table import setting, states, trials_table
from tellapart.sources.source import Source
from tellapart.tables import write_table


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A study, as far as it has come.

    Args:
        path: its folder.
        page: tuning.html in it.
        table: trials.csv in it.
        rows: the trials.
        best: the trial that won. None means that none has finished.
        metric: what trials are ranked by.
        judged: where they are judged, in words.
        count: on how many images.
        seed: of the study.
        run: the folder of the final training. None means that another process or machine has it.
        metrics: of the final model on test; None without one, or without test images.
        statuses: status → number of files.
        lines: what the study found, for a terminal.
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
        """The JSON object that `--json` prints."""
        best = None
        if self.best is not None:
            best = {
                "trial": self.best.number,
                "settings": dict(self.best.settings),
                "value": self.best.value,
                "metric": self.metric,
                "judged_by": self.judged,
                "count": self.count,
                "seed": self.seed,
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

    def __str__(self) -> str:
        score = f"test accuracy {self.metrics.accuracy}" if self.metrics else "not tested here"
        return f"Study {self.path}: {count_of(len(self.rows), 'trial')}, {score}\nPage: {self.page}"

    __repr__ = __str__


def tune(
    data: Source | None = None,
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
    copies: str | None = None,
    strict: bool = False,
    set: Mapping[str, Any] | None = None,
    quiet: bool = False,
    **parts: Unpack[Parts],
) -> Tuned:
    """Try settings, keep every trial, train the best once more, and measure that on test once.

    Several processes share a study: the second joins by `study`, and takes all settings from it.
    When a process is killed, another one goes on with its trial. No trial sees a test image.

    Args:
        data: what to train on, in any form that `train` takes. None means the recipe's public data
            set, or the data of the study that is joined.
        trials: how many trials the whole study is to have, whoever runs them.
        budget_seconds: the time for this command, with the final training. At least one trial ends,
            whatever it takes.
        recipe: the recipe to search around. Default: "probe".
        space: a YAML file of recipe keys, each with a list of choices, or with low, high and
            perhaps log or step. Default: the recipe's own space, without the keys in `set` and
            without weights that are not installed.
        storage: a database for many machines, as "postgresql://USER@HOST/NAME". Default: a SQLite
            file in the study's folder, for the processes of one machine.
        study: the folder of a study to join or to go on with; with `storage`, the name of a study
            in it.
        folds: judge by this many folds of train and val, rather than by val.
        metric: what trials are ranked by, measured on val. Default: `training.monitor` for recipes
            that train by gradient, the loss for probes.
        sampler: "tpe", which learns from earlier trials, or "random".
        out: the folder that holds runs and studies.
        name: what to call the study. Default: the data's name.
        seed: the seed of every random decision. Default: the recipe's.
        splits: the splits.parquet of an earlier run, or that run's folder.
        group_by: what must stay on one side of the split, as for `train`.
        copies: which images count as copies of each other, as for `train`.
        strict: refuse data with leaks or label conflicts, rather than report them.
        set: recipe keys and their values, which are then not searched.
        quiet: print nothing.
        parts: your own `networks=`, `losses=`, `optimizers=`, `schedules=`, `transforms=` and
            `metrics=`, as for `train`. Each process of a study needs the same ones.

    Returns:
        The study, as far as it has come.

    Raises:
        UserError: something that the user can fix, or no trial finished.
        Refused: the study to join is of other data or has other settings.
        Interrupted: the user stopped it. What is finished is kept, and the message says how to go
            on.

    >>> small = {"preprocessing.size_px": 64, "backbone.name": "tf_efficientnet_lite0"}
    >>> tuned = tellapart.tune(photos, trials=1, set=small, quiet=True)
    >>> len(tuned.rows), tuned.best.state
    (1, 'finished')
    """
    started = clock()
    asked = StudyRequest(
        data=None if data is None else as_source(data),
        recipe=recipe,
        set=set or {},
        seed=seed,
        splits=None if splits is None else user_path(splits),
        group_by=group_by,
        copies=copies,
        strict=strict,
        out=user_path(out),
        name=name,
        trials=trials,
        budget_seconds=budget_seconds,
        space=None if space is None else user_path(space),
        metric=metric,
        folds=folds,
        sampler=sampler,
        storage=storage,
        study=None if study is None else str(user_path(study)),
        extensions=Extensions(**parts),
    )
    with open_services(quiet=quiet) as services:
        opened = open_study(asked, services.console)
        services.clock.lap("reading")
        try:
            search = Search(opened, services.sharing(), started, budget_seconds, storage)
            search.aim(trials)
            final = _searched(search)
            return _tuned(search, final, services.console)
        finally:
            opened.study.close()


def _searched(search: Search) -> Run | None:
    """Run the trials and the final training."""
    try:
        search.run()
        return search.train_best()
    except (KeyboardInterrupt, Interrupted):
        write_page(search, None)
        raise Interrupted(
            "Interrupted; finished trials are kept, and the one at work goes on from where it was.",
            f"Go on with: {search.how_to_join}",
        ) from None
    except DATABASE_ERRORS as error:
        raise UserError(
            f"The study's database can no longer be used ({database_words(error)}). It keeps what"
            " is finished.",
            f"See that it runs and has room, then go on with: {search.how_to_join}",
        ) from error


def _tuned(search: Search, final: Run | None, console: Console) -> Tuned:
    """What the study found, written and returned."""
    opened = search.opened
    with search.services.step("page", "Writing the page of the study"):
        shown = write_page(search, final)
    seconds = round(clock() - search.started, 2)
    console.say("The page of the study is written")
    console.say(search.services.clock.summary())
    opened.run.write("log.txt", "\n".join(console.lines) + "\n")
    return Tuned(
        path=opened.run.path,
        page=opened.run.path / "tuning.html",
        table=opened.run.path / "trials.csv",
        rows=tuple(shown.rows),
        best=shown.best,
        metric=shown.metric,
        judged=shown.judged,
        count=shown.count,
        seed=shown.seed,
        run=final.path if final else None,
        metrics=shown.test,
        statuses=opened.data.catalog.status_counts,
        lines=tuple(summary_lines(shown)),
        seconds=seconds,
    )


def write_page(search: Search, final: Run | None) -> TuningInput:
    """Write the page and the table, as the study stands now."""
    opened, study, bench = search.opened, search.opened.study, search.bench
    rows, best = study.rows(), study.best()
    finals = [run for run in study.finals if best and run["trial"] == best.number]
    elsewhere = [run for run in finals if run["folder"] != opened.id]
    finished = sum(row.state == "finished" for row in rows)
    tested = final is not None and final.metrics.accuracy.count > 0
    shown = TuningInput(
        title=opened.request.name,
        created=timestamp(),
        metric=bench.metric,
        shown=bench.shown,
        judged=opened.judged,
        count=bench.count,
        clusters=bench.clusters,
        seed=study.settings.seed,
        keys=opened.space.keys,
        logs=frozenset(parameter.key for parameter in opened.space.parameters if parameter.log),
        rows=rows,
        best=best,
        importances=study.importances() if finished >= FEW_TRIALS else {},
        test=final.metrics if final and tested else None,
        elsewhere=(
            (elsewhere[-1]["study"], elsewhere[-1]["test"]) if elsewhere and not final else None
        ),
        finals=len(study.finals),
        ran=_facts(opened, in_groups(bench.count, bench.clusters, "image")),
    )
    table = trials_table(rows, opened.space.keys, bench.metric, bench.shown)
    write_table(opened.run.path / "trials.csv", *table)
    opened.run.write("tuning.html", render_tuning(shown))
    return shown


def _facts(opened: OpenStudy, images: str) -> dict[str, str]:
    """What exactly was searched, for the page."""
    settings, catalog = opened.study.settings, opened.data.catalog
    fixed = dict(recipe_items(opened.space.base))
    keys = ["backbone.name", "preprocessing.size_px"]
    if opened.by_gradient:
        keys += ["training.lr", "training.epochs", "training.batch_size"]
    kept = [f"{key} {setting(fixed[key])}" for key in keys if key not in opened.space.keys]
    return {
        "Recipe": opened.space.base.name,
        "Searched": ", ".join(opened.space.keys),
        "Not searched, among others": ", ".join(kept) or "nothing of note",
        "Judged by": f"{settings.metric} {opened.judged}, {images}",
        "Sampler": "TPE, after a few random trials" if settings.sampler == "tpe" else "random",
        "First trial": "the recipe's own settings, as far as they lie in the space",
        "Data": f"{catalog.source}; {int(catalog.ok.sum()):,} images",
        "Splits": settings.splits,
        "Seed": str(settings.seed),
    }
