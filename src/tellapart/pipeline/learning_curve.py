"""How the accuracy of a probe grows with the number of images, on the user's own."""

from __future__ import annotations

from collections.abc import Callable

from tellapart.catalog.duplicates import clusters
from tellapart.catalog.table import Catalog
from tellapart.evaluation.learning_curve import LearningCurve
from tellapart.pipeline.probe import TrainedModel
from tellapart.probe.learning_curve import learning_curve
from tellapart.recipe import Recipe


def measure_learning_curve(
    model: TrainedModel,
    catalog: Catalog,
    recipe: Recipe,
    advance: Callable[[float], None] | None = None,
) -> LearningCurve | None:
    """The learning curve of the images of train, by the folds that chose the head.

    Args:
        model: has embedded train.
        catalog: with its splits.
        recipe: how the head is fitted.
        advance: called now and then with the share that is done.

    Returns:
        None where the images are too few, or it would take too long.
    """
    if model.probe is None or model.held_out is None:
        return None
    rows = catalog.split("train")
    return learning_curve(
        model.features.of(catalog, rows),
        catalog.labels[rows],
        model.held_out.folds_in(catalog)[rows],
        clusters(catalog)[rows],
        len(catalog.classes),
        model.probe.c,
        recipe.head,
        seed=recipe.seed,
        advance=advance,
    )
