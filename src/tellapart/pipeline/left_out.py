"""How well a probe would notice a class that it was never shown, on the user's own images."""

from __future__ import annotations

from collections.abc import Callable

from tellapart.catalog.table import Catalog
from tellapart.evaluation.left_out import LeftOut
from tellapart.pipeline.probe import TrainedModel
from tellapart.probe.left_out import leave_each_class_out
from tellapart.recipe import Recipe


def measure_left_out(
    model: TrainedModel,
    catalog: Catalog,
    recipe: Recipe,
    advance: Callable[[float], None] | None = None,
) -> LeftOut | None:
    """Leave each class of train out once.

    Args:
        model: has embedded train.
        catalog: with its splits.
        recipe: whether to measure at all, and how the head is fitted.
        advance: called now and then with the share that is done.

    Returns:
        None where it is not asked for, takes too long, or cannot be measured.
    """
    asked = recipe.answer.leave_one_class_out
    if asked == "never" or model.probe is None or model.held_out is None:
        return None
    rows = catalog.split("train")
    return leave_each_class_out(
        model.features.of(catalog, rows),
        catalog.labels[rows],
        model.held_out.folds_in(catalog)[rows],
        catalog.classes,
        model.probe.c,
        recipe.head,
        always=asked == "always",
        advance=advance,
    )
