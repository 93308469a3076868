"""The parity gate: a model file is written only if it agrees with torch on the user's own images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from tellapart.catalog.table import Catalog
from tellapart.errors import Refused
from tellapart.evaluation.calibration import softmax
from tellapart.evaluation.predictions import Predictions
from tellapart.export.compose import EMBEDDING, PIXELS, PREPROCESSED, Head, cut_at
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


# Preprocessed images (N, C, S, S) → probabilities (N, classes), by the network on its own.
Parts = Callable[[NDArray[np.float32]], NDArray[np.float32]]


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
    parts: Parts | None = None,
) -> Parity:
    """Compare a model file of one network and one head with its parts.

    Args:
        model: the bytes of the model file.
        head: the head in it.
        preprocessing: the preprocessing in it.
        references: images with their embeddings by the network on its own.
        parts: network and head on their own, for a network in int8.

    Raises:
        Refused: they do not agree, so nothing may be written.
    """
    embeddings = np.stack([reference.embedding for reference in references])
    images = [reference.pixels for reference in references]
    tail, inputs = _behind_preprocessing(model), _inputs(preprocessing, images)
    parity = _compare(model, tail, inputs, probabilities(head.layers, embeddings), parts)
    parity = replace(
        parity,
        unfamiliarity=_unfamiliarity_difference(model, head, embeddings),
        activation_map=_map_difference(
            tail, head, inputs.tensors[:MAP_IMAGES], embeddings[:MAP_IMAGES]
        ),
    )
    return _refuse_unless_passed(parity)


class _Inputs(NamedTuple):
    """Images in the three forms that the gate compares: N of any size, and arrays (N, …)."""

    images: Sequence[NDArray[np.uint8]]
    resized: NDArray[np.uint8]
    tensors: NDArray[np.float32]


def _inputs(preprocessing: Preprocessing, images: Sequence[NDArray[np.uint8]]) -> _Inputs:
    resized = np.stack([preprocessing.resized(pixels) for pixels in images])
    return _Inputs(images, resized, np.stack([preprocessing.normalised(img) for img in resized]))


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


def _map_difference(
    tail: Session, head: Head, tensors: NDArray[np.float32], embeddings: NDArray[np.float32]
) -> float:
    """How far the mean of each map, plus the bias, is from the answer's logit by torch."""
    if "activation_map" not in tail.outputs:
        return 0.0
    outputs = ["activation_map", "probabilities"]
    pairs = list(map_ahead(lambda tensor: tail.run(tensor[None], outputs), tensors))
    weights = np.array(head.answer_weights or 1, np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        logits = head.layers.logits(embeddings)
        scale = max(1.0, float(np.abs(logits).max()))
    # The file's own answer: where two are as probable, torch may have the other one.
    best = np.array([int((probs[0] * weights).argmax()) for _, probs in pairs])
    means = np.array([float(maps.mean()) for maps, _ in pairs]) + head.layers.bias[best]
    wanted = logits[np.arange(len(best)), best]
    return _largest(means / scale, wanted / scale)


def check_probabilities(
    model: bytes,
    preprocessing: Preprocessing,
    images: Sequence[NDArray[np.uint8]],
    wanted: NDArray[np.float32],
    parts: Parts | None = None,
) -> Parity:
    """Compare a model file with probabilities.

    Args:
        model: the bytes of the model file.
        preprocessing: the preprocessing in it.
        images: N images, each (H, W, 3) uint8.
        wanted: (N, C) the probabilities of its parts for these images, resized by Pillow.
        parts: networks and heads on their own, for networks in int8.

    Raises:
        Refused: they do not agree, so nothing may be written.
    """
    tail, inputs = _behind_preprocessing(model), _inputs(preprocessing, images)
    return _refuse_unless_passed(_compare(model, tail, inputs, wanted, parts))


def _refuse_unless_passed(parity: Parity) -> Parity:
    if not parity.passed:
        raise Refused(
            "The model file does not agree with the trained network, so it was not written:"
            f" {parity}.",
            "Another backbone, or preprocessing.mode=squash, may export well; please report this"
            " one.",
        )
    return parity


def _compare(
    model: bytes,
    tail: Session,
    inputs: _Inputs,
    wanted: NDArray[np.float32],
    parts: Parts | None,
) -> Parity:
    """How far the file's probabilities are from those of its parts for the same tensors, and for
    the same files.
    """
    predictor = Predictor(model)
    images, resized, tensors = inputs
    file_probs = _each(lambda pixels: predictor.outputs(pixels).probs[None], images)
    wanted_of_files, levels = wanted, 0.0
    if parts is not None:
        front = Session(cut_at(model, PIXELS, [PREPROCESSED]))
        own = _each(lambda pixels: front.run(pixels[None], [PREPROCESSED])[0], images)
        wanted_of_files = parts(own)
        levels = _largest(own, tensors) / predictor.card.preprocessing.level
    few = resized[: 2 * BATCH]
    ordered = np.sort(wanted_of_files, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > FROM_FILES
    return Parity(
        images=len(images),
        from_files=_largest(file_probs, wanted_of_files),
        from_tensors=max(
            _largest(
                _each(lambda chunk: tail.run(chunk, ["probabilities"])[0], _chunks(tensors, size)),
                wanted,
            )
            for size in (1, BATCH)
        ),
        batched=_largest(
            _each(predictor.run_batch, _chunks(few, BATCH)),
            _each(predictor.run_batch, _chunks(few, 1)),
        ),
        changed_answers=int(
            (clear & (file_probs.argmax(axis=1) != wanted_of_files.argmax(axis=1))).sum()
        ),
        levels=levels,
    )


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
