"""The folds' models as one model file: composed, held against torch, and measured whole."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.scan import scan
from tellapart.catalog.table import Catalog
from tellapart.evaluation.calibration import Calibration
from tellapart.evaluation.drift import Reference
from tellapart.evaluation.predictions import Predictions
from tellapart.export.ensemble import compose_ensemble
from tellapart.export.gate import check_probabilities, probabilities
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.export.references import Embed, pixels_now, preprocessed_by, refuse_if_all
from tellapart.modelfile.layers import Layers
from tellapart.modelfile.predictor import Predictor
from tellapart.modelfile.scan_predictions import Answers
from tellapart.pipeline.data import changed_paths
from tellapart.pipeline.ship import Shipped, card_for, gate_rows, measure_test, no_predictions
from tellapart.progress import Console
from tellapart.recipe import Recipe


@dataclass(frozen=True)
class Member:
    """One model of an ensemble.

    Args:
        model: its model file.
        layers: its head, with the temperature folded in.
        embed: its network on its own.
        digest: of its weights.
    """

    model: bytes
    layers: Layers
    embed: Embed
    digest: str


def ensemble_network(members: Sequence[Member], first: ExportedNetwork) -> ExportedNetwork:
    """What must be said of the members' weights, given the first member's network."""
    digests = list(dict.fromkeys(member.digest for member in members))
    if len(digests) == 1:
        return first
    digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    source = f"{len(digests)} networks, each {first.source}"
    return replace(first, graph=b"", digest=digest, source=source)


def ship_ensemble(
    members: Sequence[Member],
    network: ExportedNetwork,
    catalog: Catalog,
    recipe: Recipe,
    calibration: Calibration,
    reference: Reference | None,
    console: Console,
) -> Shipped:
    """Make one model file of the members, and measure it.

    Args:
        network: as `ensemble_network` gives it.
        catalog: its train split is what the folds divided.
        calibration: found on out-of-fold answers. Its temperature is 1, for the members have
            theirs.
        reference: the out-of-fold answers, for the model file.

    Raises:
        Refused: the file does not agree with the mean of the members in torch. Nothing may be
            written then.
        UserError: the members cannot be merged.
    """
    card = card_for(catalog, network, recipe, calibration)
    name = f"mean of {len(members)} {card.backbone}"
    card = replace(card, backbone=name, reference=reference)
    model = compose_ensemble([member.model for member in members], card)
    rows = gate_rows(catalog, recipe.seed)
    images, changed = _images(catalog, rows)
    take = network.preprocessing
    own = preprocessed_by(model, images) if network.precision == "int8" else None
    tensors = [take.normalised(take.resized(pixels)) for pixels in images] if own is None else own
    wanted = _by_members(members, list(tensors))
    parity = check_probabilities(model, take, images, wanted, own)
    test, gone = _measured(Predictor(model), catalog, catalog.split("test"), console)
    metrics = measure_test(test, card, recipe.seed)
    return Shipped(
        network=network,
        model=model,
        card=card,
        layers=None,
        calibration=calibration,
        parity=parity,
        val=no_predictions(catalog),
        out_of_fold=no_predictions(catalog),
        test=test,
        metrics=metrics,
        changed=(*changed, *gone),
    )


def _images(catalog: Catalog, rows: NDArray[np.int64]) -> tuple[list[NDArray[np.uint8]], list[str]]:
    """The pixels of some rows, and the paths of those that changed since the scan."""
    found = {catalog.paths[row]: pixels_now(catalog, row) for row in rows}
    changed = [path for path, pixels in found.items() if pixels is None]
    refuse_if_all(changed, rows)
    return [pixels for pixels in found.values() if pixels is not None], changed


def _by_members(
    members: Sequence[Member], tensors: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """(N, C) the mean of the members' probabilities, each network on its own."""
    embeddings: dict[str, NDArray[np.float32]] = {}  # by the weights' digest: probes share them
    for member in members:
        if member.digest not in embeddings:
            embeddings[member.digest] = np.stack(member.embed(tensors))
    probs = [probabilities(member.layers, embeddings[member.digest]) for member in members]
    return np.asarray(np.mean(probs, axis=0), np.float32)


def _measured(
    predictor: Predictor, catalog: Catalog, rows: NDArray[np.int64], console: Console
) -> tuple[Predictions, list[str]]:
    """The whole file's predictions for some rows, from the files as they are now, and the paths of
    images that changed.
    """
    chosen = np.zeros(len(catalog), bool)
    chosen[rows] = True
    part, answers = catalog.rows(chosen), Answers(predictor)
    with console.track("Measuring the model file", len(part)) as advance:
        now = scan(part, rules=predictor.card.decoding, hook=answers, advance=advance)
    changed = changed_paths(part, now)
    return answers.predictions(part.rows(~np.isin(part.paths, changed))), changed
