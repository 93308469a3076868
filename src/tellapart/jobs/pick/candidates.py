"""Backbones as candidates: each shown the images, and given a probe and a model file."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import FeatureStore
from tellapart.catalog.scan import drop_empty_classes, scan
from tellapart.catalog.table import Catalog
from tellapart.cores import usable_cores
from tellapart.decoders.rules import rules_of
from tellapart.errors import Refused, UserError
from tellapart.evaluation.metrics import Metrics, measure
from tellapart.evaluation.predictions import Predictions
from tellapart.experiments.extractors import Extractors
from tellapart.export.compose import EMBEDDING, compose_model
from tellapart.modelfile.session import Session
from tellapart.pipeline.data import divide, scan_files, scan_memory, tell_findings
from tellapart.pipeline.findings import find_all
from tellapart.pipeline.loaded_backbones import Loaded, decoded, reason_in_words
from tellapart.pipeline.probe import fit_train, predictions_by
from tellapart.pipeline.request import Request
from tellapart.pipeline.services import Services
from tellapart.pipeline.ship import calibrated_head, card_for
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.progress import Console

TIMED = 3  # images that tell how long the features of all will take
FEATURE_BYTES = (
    1_000_000_000  # of features at a time; where all need more, images are read in turns
)
WIDEST = 2048  # numbers in an embedding; few backbones have more


@dataclass(frozen=True)
class Fitted:
    """A candidate with its probe: the model file, and what it says of val. `seconds` is what
    fitting took.
    """

    loaded: Loaded
    model: bytes
    val: Predictions
    metrics: Metrics
    seconds: float


def in_time(
    loaded: Sequence[Loaded], catalog: Catalog, store: FeatureStore, seconds: float, more_runs: int
) -> tuple[list[Loaded], list[str]]:
    """Those whose features can be computed in so many seconds, the fastest first, and the names of
    the rest.

    The fastest is always among them.

    Args:
        catalog: not yet looked at.
        more_runs: of each network, one after the other, that are still to come.
    """
    rules = rules_of(loaded[0].recipe.decoding)
    images = [
        (hashlib.sha256(data).hexdigest(), pixels)
        for data, pixels in decoded(catalog, TIMED, rules)
    ]
    spent = {
        candidate.name: seconds_an_image(candidate.features_graph, images, store)
        for candidate in loaded
    }
    left = seconds
    chosen: set[str] = set()
    for candidate in sorted(loaded, key=lambda candidate: spent[candidate.name]):
        left -= spent[candidate.name] * (len(catalog) / usable_cores() + more_runs)
        if left >= 0 or not chosen:
            chosen.add(candidate.name)
    return [candidate for candidate in loaded if candidate.name in chosen], [
        candidate.name for candidate in loaded if candidate.name not in chosen
    ]


def seconds_an_image(
    graph: bytes, images: Sequence[tuple[str, NDArray[np.uint8]]], store: FeatureStore
) -> float:
    """The seconds that a graph takes for an image: the shortest of a few runs.

    It is 0 where the features of all of them are known, since those of the others then are too.
    """
    name = hashlib.sha256(graph).hexdigest()
    if all(store.get(name, digest) is not None for digest, _ in images):
        return 0.0
    session, spent = Session(graph), []
    with suppress(Exception):  # what is wrong with it, the scan tells
        for _, pixels in images:
            began = time.perf_counter()
            session.run(pixels[None], [EMBEDDING])
            spent.append(time.perf_counter() - began)
    return min(spent, default=0.0)


def fit_candidates(
    request: Request,
    catalog: Catalog,
    loaded: Sequence[Loaded],
    failed: dict[str, str],
    services: Services,
) -> tuple[Catalog, list[Fitted]]:
    """Scan and divide the data, and fit the candidates.

    As many candidates as memory allows embed each image when it is decoded.

    Args:
        failed: gets the reason for each candidate that fails.
    """
    recipe, console = request.recipe, services.console
    at_once = max(1, FEATURE_BYTES // (4 * WIDEST * max(len(catalog), 1)))
    fitted: list[Fitted] = []
    for start in range(0, len(loaded), at_once):
        candidates = loaded[start : start + at_once]
        extractors = Extractors(
            {
                candidate.name: FeatureExtractor(candidate.features_graph, services.store)
                for candidate in candidates
            }
        )
        with scan_memory(catalog, recipe) as memory:
            if start == 0:
                catalog = drop_empty_classes(
                    scan_files(catalog, recipe, memory, console, extractors)
                )
                catalog = _divided(request, catalog, console)
            else:
                rules = catalog.rules
                with console.track("Reading images", len(catalog)) as advance:
                    again = scan(
                        catalog, rules=rules, hook=extractors, memory=memory, advance=advance
                    )
                check_unchanged(catalog, again)
        fitted += _fit_each(candidates, extractors, catalog, failed, console)
    return catalog, fitted


def _divided(request: Request, catalog: Catalog, console: Console) -> Catalog:
    catalog = divide(request, catalog, console)
    findings = find_all(catalog, request.recipe.splitting if request.own_splits else None)
    tell_findings(findings, request, console)
    if not len(catalog.split("val")):
        raise UserError(
            "There are no val images to pick by.",
            "Set some apart, for example --set split.val=0.15",
        )
    return catalog


def check_unchanged(before: Catalog, now: Catalog) -> None:
    """See that no image has changed between two looks at the data.

    Raises:
        Refused: one has.
    """
    changed = before.paths[before.digests != now.digests]
    if len(changed):
        raise Refused(
            f"{len(changed):,} images changed meanwhile, {str(changed[0])!r} for one.",
            "Pick again.",
        )


def _fit_each(
    candidates: Sequence[Loaded],
    extractors: Extractors,
    catalog: Catalog,
    failed: dict[str, str],
    console: Console,
) -> list[Fitted]:
    done = []
    failed |= extractors.failed
    with console.track("Fitting probes", len(candidates)) as advance:
        for candidate in candidates:
            features = extractors.working.get(candidate.name)
            if features is not None:
                try:
                    seconds = extractors.seconds[candidate.name] / usable_cores()
                    fitted = _fit(candidate, features, catalog, console)
                    total = candidate.seconds + seconds + fitted.seconds
                    done.append(replace(fitted, seconds=total))
                except (UserError, MemoryError, RuntimeError) as error:
                    failed[candidate.name] = reason_in_words(error)
            advance()
    return done


def _fit(
    candidate: Loaded, features: FeatureExtractor, catalog: Catalog, console: Console
) -> Fitted:
    """The probe of a candidate that has embedded the images, and its model file.

    Test images are not read.
    """
    began, recipe, network = time.monotonic(), candidate.recipe, candidate.network
    model = fit_train(candidate.frozen(features), catalog, recipe)
    head, calibration = calibrated_head(model, catalog, recipe)
    card = card_for(catalog, network, recipe, calibration)
    file = compose_model(network.graph, network.preprocessing, head, card)
    val = catalog.split("val")
    predictions = predictions_by(
        head.layers, features.of(catalog, val), catalog, val, calibration.rule
    )
    counts = catalog.counts(catalog.splits == "train")
    metrics = measure(predictions, seed=recipe.seed, class_counts=counts)
    return Fitted(candidate, file, predictions, metrics, time.monotonic() - began)
