"""`find-rate`: a short training at rising learning rates, its plot, and the rate to begin with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.cache import FeatureStore, cache_folder
from tellapart.catalog.names import escape
from tellapart.catalog.scan import drop_empty_classes
from tellapart.catalog.sources import read_source
from tellapart.catalog.splits import make_splits
from tellapart.errors import UserError
from tellapart.jobs.explore import check_page
from tellapart.pipeline.looking import look_through, memory_for, name_of
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.recipe_files import load_recipe
from tellapart.report.find_rate.page import rate_lines, render_rates
from tellapart.writing import write_whole

if TYPE_CHECKING:
    from tellapart.training.rate_finder import RateCurve

STEPS = 100  # at most; of a batch each


@dataclass(frozen=True)
class FoundRate:
    """What the finder found. `suggestion` is None where the loss fell at no rate; `page` shows the
    curve.
    """

    suggestion: float | None
    curve: RateCurve
    page: Path

    @property
    def lines(self) -> list[str]:
        """The suggestion for a terminal."""
        return rate_lines(self.curve.rates.tolist(), self.suggestion)

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        curve = {
            name: getattr(self.curve, name).tolist() for name in ("rates", "losses", "smoothed")
        }
        return {"suggestion": self.suggestion, **curve, "page": escape(str(self.page))}


def find_rate(
    data: str | PathLike[str],
    *,
    recipe: str | Recipe = "finetune",
    out: str | PathLike[str] | None = None,
    seed: int | None = None,
    set: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> FoundRate:
    """Try learning rates on the train images, and say with which to begin. Nothing that was trained
    is kept.

    Args:
        data: any source that `train` takes.
        recipe, set: as for `train`; the recipe must train by gradient. Its own `training.lr` plays
            no part.
        out: the page; `<name of the data>-rates.html` in the current folder by default.
        seed: of every random decision; the recipe's by default.
        quiet: print nothing.

    Raises:
        UserError: something that the user can fix, for example that the loss is not finite at any
            rate.
    """
    console, start = Console(quiet=quiet), time.monotonic()
    options = load_recipe(recipe, set, {"seed": seed})
    if options.method == "probe":
        raise UserError(
            f"The recipe {options.name!r} has no learning rate.",
            "Choose one with --recipe, as finetune.",
        )
    source = Path(data)
    page = Path(out) if out else Path(f"{name_of(source)}-rates.html")
    check_page(page)

    split, training = options.split, options.training
    catalog = read_source(
        source, group_column=split.group_column, weight_column=training.weight_column
    )
    console.say(
        f"{name_of(source)}: {catalog.source}; {len(catalog):,} files, {len(catalog.classes)}"
        " classes"
    )

    from tellapart.jobs.cv.pool import frozen_backbone, probe_on
    from tellapart.pipeline.gradient import training_step
    from tellapart.training.rate_finder import range_test

    with FeatureStore(cache_folder()) as store, memory_for(catalog, options) as memory:
        features = (
            frozen_backbone(options, store, console).features
            if options.method == "finetune"
            else None
        )
        catalog = drop_empty_classes(look_through(catalog, options, memory, console, hook=features))
        splits = make_splits(catalog, options.split, options.seed)
        probe = (
            probe_on(features, catalog, np.flatnonzero(splits == "train"), options)
            if features
            else None
        )
    step = training_step(catalog, splits, options, probe, console)
    with console.track("Trying rates", STEPS) as advance:

        def counted(rate: float) -> float:
            advance()
            return step(rate)

        curve = range_test(counted, count=STEPS)
    if len(curve.rates) < 2:
        raise UserError(
            "The loss is not finite, even at the lowest rate.",
            "Look at the data with tellapart explore.",
        )
    ran = {
        "recipe": options.name,
        "backbone": options.backbone.name,
        "batch": f"{options.training.batch_size} images",
        "seed": str(options.seed),
        "seconds": f"{time.monotonic() - start:.1f}",
    }
    points = (curve.rates.tolist(), curve.losses.tolist(), curve.smoothed.tolist())
    created = time.strftime("%d %B %Y, %H:%M")
    write_whole(page, render_rates(name_of(source), created, *points, curve.suggestion, ran))
    return FoundRate(curve.suggestion, curve, page)
