"""What is audited: a data set, or the data of a finished run with the splits of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tellapart.errors import UserError
from tellapart.pipeline.data import Data, load_data, read_data
from tellapart.pipeline.probe import FrozenBackbone, fit_train, frozen_for
from tellapart.pipeline.record import Trained, write_run
from tellapart.pipeline.request import Request, as_source, new_request
from tellapart.pipeline.services import Services
from tellapart.pipeline.ship import ship
from tellapart.recipe_files import load_recipe
from tellapart.runs.folder import RunFolder
from tellapart.runs.history import read_settings
from tellapart.runs.identity import RunIdentity
from tellapart.sources.source import Source

# The keys of a run's recipe that say what its images are. The others say how a network is trained.
KEPT = ("seed", "data.", "split.", "decoding.")


def is_run(target: object) -> bool:
    """Whether the target is the folder of a finished run."""
    if not isinstance(target, Path):
        return False
    folder = RunFolder(target)
    return folder.has("metrics.json") and folder.has("model.onnx")


def request_of(
    target: Source, data: Source | None, options: Mapping[str, Any], runs: Path
) -> Request:
    """The request to audit a target.

    Args:
        target: a run folder, or data.
        data: where the data of the run is now. None means where the run says it is.
        options: seed, group_by, copies, recipe and set, as the user gives them; None where not.
        runs: the folder that holds the run that is trained where the target is data.

    Raises:
        UserError: options that a run does not go with, or a run that does not know its data.
    """
    if not is_run(target):
        if data is not None:
            raise UserError(
                f"{target} is no finished run, so that --data says nothing more.",
                "Give the data alone, or the folder of a run.",
            )
        return _of_data(target, options, runs)
    assert isinstance(target, Path)
    given = [name for name, value in options.items() if value]
    if given:
        raise UserError(
            f"A run keeps its settings, and {' and '.join(given)} would change them.",
            "Leave it out, or audit the data instead of the run.",
        )
    return _of_run(target, data)


def _of_data(data: Source, options: Mapping[str, Any], runs: Path) -> Request:
    keys = {
        "seed": options["seed"],
        "split.group_by": options["group_by"],
        "split.copies": options["copies"],
    }
    recipe = load_recipe(options["recipe"] or "probe", options["set"], keys)
    if recipe.by_gradient:
        raise UserError(
            f"The recipe {recipe.name!r} trains by gradient, which an audit does not do.",
            "Take one with method=probe, or train first and audit the run.",
        )
    return new_request(data, recipe, out=runs, name=None, splits=None, strict=False, verb="audit")


def _of_run(run: Path, data: Source | None) -> Request:
    settings = read_settings(run)
    if settings.get("method") == "probe":
        recipe = load_recipe(str(run / "recipe.yaml"))
    else:  # the head that is audited stands on a frozen backbone
        recipe = load_recipe(
            "probe", {key: value for key, value in settings.items() if key.startswith(KEPT)}
        )
    source = as_source(data) if data is not None else _recorded(run)
    request = new_request(
        source, recipe, out=run.parent, name=None, splits=run, strict=False, verb="audit"
    )
    return replace(request, own_splits=True)


def _recorded(run: Path) -> Path:
    folder = RunFolder(run)
    place = None
    if folder.has("run.json"):
        place = RunIdentity.from_json(folder.read_json("run.json")).data_of(run)
    if place is None or not place.exists():
        raise UserError(
            f"{run} does not say where its data is now.",
            "Say where the data of the training is: --data DATA",
        )
    return place


def embedded(request: Request, services: Services) -> tuple[FrozenBackbone, Data]:
    """The backbone of the audit, and the data with its splits, embedded by it."""
    catalog = read_data(request, services.console)
    services.clock.lap("reading")
    frozen = frozen_for(request.recipe, services, request.extensions, catalog)
    assert frozen  # the recipe is a probe
    data = load_data(request, catalog, services.console, frozen.features)
    services.clock.lap("features")
    return frozen, data


def train_run(frozen: FrozenBackbone, data: Data, request: Request, services: Services) -> Path:
    """Train on the data as `train` does, so that a review finds a run; returns its folder."""
    with services.step("head", "Fitting the head") as task:
        model = fit_train(frozen, data.catalog, request.recipe, task.reach)
    with services.step("model file", "Making and checking the model file"):
        shipped = ship(model, data.catalog, request.recipe, services.store)
    trained = Trained(recipe=request.recipe, data=data, shipped=shipped, probe=model.probe)
    return write_run(trained, request, services)
