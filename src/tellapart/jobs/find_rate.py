"""`find-rate`: a short training at rising learning rates, its plot, and the rate to begin with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Unpack

from tellapart.errors import UserError
from tellapart.extensions import Extensions, Parts
from tellapart.pipeline.data import divide, read_data, scan_images
from tellapart.pipeline.pages import WithPage, check_page, timestamp, write_page
from tellapart.pipeline.probe import fit_train, frozen_for
from tellapart.pipeline.request import new_request
from tellapart.pipeline.services import open_services
from tellapart.recipe import Recipe
from tellapart.recipe_files import load_recipe
from tellapart.report.find_rate.page import rate_lines, render_rates
from tellapart.sources.source import Source, name_of

if TYPE_CHECKING:
    from tellapart.training.rate_finder import RateCurve

STEPS = 100  # at most; of a batch each


@dataclass(frozen=True, kw_only=True)
class FoundRate(WithPage):
    """What the learning-rate test found.

    Args:
        suggestion: the rate to begin with; None where the loss fell at no rate.
        curve: the loss over the rate.
        html: the page that shows it.
        page: where it was written; None where no file was asked for.
    """

    suggestion: float | None
    curve: RateCurve

    @property
    def lines(self) -> list[str]:
        """The suggestion for a terminal."""
        return rate_lines(self.curve.rates.tolist(), self.suggestion)

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        names = ("rates", "losses", "smoothed")
        curve = {name: getattr(self.curve, name).tolist() for name in names}
        return {"suggestion": self.suggestion, **curve, "page": self.escaped_page}


def find_rate(
    data: Source,
    *,
    recipe: str | Recipe = "finetune",
    out: str | PathLike[str] | None = None,
    seed: int | None = None,
    set: Mapping[str, Any] | None = None,
    quiet: bool = False,
    **parts: Unpack[Parts],
) -> FoundRate:
    """Try learning rates on the train images, and suggest one. Nothing that was trained is kept.

    Args:
        data: the images, in any form that `train` takes.
        recipe: the recipe, which must train by gradient. Its own `training.lr` plays no part.
        out: the HTML page to write. None writes no file; `FoundRate.save` writes it later.
        seed: the seed of every random decision. Default: the recipe's.
        set: recipe keys and their values.
        quiet: print nothing.
        parts: your own `networks=`, `losses=`, `optimizers=`, `transforms=` and so on, as for
            `train`.

    Returns:
        The suggestion, the curve and the page.

    Raises:
        UserError: something that the user can fix, for example that the loss is not finite at any
            rate.

    >>> found = tellapart.find_rate(photos, recipe="cifar10-cnn", quiet=True)
    >>> found.suggestion is None or 1e-7 < found.suggestion < 10
    True
    """
    start, extensions = time.monotonic(), Extensions(**parts)
    options = load_recipe(recipe, set, {"seed": seed}, extensions)
    if not options.by_gradient:
        raise UserError(
            f"The recipe {options.name!r} has no learning rate.",
            "Choose one with --recipe, as finetune.",
        )
    check_page(out)
    request = new_request(
        data, options, out=".", name=None, splits=None, strict=False, extensions=extensions
    )

    with open_services(quiet=quiet) as services:
        console = services.console
        with console.step("Loading PyTorch"):
            from tellapart.pipeline.rate_test import rate_curve_of
        catalog = read_data(request, console)
        frozen = frozen_for(options, services, request.extensions, catalog)
        hook = frozen.features if frozen else None
        catalog = divide(request, scan_images(request, catalog, console, hook), console)
        probe = None
        if frozen:
            with services.step("head", "Fitting the head") as task:
                probe = fit_train(frozen, catalog, options, task.reach)
        curve = rate_curve_of(catalog, options, probe, services, extensions, steps=STEPS)
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
    html = render_rates(name_of(data), timestamp(), *points, curve.suggestion, ran)
    return FoundRate(
        suggestion=curve.suggestion, curve=curve, html=html, page=write_page(out, html)
    )
