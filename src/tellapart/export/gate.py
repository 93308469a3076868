"""The parity gate: a model file is written only if it agrees with torch on the user's own images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from tellapart.catalog.table import Catalog
from tellapart.errors import Refused
from tellapart.evaluation.calibration import softmax
from tellapart.evaluation.predictions import Predictions
from tellapart.export.compose import EMBEDDING, PREPROCESSED, Head, cut_at
from tellapart.export.references import Reference, pixels_now, refuse_if_all
from tellapart.modelfile.layers import Layers
from tellapart.modelfile.predictor import Predictor
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.modelfile.session import Session
from tellapart.threads import map_ahead

# The largest allowed differences of a probability. From files the resizes differ too, so more is
# allowed; two classes whose probabilities are closer than that may change places.
FROM_FILES = 0.01
FROM_TENSORS = 0.001
LEVELS = 2.0  # the largest difference between two resizes, of 255; more than one is not seen
# The largest differences of unfamiliarity, of 1 or more, and of an answer's logit, as shares.
OTHER_OUTPUTS = 0.005
BATCH = 7  # odd, so that a kernel for batches of 4 or 8 cannot hide a fault


@dataclass(frozen=True)
class Parity:
    """How far the model file is from its parts, each on its own: the largest differences of a
    probability.

    The network on its own is torch's where torch made it, and else its graph.

    Args:
        images: how many images were compared.
        from_files: the difference from decoded images. Pillow resizes them for the parts. For a
            network in int8 the file itself does, and `levels` compares that with Pillow: a single
            level more would turn the rounding of other numbers.
        from_tensors: the difference from the same preprocessed tensors.
        batched: the difference between a batch of 7 images and the same images one at a time.
        changed_answers: how many answers differ although the top two of the parts are more than
            0.01 apart.
        unfamiliarity: the difference of the unfamiliarity of the same embeddings, as a share of it
            where it is above 1. It is 0 where several models share the file.
        activation_map: how far the map of the answer is from its logit, as a share of the largest
            logit. It is 0 for a file without maps, and where several models share it.
        levels: the difference between the file's resize and Pillow's, of 255. It is 0 for fp32,
            where `from_files` holds it.
    """

    images: int
    from_files: float
    from_tensors: float
    batched: float
    changed_answers: int
    unfamiliarity: float = 0.0
    activation_map: float = 0.0
    levels: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the model file may be written."""
        return (
            self.from_files <= FROM_FILES
            and self.changed_answers == 0
            and self.from_tensors <= FROM_TENSORS
            and self.batched <= FROM_TENSORS
            and self.unfamiliarity <= OTHER_OUTPUTS
            and self.activation_map <= OTHER_OUTPUTS
            and self.levels <= LEVELS
        )

    def as_json(self) -> dict[str, float | int]:
        """Plain values."""
        return asdict(self)


MAP_IMAGES = 16  # the map is the probabilities' own arithmetic, taken apart: a few images show it


def check_parity(
    model: bytes,
    head: Head,
    preprocessing: Preprocessing,
    references: Sequence[Reference],
    own: NDArray[np.float32] | None = None,
) -> Parity:
    """Compare a model file of one network and one head with its parts.

    Args:
        model: the bytes of the model file.
        head: the head in it.
        preprocessing: the preprocessing in it.
        references: images with their embeddings by the network on its own.
        own: (N, C, S, S) the same images as the file's own preprocessing takes them, where the
            references are of these. None means that they are of Pillow's.

    Raises:
        Refused: they do not agree, so nothing may be written.
    """
    embeddings = np.stack([reference.embedding for reference in references])
    images = [reference.pixels for reference in references]
    file = _File(model, preprocessing, images, own)
    parity = file.compare(probabilities(head.layers, embeddings))
    parity = replace(
        parity,
        unfamiliarity=_unfamiliarity_difference(model, head, embeddings),
        activation_map=file.map_difference(head, embeddings[:MAP_IMAGES]),
    )
    return _refuse_unless_passed(parity)


def check_probabilities(
    model: bytes,
    preprocessing: Preprocessing,
    images: Sequence[NDArray[np.uint8]],
    wanted: NDArray[np.float32],
    own: NDArray[np.float32] | None = None,
) -> Parity:
    """Compare a model file with probabilities.

    Args:
        model: the bytes of the model file.
        preprocessing: the preprocessing in it.
        images: N images, each (H, W, 3) uint8.
        wanted: (N, C) the probabilities of its parts for these images.
        own: as for `check_parity`.

    Raises:
        Refused: they do not agree, so nothing may be written.
    """
    return _refuse_unless_passed(_File(model, preprocessing, images, own).compare(wanted))


