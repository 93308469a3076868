"""A model file as OpenVINO's own form: an .xml file with the graph, and a .bin file with its weights.

The whole graph is converted, preprocessing too, for images of any size. OpenVINO resizes with other
roundings than ONNX Runtime, so the form is judged as every other.
"""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import needs_extra
from tellapart.modelfile.card import ModelCard
from tellapart.modelfile.predictor import Outputs

_THREADS = "INFERENCE_NUM_THREADS"


@dataclass(frozen=True)
class OpenVinoFile:
    """A converted model file.

    Args:
        card: of the model file.
        graph: the content of the .xml file. Its rt_info holds the metadata, a JSON text each.
        weights: the content of the .bin file.
    """

    card: ModelCard
    graph: bytes
    weights: bytes

    def answerer(self) -> OpenVinoAnswers:
        """The file, loaded."""
        return OpenVinoAnswers(self)


class OpenVinoAnswers:
    """A converted model file that answers, as a `Predictor` does. One thread may use it.

    Args:
        file: the converted file.
    """

    def __init__(self, file: OpenVinoFile) -> None:
        openvino = _imported()
        core = openvino.Core()
        model = core.read_model(model=file.graph, weights=file.weights)
        self.card = file.card
        self._run = core.compile_model(model, "CPU", {_THREADS: 1})

    def outputs(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Run the graph on the (H, W, 3) uint8 RGB pixels of one image."""
        found = self._run(pixels[None])
        return Outputs(
            np.array(found["probabilities"][0]),
            np.array(found["embedding"][0]),
            float(found["unfamiliarity"][0]),
        )


def in_openvino(model: bytes, card: ModelCard) -> OpenVinoFile:
    """The model file in OpenVINO's form, with the precision that it has.

    Args:
        model: the bytes of a model file.
        card: its card, which the new file holds too.

    Raises:
        UserError: OpenVINO is not installed.
    """
    openvino = _imported()
    # Not `convert_model`: OpenVINO's converter tells its maker of each use. Its reader does not.
    converted = openvino.Core().read_model(model=io.BytesIO(model))
    for key, text in card.as_metadata().items():
        converted.set_rt_info(text, ["tellapart", key])
    with tempfile.TemporaryDirectory(prefix="tellapart-") as folder:
        file = Path(folder) / "model.xml"
        openvino.save_model(converted, file, compress_to_fp16=False)
        return OpenVinoFile(card, file.read_bytes(), file.with_suffix(".bin").read_bytes())


def _imported() -> Any:
    try:
        import openvino
    except ImportError:
        raise needs_extra("openvino", "openvino") from None
    return openvino
