"""A training of the probe, from embedded images to the run folder."""

from __future__ import annotations

from pathlib import Path

from tellapart.pipeline.data import Data
from tellapart.pipeline.learning_curve import measure_learning_curve
from tellapart.pipeline.left_out import measure_left_out
from tellapart.pipeline.probe import FrozenBackbone, fit_train
from tellapart.pipeline.record import Trained, write_run
from tellapart.pipeline.request import Request
from tellapart.pipeline.services import Services
from tellapart.pipeline.ship import ship
from tellapart.pipeline.train_index import train_index


def train_probe(frozen: FrozenBackbone, data: Data, request: Request, services: Services) -> Path:
    """Fit a head on train, ship it, and write the run; returns its folder.

    Args:
        frozen: the backbone, which has embedded the images.
        data: the images with their splits.
        request: what the user asked for.
        services: the clock, the console and the caches.

    Raises:
        Refused: the model file does not agree with its parts. Nothing is written then.
    """
    with services.step("head", "Fitting the head") as task:
        model = fit_train(frozen, data.catalog, request.recipe, task.reach)
    with services.step("model file", "Making and checking the model file"):
        shipped = ship(model, data.catalog, request.recipe, services.store)
    with services.step("left-out classes", "Leaving each class out once") as task:
        left_out = measure_left_out(model, data.catalog, request.recipe, task.reach)
    with services.step("learning curve", "Learning from ever more images") as task:
        learning = measure_learning_curve(model, data.catalog, request.recipe, task.reach)
    trained = Trained(
        recipe=request.recipe,
        data=data,
        shipped=shipped,
        probe=model.probe,
        left_out=left_out,
        learning=learning,
        preset=request.preset,
        index=train_index(model, data.catalog, request),
    )
    return write_run(trained, request, services)
