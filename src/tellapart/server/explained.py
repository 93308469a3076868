"""What a worker says of an answer beside the answer: its heat maps, and training images like it."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.explain.explainer import Explainer, Explanation
from tellapart.explain.overlay import colours
from tellapart.modelfile.predictor import Outputs, Predictor
from tellapart.runs.neighbours import Neighbours

SIDE_PX = 224  # of a heat map


@dataclass(frozen=True)
class Model:
    """A model as a worker holds it. What explains it is opened when it is first asked for.

    Args:
        predictor: of the model file.
        run: the run folder that has an index; None where the model has none.
    """

    predictor: Predictor
    run: str | None = None

    def explained(
        self, ask: Mapping[str, Any], pixels: NDArray[np.uint8], body: bytes
    ) -> dict[str, Any]:
        """What is asked of an answer beside it, as JSON values.

        Args:
            ask: "map" is "1" for the heat maps of the network, or "occlusion" for such as every
                network has, at the cost of 50 answers. "neighbours" is how many are wanted.
            pixels: (H, W, 3) uint8 RGB.
            body: the bytes that were sent, so that an image is no neighbour of itself.
        """
        result: dict[str, Any] = {}
        if not (ask.get("map") or ask.get("neighbours")):
            return result
        outputs = self.predictor.outputs(pixels)
        if wish := ask.get("map"):
            result["map"] = self._maps(wish, pixels, outputs)
        if count := ask.get("neighbours"):
            assert self._index is not None  # whoever asks has seen that there is one
            digest = hashlib.sha256(body).hexdigest()
            near = self._index.nearest(outputs.embedding, count, leave_out=digest)
            result["neighbours"] = [neighbour.as_json() for neighbour in near]
        return result

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self.predictor)

    @cached_property
    def _index(self) -> Neighbours | None:
        return None if self.run is None else Neighbours.read(self.run)

    def _maps(
        self, wish: str, pixels: NDArray[np.uint8], outputs: Outputs
    ) -> dict[str, Any] | None:
        if self._explainer.kind == "occlusion" and wish != "occlusion":
            return None
        explanation = self._explainer.explain(pixels, outputs)
        height, width = pixels.shape[:2]
        top, left, down, across = self.predictor.card.preprocessing.square(height, width)
        return {
            "kind": explanation.kind,
            **_shown(explanation, 0),
            "runner_up": _shown(explanation, 1) if explanation.runner_up else None,
            "left": left / width,
            "top": top / height,
            "width": across / width,
            "height": down / height,
        }


def _shown(explanation: Explanation, rank: int) -> dict[str, Any]:
    """One map: its class, and a transparent PNG in base64 over the square that the network sees."""
    shown, file = explanation.maps[rank], io.BytesIO()
    size = (SIDE_PX, SIDE_PX)
    colours(shown.values, size, strongest=explanation.strongest).save(file, "PNG")
    return {"class": shown.name, "png": base64.b64encode(file.getvalue()).decode()}
