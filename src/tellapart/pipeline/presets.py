"""Presets: one word says how much time a model may cost, and measurements choose its backbone.

fast      the packaged backbone that is the default; nothing is measured
balanced  the most accurate packaged backbone within three times the time of fast
best      the most accurate backbone of the shortlist that is here, fine-tuned within a budget
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.duplicates import clusters
from tellapart.catalog.scan import scan
from tellapart.catalog.table import Catalog
from tellapart.cores import usable_cores
from tellapart.errors import UserError, choose, need_torch
from tellapart.experiments.extractors import Extractors
from tellapart.experiments.latency import FILES, IMAGES, measure_decoding, measure_embedding
from tellapart.experiments.preset_choice import (
    HeldOutAnswers,
    Measured,
    PresetChoice,
    reason_for,
)
from tellapart.experiments.shortlist import entries, packaged_entries
from tellapart.keyed import keyed_numbers
from tellapart.options import BackboneOptions
from tellapart.pipeline.data import Data, load_data, read_data, scan_memory
from tellapart.pipeline.loaded_backbones import (
    Loaded,
    decoded,
    files_of,
    load_each,
    undivided,
)
from tellapart.pipeline.probe import FrozenBackbone, fit_head, frozen_for
from tellapart.pipeline.request import Request
from tellapart.pipeline.services import Services
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.progress import Console
from tellapart.recipe import Recipe, flat_items

PRESETS = ("fast", "balanced", "best")
TIMES = 3.0  # the most that balanced may take of the time of fast
BUDGET_MINUTES = 30.0  # of best, where the user names none
CHOICE_SHARE = 1 / 3  # of the budget, for all measurements; the rest is for fine-tuning
SAMPLE = 3000  # train images that candidates are measured on: enough to tell some 2 points apart


@dataclass(frozen=True)
class Prepared:
    """What a preset has read and loaded, so that the training does neither again.

    Args:
        data: scanned and divided.
        frozen: the backbone that was chosen, which has embedded a sample of the images.
    """

    data: Data
    frozen: FrozenBackbone

    def embedded(self, recipe: Recipe, console: Console) -> tuple[FrozenBackbone, Data]:
        """The backbone when it has embedded all images, and the data without those that changed."""
        used = np.flatnonzero(self.data.catalog.splits != "")
        changed = self.frozen.embed_rows(self.data.catalog, used, recipe, console)
        return self.frozen, self.data.without(changed)


def recipe_of_preset(
    preset: str, recipe: str | Recipe, changes: Mapping[str, Any] | None
) -> str | Recipe:
    """The recipe that a preset trains by, before its backbone is chosen.

    Args:
        preset: one of `PRESETS`.
        recipe: what the user names beside it.
        changes: the user's recipe keys.

    Raises:
        UserError: the preset is unknown, a recipe or a backbone is named beside it, several
            processes train together, or it needs packages that are not installed.
    """
    choose("preset", preset, PRESETS)
    keys = [key for key, _ in flat_items(changes or {}) if key.startswith("backbone.")]
    named = [*(["--recipe"] if recipe != "probe" else []), *(f"--set {key}" for key in keys)]
    if named:
        raise UserError(
            f"--preset {preset} chooses recipe and backbone itself, so it does not go with"
            f" {' and '.join(named)}.",
            "Leave one of them out.",
        )
    if preset != "fast" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            f"--preset {preset} measures before it trains, and several processes would not all"
            " choose alike.",
            "Choose with tellapart pick DATA, and name its choice with --set backbone.name=NAME.",
        )
    if preset == "best":
        need_torch("--preset best")
    return "finetune" if preset == "best" else "probe"


def prepare(preset: str, request: Request, services: Services) -> tuple[Request, Prepared | None]:
    """Choose the backbone of a preset by out-of-fold accuracy on train images, and by time.

    The test images play no part. Candidates that are too slow are left out before they embed
    anything.

    Args:
        preset: one of `PRESETS`.
        request: by the recipe of `recipe_of_preset`.
        services: the store keeps what is computed, for the training that follows.

    Returns:
        The request with the recipe to train by, and what was read and loaded for it; None where
        nothing was.
    """
    if preset == "fast":
        why = f"{request.recipe.backbone.name} is the default, and nothing was measured."
        choice = PresetChoice(preset=preset, chosen=request.recipe.backbone.name, why=why)
        choice.tell(services.console)
        return replace(request, preset=choice.as_json()), None
    if preset == "best":
        request = replace(request, recipe=_with_budget(request.recipe))
    console = services.console
    catalog = read_data(request, console)
    services.clock.lap("reading")
    frozen = frozen_for(request.recipe, services, request.extensions, catalog)
    assert frozen  # the recipes of presets start at a probe
    data = load_data(request, catalog, console, frozen.features)
    services.clock.lap("features")
    loaded, skipped = _candidates(preset, request.recipe, console, undivided(data.catalog))
    choice, chosen = _choose(preset, request.recipe, data.catalog, loaded, skipped, services)
    choice.tell(console)
    services.clock.lap("preset")
    request = replace(request, recipe=chosen.recipe, preset=choice.as_json())
    extractor = FeatureExtractor(chosen.features_graph, services.store)
    return request, Prepared(data, chosen.frozen(extractor))


def _with_budget(recipe: Recipe) -> Recipe:
    minutes = recipe.training.budget_minutes or BUDGET_MINUTES
    return replace(recipe, training=replace(recipe.training, budget_minutes=minutes))


def _candidates(
    preset: str, recipe: Recipe, console: Console, catalog: Catalog
) -> tuple[list[Loaded], dict[str, str]]:
    """The candidates that are here, with the preset's default first, and why others are not."""
    if preset == "balanced":
        return load_each(packaged_entries(), recipe, console, catalog, fetch=False)
    # Gradients need fp32, which is what these networks have without a precision.
    shortlist = [entry.without_precision() for entry in entries(None, BackboneOptions())]
    shortlist.sort(key=lambda entry: entry.options != recipe.backbone)
    return load_each(shortlist, recipe, console, catalog, fetch=False)


