"""The training images that are nearest to a reviewed one, where the run keeps an index of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tellapart.modelfile.predictor import Predictor
from tellapart.runs.neighbours import Neighbours
from tellapart.server.review.app import Near
from tellapart.server.review.scaled import Missing, Scaled

COUNT = 3


def nearest_by(
    run: Path, predictor: Predictor, scaled: Scaled
) -> Callable[[str, str], list[Near]] | None:
    """Digest and path of an image → the training images nearest to it; None without an index.

    Args:
        run: the run folder.
        predictor: the run's model, which gives the embedding of an image.
        scaled: reads the images.

    Raises:
        Refused: the index is damaged.
    """
    index = Neighbours.read(run)
    if index is None:
        return None

    def nearest(digest: str, path: str) -> list[Near]:
        try:
            pixels = scaled.pixels(path, digest)
        except Missing:
            return []
        embedding = predictor.outputs(pixels).embedding
        return [
            Near(path=near.path, digest=near.digest, label=near.label, similarity=near.similarity)
            for near in index.nearest(embedding, count=COUNT, leave_out=digest)
        ]

    return nearest
