"""`pick`: which backbone to take, by what a probe on each is worth on the user's images, and what
each costs.
"""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.table import SPLITS, Catalog
from tellapart.cores import usable_cores
from tellapart.errors import UserError
from tellapart.experiments.advice import Advice, advise
from tellapart.experiments.latency import (
    FILES,
    IMAGES,
    ROUNDS,
    measure_decoding,
    measure_latency,
)
from tellapart.experiments.pareto import (
    Budget,
    Candidate,
    Latency,
    Standing,
    as_json,
    front,
    standings,
)
from tellapart.experiments.shortlist import entries
from tellapart.home import user_path
from tellapart.jobs.pick.candidates import Fitted, fit_candidates, in_time
from tellapart.modelfile.licences import in_words
from tellapart.options import BackboneOptions
from tellapart.phrases import count_of
from tellapart.pipeline.data import read_data
from tellapart.pipeline.loaded_backbones import check_names, decoded, files_of, load_each
from tellapart.pipeline.pages import WithPage, check_page, timestamp, write_page
from tellapart.pipeline.request import Request, new_request
from tellapart.pipeline.services import open_services
from tellapart.progress import Console, duration
from tellapart.recipe import Recipe, flat_items, option_text
from tellapart.recipe_files import load_recipe
from tellapart.report.parts.wording import images_in_groups
from tellapart.report.pick.page import PickInput, PickRow, candidate_lines, render_picking
from tellapart.sources.source import Source

RUNS = 2 * (ROUNDS * IMAGES + 1)  # of each model file, on one thread and on all


@dataclass(frozen=True, kw_only=True)
class Picked(WithPage):
    """Which backbone to take.

    Args:
        advice: the one to take, or None, and why.
        candidates: all that were measured, from fast to slow.
        failed: name → why it was not measured.
        budget: what the model file may cost, and what a millisecond is worth.
        next: the command that trains with the one to take; "" if there is none.
        counts: images of each split; val was measured on.
        statuses: files of each status.
        seed: of splits and probes.
        seconds: how long it took.
        html: the page.
        page: where it was written; None where no file was asked for.
    """

    advice: Advice
    candidates: tuple[Candidate, ...]
    failed: Mapping[str, str]
    budget: Budget
    next: str
    counts: Mapping[str, int]
    statuses: Mapping[str, int]
    seed: int
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
        on_front = {candidate.name for candidate in front(self.candidates)}
        return [
            PickRow(
                name=candidate.name,
                accuracy=candidate.metrics.accuracy,
                balanced=candidate.metrics.balanced_accuracy,
                log_loss=candidate.metrics.log_loss,
                ms=candidate.ms,
                decoding_ms=candidate.decoding.median,
                network_ms=(
                    candidate.latency.median,
                    candidate.latency.low,
                    candidate.latency.high,
                ),
                all_cores_ms=candidate.spread.median if candidate.spread else None,
                megabytes=candidate.megabytes,
                parameters=candidate.parameters,
                size_px=candidate.size_px,
                licence=in_words(candidate.licence),
                seconds=candidate.seconds,
                standing=against[candidate.name].text
                if candidate.name in against
                else "the most accurate",
                on_front=candidate.name in on_front,
                within=self.budget.holds(candidate),
                chosen=candidate is chosen,
            )
            for candidate in self.candidates
        ]

    @property
    def lines(self) -> list[str]:
        """What was found, for a terminal: the advice, a line a candidate, what was not measured,
        the next command.
        """
        where = (
            f"Measured on {images_in_groups(self.candidates[0].val, 'val image')}, seed {self.seed};"
            f" {self.counts['test']:,} test images kept away. Each time has"
            f" {self.candidates[0].decoding.median:.2g} ms of decoding:"
        )
        lines = [*self.advice.lines, where, *candidate_lines(self.rows)]
        lines += [f"{name}: not measured. {reason}" for name, reason in self.failed.items()]
        return [*lines, *([f"next      {self.next}"] if self.next else [])]

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        chosen, against = self.advice.chosen, self.standings
        flags = {row.name: {"front": row.on_front, "within": row.within} for row in self.rows}
        return {
            "chosen": chosen and chosen.name,
            "advice": list(self.advice.lines),
            "next": self.next,
            "val": {"count": self.counts["val"], "seed": self.seed},
            "budget": {
                "max_ms": self.budget.max_ms,
                "max_mb": self.budget.max_mb,
                "ms_worth": self.budget.ms_worth,
            },
            "candidates": [
                {**as_json(candidate, against.get(candidate.name)), **flags[candidate.name]}
                for candidate in self.candidates
            ],
            "failed": dict(self.failed),
            "statuses": dict(self.statuses),
            "page": self.escaped_page,
            "seconds": self.seconds,
        }


