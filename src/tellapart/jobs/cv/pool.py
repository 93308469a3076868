"""What all folds begin with: the data looked at once, test kept aside, the rest divided; and a
backbone to share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import FeatureStore
from tellapart.catalog.splits import make_folds
from tellapart.catalog.table import Catalog
from tellapart.experiments.fold_plan import FoldPlan, plan_folds, plan_remarks, pool_of
from tellapart.export.compose import compose_features
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.pipeline.backbone import TorchSide
from tellapart.pipeline.data import Seen, look, read_data, tell_findings
from tellapart.pipeline.findings import find_all
from tellapart.pipeline.learned import Learned
from tellapart.pipeline.request import Order
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.probe.fit import Probe, fit_probe
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.report.parts.data_section import Finding


@dataclass(frozen=True)
class Asked:
    """What a cross-validation is asked for beside what a training is."""

    folds: int
    repeats: int
    ensemble: bool


def look_at_pool(
    order: Order, asked: Asked, features: FeatureExtractor | None, console: Console
) -> tuple[Seen, FoldPlan]:
    """The data looked at once: test aside, the rest divided. `Seen.splits` holds train, for the
    pool, and test.
    """
    catalog, splits = look(order, read_data(order, console), features, console)
    pool, recipe = pool_of(splits), order.recipe
    plan = plan_folds(catalog, pool, asked.folds, asked.repeats, recipe.seed)
    options = replace(recipe.split, val=0.0) if order.own_splits else None
    findings = [*find_all(catalog, pool, options, needs_val=False)]  # the folds do what val does
    findings += [Finding("remark", text) for text in plan_remarks(catalog, plan)]
    tell_findings(tuple(findings), order, console)
    console.say(
        f"{len(plan.rows):,} images in {plan.folds} folds, {int((pool == 'test').sum()):,} kept"
        " aside for test"
    )
    return Seen(catalog, pool, tuple(findings)), plan


@dataclass(frozen=True)
class Frozen:
    """A frozen backbone: as a graph, in torch, and what it makes of the images."""

    network: ExportedNetwork
    torch_side: TorchSide
    features: FeatureExtractor


def frozen_backbone(recipe: Recipe, store: FeatureStore, console: Console) -> Frozen:
    """The recipe's backbone, with nothing looked at yet."""
    torch_side = TorchSide(recipe, console)
    network = torch_side.exported()
    return Frozen(
        network,
        torch_side,
        FeatureExtractor(compose_features(network.graph, network.preprocessing), store),
    )


def refit_probe(order: Order, seen: Seen, plan: FoldPlan, frozen: Frozen) -> tuple[Learned, Probe]:
    """The head for the whole pool, as a training on it would fit it."""
    probe = probe_on(frozen.features, seen.catalog, plan.rows, order.recipe)
    return learned_of(frozen, probe), probe


def probe_on(
    features: FeatureExtractor, catalog: Catalog, rows: NDArray[np.int64], recipe: Recipe
) -> Probe:
    """The head on the features of these images, its strength chosen by folds among them."""
    folds = make_folds(catalog, rows, recipe.head.folds, recipe.seed)
    return fit_probe(
        features.of(catalog, rows), catalog.labels[rows], folds, len(catalog.classes), recipe.head
    )


def learned_of(frozen: Frozen, probe: Probe) -> Learned:
    """A frozen backbone with a head."""
    embed = frozen.torch_side.embed
    return Learned(
        network=frozen.network, layers=probe.layers, features=frozen.features, embed=embed
    )
