"""The predictions of a model file for the images of a scan. Needs no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.appearance import measure_appearance
from tellapart.catalog.duplicates import clusters
from tellapart.catalog.table import Catalog
from tellapart.catalog.thumbnails import make_thumbnail
from tellapart.evaluation.predictions import Predictions
from tellapart.modelfile.predictor import Outputs, Predictor


class Answers:
    """A scan hook that runs the model file on each image, and keeps its outputs by content.

    Args:
        predictor: the loaded model file.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._outputs: dict[str, Outputs] = {}

    def known(self, digest: str, decoded_by: str) -> bool:
        """Whether an image with this content was predicted before."""
        return digest in self._outputs

    def visit(self, digest: str, pixels: NDArray[np.uint8], decoded_by: str) -> None:
        """Predict an image."""
        self._outputs[digest] = self._predictor.outputs(pixels)

    def predictions(self, catalog: Catalog) -> Predictions:
        """The predictions for the images of a catalog, in its order, without unusable files."""
        rows = np.flatnonzero(catalog.ok)
        outputs = [self._outputs[digest] for digest in catalog.digests[rows]]
        unfamiliarity = np.array([output.unfamiliarity for output in outputs], np.float32)
        card = self._predictor.card
        probs = np.array([output.probs for output in outputs], np.float32)
        probs = probs.reshape(-1, len(catalog.classes))
        return Predictions(
            probs=probs,
            labels=catalog.labels[rows],
            paths=tuple(catalog.paths[rows]),
            classes=catalog.classes,
            unfamiliarity=unfamiliarity if card.detects_unfamiliar else None,
            clusters=clusters(catalog)[rows],
            answers=card.rule.answers(probs),
        )


class AnswersAndThumbnails:
    """A scan hook that predicts each image and takes its thumbnail, by which copies are found. It
    is the `ThumbnailMemory` of its scan, and is gone with it.

    Args:
        predictor: the loaded model file.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.answers = Answers(predictor)
        self._thumbnails: dict[str, bytes] = {}

    def known(self, digest: str, decoded_by: str) -> bool:
        """Whether an image with this content was visited before."""
        return digest in self._thumbnails

    def visit(self, digest: str, pixels: NDArray[np.uint8], decoded_by: str) -> None:
        """Predict an image, and take its thumbnail."""
        self.answers.visit(digest, pixels, decoded_by)
        self._thumbnails[digest] = make_thumbnail(pixels)

    def thumbnail_of(self, digest: str) -> bytes | None:
        """The thumbnail of a visited image."""
        return self._thumbnails.get(digest)

    def light_of(self, catalog: Catalog) -> NDArray[np.float32]:
        """(N, 3) the light of visited images, as `Catalog.light`."""
        return measure_appearance(self._thumbnails[digest] for digest in catalog.digests)

    def recall_pairs(self, key: str) -> NDArray[np.int64] | None:
        """Nothing was found before."""
        return None

    def remember_pairs(self, key: str, pairs: NDArray[np.int64]) -> None:
        """Nothing is kept."""
