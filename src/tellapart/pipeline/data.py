"""The first part of a training: the data read, looked at and divided, and what there is to say of
it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tellapart.catalog.scan import drop_empty_classes
from tellapart.catalog.sources import read_source
from tellapart.catalog.splits import make_splits
from tellapart.catalog.table import Catalog, Column
from tellapart.datasets import fetch
from tellapart.pipeline.findings import find_all, refuse_findings
from tellapart.pipeline.learned import Learned
from tellapart.pipeline.looking import look_through, memory_for
from tellapart.pipeline.record import Trained
from tellapart.pipeline.request import Order
from tellapart.pipeline.ship import Shipped, reference_rows
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.report.parts.data_section import Finding


@dataclass(frozen=True)
class Seen:
    """The data, looked at and divided."""

    catalog: Catalog
    splits: Column
    findings: tuple[Finding, ...]


def read_data(order: Order, console: Console) -> Catalog:
    """What there is. Its line is the first that is printed."""
    if order.dataset:
        fetch(order.dataset, console)
    split, training = order.recipe.split, order.recipe.training
    catalog = read_source(
        order.source, group_column=split.group_column, weight_column=training.weight_column
    )
    console.say(
        f"{order.name}: {catalog.source}; {len(catalog):,} files, {len(catalog.classes)} classes"
    )
    return catalog


def look(
    order: Order, catalog: Catalog, features: FeatureExtractor | None, console: Console
) -> tuple[Catalog, Column]:
    """Every file looked at, and the images divided."""
    with memory_for(catalog, order.recipe) as memory:
        catalog = drop_empty_classes(
            look_through(catalog, order.recipe, memory, console, hook=features)
        )
    how = f"; features computed for {features.computed:,}, kept for the rest" if features else ""
    console.say(f"{int(catalog.ok.sum()):,} images read{how}")
    return catalog, divide(order, catalog, console)


def divide(order: Order, catalog: Catalog, console: Console) -> Column:
    """The split of each image: as it was saved, or made."""
    saved = order.saved_splits_of(catalog, console)
    return make_splits(catalog, order.recipe.split, order.recipe.seed) if saved is None else saved


def look_and_tell(
    order: Order, catalog: Catalog, features: FeatureExtractor | None, console: Console
) -> Seen:
    """Every file looked at, the images divided, and what there is to say of both."""
    catalog, splits = look(order, catalog, features, console)
    return Seen(catalog, splits, find_and_tell(order, catalog, splits, console))


def find_and_tell(
    order: Order, catalog: Catalog, splits: Column, console: Console
) -> tuple[Finding, ...]:
    """What there is to say of the data, and said."""
    findings = find_all(catalog, splits, order.recipe.split if order.own_splits else None)
    tell_findings(findings, order, console)
    return findings


def tell_findings(findings: tuple[Finding, ...], order: Order, console: Console) -> None:
    """Say each finding; end here if the order is strict about one of them."""
    for finding in findings:
        console.say(f"note: {finding.text}")
    if order.strict:
        refuse_findings(findings)


def look_again(learned: Learned, seen: Seen, recipe: Recipe, console: Console) -> Seen:
    """The trained network's features of all that is measured; what has changed since the scan is
    left out and named.
    """
    catalog, splits = seen.catalog, seen.splits
    rows = np.flatnonzero(np.isin(splits, ("val", "test")))
    known = reference_rows(catalog, splits, learned.width, recipe.seed)
    gone = learned.look(catalog, np.concatenate([rows, known]), recipe.decoding.max_pixels, console)
    if not gone:
        return seen
    left = splits.copy()
    left[np.isin(catalog.paths, gone)] = ""
    return replace(seen, splits=left, findings=(*seen.findings, changed_finding(gone)))


def changed_finding(paths: list[str]) -> Finding:
    """That images changed during the run."""
    shown = ", ".join(map(repr, paths[:5])) + (" …" if len(paths) > 5 else "")
    return Finding(
        "changed",
        f"{len(paths):,} images were changed during the run, and are left out: {shown}.",
        (),
    )


def trained_of(order: Order, seen: Seen, shipped: Shipped, **learned: Any) -> Trained:
    """All that a training is to write down; `learned` are the fields of `Trained` that tell how it
    learned.
    """
    changed = (changed_finding(list(shipped.changed)),) if shipped.changed else ()
    return Trained(
        recipe=order.recipe,
        catalog=seen.catalog,
        splits=seen.splits,
        findings=(*seen.findings, *changed),
        network=shipped.network,
        calibration=shipped.calibration,
        parity=shipped.parity,
        val=shipped.val,
        test=shipped.test,
        metrics=shipped.metrics,
        model=shipped.model,
        **learned,
    )
