"""What a model answered while it was made, for the model file: new images are held against it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.table import Catalog
from tellapart.evaluation.calibration import Calibration
from tellapart.evaluation.drift import Reference, make_reference
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
    if not len(rows):
        return None
    scaling, rule = calibration.scaling, calibration.rule
    probs = scaling.probabilities(held.logits)
    answers = rule.answers(probs)
    measures = {"confidence": probs[np.arange(len(rows)), answers]}
    unfamiliarity = None
    if held.residuals is not None and calibration.standards and calibration.unfamiliar_distance:
        terms = np.stack([held.residuals, evenness(scaling.scaled(held.logits))], axis=1)
        unfamiliarity = calibration.standards.scores(terms) / calibration.unfamiliar_distance
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
        held.clusters,
    )
