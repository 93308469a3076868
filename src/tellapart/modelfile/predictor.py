"""The predictor: a model file, images in, answers out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.names import escape, nearest_path
from tellapart.decoding import Decoded, decode, decode_file
from tellapart.errors import UserError, reason_of
from tellapart.evaluation.abstention import decide
from tellapart.modelfile.card import ModelCard, is_sealed
from tellapart.modelfile.session import Session
from tellapart.threads import map_ahead

Image = str | os.PathLike[str] | bytes | NDArray[np.uint8]


@dataclass(frozen=True)
class Answer:
    """What the model says about one input. Where the status is not "ok", nothing below `detail` is
    set.

    Args:
        path: the input as it was given; "" for bytes and arrays.
        status: "ok", or the named reason why the file is not an image that can be used.
        notes: remarks that do not stop it.
        detail: for a status that is not ok, a sentence.
        decision: "answered", "unsure" (confidence below the threshold) or "unfamiliar" (unlike the
            training images).
        answer: the most probable class.
        confidence: its probability, in [0, 1], calibrated.
        probabilities: class → probability; they sum to 1.
        unfamiliarity: distance to the training images; above 1 is "unfamiliar".
    """

    path: str
    status: str
    notes: tuple[str, ...] = ()
    detail: str = ""
    decision: str = ""
    answer: str = ""
    confidence: float | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    unfamiliarity: float | None = None

    def top(self, count: int) -> list[tuple[str, float]]:
        """The `count` most probable classes with their probabilities, most probable first."""
        return sorted(self.probabilities.items(), key=lambda pair: -pair[1])[:count]


@dataclass(frozen=True)
class Outputs:
    """What the graph says of one image: probs (C,), embedding (D,), unfamiliarity, all float32."""

    probs: NDArray[np.float32]
    embedding: NDArray[np.float32]
    unfamiliarity: float


class Predictor:
    """A model file, loaded. Safe to use from many threads.

    Args:
        model: the bytes of a model file.
        name: what to call it in errors.

    Raises:
        UserError: damaged, or not a tellapart model file.
    """

    def __init__(self, model: bytes, *, name: str = "The model") -> None:
        if not is_sealed(model):
            raise UserError(
                f"{name} is damaged, or is not a tellapart model file.",
                "Copy it again from where it was made, or train anew: the file is model.onnx in the"
                " run folder.",
            )
        self.graph = model
        self._session = Session(model)
        self.card = ModelCard.from_metadata(self._session.metadata)
        missing = {"probabilities", "embedding", "unfamiliarity"} - set(self._session.outputs)
        widths = {
            self._session.width("probabilities"),
            len(self.card.classes),
            len(self.card.train_counts),
        }
        if missing or len(widths) > 1:
            raise UserError(
                f"{name} has not the outputs that its metadata speaks of.", "Export it anew."
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """C class names; the position is the column of the probabilities."""
        return self.card.classes

    @overload
    def predict(self, images: Image) -> Answer: ...  # type: ignore[overload-overlap]  # a str is a sequence too

    @overload
    def predict(self, images: Sequence[Image]) -> list[Answer]: ...

    def predict(self, images: Image | Sequence[Image]) -> Answer | list[Answer]:
        """The answer for one image, or a list of answers for a list of images, in their order.

        Args:
            images: a path, the bytes of an image file, an (H, W, 3) uint8 RGB array, or a list of
                these.

        A file that is not a usable image gets an answer whose status says why; nothing is raised
        for it.
        """
        if isinstance(images, str | os.PathLike | bytes | np.ndarray):
            return self.predict_one(images)
        return list(self.predict_each(images))

    def predict_each(self, images: Iterable[Image]) -> Iterator[Answer]:
        """Answers one by one, in the order of the images, computed on all cores, in bounded
        memory.
        """
        yield from map_ahead(self.predict_one, images)

    def predict_one(self, image: Image) -> Answer:
        """The answer for one image."""
        path = escape(os.fspath(image)) if isinstance(image, str | os.PathLike) else ""
        decoded = _decoded(image, self.card.max_pixels)
        if decoded.pixels is None:
            return Answer(path, decoded.status, decoded.notes, decoded.detail)
        out = self.outputs(decoded.pixels)
        decision = self.decisions(out.probs[None], np.array([out.unfamiliarity], np.float32))[0]
        best = int(out.probs.argmax())
        return Answer(
            path,
            "ok",
            decoded.notes,
            decision=str(decision),
            answer=self.classes[best],
            confidence=float(out.probs[best]),
            probabilities=dict(zip(self.classes, out.probs.tolist(), strict=True)),
            unfamiliarity=out.unfamiliarity if self.card.detects_unfamiliar else None,
        )

    def outputs(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Run the graph on one image's (H, W, 3) uint8 RGB pixels."""
        probs, embedding, unfamiliarity = self._session.run(
            pixels[None], ("probabilities", "embedding", "unfamiliarity")
        )
        return Outputs(probs[0], embedding[0], float(unfamiliarity[0]))

    def batch(self, images: NDArray[np.generic]) -> NDArray[np.float32]:
        """(N, C) probabilities of images of one size, (N, H, W, 3) uint8 RGB, in one run."""
        return self._session.run(images, ("probabilities",))[0]

    def activation_map(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """(h, w) how much each place speaks for the answer, or None where the network has no such
        map.
        """
        if "activation_map" not in self._session.outputs:
            return None
        (maps,) = self._session.run(pixels[None], ("activation_map",))
        return np.asarray(maps[0])

    def decisions(
        self, probs: NDArray[np.float32], unfamiliarity: NDArray[np.float32] | None
    ) -> NDArray[Any]:
        """(N,) "answered", "unsure" or "unfamiliar", by the thresholds in the model file."""
        familiar = unfamiliarity if self.card.detects_unfamiliar else None
        return decide(probs, familiar, self.card.confidence_threshold)


def load(path: str | os.PathLike[str]) -> Predictor:
    """The predictor of a model file, or of a run folder's.

    Raises:
        UserError: no such file, damaged, or not a tellapart model file. Loading runs no code of the
            file's.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "model.onnx"
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{file} does not exist.", nearest_path(file, "Give the model.onnx of a run folder.")
        ) from None
    except OSError as error:
        raise UserError(
            f"{file} cannot be read ({reason_of(error)}).", "Give a file that you may read."
        ) from None
    return Predictor(data, name=str(file))


def _decoded(image: Image, max_pixels: int) -> Decoded:
    if isinstance(image, bytes):
        return decode(image, max_pixels=max_pixels)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            got = f"{image.dtype} {image.shape}"
            raise UserError(
                f"An array must be uint8 of shape (H, W, 3), RGB, got {got}.", "Convert it first."
            )
        return Decoded("ok", pixels=np.ascontiguousarray(image))
    return decode_file(Path(image), max_pixels=max_pixels)
