"""A process that decodes images and answers them, so that one that kills it costs one request.

    python -m tellapart.server.worker

reads frames from standard input and writes one frame for each to standard output. A frame is a line
of JSON, then as many bytes as its "bytes" says. The first frames are the models.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.catalog.appearance import measure_appearance
from tellapart.catalog.thumbnails import make_thumbnail
from tellapart.decoding import Decoded, decode, decode_image
from tellapart.modelfile.predictor import Predictor
from tellapart.server.explained import Model


def read_frame(file: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next frame; None where the other side has ended."""
    line = file.readline()
    if not line.endswith(b"\n"):
        return None
    head = json.loads(line)
    return head, file.read(head["bytes"])


def frame(head: Mapping[str, Any], body: bytes = b"") -> bytes:
    """A frame as it is sent.

    >>> frame({"ask": "image"}, b"\\xff")
    b'{"ask": "image", "bytes": 1}\\n\\xff'
    """
    return json.dumps({**head, "bytes": len(body)}).encode() + b"\n" + body


def answer(model: Model, ask: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    """What the model says about one image, and what the image is like, as JSON values.

    Args:
        model: that is asked.
        ask: "shape" is (H, W, 3) where the body is pixels. Otherwise the body is the bytes of a
            file. "lone" is as for `Predictor.answer`, "map" and "neighbours" as for
            `Model.explained`.
        body: uint8 pixels, or a file.
    """
    begin, predictor = time.perf_counter(), model.predictor
    decoded = _decoded(predictor, ask, body)
    decoded_at = time.perf_counter()
    if decoded.pixels is None:
        return {
            "status": decoded.status,
            "notes": list(decoded.notes),
            "detail": decoded.detail,
            "seconds": {"decode": decoded_at - begin, "compute": 0.0},
        }
    found = predictor.answer(decoded, lone=bool(ask.get("lone")))
    result = {
        "status": "ok",
        "notes": list(decoded.notes),
        "decision": found.decision,
        "answer": found.answer,
        "confidence": found.confidence,
        "probabilities": found.probabilities,
        "unfamiliarity": found.unfamiliarity,
        "image": _appearance(decoded.pixels),
    }
    result |= model.explained(ask, decoded.pixels, body)
    computed_at = time.perf_counter()
    seconds = {"decode": decoded_at - begin, "compute": computed_at - decoded_at}
    return {**result, "seconds": seconds}


def _decoded(predictor: Predictor, ask: Mapping[str, Any], body: bytes) -> Decoded:
    if "shape" in ask:
        pixels = np.frombuffer(body, np.uint8).reshape(ask["shape"])
        return decode_image(Image.fromarray(pixels), rules=predictor.card.decoding)
    return decode(body, rules=predictor.card.decoding)


def _appearance(pixels: NDArray[np.uint8]) -> dict[str, float]:
    """What drift is measured by, beside the answers."""
    brightness, contrast, colour = measure_appearance([make_thumbnail(pixels)])[0].tolist()
    return {
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "brightness": round(brightness, 1),
        "contrast": round(contrast, 1),
        "colourfulness": round(colour, 1),
    }


def load_models(file: BinaryIO) -> dict[str, Model]:
    """The models of the first frames, each asked once so that the first client need not wait."""
    models: dict[str, Model] = {}
    while received := read_frame(file):
        head, body = received
        if head["ask"] == "begin":
            break
        models[head["model"]] = Model(Predictor(body, name=head["model"]), head.get("run"))
    for model in models.values():
        model.predictor.predict_one(np.zeros((64, 64, 3), np.uint8))
    return models


def main() -> None:
    """Answer until standard input ends."""
    # Ctrl-C reaches every process of the terminal; the server ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    given, taken = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Whatever a decoder prints must not stand among the frames.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    models = load_models(given)
    taken.write(frame({"ready": sorted(models)}))
    taken.flush()
    while received := read_frame(given):
        ask, body = received
        taken.write(frame(answer(models[ask["model"]], ask, body)))
        taken.flush()


if __name__ == "__main__":
    main()
