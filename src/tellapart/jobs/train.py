"""`train`: a folder of images in, a checked model file and its report out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.cache import FeatureStore, cache_folder
from tellapart.catalog.names import escape
from tellapart.catalog.table import splits_hash
from tellapart.errors import Interrupted, UserError
from tellapart.evaluation.metrics import Metrics, measure
from tellapart.jobs.cv.pool import frozen_backbone, learned_of, probe_on
from tellapart.modelfile.predictor import Predictor, load
from tellapart.pipeline.clock import Clock
from tellapart.pipeline.data import Seen, look_again, look_and_tell, read_data, trained_of
from tellapart.pipeline.learned import Learned
from tellapart.pipeline.record import Trained, begin_run, write_results, write_run
from tellapart.pipeline.request import Order, how_to_resume, new_order, resumed_order
from tellapart.pipeline.ship import ship
from tellapart.probe.fit import Probe
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.recipe_files import load_recipe
from tellapart.runs.folder import RunFolder, nothing_begun
from tellapart.runs.lock import locked
from tellapart.runs.saved_predictions import read_predictions
from tellapart.runs.saved_splits import read_splits

if TYPE_CHECKING:
    from tellapart.evaluation.comparison import Comparison
    from tellapart.evaluation.predictions import Predictions
    from tellapart.pipeline.gradient import Fitted
    from tellapart.training.events import Callback


@dataclass(frozen=True)
class Run:
    """A finished training.

    Args:
        path: the run folder.
        model: the model file in it.
        report: the HTML report in it.
        classes: C names, in the order of the model's columns.
        metrics: of the test split, by the model file; None without test images.
        statuses: status → number of files.
        seconds: the whole training, and of its steps.
        warnings: what the user should know, a sentence each.
        seed: the recipe's, also of the bootstrap intervals.
        comparison_lines: how the fine-tuned network stands to the probe, a sentence each; empty
            elsewhere.
    """

    path: Path
    model: Path
    report: Path
    classes: tuple[str, ...]
    metrics: Metrics
    statuses: Mapping[str, int]
    seconds: Mapping[str, float]
    warnings: tuple[str, ...]
    seed: int
    comparison_lines: tuple[str, ...] = ()

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
            "comparison": list(self.comparison_lines),
            "seed": self.seed,
            "seconds": self.seconds["all"],
            "steps": {name: value for name, value in self.seconds.items() if name != "all"},
        }


def train(
    data: str | PathLike[str] | None = None,
    *,
    recipe: str | Recipe = "probe",
    out: str | PathLike[str] = "runs",
    name: str | None = None,
    seed: int | None = None,
    splits: str | PathLike[str] | None = None,
    group_by: str | None = None,
    strict: bool = False,
    set: Mapping[str, Any] | None = None,
    resume: str | PathLike[str] | None = None,
    accept_changes: bool = False,
    callbacks: Sequence[Callback] = (),
    metrics: Mapping[str, Callable[[Predictions], float]] | None = None,
    quiet: bool = False,
) -> Run:
    """Train, check and measure an image classifier; write everything into a new run folder.

    Of several processes that train together (accelerate launch) only the one that writes comes back
    from here; the others end.

    Args:
        data: a folder with one folder a class, a folder with train/val/test, the Tiny ImageNet
            layout, or a table; None: the recipe's public data set, or the data of the run that is
            resumed.
        recipe: the name of a recipe, a YAML file, or a Recipe.
        out: the folder that holds runs.
        name: what to call the run; the data's name by default.
        seed: of every random decision; the recipe's by default.
        splits: the splits.parquet of an earlier run, or that run's folder, to use its splits again.
        group_by: what must stay on one side of the split: "column:NAME" of a table, "folder",
            "folder:N", "name:PATTERN" of file names, or "burst".
        strict: refuse where leaks or label conflicts are found, rather than report them.
        set: recipe keys and their values, for example {"head.weighting": "balanced"}.
        resume: the folder of a run by gradient that was stopped, to go on with it.
        accept_changes: go on with a run although its data has changed, without the images that did.
        callbacks: called with a `Event` whenever a run by gradient, an epoch or an iteration starts
            or completes.
        metrics: your own, name → function of the `Predictions` of an epoch; `training.monitor` may
            name one.
        quiet: print nothing.

    Raises:
        UserError: something that the user can fix. The data is only read, never changed.
    """
    console, clock = Console(quiet=quiet), Clock()
    if resume is None:
        options = load_recipe(recipe, set, {"seed": seed, "split.group_by": group_by})
        order = new_order(data, options, out=out, name=name, splits=splits, strict=strict)
    else:
        given = {
            "name": name,
            "seed": seed,
            "splits": splits,
            "group_by": group_by,
            "strict": strict,
            "set": set,
        }
        order = resumed_order(resume, data, accept_changes=accept_changes, given=given)
    with ExitStack() as held:
        store = held.enter_context(FeatureStore(cache_folder()))
        if order.recipe.method == "probe":
            if callbacks or metrics:
                raise UserError(
                    f"The recipe {order.recipe.name!r} has no loop that callbacks and metrics could"
                    " look at.",
                    "Take one that trains by gradient, as recipe='finetune', or leave them out.",
                )
            return _train_probe(order, store, console, clock)
        return _train_by_gradient(order, store, console, clock, held, callbacks, metrics or {})


def _train_probe(order: Order, store: FeatureStore, console: Console, clock: Clock) -> Run:
    learned, seen, probe = _probed(order, store, console, clock)
    shipped = ship(learned, seen.catalog, seen.splits, order.recipe, store)
    clock.lap("model file")
    trained = trained_of(order, seen, shipped, probe=probe)
    return _run(
        write_run(trained, order.runs, escape(order.name), console, clock.seconds), trained, clock
    )


def _train_by_gradient(
    order: Order,
    store: FeatureStore,
    console: Console,
    clock: Clock,
    held: ExitStack,
    callbacks: Sequence[Callback],
    metrics: Mapping[str, Callable[[Predictions], float]],
) -> Run:
    from tellapart.pipeline.gradient import check_fit, fit_network
    from tellapart.training.hardware import Hardware

    recipe = order.recipe
    check_fit(recipe, metrics)
    hardware = Hardware(recipe.training)
    console.quiet |= not hardware.is_writer
    if order.run and order.run.finished:
        hardware.leave_if_helper()
        console.say(f"{order.run.path} is finished: nothing is left to do")
        return finished_run(order.run)
    if order.run and hardware.is_writer:
        held.enter_context(locked(order.run.path))
        order.run.clear_parts()
    began: tuple[Learned, Probe] | None = None
    with hardware.writer_first():  # what it looks at, the others find remembered
        if recipe.method == "finetune":
            learned, seen, probe = _probed(order, store, console, clock)
            began = learned, probe
        else:
            seen = look_and_tell(order, read_data(order, console), None, console)
            clock.lap("scan")
    if order.run:
        run = order.run
    elif hardware.is_writer:
        run = begin_run(order, seen.catalog, seen.splits, held)
    else:
        run = RunFolder(order.runs)  # never written to
    held.enter_context(_resumable(run))
    with nothing_begun(run) if order.run is None and hardware.is_writer else nullcontext():
        fitted = fit_network(
            order,
            run,
            seen.catalog,
            seen.splits,
            hardware,
            store,
            console,
            probe=began[1] if began else None,
            callbacks=callbacks,
            metrics=metrics,
        )
    clock.lap("training")
    seen = look_again(fitted.learned, seen, recipe, console)
    clock.lap("features")
    chosen, comparison = (
        (fitted.learned, None) if began is None else _better(began[0], fitted, seen, console)
    )
    shipped = ship(chosen, seen.catalog, seen.splits, recipe, store)
    clock.lap("model file")
    started_at = began[1] if began else None
    trained = trained_of(
        order, seen, shipped, probe=started_at, comparison=comparison, **fitted.recorded
    )
    digest = splits_hash(read_splits(run.path).rows.values())
    write_results(run, trained, escape(order.name), digest, console, clock.seconds)
    return _run(run.path, trained, clock)


def _probed(
    order: Order, store: FeatureStore, console: Console, clock: Clock
) -> tuple[Learned, Seen, Probe]:
    """The frozen backbone's features of all images, computed while they are looked at, and the head
    on them.
    """
    recipe = order.recipe
    catalog = read_data(order, console)
    frozen = frozen_backbone(recipe, store, console)
    clock.lap("network")
    seen = look_and_tell(order, catalog, frozen.features, console)
    clock.lap("features")
    probe = probe_on(frozen.features, seen.catalog, np.flatnonzero(seen.splits == "train"), recipe)
    clock.lap("head")
    return learned_of(frozen, probe), seen, probe


def _better(
    probed: Learned, fitted: Fitted, seen: Seen, console: Console
) -> tuple[Learned, Comparison]:
    """The better of probe and fine-tuned network by val, and how they compare on test."""
    from tellapart.evaluation.comparison import compare
    from tellapart.evaluation.scores import accuracy, loss

    catalog, tuned = seen.catalog, fitted.learned
    val, test = (np.flatnonzero(seen.splits == split) for split in ("val", "test"))
    before, after = (one.predictions(catalog, val) for one in (probed, tuned))
    # Equal accuracy on few images is common; then the more certain of the two is the better.
    improved = not len(val) or (accuracy(after), -loss(after)) > (accuracy(before), -loss(before))
    if not len(val):
        console.say(
            "note: There is no val to choose the better by: the fine-tuned network is shipped"
        )
    rows = test if len(test) else val
    comparison = compare(
        probed.predictions(catalog, rows),
        tuned.predictions(catalog, rows),
        ("probe", "fine-tuned"),
        seconds=fitted.progress.seconds,
        shipped="fine-tuned" if improved else "probe",
        split="test" if len(test) else "val",
    )
    return tuned if improved else probed, comparison


@contextmanager
def _resumable(run: RunFolder) -> Iterator[None]:
    """Whoever stops a run between its parts is told how to go on with it; the loop itself tells it
    better.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            "Interrupted; what was learned is kept.", f"Go on with: {how_to_resume(run.path)}"
        ) from None


