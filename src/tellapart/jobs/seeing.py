"""The first part of a training: the data read, looked at and divided, and what there is to say of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tellapart.catalog.scan import drop_empty_classes
from tellapart.catalog.sources import read_source
from tellapart.catalog.splits import make_splits
from tellapart.catalog.table import Catalog, Column
from tellapart.datasets import fetch
from tellapart.jobs.findings import find_all, refuse_findings
from tellapart.jobs.learned import Learned
from tellapart.jobs.looking import look_through, memory_for
from tellapart.jobs.orders import Order
from tellapart.jobs.record import Trained
from tellapart.jobs.shipping import Shipped, known_rows
from tellapart.progress import Talk
from tellapart.recipe import Recipe
from tellapart.report.data import Finding
from tellapart.training.features import FeatureExtractor


@dataclass(frozen=True)
class Seen:
    """The data, looked at and divided."""

    catalog: Catalog
    splits: Column
    findings: tuple[Finding, ...]


def read_data(order: Order, talk: Talk) -> Catalog:
    """What there is. Its line is the first that is printed."""
    if order.dataset:
        fetch(order.dataset, talk)
    split, training = order.recipe.split, order.recipe.training
    catalog = read_source(order.source, group_column=split.group_column, weight_column=training.weight_column)
    talk.say(f"{order.name}: {catalog.source}; {len(catalog):,} files, {len(catalog.classes)} classes")
    return catalog


def look(order: Order, catalog: Catalog, features: FeatureExtractor | None, talk: Talk) -> tuple[Catalog, Column]:
    """Every file looked at, and the pictures divided."""
    with memory_for(catalog, order.recipe) as memory:
        catalog = drop_empty_classes(look_through(catalog, order.recipe, memory, talk, visitor=features))
    how = f"; features computed for {features.computed:,}, kept for the rest" if features else ""
    talk.say(f"{int(catalog.ok.sum()):,} pictures read{how}")
    return catalog, divide(order, catalog, talk)


def divide(order: Order, catalog: Catalog, talk: Talk) -> Column:
    """The split of each picture: as it was saved, or made."""
    saved = order.saved_splits_of(catalog, talk)
    return make_splits(catalog, order.recipe.split, order.recipe.seed) if saved is None else saved


def look_and_tell(order: Order, catalog: Catalog, features: FeatureExtractor | None, talk: Talk) -> Seen:
    """Every file looked at, the pictures divided, and what there is to say of both."""
    catalog, splits = look(order, catalog, features, talk)
    return Seen(catalog, splits, find_and_tell(order, catalog, splits, talk))


def find_and_tell(order: Order, catalog: Catalog, splits: Column, talk: Talk) -> tuple[Finding, ...]:
    """What there is to say of the data, and said."""
    findings = find_all(catalog, splits, order.recipe.split if order.own_splits else None)
    tell_findings(findings, order, talk)
    return findings


def tell_findings(findings: tuple[Finding, ...], order: Order, talk: Talk) -> None:
    """Say each finding; end here if the order is strict about one of them."""
    for finding in findings:
        talk.say(f"note: {finding.text}")
    if order.strict:
        refuse_findings(findings)


def look_again(learned: Learned, seen: Seen, recipe: Recipe, talk: Talk) -> Seen:
    """The trained network's features of all that is measured; what has changed since the scan is left out and named."""
    catalog, splits = seen.catalog, seen.splits
    rows = np.flatnonzero(np.isin(splits, ("val", "test")))
    known = known_rows(catalog, splits, learned.width, recipe.seed)
    gone = learned.look(catalog, np.concatenate([rows, known]), recipe.decoding.max_pixels, talk)
    if not gone:
        return seen
    left = splits.copy()
    left[np.isin(catalog.paths, gone)] = ""
    return replace(seen, splits=left, findings=(*seen.findings, changed_finding(gone)))


def changed_finding(paths: list[str]) -> Finding:
    """That pictures changed during the run."""
    shown = ", ".join(map(repr, paths[:5])) + (" …" if len(paths) > 5 else "")
    return Finding("changed", f"{len(paths):,} pictures were changed during the run, and are left out: {shown}.", ())


def trained_of(order: Order, seen: Seen, shipped: Shipped, **learned: Any) -> Trained:
    """All that a training is to write down; `learned` are the fields of `Trained` that tell how it learned."""
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
