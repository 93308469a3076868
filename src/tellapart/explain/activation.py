"""Heat maps of networks that end in pooling and a linear layer: the share of each place in a logit.

    logit = bias + weight · mean over places (features) = sum over places (bias + weight · features) / places

So nothing is estimated: the map is the logit, written out by place. Source: Zhou et al. 2016,
https://doi.org/10.1109/CVPR.2016.319.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.calibration import softmax
from tellapart.explain.inner_values import copy_of, open_inside
from tellapart.explain.seen_square import framed, shifted
from tellapart.modelfile.predictor import Predictor
from tellapart.modelfile.session import Session
from tellapart.threads import map_ahead

_FEATURES, _LOGITS, _WEIGHT, _BIAS = "features", "logits", "weight", "bias"
_AGREES = 1e-3  # between the probabilities of the file and those of its logits


class ActivationMaps:
    """The maps of one model.

    Args:
        predictor: of the model.
        session: with the values inside, as `activation_maps` opens it.
        finer: into how many parts a cell of the network's map is divided along each side. Each of
            the finer · finer parts costs one run of the network.
    """

    kind = "activation"

    def __init__(self, predictor: Predictor, session: Session, finer: int) -> None:
        self._take, self._session, self._finer = predictor.card.preprocessing, session, finer
        anything = np.zeros((1, 8, 8, 3), np.uint8)
        self._weight, self._bias = session.run(anything, (copy_of(_WEIGHT), copy_of(_BIAS)))

    def maps(self, pixels: NDArray[np.uint8], labels: Sequence[int]) -> NDArray[np.float32]:
        """(L, h, w) the maps of some classes; the sum of each is the class's logit.

        Args:
            pixels: (H, W, 3) uint8 RGB.
            labels: L positions of classes.
        """
        features = self._features(pixels)
        coarse = self._shares(features, labels)
        stride = self._take.size_px / features.shape[1]
        if self._finer == 1 or stride < 2 * self._finer:
            return coarse
        square = self._take.resized(pixels)
        moved = [framed(part, self._take) for part in shifted(square, stride, self._finer)]
        parts = [self._shares(part, labels) for part in map_ahead(self._features, moved)]
        return interleaved(coarse, np.stack(parts))

    def places(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(h, w, D) what each place adds to each number of the embedding."""
        features = self._features(pixels)
        return np.asarray(features.transpose(1, 2, 0) / features[0].size, np.float32)

    def _features(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(D, h, w)."""
        return np.asarray(self._session.run(pixels[None], (_FEATURES,))[0][0])

    def _shares(self, features: NDArray[np.float32], labels: Sequence[int]) -> NDArray[np.float32]:
        weight, bias = self._weight[list(labels)], self._bias[list(labels)]
        sums = np.einsum("dhw,cd->chw", features, weight) + bias[:, None, None]
        return np.asarray(sums / features[0].size, np.float32)


def interleaved(coarse: NDArray[np.float32], parts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maps of a moved image, put between each other. Each cell keeps what it has in the coarse map.

    Args:
        coarse: (L, h, w) of the image itself.
        parts: (k · k, L, h, w) of the image moved to each part of a cell.

    Returns:
        (L, k · h, k · w), whose blocks of k · k cells sum to the cells of the coarse map.

    >>> coarse = np.array([[[3.0]]], np.float32)
    >>> interleaved(coarse, np.array([1.0, 2, 3, 4], np.float32).reshape(4, 1, 1, 1))[0].tolist()
    [[0.375, 0.625], [0.875, 1.125]]
    """
    finer = round(len(parts) ** 0.5)
    count, height, width = coarse.shape
    inside = parts - parts.mean(axis=0)
    whole = (coarse + inside) / finer**2
    blocks = whole.reshape(finer, finer, count, height, width).transpose(2, 3, 0, 4, 1)
    return np.asarray(blocks.reshape(count, finer * height, finer * width))


def activation_maps(predictor: Predictor, finer: int = 2) -> ActivationMaps | None:
    """The maps of a model; None where its network has none.

    So it is with vision transformers without pooling, with heads of several layers, and with
    several models in one file.
    """
    if predictor.activation_map(np.zeros((8, 8, 3), np.uint8)) is None:
        return None
    session = open_inside(
        predictor.graph, (_FEATURES, _LOGITS), (_WEIGHT, _BIAS), provider=predictor.provider
    )
    if session is None or not logits_agree(session, predictor):
        return None
    return ActivationMaps(predictor, session, finer)


def logits_agree(session: Session, predictor: Predictor) -> bool:
    """Whether the file's probabilities are those of its one set of logits: a file that holds the
    mean of several models has the logits of the first under the same name.
    """
    size = predictor.card.preprocessing.size_px
    ramp = np.linspace(0, 255, size * size * 3).astype(np.uint8).reshape(1, size, size, 3)
    for image in (np.zeros_like(ramp), ramp):
        logits, probs = session.run(image, (_LOGITS, "probabilities"))
        if np.abs(softmax(logits) - probs).max() > _AGREES:
            return False
    return True
