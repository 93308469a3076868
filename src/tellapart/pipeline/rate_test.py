"""The learning-rate test: the loss of a training whose rate rises from step to step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

from tellapart.catalog.table import Catalog
from tellapart.extensions import Extensions
from tellapart.pipeline.probe import TrainedModel
from tellapart.pipeline.services import Services
from tellapart.pipeline.training_setup import (
    build_network,
    hold_images,
    measured_runtime,
    start_from,
)
from tellapart.recipe import Recipe
from tellapart.training.hardware import Hardware
from tellapart.training.invariant import with_moves
from tellapart.training.rate_finder import RateCurve, range_test
from tellapart.training.runtime import running
from tellapart.training.step import Stepper


def rate_curve_of(
    catalog: Catalog,
    recipe: Recipe,
    start: TrainedModel | None,
    services: Services,
    extensions: Extensions,
    *,
    steps: int,
) -> RateCurve:
    """The loss at rising learning rates, of a training that begins as `fit_network` does."""
    step = training_step(catalog, recipe, start, services, extensions)
    with services.console.track("Trying rates", steps) as advance:

        def counted(lr: float) -> float:
            advance()
            return step(lr)

        return range_test(counted, count=steps)


def training_step(
    catalog: Catalog,
    recipe: Recipe,
    start: TrainedModel | None,
    services: Services,
    extensions: Extensions,
) -> Callable[[float], float]:
    """What does one training step after the other at the rates it is given, and returns each one's
    mean loss.

    It begins as `fit_network` does.
    """
    hardware = Hardware(recipe.training)
    console = services.console
    backbone, classifier = build_network(recipe, len(catalog.classes), console, extensions)
    data = hold_images(recipe, catalog, backbone, services)
    runtime = measured_runtime(recipe, classifier, data, hardware, None, services)
    moves = start_from(start, recipe, classifier, data, runtime, console)
    recipe = replace(recipe, augmentation=with_moves(recipe.augmentation, moves))
    data = replace(data, val=None)
    stepper = Stepper(classifier, data, recipe, hardware, runtime, console, extensions)
    phase = stepper.phases.of(0)
    batches = (
        (batch, weight) for epoch in count() for batch, weight in stepper.batches(phase, epoch)
    )
    numbers = count()

    def step(lr: float) -> float:
        batch, weight = next(batches)
        with running(runtime):
            return stepper.step(phase, batch, weight, next(numbers), lr)

    return step
