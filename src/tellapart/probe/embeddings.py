"""Features: each image through the graph once, on the occasion of the scan."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import FeatureStore
from tellapart.catalog.table import Catalog
from tellapart.modelfile.session import Session


class FeatureExtractor:
    """Visits a scan: whatever decodes goes through the graph, unless its features are kept already.

    Args:
        graph: pixels (1, H, W, 3) uint8 → embedding (1, D).
        store: where features are kept.
    """

    def __init__(self, graph: bytes, store: FeatureStore) -> None:
        self.graph_digest = hashlib.sha256(graph).hexdigest()
        self.computed = 0
        self._session = Session(graph)
        self._store = store
        self._features: dict[str, NDArray[np.float32]] = {}

    def known(self, digest: str) -> bool:
        """Whether the features of an image are kept."""
        if digest not in self._features:
            kept = self._store.get(self.graph_digest, digest)
            if kept is not None:
                self._features[digest] = kept
        return digest in self._features

    def visit(self, digest: str, pixels: NDArray[np.uint8]) -> None:
        """Compute the features of one image, and keep them."""
        features = self._session.run(pixels[None], ["embedding"])[0][0]
        self._features[digest] = features
        self._store.put(self.graph_digest, digest, features)
        self.computed += 1

    def of(self, catalog: Catalog, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(len(rows), D) the features of scanned images."""
        if not len(rows):
            return np.zeros((0, len(next(iter(self._features.values())))), np.float32)
        return np.stack([self._features[digest] for digest in catalog.digests[rows]])
