"""What torch makes of some of the user's images: the other side of the gate's comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import FeatureStore
from tellapart.catalog.files import unchanged_pixels
from tellapart.catalog.table import Catalog
from tellapart.errors import Refused
from tellapart.export.graph_cache import ExportedNetwork


@dataclass(frozen=True)
class Reference:
    """One image, (H, W, 3) uint8, and the embedding (D,) float32 that torch gives it behind
    Pillow's resize.
    """

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
) -> tuple[list[Reference], list[str]]:
    """References for rows of the catalog, and the paths of those left out: images that were changed
    since the scan.

    Args:
        by_torch: preprocessed images (C, S, S) float32 → their embeddings (D,); called only for
            images whose reference is not kept. What is kept is keyed by graph and weights: it is
            torch's answer for this network.
        max_pixels: as in the scan.

    Raises:
        Refused: each of them was changed.
    """
    key = f"torch:{graph_digest}:{network.digest}"
    preprocessing = network.preprocessing
    pixels_of, changed = {}, []
    for row in rows:
        pixels = pixels_now(catalog, row, max_pixels)
        if pixels is None:
            changed.append(catalog.paths[row])
        else:
            pixels_of[catalog.digests[row]] = pixels
    refuse_if_all(changed, rows)
    kept = {
        digest: values for digest in pixels_of if (values := store.get(key, digest)) is not None
    }
    missing = [digest for digest in pixels_of if digest not in kept]
    inputs = [
        preprocessing.normalised(preprocessing.resized(pixels_of[digest])) for digest in missing
    ]
    for digest, embedding in zip(missing, by_torch(inputs) if inputs else (), strict=True):
        kept[digest] = embedding
        store.put(key, digest, embedding)
    return [Reference(pixels, kept[digest]) for digest, pixels in pixels_of.items()], changed


def pixels_now(catalog: Catalog, row: int, max_pixels: int) -> NDArray[np.uint8] | None:
    """(H, W, 3) uint8, the pixels of a scanned image; None where its file is no longer what the
    scan saw.
    """
    try:
        return unchanged_pixels(catalog.files, catalog.paths[row], catalog.digests[row], max_pixels)
    except Refused:
        return None


def refuse_if_all(changed: Sequence[str], rows: NDArray[np.int64]) -> None:
    """A file may change while it is used, but where every one did, nothing is left to check with.

    Raises:
        Refused: as many paths as rows.
    """
    if changed and len(changed) == len(rows):
        raise Refused(
            f"All {len(changed)} images to check the model file with were changed meanwhile,"
            f" {changed[0]} for one.",
            "Leave the data alone, and run the command again.",
        )
