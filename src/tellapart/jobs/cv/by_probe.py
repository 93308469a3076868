"""Cross-validation of a probe: all folds share the features that are computed once, and no fold has
a folder.
"""

from __future__ import annotations

import numpy as np

from tellapart.cache import FeatureStore
from tellapart.catalog.names import escape
from tellapart.experiments.fold_probes import FoldProbes, fit_fold_probes
from tellapart.experiments.out_of_fold import calibrate_out_of_fold, thresholds_out_of_fold
from tellapart.export.compose import compose_model
from tellapart.jobs.cv.pool import Asked, Frozen, frozen_backbone, look_at_pool, refit_probe
from tellapart.jobs.cv.result import (
    CrossValidated,
    cross_validated,
    ensemble_made,
    folded_of,
    refit_made,
)
from tellapart.pipeline.clock import Clock
from tellapart.pipeline.data import Seen, trained_of
from tellapart.pipeline.ensemble import Member, ensemble_network, ship_ensemble
from tellapart.pipeline.record import card_for, write_run
from tellapart.pipeline.request import Order
from tellapart.pipeline.ship import Shipped, reference_rows, ship
from tellapart.probe.head import build_head, reference_directions
from tellapart.progress import Console


def cross_probe(
    order: Order, asked: Asked, store: FeatureStore, console: Console, clock: Clock
) -> CrossValidated:
    """From the order to the finished run folder, which appears whole."""
    recipe = order.recipe
    frozen = frozen_backbone(recipe, store, console)
    clock.lap("network")
    seen, plan = look_at_pool(order, asked, frozen.features, console)
    clock.lap("features")
    catalog, features = seen.catalog, frozen.features.of(seen.catalog, plan.rows)
    known = reference_rows(catalog, seen.splits, features.shape[1], recipe.seed)
    with console.track("Fitting the folds", plan.folds * plan.repeats) as advance:
        probes = fit_fold_probes(
            features, np.searchsorted(plan.rows, known), catalog, plan, recipe.head, advance
        )
    clock.lap("folds")
    if asked.ensemble:
        shipped, probe = _probes_together(order, seen, frozen, probes, console), None
        made = ensemble_made(plan)
    else:
        learned, probe = refit_probe(order, seen, plan, frozen)
        calibration = calibrate_out_of_fold(probes.out, recipe.answer)
        shipped = ship(learned, catalog, seen.splits, recipe, store, calibration)
        made = refit_made(plan, {"method": "probe"}, "a head fitted on all images but the test set")
    clock.lap("model file")
    folded = folded_of(catalog, probes.out, made)
    trained = trained_of(order, seen, shipped, folds=folded, probe=probe)
    path = write_run(trained, order.runs, escape(order.name), console, clock.seconds)
    return cross_validated(path, trained, clock)


def _probes_together(
    order: Order, seen: Seen, frozen: Frozen, probes: FoldProbes, console: Console
) -> Shipped:
    """The folds' heads behind one backbone. What is unfamiliar they share too: it depends on no
    head.
    """
    catalog, recipe, network = seen.catalog, order.recipe, frozen.network
    width = int(probes.layers[0].weight.shape[1])
    known = frozen.features.of(catalog, reference_rows(catalog, seen.splits, width, recipe.seed))
    calibration = thresholds_out_of_fold(probes.out, recipe.answer)
    card = card_for(catalog, seen.splits, network, recipe, calibration)
    members = [
        Member(
            compose_model(
                network.graph,
                network.preprocessing,
                build_head(layers, reference_directions(known), calibration),
                card,
            ),
            layers,
            frozen.torch_side.embed,
            network.digest,
        )
        for layers in probes.layers
    ]
    return ship_ensemble(
        members,
        ensemble_network(members, network),
        catalog,
        seen.splits,
        recipe,
        calibration,
        console,
    )
