"""Heat maps of networks that have none of their own: what is lost when a place is blurred.

Source: Zeiler and Fergus 2014, https://doi.org/10.1007/978-3-319-10590-1_53.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tellapart.explain.activation import logits_agree
from tellapart.explain.inner_values import open_inside
from tellapart.explain.seen_square import framed
from tellapart.modelfile.predictor import Predictor
from tellapart.threads import map_ahead

CELLS = 8  # along each side of the map
PATCH = 2  # cells along each side of what is blurred at once
_SURE = 1e-7  # probabilities nearer to 0 or 1 have no log-odds in float32


class OcclusionMaps:
    """The maps of one model. Each costs one run of the network for each of 49 places.

    Args:
        predictor: of the model.
    """

    kind = "occlusion"

    def __init__(self, predictor: Predictor) -> None:
        self._predictor, self._take = predictor, predictor.card.preprocessing
        session = open_inside(predictor.graph, ("logits",), provider=predictor.provider)
        self._session = session if session and logits_agree(session, predictor) else None

    def maps(self, pixels: NDArray[np.uint8], labels: Sequence[int]) -> NDArray[np.float32]:
        """(L, 8, 8) by how much the log-odds of some classes fall where a place is blurred. The sum
        means nothing, since places act together.

        Args:
            pixels: (H, W, 3) uint8 RGB.
            labels: L positions of classes.
        """
        square = self._take.resized(pixels)
        whole = self._odds(framed(square, self._take))
        blurred = list(map_ahead(self._odds, self._blurred(square)))
        falls = whole[list(labels)] - np.stack(blurred)[:, list(labels)]
        return np.moveaxis(_spread(falls), 2, 0)

    def places(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(8, 8, D) by how much each number of the embedding falls where a place is blurred."""
        square = self._take.resized(pixels)
        whole = self._embedding(framed(square, self._take))
        blurred = list(map_ahead(self._embedding, self._blurred(square)))
        return _spread(whole - np.stack(blurred))

    def _blurred(self, square: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """The image with one place blurred, row by row. Blurring makes no edges, as grey would."""
        size = len(square)
        soft = Image.fromarray(square).filter(ImageFilter.GaussianBlur(size / CELLS))
        replaced, edges = np.asarray(soft), np.linspace(0, size, CELLS + 1).round().astype(int)
        for top in range(CELLS - PATCH + 1):
            for left in range(CELLS - PATCH + 1):
                rows = slice(edges[top], edges[top + PATCH])
                columns = slice(edges[left], edges[left + PATCH])
                changed = square.copy()
                changed[rows, columns] = replaced[rows, columns]
                yield framed(changed, self._take)

    def _odds(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(C,) the log-odds of each class against all others."""
        if self._session is None:
            probs = np.clip(self._predictor.outputs(pixels).probs, _SURE, 1 - _SURE)
            return np.asarray(np.log(probs / (1 - probs)), np.float32)
        logits = self._session.run(pixels[None], ("logits",))[0][0]
        return np.array([_against(logits, label) for label in range(len(logits))], np.float32)

    def _embedding(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._predictor.outputs(pixels).embedding


def _against(logits: NDArray[np.float32], label: int) -> float:
    others = np.delete(logits, label).astype(np.float64)
    if not len(others):
        return float(logits[label])
    top = others.max()
    return float(logits[label] - top - np.log(np.exp(others - top).sum()))


def _spread(falls: NDArray[np.float32]) -> NDArray[np.float32]:
    """(patches, K) → (cells, cells, K): a cell has the mean of all patches that cover it."""
    along = CELLS - PATCH + 1
    by_place = falls.reshape(along, along, -1)
    sums = np.zeros((CELLS, CELLS, by_place.shape[2]), np.float32)
    covered = np.zeros((CELLS, CELLS, 1), np.float32)
    for down in range(PATCH):
        for across in range(PATCH):
            sums[down : down + along, across : across + along] += by_place
            covered[down : down + along, across : across + along] += 1
    return sums / covered
