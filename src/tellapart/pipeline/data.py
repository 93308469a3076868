"""The data of a training: read, scanned, divided, and what there is to say about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tellapart.cache import ScanMemory, cache_folder
from tellapart.catalog.duplicates import link_copies, take_prints
from tellapart.catalog.findings import Finding
from tellapart.catalog.fixes import read_fixes
from tellapart.catalog.groups import group
from tellapart.catalog.inspect import ScanHook
from tellapart.catalog.scan import drop_empty_classes, scan
from tellapart.catalog.splits import make_splits
from tellapart.catalog.table import Catalog
from tellapart.datasets import fetch
from tellapart.decoders.rules import rules_of
from tellapart.errors import UserError
from tellapart.evaluation.rule import read_costs
from tellapart.phrases import count_of
from tellapart.pipeline.edited_copies import link_edited_copies
from tellapart.pipeline.findings import find_all, refuse_findings
from tellapart.pipeline.pages import source_line, splits_line
from tellapart.pipeline.request import Request
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.recipe_files import load_recipe
from tellapart.sources.reading import Reading
from tellapart.sources.source import Source, read_source


@dataclass(frozen=True)
class Data:
    """The data in hand: scanned and divided.

    Args:
        catalog: with its splits.
        findings: what there is to say about it, the worst kinds first.
        splits_digest: the hash of the splits as they were made. Images that change during the run
            leave their split later; the hash stays.
    """

    catalog: Catalog
    findings: tuple[Finding, ...]
    splits_digest: str

    def without(self, paths: Sequence[str]) -> Data:
        """The same data, where these images belong to no split because they changed."""
        if not paths:
            return self
        splits = self.catalog.splits.copy()
        splits[np.isin(self.catalog.paths, paths)] = ""
        findings = (*self.findings, changed_finding(paths))
        return replace(self, catalog=self.catalog.with_splits(splits), findings=findings)


def data_in_hand(catalog: Catalog, findings: tuple[Finding, ...] = ()) -> Data:
    """A catalog whose splits are set, as data."""
    return Data(catalog, findings, catalog.splits_digest)


def load_data(
    request: Request, catalog: Catalog, console: Console, hook: ScanHook | None = None
) -> Data:
    """Scan and divide the data, and say what there is to say about it.

    Args:
        catalog: as `read_data` gives it.
        hook: sees each image while it is decoded, so that no file is read twice.

    Raises:
        UserError: no such source, or too few images.
        Refused: saved splits do not fit the data, or the request is strict about a finding.
    """
    catalog = divide(request, scan_images(request, catalog, console, hook), console)
    console.say(splits_line(catalog))
    with console.step("Checking the data"):
        findings = find_all(
            catalog,
            request.recipe.splitting if request.own_splits else None,
            needs_val=request.recipe.by_gradient,
        )
    tell_findings(findings, request, console)
    return Data(catalog, findings, request.splits_digest(catalog))


def read_data(request: Request, console: Console) -> Catalog:
    """Which images there are. Its line is the first that a verb prints."""
    if request.dataset:
        fetch(request.dataset, console)
    return read_catalog(request.source, request.name, request.recipe, console)


def read_catalog(source: Source, name: str, recipe: Recipe, console: Console) -> Catalog:
    """Which images a source holds, before the scan."""
    with console.step("Listing the files"):
        catalog = read_source(source, reading_of(recipe))
    console.say(source_line(name, catalog))
    if recipe.data.fixes is not None:
        read_fixes(recipe.data.fixes)  # before any work, whether each line can be read
    read_costs(recipe.answer.costs, catalog.classes)  # before any work, whether they fit
    return catalog


def reading_of(recipe: Recipe) -> Reading:
    """What a recipe says of the form of the data."""
    return Reading(
        group_column=recipe.split.group_column,
        weight_column=recipe.training.weight_column,
        columns=dict(pair.split("=", 1) for pair in recipe.data.columns),
        label_by=recipe.data.label_by,
        crops=recipe.data.crops,
        rules=rules_of(recipe.decoding),
    )


def reading_by(changes: Mapping[str, Any]) -> Reading:
    """What recipe keys say of the form of the data, where there is no recipe.

    Raises:
        UserError: a key says something else.
    """
    return reading_of(recipe_of_form(changes))


def recipe_of_form(changes: Mapping[str, Any]) -> Recipe:
    """The plain recipe with keys that say how the data is read, for verbs that train nothing.

    Raises:
        UserError: a key says something else.
    """
    for key in changes:
        if not key.startswith("data."):
            raise UserError(
                f"{key} says nothing of the form of the data.",
                "Give data.columns, data.label_by, data.crops or data.fixes.",
            )
    return load_recipe(Recipe(), changes)


def scan_images(
    request: Request, catalog: Catalog, console: Console, hook: ScanHook | None = None
) -> Catalog:
    """Inspect every file; classes without a usable image are dropped."""
    with scan_memory(catalog, request.recipe) as memory:
        scanned = scan_files(catalog, request.recipe, memory, console, hook, engine=request.engine)
        catalog = drop_empty_classes(scanned)
        with console.step("Taking a print of each image"):
            catalog = take_prints(catalog, memory)
    usable, computed, features = int(catalog.ok.sum()), getattr(hook, "computed", None), ""
    if computed is not None:
        reused = f", reused for {usable - computed:,}" if usable > computed else ""
        features = f"; features computed for {computed:,}{reused}"
    console.say(f"{count_of(usable, 'image')} read{features}")
    return catalog


def scan_memory(catalog: Catalog, recipe: Recipe) -> ScanMemory:
    """What earlier scans of this source remember; a context manager that closes it."""
    return ScanMemory(cache_folder(), catalog.files.place, rules_of(recipe.decoding))


def scan_files(
    catalog: Catalog,
    recipe: Recipe,
    memory: ScanMemory,
    console: Console,
    hook: ScanHook | None = None,
    *,
    engine: str | None = None,
) -> Catalog:
    """The catalog scanned, with copies linked as `split.copies` says, and groups named.

    Args:
        catalog: before the scan.
        recipe: says how images are decoded, and which are copies.
        memory: of earlier scans.
        console: shows the progress.
        hook: sees each image while it is decoded.
        engine: "ray" lets a Ray cluster fill memory and features first.
    """
    rules = rules_of(recipe.decoding)
    if engine:
        from tellapart.pipeline.scan_on_ray import scan_on_ray

        scan_on_ray(catalog, rules, hook, memory, console)
    with console.track("Reading images", len(catalog)) as advance:
        catalog = scan(catalog, rules=rules, hook=hook, memory=memory, advance=advance)
    catalog = with_fixes(catalog, recipe)  # before copies are looked for, which compare labels
    kind = recipe.split.copies
    with console.step("Looking for copies") as task:
        catalog = link_copies(catalog, memory, kind, task.reach)
    if kind == "near" and isinstance(hook, FeatureExtractor):
        with console.step("Looking for edited copies"):
            catalog = link_edited_copies(catalog, hook, memory)
    return group(catalog, recipe.split.group_by)


def with_fixes(catalog: Catalog, recipe: Recipe) -> Catalog:
    """The scanned catalog as the decisions of `data.fixes` correct it.

    Raises:
        UserError: the file cannot be read, a line is no decision, or a label is no class.
    """
    if recipe.data.fixes is None:
        return catalog
    return read_fixes(recipe.data.fixes).apply(catalog)[0]


def divide(request: Request, catalog: Catalog, console: Console) -> Catalog:
    """The catalog with its splits: as they were saved, or made now."""
    saved = request.divide(catalog, console)
    if saved is not None:
        return saved
    with console.step("Dividing the images"):
        splits = make_splits(catalog, request.recipe.splitting, request.recipe.seed)
    return catalog.with_splits(splits)


def tell_findings(findings: Sequence[Finding], request: Request, console: Console) -> None:
    """Say each finding.

    Raises:
        Refused: the request is strict, and one of them is a leak or a label conflict.
    """
    for finding in findings:
        console.say(f"note: {finding.text}")
    if request.strict:
        refuse_findings(findings)


def changed_finding(paths: Sequence[str]) -> Finding:
    """That images changed during the run."""
    shown = ", ".join(map(repr, paths[:5])) + (" …" if len(paths) > 5 else "")
    text = f"{len(paths):,} images were changed during the run, and are left out: {shown}."
    return Finding("changed", text, ())


def changed_paths(before: Catalog, now: Catalog) -> list[str]:
    """The paths of images that are no longer what an earlier scan saw; both have the same rows."""
    return list(before.paths[(now.digests != before.digests) | ~now.ok])