def pick(
    data: Source,
    *,
    backbones: Sequence[str] | None = None,
    max_ms: float | None = None,
    max_mb: float | None = None,
    ms_worth: float | None = None,
    budget_seconds: float | None = None,
    recipe: str | Recipe = "probe",
    out: str | PathLike[str] | None = None,
    seed: int | None = None,
    splits: str | PathLike[str] | None = None,
    group_by: str | None = None,
    copies: str | None = None,
    strict: bool = False,
    set: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Picked:
    """Fit a probe on each backbone, measure it on val and its model file on this machine, and say
    which to take.

    The test images play no part: their features are kept for a later training, and nothing here
    reads them.

    Args:
        data: the images, in any form that `train` takes.
        backbones: what to try: NAME, with @PIXELS for another size of input, :int8 or :fp32 for
            another precision, and =FILE for weights, in this order. Weights that are not here are
            fetched. None means the shortlist, of which those are measured whose weights are here.
        max_ms: the most milliseconds that an image may take on one thread, decoding included.
        max_mb: the largest size of a model file, in megabytes.
        ms_worth: points of accuracy that a millisecond per image is worth. None takes the best
            estimate of accuracy, whatever its time.
        budget_seconds: about how long this may take; the slowest backbones are left out.
        recipe: the recipe, which must start at a probe.
        out: the HTML page to write. None writes no file; `Picked.save` writes it later.
        seed: the seed of splits and probes. Default: the recipe's.
        splits: the splits of an earlier run.
        group_by: what must stay on one side of the split, as for `train`.
        copies: which images count as copies of each other, as for `train`.
        strict: refuse data with leaks or label conflicts, rather than report them.
        set: recipe keys and their values.
        quiet: print nothing.

    Returns:
        The advice, the candidates, the command that trains with the one to take, and the page.

    Raises:
        UserError: something that the user can fix, for example that no backbone can be measured, or
            there is no val.

    >>> small = {"preprocessing.size_px": 64}
    >>> picked = tellapart.pick(photos, backbones=["tf_efficientnet_lite0"], set=small, quiet=True)
    >>> picked.advice.chosen.name
    'tf_efficientnet_lite0'
    """
    began, budget = time.monotonic(), _budget(max_ms, max_mb, ms_worth, budget_seconds)
    options = load_recipe(
        recipe, set, {"seed": seed, "split.group_by": group_by, "split.copies": copies}
    )
    if not options.starts_at_probe:
        raise UserError(
            f"The recipe {options.name!r} has no probe.",
            "Choose one with --recipe, as probe or finetune.",
        )
    others = {key: value for key, value in flat_items(set or {}) if not key.startswith("backbone.")}
    stated = load_recipe(recipe, others).backbone
    wanted = entries(backbones, options.backbone)
    runs = user_path(out or ".").parent
    request = new_request(
        data, options.with_val(), out=runs, name=None, splits=splits, strict=strict
    )
    check_page(out)
    with open_services(quiet=quiet) as services:
        console = services.console
        catalog = read_data(request, console)
        if backbones is not None:
            check_names(wanted, options)
        loaded, failed = load_each(wanted, options, console, catalog, fetch=backbones is not None)
        _check_any(loaded, failed)
        if budget_seconds is not None:
            left = began + budget_seconds - time.monotonic()
            loaded, late = in_time(loaded, catalog, services.store, left, RUNS)
            reason = f"It would not fit in {budget_seconds:g} seconds. Pick again to go on."
            failed |= dict.fromkeys(late, reason)
        catalog, fitted = fit_candidates(request, catalog, loaded, failed, services)
    _check_any(fitted, failed)
    val = catalog.rows(catalog.splits == "val")
    images = sample_images(val)
    decoding = measure_decoding(files_of(val, FILES), val.rules)
    candidates = _measured(fitted, images, decoding, console)
    advice = advise(candidates, budget)
    given = {
        "recipe": recipe,
        "seed": seed,
        "splits": splits,
        "group-by": group_by,
        "copies": copies,
    }
    picked = Picked(
        advice=advice,
        candidates=candidates,
        failed=failed,
        budget=budget,
        next=_next(request, given, strict, others, stated, fitted, advice),
        counts={split: len(catalog.split(split)) for split in SPLITS},
        statuses=catalog.status_counts,
        seed=options.seed,
        seconds=round(time.monotonic() - began, 1),
        html="",
    )
    html = render_picking(_page(picked, request, catalog, images))
    return replace(picked, html=html, page=write_page(out, html))


def _budget(
    max_ms: float | None, max_mb: float | None, ms_worth: float | None, seconds: float | None
) -> Budget:
    limits = {"max-ms": max_ms, "max-mb": max_mb, "ms-worth": ms_worth, "budget": seconds}
    for name, value in limits.items():
        if value is not None and not 0 < value < math.inf:
            raise UserError(
                f"--{name} must be a number above 0, got {value:g}.", f"Leave out --{name}."
            )
    return Budget(max_ms, max_mb, ms_worth)


def _check_any(left: Sequence[object], failed: Mapping[str, str]) -> None:
    if not left:
        reasons = " ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise UserError(
            f"No backbone could be measured. {reasons}",
            "Name others with --backbones NAME or NAME=FILE.",
        )


