"""What a model answered while it was made, for the model file: new images are held against it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.table import Catalog
from tellapart.evaluation.calibration import Calibration
from tellapart.evaluation.drift import Reference, make_reference
from tellapart.experiments.out_of_fold import OutOfFold
from tellapart.modelfile.familiarity import evenness
from tellapart.probe.head import HeldAnswers


def reference_of(
    catalog: Catalog, rows: NDArray[np.int64], held: HeldAnswers, calibration: Calibration
) -> Reference | None:
    """The reference of a model.

    Args:
        catalog: scanned.
        rows: (N,) the images that were held out.
        held: the answers to them.
        calibration: that was decided by these answers.

    Returns:
        None where no image was held out.
    """
    scaling, distances = calibration.scaling, None
    if held.residuals is not None and calibration.standards:
        terms = np.stack([held.residuals, evenness(scaling.scaled(held.logits))], axis=1)
        distances = calibration.standards.scores(terms)
    probs = scaling.probabilities(held.logits)
    return _reference(catalog, rows, probs, distances, held.clusters, calibration)


def reference_out_of_fold(
    catalog: Catalog,
    out: OutOfFold,
    calibration: Calibration,
    *,
    among: NDArray[np.bool_] | None = None,
    together: bool = False,
) -> Reference | None:
    """The reference of a cross-validated model. Each image counts once, by its first answer.

    Args:
        catalog: scanned.
        out: the answers of the folds' models.
        calibration: that was decided by these answers.
        among: (R, N) the answers to use. None means all.
        together: whether the folds' models are shipped as one, so that each is calibrated already.

    Returns:
        None where no image has an answer.
    """
    chosen = out.answered if among is None else out.answered & among
    places = np.flatnonzero(chosen.any(axis=0))
    first = chosen.argmax(axis=0)[places], places
    probs = out.probs[first]
    if not together:
        probs = calibration.scaling.probabilities(out.logits[first])
    distances = None if out.distances is None else out.distances[first]
    rows, clusters = out.plan.rows[places], out.clusters[places]
    return _reference(catalog, rows, probs, distances, clusters, calibration)


def _reference(
    catalog: Catalog,
    rows: NDArray[np.int64],
    probs: NDArray[np.float32],
    distances: NDArray[np.float32] | None,
    clusters: NDArray[np.int64],
    calibration: Calibration,
) -> Reference | None:
    """The reference by calibrated probabilities (N, C) and unscaled unfamiliarity (N,)."""
    if not len(rows):
        return None
    rule = calibration.rule
    answers = rule.answers(probs)
    measures = {"confidence": probs[np.arange(len(rows)), answers]}
    unfamiliarity = None
    if distances is not None and calibration.unfamiliar_distance:
        unfamiliarity = distances / calibration.unfamiliar_distance
        measures["unfamiliarity"] = unfamiliarity
    if catalog.light is not None:
        for name, column in zip(
            ("brightness", "contrast", "colourfulness"), catalog.light[rows].T, strict=True
        ):
            measures[name] = column
    measures |= {"width": catalog.widths[rows], "height": catalog.heights[rows]}
    return make_reference(
        rule.decide(probs, unfamiliarity).tolist(),
        [catalog.classes[answer] for answer in answers],
        measures,
        clusters,
    )
