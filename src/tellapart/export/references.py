"""What torch makes of some of the user's pictures: the other side of the gate's comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import FeatureStore
from tellapart.catalog.files import unchanged_pixels
from tellapart.catalog.table import Catalog
from tellapart.export.kept import ExportedNetwork


@dataclass(frozen=True)
class Reference:
    """One picture, (H, W, 3) uint8, and the embedding (D,) float32 that torch gives it behind Pillow's resize."""

    pixels: NDArray[np.uint8]
    embedding: NDArray[np.float32]


def torch_references(
    catalog: Catalog,
    rows: NDArray[np.int64],
    network: ExportedNetwork,
    graph_digest: str,
    store: FeatureStore,
    by_torch: Callable[[Sequence[NDArray[np.float32]]], list[NDArray[np.float32]]],
    max_pixels: int,
) -> list[Reference]:
    """References for rows of the catalog.

    Args:
        by_torch: preprocessed pictures (3, S, S) float32 → their embeddings (D,); called only for pictures whose
            reference is not kept. What is kept is keyed by graph and weights: it is torch's answer for this network.
        max_pixels: as in the scan.

    Raises:
        Refused: a file was changed since the scan.
    """
    key = f"torch:{graph_digest}:{network.digest}"
    preprocessing = network.preprocessing
    paths, digests = catalog.paths[rows], catalog.digests[rows]
    pixels_of = {
        digest: unchanged_pixels(catalog.files, path, digest, max_pixels)
        for path, digest in zip(paths, digests, strict=True)
    }
    kept = {digest: values for digest in pixels_of if (values := store.get(key, digest)) is not None}
    missing = [digest for digest in pixels_of if digest not in kept]
    inputs = [preprocessing.normalised(preprocessing.resized(pixels_of[digest])) for digest in missing]
    for digest, embedding in zip(missing, by_torch(inputs) if inputs else (), strict=True):
        kept[digest] = embedding
        store.put(key, digest, embedding)
    return [Reference(pixels, kept[digest]) for digest, pixels in pixels_of.items()]
