"""`train`: a set of images in, a checked model file and its report out.

request ─▶ data ─▶ probe ─▶ (gradient) ─▶ model file ─▶ run folder
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from tellapart.errors import UserError
from tellapart.extensions import (
    Extensions,
    Loss,
    Metric,
    Network,
    OptimizerFactory,
    Schedule,
    Transform,
)
from tellapart.modelfile.on_ray import check_engine
from tellapart.pipeline.data import Data, load_data, read_data
from tellapart.pipeline.open import open_run
from tellapart.pipeline.probe import FrozenBackbone, fit_train, frozen_for
from tellapart.pipeline.probe_run import train_probe
from tellapart.pipeline.request import Request, asked_request
from tellapart.pipeline.run import Run
from tellapart.pipeline.services import Services, open_services
from tellapart.recipe import Recipe
from tellapart.sources.source import Source

if TYPE_CHECKING:
    from tellapart.pipeline.presets import Prepared
    from tellapart.training.events import Callback


def train(
    data: Source | None = None,
    *,
    recipe: str | Recipe = "probe",
    out: str | PathLike[str] = "runs",
    name: str | None = None,
    seed: int | None = None,
    splits: str | PathLike[str] | None = None,
    group_by: str | None = None,
    copies: str | None = None,
    strict: bool = False,
    set: Mapping[str, Any] | None = None,
    preset: str | None = None,
    resume: str | PathLike[str] | None = None,
    accept_changes: bool = False,
    callbacks: Sequence[Callback] = (),
    networks: Mapping[str, Network] | None = None,
    losses: Mapping[str, Loss] | None = None,
    optimizers: Mapping[str, OptimizerFactory] | None = None,
    schedules: Mapping[str, Schedule] | None = None,
    transforms: Mapping[str, Transform] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    engine: str | None = None,
    quiet: bool = False,
) -> Run:
    """Train, check and measure an image classifier; write everything into a new run folder.

    The data is only read, never changed. Where several processes train together (accelerate
    launch), one of them writes, and each returns the same run.

    Args:
        data: what to train on. A folder with one folder a class, a folder with train/val/test, the
            Tiny ImageNet layout, a table or an archive; the address of a folder or a table in a
            store (s3://, gs://, az://); a pandas or polars frame with the columns
            of a table; a list of (path, label) or (image, label); or the catalog that `explore`
            returned. None means the recipe's public data set, or the data of the run that is
            resumed.
        recipe: the name of a recipe, a YAML file, or a Recipe.
        out: the folder that holds runs.
        name: what to call the run. Default: the data's name.
        seed: the seed of every random decision. Default: the recipe's.
        splits: the splits.parquet of an earlier run, or that run's folder, to use its splits
            again. New images join them, and no old one moves.
        group_by: what must stay on one side of the split: "column:NAME" of a table, "folder",
            "folder:N", "name:PATTERN" of file names, or "burst".
        copies: which images count as copies, and stay on one side too: "near" (also re-encoded or
            edited), "exact" (the same bytes) or "off". Default: the recipe's, "near".
        strict: refuse data with leaks or label conflicts, rather than report them.
        set: recipe keys and their values, for example {"head.weighting": "balanced"}.
        preset: "fast", "balanced" or "best", instead of a recipe and a backbone. fast is the
            default recipe. balanced measures the packaged backbones, and takes the most accurate
            one that is at most 3 times as slow. best fine-tunes the most accurate backbone of the
            shortlist within `training.budget_minutes`, 30 by default.
        resume: the folder of a run by gradient that was stopped, to go on with it.
        accept_changes: go on with a run although its data has changed, without the changed images.
        callbacks: functions that are called with an `Event` whenever a run by gradient, an epoch or
            an iteration starts or completes. One that returns "stop" or False stops the training.
        networks: your own networks, name → `Network`. `backbone.name` chooses one.
        losses: your own losses, name → function of logits and targets. `training.loss` chooses one.
        optimizers: your own optimizers, name → factory. `training.optimizer` chooses one.
        schedules: your own schedules, name → function of the step. `training.schedule` chooses one.
        transforms: your own transforms, name → function of an image. `augmentation.transforms`
            chooses them.
        metrics: your own metrics, name → function of `Predictions`. All are measured each epoch;
            `training.monitor` may name one.
        engine: "ray" lets a Ray cluster read and embed the images, which must be files that all
            its machines see, or lie in a store. Run and model are those of a training without. None means this
            process.
        quiet: print nothing.

    Returns:
        The finished run.

    Raises:
        UserError: something that the user can fix.
        Refused: data with leaks under `strict`, a failed gate, changed data, no room on the disk.
        Interrupted: the user stopped it. The message says how to go on.

    >>> run = tellapart.train(photos, set={"preprocessing.size_px": 64}, quiet=True)
    >>> run.classes, run.metrics.accuracy.count
    (('brick', 'leaf', 'sky'), 4)
    """
    extensions = Extensions(
        networks=networks or {},
        losses=losses or {},
        optimizers=optimizers or {},
        schedules=schedules or {},
        transforms=transforms or {},
        metrics=metrics or {},
    )
    if preset is not None and resume is not None:
        raise UserError(
            "A resumed run keeps its settings, and preset would change them.", "Leave it out."
        )
    if preset is not None and engine is not None:
        raise UserError(
            "A preset embeds the images by several networks, and the engine ray by one.",
            "Leave out the preset or the engine.",
        )
    check_engine(engine)
    if preset is not None:
        # Only here: the modules that measure candidates would slow down every other training.
        from tellapart.pipeline.presets import prepare, recipe_of_preset

        recipe = recipe_of_preset(preset, recipe, set)
    request = asked_request(
        data,
        recipe,
        out=out,
        name=name,
        seed=seed,
        splits=splits,
        group_by=group_by,
        copies=copies,
        strict=strict,
        set=set,
        resume=resume,
        verb="train",
        extensions=extensions,
        accept_changes=accept_changes,
    )
    request = replace(request, engine=engine)
    with open_services(quiet=quiet) as services:
        for note in extensions.unused_by(request.recipe):
            services.console.say(f"note: {note}")
        prepared = None
        if preset is not None:
            request, prepared = prepare(preset, request, services)
        if request.recipe.by_gradient:
            return _by_gradient(request, services, callbacks, prepared)
        return _by_probe(request, services, callbacks, prepared)


def _by_probe(
    request: Request,
    services: Services,
    callbacks: Sequence[Callback],
    prepared: Prepared | None,
) -> Run:
    """Embed the images while they are scanned, fit a head on train, and ship it."""
    if callbacks or request.extensions.metrics:
        raise UserError(
            f"The recipe {request.recipe.name!r} has no training loop, so that callbacks and"
            " metrics would never be called.",
            "Take one that trains by gradient, as recipe='finetune', or leave them out.",
        )
    frozen, data = _embedded(request, services, prepared)
    assert frozen
    services.clock.lap("features")
    return Run.open(train_probe(frozen, data, request, services))


def _embedded(
    request: Request, services: Services, prepared: Prepared | None
) -> tuple[FrozenBackbone | None, Data]:
    """The frozen backbone of a recipe that has one, and the data, embedded by it.

    Args:
        prepared: what a preset has read and loaded. None means that both are done here.
    """
    console = services.console
    if prepared is not None:
        return prepared.embedded(request.recipe, console)
    catalog = read_data(request, console)
    services.clock.lap("reading")
    frozen = frozen_for(request.recipe, services, request.extensions, catalog)
    return frozen, load_data(request, catalog, console, frozen.features if frozen else None)


def _by_gradient(
    request: Request,
    services: Services,
    callbacks: Sequence[Callback],
    prepared: Prepared | None,
) -> Run:
    """Train the network; the recipe may start at a probe."""
    with services.console.step("Loading PyTorch"):
        from tellapart.pipeline.gradient import check_fit, train_network
        from tellapart.training.hardware import Hardware

    check_fit(request.recipe, request.extensions)
    hardware = Hardware(request.recipe.training)
    services.console.quiet |= not hardware.is_writer
    with open_run(request, writes=hardware.is_writer) as run:
        if run.finished:
            services.console.say(f"{run.folder.path} is finished: nothing is left to do")
            return Run.open(run.folder.path)
        with hardware.writer_first():  # the others find remembered what the writer has scanned
            frozen, data = _embedded(request, services, prepared)
            services.clock.lap("features" if frozen else "scan")
            with services.step("head", "Fitting the head") as task:
                start = (
                    fit_train(frozen, data.catalog, request.recipe, task.reach) if frozen else None
                )
        run.begin(data)
        train_network(request, run, data, services, hardware, start=start, callbacks=callbacks)
        # The processes that only helped to train wait here until the writer has written all.
        return Run.open(hardware.of_writer(run.folder.path))
