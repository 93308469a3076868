"""The embeddings that torch gives some of the user's images, for the gate to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import FeatureStore
from tellapart.catalog.files import unchanged_pixels
from tellapart.catalog.table import Catalog
from tellapart.errors import Refused
from tellapart.export.compose import PIXELS, PREPROCESSED, cut_at
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.modelfile.session import Session
from tellapart.threads import map_ahead

Embed = Callable[[Sequence[NDArray[np.float32]]], list[NDArray[np.float32]]]


@dataclass(frozen=True)
class Reference:
    """One image with its embedding by torch.

    Args:
        pixels: (H, W, 3) uint8.
        embedding: (D,) float32, of the image as Pillow resizes it.
    """

    pixels: NDArray[np.uint8]
    embedding: NDArray[np.float32]


def torch_references(
    catalog: Catalog,
    rows: NDArray[np.int64],
    network: ExportedNetwork,
    graph_digest: str,
    store: FeatureStore,
    by_torch: Embed,
) -> tuple[list[Reference], list[str]]:
    """The references for rows of the catalog, and the paths of images that changed since the scan.

    Args:
        catalog: the scanned images.
        rows: the rows of the catalog that are wanted.
        network: the exported network.
        graph_digest: the SHA-256 of its graph with preprocessing.
        store: where embeddings are kept between runs, by graph and weights.
        by_torch: preprocessed images (C, S, S) float32 → their embeddings (D,). It is called only
            for images whose embedding is not in the store.

    Raises:
        Refused: every image was changed.
    """
    key = f"torch:{graph_digest}:{network.digest}:{catalog.rules.key}"
    preprocessing = network.preprocessing
    pixels_of, changed = _pixels_of(catalog, rows)
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


def own_references(
    catalog: Catalog, rows: NDArray[np.int64], model: bytes, embed: Embed
) -> tuple[list[Reference], list[str], NDArray[np.float32]]:
    """The references for a network in int8, whose input is the file's own preprocessing.

    A single level more in a pixel would turn the rounding of other numbers, so that Pillow's resize
    would have other embeddings.

    Args:
        catalog: the scanned images.
        rows: the rows of the catalog that are wanted.
        model: the bytes of the model file.
        embed: preprocessed images (C, S, S) float32 → their embeddings (D,), by the network alone.

    Returns:
        The references, the paths of images that changed, and the preprocessed images (N, C, S, S).

    Raises:
        Refused: every image was changed.
    """
    pixels_of, changed = _pixels_of(catalog, rows)
    images = list(pixels_of.values())
    own = preprocessed_by(model, images)
    pairs = zip(images, embed(list(own)), strict=True)
    return [Reference(pixels, embedding) for pixels, embedding in pairs], changed, own


def preprocessed_by(model: bytes, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """(N, C, S, S) what a model file's own preprocessing makes of images (H, W, 3)."""
    front = Session(cut_at(model, PIXELS, [PREPROCESSED]))
    return np.concatenate(
        list(map_ahead(lambda pixels: front.run(pixels[None], [PREPROCESSED])[0], images))
    )


def _pixels_of(
    catalog: Catalog, rows: NDArray[np.int64]
) -> tuple[dict[str, NDArray[np.uint8]], list[str]]:
    """Content → pixels of images that are as they were, and the paths of those that are not.

    Raises:
        Refused: every image was changed.
    """
    pixels_of, changed = {}, []
    for row, pixels in zip(
        rows, map_ahead(lambda row: pixels_now(catalog, row), rows), strict=True
    ):
        if pixels is None:
            changed.append(catalog.paths[row])
        else:
            pixels_of[catalog.digests[row]] = pixels
    refuse_if_all(changed, rows)
    return pixels_of, changed


def pixels_now(catalog: Catalog, row: int) -> NDArray[np.uint8] | None:
    """(H, W, 3) uint8 pixels of a scanned image; None if its file changed since the scan."""
    try:
        return unchanged_pixels(
            catalog.files, catalog.paths[row], catalog.digests[row], catalog.rules
        )
    except Refused:
        return None


def refuse_if_all(changed: Sequence[str], rows: NDArray[np.int64]) -> None:
    """Refuse to go on if every image changed, for then nothing is left to check with.

    Raises:
        Refused: there are as many changed paths as rows.
    """
    if changed and len(changed) == len(rows):
        raise Refused(
            f"All {len(changed)} images to check the model file with were changed meanwhile,"
            f" for example {changed[0]}.",
            "Leave the data as it is, and run the command again.",
        )