def sample_images(val: Catalog) -> list[NDArray[np.uint8]]:
    """The images to measure time with, at their own size."""
    images = [pixels for _, pixels in decoded(val, IMAGES, val.rules)]
    if not images:
        raise UserError(
            "The val images can no longer be read.", "Restore the data, and pick again."
        )
    return images


def _measured(
    fitted: Sequence[Fitted],
    images: Sequence[NDArray[np.uint8]],
    decoding: Latency,
    console: Console,
) -> tuple[Candidate, ...]:
    """The candidates with their latencies, from fast to slow."""
    models = {candidate.loaded.name: candidate.model for candidate in fitted}
    cores, images_timed = usable_cores(), count_of(len(images), "val image")
    console.say(
        f"Timing {count_of(len(models), 'model file')} on {images_timed}, {ROUNDS} times, in turns"
    )
    with console.step("Timing the model files"):
        alone = measure_latency(models, images, 1)
        spread = measure_latency(models, images, cores) if cores > 1 else {}
    candidates = [
        Candidate(
            name=probe.loaded.name,
            val=probe.val,
            metrics=probe.metrics,
            latency=alone[probe.loaded.name],
            decoding=decoding,
            spread=spread.get(probe.loaded.name),
            megabytes=len(probe.model) / 1e6,
            parameters=probe.loaded.parameters,
            size_px=probe.loaded.network.preprocessing.size_px,
            licence=probe.loaded.network.licence,
            source=probe.loaded.network.source,
            seconds=probe.seconds,
        )
        for probe in fitted
    ]
    return tuple(sorted(candidates, key=lambda candidate: candidate.ms))


def _next(
    request: Request,
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
    data = request.source
    words = ["tellapart", "train", str(data) if isinstance(data, Path | str) else "DATA"]
    for name, value in given.items():
        if (
            value is not None
            and not isinstance(value, Recipe)
            and (name, value) != ("recipe", "probe")
        ):
            words += [f"--{name}", str(value)]
    words += ["--strict"] if strict else []
    loaded = {probe.loaded.name: probe.loaded for probe in fitted}
    chosen = loaded[advice.chosen.name]
    for key, value in {**others, **chosen.entry.settings(stated)}.items():
        words += ["--set", f"{key}={option_text(value)}"]
    return shlex.join(words)


def _page(
    picked: Picked, request: Request, catalog: Catalog, images: Sequence[NDArray[np.uint8]]
) -> PickInput:
    recipe, cores = request.recipe, usable_cores()
    sizes = sorted({f"{pixels.shape[1]} × {pixels.shape[0]}" for pixels in images})
    return PickInput(
        title=request.name,
        created=timestamp(),
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
            "limits": str(picked.budget) or "none",
            "worth of a millisecond": _worth(picked.budget),
            "timed": (
                f"{ROUNDS} × {count_of(len(images), 'image')} of val, one at a time, the model files"
                f" in turns; decoding of up to {FILES} files of val"
            ),
            "their sizes, pixels": ", ".join(sizes),
            "cores": str(cores),
            **{f"weights of {candidate.name}": candidate.source for candidate in picked.candidates},
            "took": duration(picked.seconds),
        },
    )


def _worth(budget: Budget) -> str:
    """What a millisecond is worth, for the page."""
    if budget.ms_worth is None:
        return "not stated"
    return f"{budget.ms_worth:g} points of accuracy"
