"""The heat maps of an answer and of its runner-up."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import UserError, choose
from tellapart.explain.activation import ActivationMaps, activation_maps
from tellapart.explain.occlusion import OcclusionMaps
from tellapart.image_input import Image, decode_input
from tellapart.modelfile.predictor import Outputs, Predictor

FINER = 2  # parts of a cell along each side

MEANING = {
    "activation": (
        "The map of a class is its logit, written out by place: the values of the places add up to"
        " it. Orange places speak for the class, and blue ones against it."
    ),
    "occlusion": (
        "This network has no map of its own, so each place was blurred in turn (occlusion). Where"
        " the map is orange, the log-odds of the class fell; where it is blue, they rose. The values"
        " do not add up to anything, since places act together."
    ),
}


@dataclass(frozen=True)
class ClassMap:
    """Where in an image the evidence for a class lies.

    Args:
        name: of the class.
        probability: of the class, calibrated.
        values: (h, w) float32 over the square that the network sees. Of the kind "activation" they
            sum to the class's logit.
    """

    name: str
    probability: float
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Explanation:
    """Why a model answers as it does.

    Args:
        kind: "activation", or "occlusion" where the network has no map of its own.
        answer: the map of the answer.
        runner_up: the map of the most probable other class; None where there is one class only.
        embedding: (D,) of the image, for its nearest training images.
    """

    kind: str
    answer: ClassMap
    runner_up: ClassMap | None
    embedding: NDArray[np.float32]

    @property
    def maps(self) -> tuple[ClassMap, ...]:
        """The map of the answer, and that of the runner-up where there is one."""
        return (self.answer,) if self.runner_up is None else (self.answer, self.runner_up)

    @property
    def strongest(self) -> float:
        """The largest value of all maps, without its sign: what full colour stands for."""
        return max(float(np.abs(shown.values).max()) for shown in self.maps)


class Explainer:
    """Explains the answers of one model. Many threads may use it at once.

    It opens the model file a second time, which takes as much memory once more.

    Args:
        predictor: of the model.
        finer: into how many parts a cell of the network's own map is divided along each side, where
            the network takes larger images. 2 costs as much as 4 more runs of the network.

    >>> explainer = Explainer(predictor)
    >>> explainer.kind
    'activation'
    """

    def __init__(self, predictor: Predictor, finer: int = FINER) -> None:
        self.predictor = predictor
        own = activation_maps(predictor, finer)
        self.method: ActivationMaps | OcclusionMaps = own or OcclusionMaps(predictor)

    @property
    def kind(self) -> str:
        """The kind of its maps: "activation" or "occlusion"."""
        return self.method.kind

    def explain(self, pixels: NDArray[np.uint8], outputs: Outputs | None = None) -> Explanation:
        """The maps of the answer to an image, and of the runner-up.

        Args:
            pixels: (H, W, 3) uint8 RGB.
            outputs: of the predictor for these pixels, where they are at hand.

        >>> from tellapart.decoding import decode
        >>> pixels = decode((photos / "sky" / "000.jpg").read_bytes()).pixels
        >>> Explainer(predictor).explain(pixels).answer.name
        'sky'
        """
        found = outputs or self.predictor.outputs(pixels)
        answer = int(self.predictor.card.rule.answers(found.probs[None])[0])
        ranked = np.argsort(-found.probs, kind="stable").tolist()
        labels = [answer, *[label for label in ranked if label != answer][:1]]
        maps = [
            ClassMap(self.predictor.classes[label], float(found.probs[label]), values)
            for label, values in zip(labels, self.method.maps(pixels, labels), strict=True)
        ]
        return Explanation(self.kind, maps[0], maps[1] if len(maps) > 1 else None, found.embedding)


_EXPLAINERS: WeakKeyDictionary[Predictor, Explainer] = WeakKeyDictionary()


def heat_map(predictor: Predictor, image: Image, name: str) -> NDArray[np.float32]:
    """(h, w) the share of each place in the logit of a class; the sum is the logit.

    The map covers the square that the network sees of the image: `overlay` lays it there.

    Args:
        predictor: of the model. It is opened for explanations once, at the first image.
        image: in any form that `Predictor.predict` takes.
        name: of the class.

    Raises:
        UserError: there is no such class, the image cannot be used, or the network has no such map.
            `Explainer` gives another kind of map then.

    >>> photo = photos / "sky" / "000.jpg"
    >>> maps = [heat_map(predictor, photo, name).sum() for name in predictor.classes]
    >>> predictor.classes[int(np.argmax(maps))]
    'sky'
    """
    choose("class", name, predictor.classes)
    decoded = decode_input(image, rules=predictor.card.decoding)
    if decoded.pixels is None:
        raise UserError(
            f"The image cannot be used, its status is {decoded.status!r}. {decoded.detail}",
            "Give another image.",
        )
    if predictor not in _EXPLAINERS:
        _EXPLAINERS[predictor] = Explainer(predictor)
    method = _EXPLAINERS[predictor].method
    if not isinstance(method, ActivationMaps):
        raise UserError(
            "This network has no heat map whose sum is the logit.",
            "Take tellapart.explain.explainer.Explainer, which blurs each place instead.",
        )
    return np.asarray(method.maps(decoded.pixels, [predictor.classes.index(name)])[0])