class _File:
    """A model file and the images that it is compared on.

    Args:
        model: its bytes.
        preprocessing: the preprocessing in it.
        images: N images of any size.
        own: as for `check_parity`.
    """

    def __init__(
        self,
        model: bytes,
        preprocessing: Preprocessing,
        images: Sequence[NDArray[np.uint8]],
        own: NDArray[np.float32] | None,
    ) -> None:
        self._predictor = Predictor(model)
        self._images, self._own = images, own
        self._resized = np.stack([preprocessing.resized(pixels) for pixels in images])
        self._tensors = np.stack([preprocessing.normalised(square) for square in self._resized])
        self._level = preprocessing.level
        # One session for all that is checked behind preprocessing. Where the references are of the
        # file's own preprocessing, the whole file shows the same.
        self._tail = None if own is not None else _behind_preprocessing(model)

    def compare(self, wanted: NDArray[np.float32]) -> Parity:
        """How far its probabilities are from those of its parts (N, C)."""
        predictor = self._predictor
        file_probs = _each(lambda pixels: predictor.outputs(pixels).probs[None], self._images)
        from_files = _largest(file_probs, wanted)
        few = self._resized[: 2 * BATCH]
        ordered = np.sort(wanted, axis=1)
        clear = ordered[:, -1] - ordered[:, -2] > FROM_FILES
        return Parity(
            images=len(self._images),
            from_files=from_files,
            from_tensors=from_files if self._tail is None else self._from_tensors(wanted),
            batched=_largest(
                _each(predictor.run_batch, _chunks(few, BATCH)),
                _each(predictor.run_batch, _chunks(few, 1)),
            ),
            changed_answers=int(
                (clear & (file_probs.argmax(axis=1) != wanted.argmax(axis=1))).sum()
            ),
            # Whole levels, which normalisation in float32 has blurred.
            levels=0.0
            if self._own is None
            else round(_largest(self._own, self._tensors) / self._level, 2),
        )

    def _from_tensors(self, wanted: NDArray[np.float32]) -> float:
        tail = self._tail
        assert tail
        return max(
            _largest(
                _each(
                    lambda chunk: tail.run(chunk, ["probabilities"])[0],
                    _chunks(self._tensors, size),
                ),
                wanted,
            )
            for size in (1, BATCH)
        )

    def map_difference(self, head: Head, embeddings: NDArray[np.float32]) -> float:
        """How far the mean of each map, plus the bias, is from the answer's logit by the parts, for
        the first images.
        """
        first = range(len(embeddings))
        pairs = [pair for pair in map_ahead(self._map_of, first) if pair]
        if not pairs:
            return 0.0
        weights = np.array(head.answer_weights or 1, np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            logits = head.layers.logits(embeddings)
            scale = max(1.0, float(np.abs(logits).max()))
        # The file's own answer: where two are as probable, the parts may have the other one.
        best = np.array([int((probs * weights).argmax()) for _, probs in pairs])
        means = np.array([float(np.mean(found)) for found, _ in pairs]) + head.layers.bias[best]
        wanted = logits[np.arange(len(best)), best]
        return _largest(means / scale, wanted / scale)

    def _map_of(self, place: int) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """The map of an image and its probabilities; None if the file has no maps."""
        if self._tail is None:
            pixels = self._images[place]
            found = self._predictor.activation_map(pixels)
            return None if found is None else (found, self._predictor.outputs(pixels).probs)
        if "activation_map" not in self._tail.outputs:
            return None
        outputs = ["activation_map", "probabilities"]
        maps, probs = self._tail.run(self._tensors[place][None], outputs)
        return maps, probs[0]


def _unfamiliarity_difference(model: bytes, head: Head, embeddings: NDArray[np.float32]) -> float:
    """How far the graph's unfamiliarity is from numpy's, for the same embeddings."""
    tail = Session(cut_at(model, EMBEDDING, ["unfamiliarity"]))
    found = tail.run(embeddings, ["unfamiliarity"])[0]
    with np.errstate(invalid="ignore", over="ignore"):
        wanted = head.familiarity.unfamiliarity(embeddings, head.layers.logits(embeddings))
        return _largest(found / np.maximum(wanted, 1), wanted / np.maximum(wanted, 1))


def _behind_preprocessing(model: bytes) -> Session:
    """The file's own nodes from preprocessed images on: one session for all that is checked there."""
    there = {output.name for output in onnx.load_from_string(model).graph.output}
    outputs = [name for name in ("probabilities", "activation_map") if name in there]
    return Session(cut_at(model, PREPROCESSED, outputs))


def _refuse_unless_passed(parity: Parity) -> Parity:
    if not parity.passed:
        raise Refused(
            "The model file does not agree with the trained network, so it was not written:"
            f" {parity}.",
            "Another backbone, or preprocessing.mode=squash, may export well; please report this"
            " one.",
        )
    return parity


def probabilities(layers: Layers, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, D) embeddings → (N, C) probabilities, by the layers of a head."""
    # What is not finite fails the gate, and needs no warning.
    with np.errstate(invalid="ignore", over="ignore"):
        return softmax(layers.logits(embeddings))


def _each(run: Callable[[Any], NDArray[np.float32]], inputs: Sequence[Any]) -> NDArray[np.float32]:
    """(N, C) the rows that `run` gives for each input, in their order."""
    return np.concatenate(list(map_ahead(run, inputs)))


def _chunks(rows: NDArray[np.generic], size: int) -> list[NDArray[np.generic]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _largest(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> float:
    difference = np.abs(first - second)
    return float(difference.max()) if np.isfinite(difference).all() else float("inf")


def check_reported(
    predictor: Predictor, catalog: Catalog, rows: NDArray[np.int64], reported: Predictions
) -> list[str]:
    """Check that the predictor repeats the reported probabilities, from the files as they are now.

    Args:
        predictor: the loaded model file.
        catalog: the scanned images.
        rows: the rows of the catalog to check.
        reported: the predictions that the report shows.

    Returns:
        The paths that were left out, because their images changed since the scan.

    Raises:
        Refused: a probability differs, or every image was changed.
    """
    position = {path: row for row, path in enumerate(reported.paths)}
    changed = []
    for row in rows:
        path = catalog.paths[row]
        pixels = pixels_now(catalog, row)
        if pixels is None:
            changed.append(path)
            continue
        difference = _largest(predictor.outputs(pixels).probs, reported.probs[position[path]])
        if difference > FROM_TENSORS:
            raise Refused(
                f"The model file does not say of {path} what was to be reported: {difference:.4f}"
                " apart.",
                "Please report this; nothing was written.",
            )
    refuse_if_all(changed, rows)
    return changed
