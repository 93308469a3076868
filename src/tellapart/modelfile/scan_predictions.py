"""What a model file says of the images of a scan. Needs no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.table import Catalog
from tellapart.evaluation.predictions import Predictions
from tellapart.modelfile.predictor import Outputs, Predictor


class Answers:
    """Visits a scan: each image's answer, by its content."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._outputs: dict[str, Outputs] = {}

    def known(self, digest: str) -> bool:
        """Whether an image of that content was answered before."""
        return digest in self._outputs

    def visit(self, digest: str, pixels: NDArray[np.uint8]) -> None:
        """Answer an image."""
        self._outputs[digest] = self._predictor.outputs(pixels)

    def predictions(self, catalog: Catalog) -> Predictions:
        """The answers to the catalog's images, in its order, without files that cannot be used."""
        rows = np.flatnonzero(catalog.ok)
        outputs = [self._outputs[digest] for digest in catalog.digests[rows]]
        far: NDArray[np.float32] | None = np.array(
            [output.unfamiliarity for output in outputs], np.float32
        )
        return Predictions(
            probs=np.array([output.probs for output in outputs], np.float32).reshape(
                -1, len(catalog.classes)
            ),
            labels=catalog.labels[rows],
            paths=tuple(catalog.paths[rows]),
            classes=catalog.classes,
            unfamiliarity=far if self._predictor.card.detects_unfamiliar else None,
        )
