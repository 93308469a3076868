"""`pick`: which backbone to take, by what a probe on each is worth on the user's images, and what
each costs.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import FeatureStore, cache_folder
from tellapart.catalog.names import escape
from tellapart.catalog.table import SPLITS, Catalog
from tellapart.errors import UserError
from tellapart.experiments.latency import IMAGES, ROUNDS, measure_latency
from tellapart.experiments.pareto import (
    Advice,
    Budget,
    Candidate,
    Standing,
    advise,
    as_json,
    front,
    standings,
)
from tellapart.experiments.shortlist import entries
from tellapart.jobs.explore import check_page
from tellapart.jobs.pick.candidates import (
    Fitted,
    check_names,
    decoded,
    in_time,
    load_each,
    look_with_each,
)
from tellapart.options import BackboneOptions
from tellapart.pipeline.data import read_data
from tellapart.pipeline.request import Order, new_order
from tellapart.progress import Console, duration
from tellapart.recipe import Recipe, flat_items, option_text
from tellapart.recipe_files import load_recipe
from tellapart.report.parts.wording import images as images_in_words
from tellapart.report.pick.page import PickInput, PickRow, candidate_lines, render_picking
from tellapart.threads import usable_cores
from tellapart.writing import write_whole

RUNS = 2 * (ROUNDS * IMAGES + 1)  # of each model file, on one thread and on all


@dataclass(frozen=True)
class Picked:
    """Which backbone to take.

    Args:
        advice: the one to take, or None, and why.
        candidates: all that were measured, from fast to slow.
        failed: name → why it was not measured.
        budget: what the model file may cost.
        next: the command that trains with the one to take; "" if there is none.
        counts: images of each split; val was measured on.
        statuses: files of each status.
        seed: of splits and probes.
        seconds: it all took.
    """

    advice: Advice
    candidates: tuple[Candidate, ...]
    failed: Mapping[str, str]
    budget: Budget
    next: str
    counts: Mapping[str, int]
    statuses: Mapping[str, int]
    seed: int
    page: Path
    seconds: float

    @property
    def standings(self) -> Mapping[str, Standing]:
        """Name → how it stands to the most accurate of all that were measured, for all the
        others.
        """
        return standings(self.candidates)

    @property
    def rows(self) -> list[PickRow]:
        """The candidates as the page shows them."""
        chosen, against = self.advice.chosen, self.standings
        on_front = {one.name for one in front(self.candidates)}
        return [
            PickRow(
                name=one.name,
                accuracy=one.metrics.accuracy,
                balanced=one.metrics.balanced_accuracy,
                log_loss=one.metrics.log_loss,
                ms=(one.latency.median, one.latency.low, one.latency.high),
                all_cores_ms=one.spread.median if one.spread else None,
                megabytes=one.megabytes,
                parameters=one.parameters,
                size_px=one.size_px,
                licence=one.licence,
                seconds=one.seconds,
                standing=against[one.name].text if one.name in against else "the most accurate",
                on_front=one.name in on_front,
                within=self.budget.holds(one),
                chosen=one is chosen,
            )
            for one in self.candidates
        ]

    @property
    def lines(self) -> list[str]:
        """What was found, for a terminal: the advice, a line a candidate, what was not measured,
        the next command.
        """
        where = (
            f"Measured on {self.counts['val']:,} val images, seed {self.seed};"
            f" {self.counts['test']:,} test images"
        )
        lines = [*self.advice.lines, f"{where} kept away:", *candidate_lines(self.rows)]
        lines += [f"{name}: not measured. {reason}" for name, reason in self.failed.items()]
        return [*lines, *([f"next      {self.next}"] if self.next else [])]

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        chosen, against = self.advice.chosen, self.standings
        flags = {row.name: {"front": row.on_front, "within": row.within} for row in self.rows}
        return {
            "chosen": chosen and chosen.name,
            "advice": list(self.advice.lines),
            "next": self.next,
            "val": {"count": self.counts["val"], "seed": self.seed},
            "budget": {"max_ms": self.budget.max_ms, "max_mb": self.budget.max_mb},
            "candidates": [
                {**as_json(one, against.get(one.name)), **flags[one.name]}
                for one in self.candidates
            ],
            "failed": dict(self.failed),
            "statuses": dict(self.statuses),
            "page": escape(str(self.page)),
            "seconds": self.seconds,
        }


def pick(
    data: str | PathLike[str],
    *,
    backbones: Sequence[str] | None = None,
    max_ms: float | None = None,
    max_mb: float | None = None,
    budget_seconds: float | None = None,
    recipe: str | Recipe = "probe",
    out: str | PathLike[str] | None = None,
    seed: int | None = None,
    splits: str | PathLike[str] | None = None,
    group_by: str | None = None,
    strict: bool = False,
    set: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Picked:
    """Fit a probe on each backbone, measure it on val and its model file on this machine, and say
    which to take.

    The test images play no part: their features are kept for a later training, and nothing here
    reads them.

    Args:
        data: any source that `train` takes.
        backbones: what to look at, NAME or NAME=FILE of weights; None: a spread from fast to
            accurate, of which those are measured whose weights are here or can be fetched.
        max_ms, max_mb: what a model file may cost at most: milliseconds an image on one thread,
            megabytes.
        budget_seconds: how long this may take, about; the slowest are left out.
        recipe, seed, splits, group_by, strict, set: as for `train`; the recipe begins at a probe.
        out: the page; `<name of the data>-pick.html` in the current folder by default.
        quiet: print nothing.

    Raises:
        UserError: something that the user can fix, for example that no backbone can be measured, or
            there is no val.
    """
    console, began = Console(quiet=quiet), time.monotonic()
    budget = _budget(max_ms, max_mb, budget_seconds)
    options = load_recipe(recipe, set, {"seed": seed, "split.group_by": group_by})
    if options.method == "fit":
        raise UserError(
            f"The recipe {options.name!r} has no probe.",
            "Choose one with --recipe, as probe or finetune.",
        )
    others = {key: value for key, value in flat_items(set or {}) if not key.startswith("backbone.")}
    stated = load_recipe(recipe, others).backbone
    wanted = entries(backbones, options.backbone)
    order = new_order(
        data, options, out=Path(out or ".").parent, name=None, splits=splits, strict=strict
    )
    page = Path(out) if out else Path(f"{order.name}-pick.html")
    check_page(page)
    catalog = read_data(order, console)
    if backbones is not None:
        check_names(wanted, options)
    loaded, failed = load_each(wanted, options, console)
    _check_any(loaded, failed)
    with FeatureStore(cache_folder()) as store:
        if budget_seconds is not None:
            loaded, late = in_time(
                loaded, catalog, store, began + budget_seconds - time.monotonic(), RUNS
            )
            failed |= dict.fromkeys(
                late, f"It would not fit in {budget_seconds:g} seconds. Pick again to go on."
            )
        catalog, splits_of, fitted = look_with_each(order, catalog, loaded, failed, store, console)
    _check_any(fitted, failed)
    images = _sample(catalog.rows(splits_of == "val"), options)
    candidates = _measured(fitted, images, console)
    advice = advise(candidates, budget)
    given = {"recipe": recipe, "seed": seed, "splits": splits, "group-by": group_by}
    picked = Picked(
        advice=advice,
        candidates=candidates,
        failed=failed,
        budget=budget,
        next=_next(data, given, strict, others, stated, fitted, advice),
        counts={split: int((splits_of == split).sum()) for split in SPLITS},
        statuses=catalog.status_counts,
        seed=options.seed,
        page=page,
        seconds=round(time.monotonic() - began, 1),
    )
    write_whole(page, render_picking(_page(picked, order, catalog, images)))
    return picked


def _budget(max_ms: float | None, max_mb: float | None, seconds: float | None) -> Budget:
    for name, value in (("max-ms", max_ms), ("max-mb", max_mb), ("budget", seconds)):
        if value is not None and not value > 0:
            raise UserError(
                f"--{name} must be above 0, got {value:g}.", "Leave it out for no limit."
            )
    return Budget(max_ms, max_mb)


def _check_any(left: Sequence[object], failed: Mapping[str, str]) -> None:
    if not left:
        reasons = " ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise UserError(
            f"No backbone could be measured. {reasons}",
            "Name others with --backbones NAME or NAME=FILE.",
        )


def _sample(val: Catalog, recipe: Recipe) -> list[NDArray[np.uint8]]:
    """The images to measure time with, at their own size."""
    images = [pixels for _, pixels in decoded(val, IMAGES, recipe.decoding.max_pixels)]
    if not images:
        raise UserError(
            "The val images can no longer be read.", "Restore the data, and pick again."
        )
    return images


def _measured(
    fitted: Sequence[Fitted], images: Sequence[NDArray[np.uint8]], console: Console
) -> tuple[Candidate, ...]:
    """The candidates with their latencies, from fast to slow."""
    models, cores = {one.loaded.name: one.model for one in fitted}, usable_cores()
    console.say(
        f"Timing {len(models)} model files on {len(images)} val images, {ROUNDS} times, in turns"
    )
    alone = measure_latency(models, images, 1)
    spread = measure_latency(models, images, cores) if cores > 1 else {}
    candidates = [
        Candidate(
            name=one.loaded.name,
            val=one.val,
            metrics=one.metrics,
            latency=alone[one.loaded.name],
            spread=spread.get(one.loaded.name),
            megabytes=len(one.model) / 1e6,
            parameters=one.loaded.parameters,
            size_px=one.loaded.network.preprocessing.size_px,
            licence=one.loaded.network.licence,
            source=one.loaded.network.source,
            seconds=one.seconds,
        )
        for one in fitted
    ]
    return tuple(sorted(candidates, key=lambda one: one.latency.median))


def _next(
    data: str | PathLike[str],
    given: Mapping[str, Any],
    strict: bool,
    others: Mapping[str, Any],
    stated: BackboneOptions,
    fitted: Sequence[Fitted],
    advice: Advice,
) -> str:
    """The command that trains with the chosen one, with the options that decided here too.

    Args:
        others: the user's changes, but for those of the backbone.
        stated: the recipe's backbone without these.
    """
    if advice.chosen is None:
        return ""
    words = ["tellapart", "train", fspath(data)]
    for name, value in given.items():
        if (
            value is not None
            and not isinstance(value, Recipe)
            and (name, value) != ("recipe", "probe")
        ):
            words += [f"--{name}", str(value)]
    words += ["--strict"] if strict else []
    (chosen,) = (one.loaded for one in fitted if one.loaded.name == advice.chosen.name)
    for key, value in {**others, **chosen.entry.settings(stated)}.items():
        words += ["--set", f"{key}={option_text(value)}"]
    return shlex.join(words)


def _page(
    picked: Picked, order: Order, catalog: Catalog, images: Sequence[NDArray[np.uint8]]
) -> PickInput:
    recipe, cores = order.recipe, usable_cores()
    sizes = sorted({f"{one.shape[1]} × {one.shape[0]}" for one in images})
    return PickInput(
        title=order.name,
        created=time.strftime("%d %B %Y, %H:%M"),
        advice=picked.advice.lines,
        rows=picked.rows,
        failed=picked.failed,
        next=picked.next,
        uneven=picked.candidates[0].metrics.balanced_first,
        cores=cores,
        ran={
            "data": catalog.source,
            "train, val, test": ", ".join(f"{count:,}" for count in picked.counts.values()),
            "seed": str(recipe.seed),
            "recipe": recipe.name,
            "budget": str(picked.budget) or "none",
            "timed": (
                f"{ROUNDS} × {images_in_words(len(images))} of val, one at a time, the files in"
                " turns"
            ),
            "their sizes, pixels": ", ".join(sizes),
            "cores": str(cores),
            **{f"weights of {one.name}": one.source for one in picked.candidates},
            "took": duration(picked.seconds),
        },
    )
