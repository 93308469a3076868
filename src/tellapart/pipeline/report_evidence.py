"""The evidence that a report shows: heat maps of a run's errors, and training images like them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.catalog.table import Catalog
from tellapart.decoding import decode, encode_thumbnail
from tellapart.evaluation.predictions import Predictions
from tellapart.explain.activation import ActivationMaps, activation_maps
from tellapart.explain.overlay import overlay
from tellapart.modelfile.predictor import Predictor, load
from tellapart.report.parts.gallery import SIDE_PX
from tellapart.report.run.evidence import Evidence, to_explain
from tellapart.runs.neighbours import Neighbour, Neighbours
from tellapart.threads import map_ahead

NEAREST = 3
_MODEL = "model.onnx"


def evidence_of(
    run: Path, catalog: Catalog, shown: Predictions, learned_from: bool
) -> dict[str, Evidence]:
    """The evidence for the images that the report looks at: path → evidence.

    A network without a heat map of its own gets none: blurring each place would take seconds an
    image. A run without an index gets no neighbours. An image that is gone gets neither.

    Args:
        run: the run folder.
        catalog: of the run, whose files are the images.
        shown: the predictions of the report.
        learned_from: whether the model learned from the images shown. Then a map would tell why it
            knows their labels, and not why it was wrong, so none is drawn.

    Raises:
        UserError: the model file is damaged.
        Refused: the index is damaged.
    """
    rows, index = to_explain(shown), Neighbours.read(run)
    if not rows or not (run / _MODEL).is_file():
        return {}
    predictor = load(run)
    # Whole cells of the network's own map: finer ones cost four more runs an image.
    maps = None if learned_from else activation_maps(predictor, finer=1)
    if maps is None and index is None:
        return {}
    digests = dict(zip(catalog.paths.tolist(), catalog.digests.tolist(), strict=True))

    def explain(row: int) -> Evidence | None:
        data = catalog.files.read(shown.paths[row])
        if not isinstance(data, bytes):
            return None
        pixels = decode(data, rules=predictor.card.decoding).pixels
        if pixels is None:
            return None
        label = int(shown.answers[row])
        heat = b"" if maps is None else _heat(predictor, maps, pixels, label)
        nearest: tuple[Neighbour, ...] = ()
        if index is not None:
            embedding, digest = predictor.outputs(pixels).embedding, digests[shown.paths[row]]
            nearest = tuple(index.nearest(embedding, NEAREST, leave_out=digest))
        return Evidence(shown.classes[label], heat, nearest)

    found = zip(rows, map_ahead(explain, rows), strict=True)
    return {shown.paths[row]: entry for row, entry in found if entry is not None}


def _heat(
    predictor: Predictor, maps: ActivationMaps, pixels: NDArray[np.uint8], label: int
) -> bytes:
    """The image with the map of a class over it, as a thumbnail."""
    small = Image.fromarray(pixels)
    small.thumbnail((SIDE_PX, SIDE_PX))
    laid = overlay(small, maps.maps(pixels, [label])[0], predictor.card.preprocessing)
    return encode_thumbnail(np.asarray(laid), SIDE_PX)
