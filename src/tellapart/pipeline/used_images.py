"""What a model file remembers of the images that it was made of, so that `evaluate` knows them again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.duplicates import clusters
from tellapart.catalog.prints import apart
from tellapart.catalog.table import Catalog
from tellapart.keyed import keyed_numbers
from tellapart.modelfile.seen import (
    MOST_DIGESTS,
    MOST_PRINTS,
    USES,
    SeenImages,
    UsedImages,
    short_digests,
)


def seen_images(catalog: Catalog, seed: int) -> SeenImages:
    """The images of train and val, of a catalog that is divided.

    Args:
        catalog: with its splits. Without its prints only equal contents are recognised later.
        seed: which images are left out, where there are too many, hangs on it.
    """
    cluster_of = clusters(catalog)
    rows_of = {use: catalog.split(use) for use in USES}
    images = {use: _used(catalog, rows, cluster_of, seed) for use, rows in rows_of.items()}
    partial = max(len(rows) for rows in rows_of.values()) > MOST_PRINTS
    return SeenImages(images["train"], images["val"], partial)


def _used(
    catalog: Catalog, rows: NDArray[np.int64], cluster_of: NDArray[np.int64], seed: int
) -> UsedImages:
    """The images of some rows, without those that a keyed sample leaves out."""
    chosen = rows[np.argsort(keyed_numbers(seed, "seen", catalog.digests[rows]), kind="stable")]
    digests = short_digests(sorted(set(catalog.digests[chosen[:MOST_DIGESTS]].tolist())))
    if catalog.prints is None:
        return UsedImages(len(rows), digests)
    printed = np.sort(chosen[:MOST_PRINTS])
    prints = catalog.prints[printed]
    # In an order that says nothing of the files.
    kept = sorted(prints[row].tobytes() for row in apart(prints, cluster_of[printed]))
    return UsedImages(len(rows), digests, b"".join(kept))
