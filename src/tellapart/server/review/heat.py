"""The heat map of the model's answer to a reviewed image, made when somebody asks for it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from tellapart.explain.explainer import Explainer
from tellapart.explain.overlay import overlay
from tellapart.modelfile.predictor import Predictor
from tellapart.server.review.scaled import SIZES, Scaled, encode


@dataclass(frozen=True)
class Heat:
    """The heat map of an answer.

    Args:
        answer: the class that the model gives.
        probability: of that class, calibrated.
        data: the image with the map over it.
        media_type: of the data.
    """

    answer: str
    probability: float
    data: bytes
    media_type: str

    def as_json(self) -> dict[str, Any]:
        """The values that the page shows, with the image in them."""
        source = f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"
        return {"answer": self.answer, "probability": self.probability, "image": source}


class Heats:
    """Heat maps of a run's model.

    Args:
        predictor: of the model. It is opened for explanations at the first request.
        scaled: reads the images.
    """

    def __init__(self, predictor: Predictor, scaled: Scaled) -> None:
        self._predictor, self._scaled = predictor, scaled

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self._predictor)

    def of(self, path: str, digest: str) -> Heat:
        """The heat map of the answer to an image.

        Args:
            path: in the data.
            digest: SHA-256 that the file must have.

        Raises:
            Missing: the file is gone, changed or damaged.
        """
        pixels = self._scaled.pixels(path, digest)
        answer = self._explainer.explain(pixels).answer
        small = Image.fromarray(pixels)
        small.thumbnail((SIZES["large"], SIZES["large"]))
        laid = overlay(small, answer.values, self._predictor.card.preprocessing)
        return Heat(answer.name, answer.probability, *encode(np.asarray(laid), SIZES["large"]))