def _run(path: Path, trained: Trained, clock: Clock) -> Run:
    return Run(
        path=path,
        model=path / "model.onnx",
        report=path / "report.html",
        classes=trained.catalog.classes,
        metrics=trained.metrics,
        statuses=trained.catalog.status_counts,
        seconds=clock.seconds(),
        warnings=tuple(finding.text for finding in trained.findings),
        seed=trained.recipe.seed,
        comparison_lines=tuple(trained.comparison.lines()) if trained.comparison else (),
    )


def finished_run(run: RunFolder) -> Run:
    """What a finished run said when it ended, from its folder alone."""
    import polars

    model, record = load(run.path), run.read_json("metrics.json")
    counts = np.array(model.card.train_counts)
    statuses = polars.read_parquet(run.path / "catalog.parquet", columns=["status"])[
        "status"
    ].to_list()
    test = read_predictions(run.path / "predictions-test.parquet")
    return Run(
        path=run.path,
        model=run.path / "model.onnx",
        report=run.path / "report.html",
        classes=model.classes,
        metrics=measure(test, seed=record["seed"], class_counts=counts),
        statuses=dict(sorted(Counter(statuses).items())),
        seconds=record["seconds"],
        warnings=tuple(record["warnings"]),
        seed=record["seed"],
        comparison_lines=tuple(record.get("comparison", {}).get("text", ())),
    )
