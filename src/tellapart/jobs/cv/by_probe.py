"""Cross-validation of a probe: all folds share the features, which are computed once."""

from __future__ import annotations

import numpy as np

from tellapart.experiments.fold_probes import FoldProbes, fit_fold_probes
from tellapart.experiments.out_of_fold import calibrate_out_of_fold, thresholds_out_of_fold
from tellapart.export.compose import compose_model
from tellapart.jobs.cv.pool import FoldOptions, load_pool
from tellapart.jobs.cv.result import CrossValidated, Making, ensemble_making, refit_making
from tellapart.pipeline.data import Data, read_data
from tellapart.pipeline.ensemble import Member, ensemble_network, ship_ensemble
from tellapart.pipeline.left_out import measure_left_out
from tellapart.pipeline.probe import FrozenBackbone, fit_train, frozen_for
from tellapart.pipeline.record import Trained, write_run
from tellapart.pipeline.reference import reference_out_of_fold
from tellapart.pipeline.request import Request
from tellapart.pipeline.services import Services
from tellapart.pipeline.ship import (
    Shipped,
    card_for,
    class_costs,
    class_shares,
    reference_rows,
    ship,
)
from tellapart.probe.familiarity import fit_subspace
from tellapart.probe.head import build_head


def cross_validate_probe(
    request: Request, options: FoldOptions, services: Services
) -> CrossValidated:
    """From the request to the finished run folder, which appears whole."""
    recipe, clock, console = request.recipe, services.clock, services.console
    catalog = read_data(request, console)
    clock.lap("reading")
    frozen = frozen_for(recipe, services, request.extensions, catalog)
    assert frozen
    data, plan = load_pool(request, catalog, options, frozen.features, console)
    clock.lap("features")
    catalog, features = data.catalog, frozen.features.of(data.catalog, plan.rows)
    references = reference_rows(catalog, features.shape[1], recipe.seed)
    with console.track("Fitting the folds", plan.folds * plan.repeats) as advance:
        probes = fit_fold_probes(
            features,
            np.searchsorted(plan.rows, references),
            catalog,
            plan,
            recipe.head,
            advance,
            shares=class_shares(catalog, recipe),
            costs=class_costs(catalog, recipe),
        )
    clock.lap("folds")
    making: Making
    if options.ensemble:
        with services.step("model file", "Making and checking the model file"):
            shipped, probe = _ship_together(request, data, frozen, probes, services), None
        left_out = None
        making = ensemble_making(plan)
    else:
        with services.step("head", "Fitting the head on all images but the test set") as task:
            model = fit_train(frozen, catalog, recipe, task.reach)
        calibration = calibrate_out_of_fold(
            probes.out,
            recipe.answer,
            shares=class_shares(catalog, recipe),
            costs=class_costs(catalog, recipe),
        )
        with services.step("model file", "Making and checking the model file"):
            shipped, probe = ship(model, catalog, recipe, services.store, calibration), model.probe
        with services.step("left-out classes", "Leaving each class out once") as task:
            left_out = measure_left_out(model, catalog, recipe, task.reach)
        how = "a head fitted on all images but the test set"
        making = refit_making(plan, {"method": "probe"}, how)
    folded = making.folded(catalog, probes.out)
    trained = Trained(
        recipe=recipe, data=data, shipped=shipped, probe=probe, left_out=left_out, folds=folded
    )
    return CrossValidated.open(write_run(trained, request, services))


def _ship_together(
    request: Request,
    data: Data,
    frozen: FrozenBackbone,
    probes: FoldProbes,
    services: Services,
) -> Shipped:
    """The folds' heads behind one backbone.

    They share the subspace of familiar images too, since it depends on no head.
    """
    catalog, recipe, network = data.catalog, request.recipe, frozen.network
    width = int(probes.layers[0].weight.shape[1])
    rows = reference_rows(catalog, width, recipe.seed)
    subspace = fit_subspace(frozen.features.of(catalog, rows))
    bias = probes.biases.mean(axis=0) if recipe.balances else ()
    costs = class_costs(catalog, recipe)
    calibration = thresholds_out_of_fold(probes.out, recipe.answer, tuple(bias), costs)
    card = card_for(catalog, network, recipe, calibration)
    heads = [build_head(layers, subspace, calibration) for layers in probes.layers]
    members = [
        Member(
            compose_model(network.graph, network.preprocessing, head, card),
            layers,
            frozen.embed,
            network.digest,
        )
        for head, layers in zip(heads, probes.layers, strict=True)
    ]
    together = ensemble_network(members, network)
    reference = reference_out_of_fold(catalog, probes.out, calibration, together=True)
    console = services.console
    return ship_ensemble(members, together, catalog, recipe, calibration, reference, console)