def _choose(
    preset: str,
    recipe: Recipe,
    catalog: Catalog,
    loaded: Sequence[Loaded],
    skipped: Mapping[str, str],
    services: Services,
) -> tuple[PresetChoice, Loaded]:
    """The most accurate candidate within the preset's time."""
    rows = _sample(catalog, recipe.seed)
    with services.console.step("Timing the networks"):
        times = measure_times(loaded, catalog.rows(_mask(catalog, rows)))
    within, late = _in_time(preset, recipe, loaded, times, len(rows))
    judged = _judged(within, catalog, rows, services)
    measured = sorted(
        (Measured(name, answers.accuracy, times[name]) for name, answers in judged.items()),
        key=lambda row: row.ms,
    )
    # Of equals the fastest, which comes first.
    best = max(measured, key=lambda row: row.accuracy.value, default=None)
    chosen = loaded[0]
    if best:
        chosen = next(candidate for candidate in loaded if candidate.name == best.name)
    choice = PresetChoice(
        preset=preset,
        chosen=chosen.name,
        why=f"{reason_for(judged, chosen.name, loaded[0].name)} {_limit(preset, recipe)}",
        measured=tuple(measured),
        skipped={**skipped, **late},
    )
    return choice, chosen


def _limit(preset: str, recipe: Recipe) -> str:
    """What a preset allows."""
    if preset == "balanced":
        return f"Each may take {TIMES:g} times as long as the default."
    return (
        f"It is fine-tuned until {recipe.training.budget_minutes:g} minutes after the start;"
        " --budget sets another limit."
    )


def _sample(catalog: Catalog, seed: int) -> NDArray[np.int64]:
    """The train images to measure on, chosen by seed and content."""
    rows = catalog.split("train")
    order = np.argsort(keyed_numbers(seed, "preset", catalog.digests[rows]), kind="stable")
    return np.sort(rows[order[:SAMPLE]])


def _mask(catalog: Catalog, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    mask = np.zeros(len(catalog), bool)
    mask[rows] = True
    return mask


def measure_times(loaded: Sequence[Loaded], sample: Catalog) -> dict[str, float]:
    """Name → milliseconds from the bytes of an image file to its embedding."""
    images = [pixels for _, pixels in decoded(sample, IMAGES, sample.rules)]
    decoding = measure_decoding(files_of(sample, FILES), sample.rules).median
    graphs = {candidate.name: candidate.features_graph for candidate in loaded}
    return {
        name: decoding + latency.median
        for name, latency in measure_embedding(graphs, images).items()
    }


def _in_time(
    preset: str, recipe: Recipe, loaded: Sequence[Loaded], times: Mapping[str, float], count: int
) -> tuple[list[Loaded], dict[str, str]]:
    """The candidates to measure, the default first, and why the others are too slow."""
    default, *others = loaded
    limit = TIMES * times[default.name]
    left = 60 * (recipe.training.budget_minutes or 0.0) * CHOICE_SHARE
    within, late = [default], {}
    for candidate in sorted(others, key=lambda candidate: times[candidate.name]):
        took = times[candidate.name]
        left -= took / 1000 * count / usable_cores()
        if preset == "balanced" and took > limit:
            late[candidate.name] = (
                f"An image takes {took:.3g} ms, more than {TIMES:g} times the"
                f" {times[default.name]:.3g} ms of {default.name}."
            )
        elif preset == "best" and left < 0:
            late[candidate.name] = "There is no time for it in a third of the budget."
        else:
            within.append(candidate)
    return within, late


def _judged(
    loaded: Sequence[Loaded], catalog: Catalog, rows: NDArray[np.int64], services: Services
) -> dict[str, HeldOutAnswers]:
    """Name → how its probe answers these rows, each by a head that never saw it."""
    part, console = catalog.rows(_mask(catalog, rows)), services.console
    extractors = Extractors(
        {
            candidate.name: FeatureExtractor(candidate.features_graph, services.store)
            for candidate in loaded
        }
    )
    with (
        scan_memory(part, loaded[0].recipe) as memory,
        console.track("Embedding a sample with each backbone", len(part)) as advance,
    ):
        scan(part, rules=part.rules, hook=extractors, memory=memory, advance=advance)
    judged = {}
    with console.track("Fitting a probe on each", len(loaded)) as advance:
        for candidate in loaded:
            features = extractors.working.get(candidate.name)
            if features is not None:
                answers = _held_out(candidate, features, catalog, rows)
                if answers is not None:
                    judged[candidate.name] = answers
            advance()
    return judged


def _held_out(
    candidate: Loaded,
    features: FeatureExtractor,
    catalog: Catalog,
    rows: NDArray[np.int64],
) -> HeldOutAnswers | None:
    """The out-of-fold answers of a candidate; None where no image could be held out."""
    held_out = fit_head(candidate.frozen(features), catalog, rows, candidate.recipe).held_out
    if held_out is None or not len(held_out.rows):
        return None
    right = held_out.logits.argmax(axis=1) == catalog.labels[held_out.rows]
    return HeldOutAnswers(held_out.rows, right, clusters(catalog)[held_out.rows])
