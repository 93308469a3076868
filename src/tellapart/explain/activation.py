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
from tellapart.modelfile.predictor import Predictor
from tellapart.modelfile.session import Session

_FEATURES, _LOGITS, _WEIGHT, _BIAS = "features", "logits", "weight", "bias"
_SIZE = "size"  # channels, height and width to which preprocessing resizes
_AGREES = 1e-3  # between the probabilities of the file and those of its logits


class ActivationMaps:
    """The maps of one model.

    Args:
        predictor: of the model.
        session: with the values inside, as `activation_maps` opens it.
        finer: into how many parts a cell of the network's map is divided along each side, where the
            network takes larger images. It costs as much as finer · finer more runs.
    """

    kind = "activation"

    def __init__(self, predictor: Predictor, session: Session, finer: int) -> None:
        self._side, self._session = predictor.card.preprocessing.size_px, session
        anything = np.zeros((8, 8, 3), np.uint8)
        self._weight, self._bias = session.run(anything[None], (copy_of(_WEIGHT), copy_of(_BIAS)))
        self._finer = finer if finer == 1 or self._allows(anything, finer) else 1

    def maps(self, pixels: NDArray[np.uint8], labels: Sequence[int]) -> NDArray[np.float32]:
        """(L, h, w) the maps of some classes; the sum of each is the class's logit.

        Args:
            pixels: (H, W, 3) uint8 RGB.
            labels: L positions of classes.
        """
        coarse = self._shares(self._features(pixels), labels)
        if self._finer == 1:
            return coarse
        return refined(coarse, self._shares(self._features(pixels, self._finer), labels))

    def places(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(h, w, D) what each place adds to each number of the embedding."""
        features = self._features(pixels)
        return np.asarray(features.transpose(1, 2, 0) / features[0].size, np.float32)

    def _features(self, pixels: NDArray[np.uint8], larger: int = 1) -> NDArray[np.float32]:
        """(D, h, w) of the image, or of one that preprocessing makes so many times as large."""
        size = {_SIZE: np.array([3, larger * self._side, larger * self._side])}
        constants = size if larger > 1 else None
        return np.asarray(self._session.run(pixels[None], (_FEATURES,), constants)[0][0])

    def _allows(self, pixels: NDArray[np.uint8], finer: int) -> bool:
        """Whether the network takes larger images, and gives a larger map for them."""
        try:
            large = self._features(pixels, finer)
        except Exception:  # onnxruntime has an exception class a fault, without a common base
            return False
        _, height, width = self._features(pixels).shape
        return large.shape[1:] == (finer * height, finer * width)

    def _shares(self, features: NDArray[np.float32], labels: Sequence[int]) -> NDArray[np.float32]:
        weight, bias = self._weight[list(labels)], self._bias[list(labels)]
        sums = np.einsum("dhw,cd->chw", features, weight) + bias[:, None, None]
        return np.asarray(sums / features[0].size, np.float32)


def refined(coarse: NDArray[np.float32], large: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maps whose cells have what they have in the coarse maps, divided as the large ones say.

    Args:
        coarse: (L, h, w) of the image as the network takes it.
        large: (L, k · h, k · w) of the same image, made k times as large.

    Returns:
        (L, k · h, k · w), whose blocks of k · k cells sum to the cells of the coarse maps.

    >>> large = np.array([[[1.0, 2], [3, 4]]], np.float32)
    >>> refined(np.array([[[10.0]]], np.float32), large).tolist()
    [[[1.0, 2.0], [3.0, 4.0]]]
    >>> refined(np.array([[[2.0]]], np.float32), large).tolist()
    [[[-1.0, 0.0], [1.0, 2.0]]]
    """
    count, height, width = coarse.shape
    finer = large.shape[1] // height
    blocks = large.reshape(count, height, finer, width, finer)
    missing = coarse / finer**2 - blocks.mean(axis=(2, 4))
    return np.asarray((blocks + missing[:, :, None, :, None]).reshape(large.shape))


def activation_maps(predictor: Predictor, finer: int = 2) -> ActivationMaps | None:
    """The maps of a model; None where its network has none.

    So it is with vision transformers without pooling, with heads of several layers, and with
    several models in one file.
    """
    if predictor.activation_map(np.zeros((8, 8, 3), np.uint8)) is None:
        return None
    session = open_inside(
        predictor.graph,
        (_FEATURES, _LOGITS),
        (_WEIGHT, _BIAS),
        changeable={_SIZE: 3},
        provider=predictor.provider,
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
