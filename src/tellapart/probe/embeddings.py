"""The embeddings of the images, computed during the scan, so that each file is read once."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import FeatureStore
from tellapart.catalog.table import Catalog
from tellapart.modelfile.session import Session


class FeatureExtractor:
    """A scan hook that runs a graph on each image, unless its embedding is in the store already.

    Args:
        graph: a graph from pixels (1, H, W, 3) uint8 to an embedding (1, D).
        store: where embeddings are kept between runs.
    """

    def __init__(self, graph: bytes, store: FeatureStore) -> None:
        self.graph_digest = hashlib.sha256(graph).hexdigest()
        self.computed = 0
        self._session = Session(graph)
        self._store = store
        self._features: dict[str, NDArray[np.float32]] = {}
        self._decoded_by: dict[str, str] = {}

    def known(self, digest: str, decoded_by: str) -> bool:
        """Whether the embedding of an image, decoded so, is computed or in the store."""
        if self._decoded_by.get(digest) != decoded_by:
            kept = self._store.get(self.graph_digest, content_key(digest, decoded_by))
            if kept is None:
                return False
            self._features[digest], self._decoded_by[digest] = kept, decoded_by
        return True

    def visit(self, digest: str, pixels: NDArray[np.uint8], decoded_by: str) -> None:
        """Compute the embedding of one image, and keep it."""
        features = self._session.run(pixels[None], ["embedding"])[0][0]
        self._features[digest], self._decoded_by[digest] = features, decoded_by
        self._store.put(self.graph_digest, content_key(digest, decoded_by), features)
        self.computed += 1

    def of(self, catalog: Catalog, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(len(rows), D) the embeddings of scanned images."""
        if not len(rows):
            return np.zeros((0, len(next(iter(self._features.values())))), np.float32)
        return np.stack([self._features[digest] for digest in catalog.digests[rows]])


def content_key(digest: str, decoded_by: str) -> str:
    """What tells the pixels of an image from all others: its content, and the rules that had a part
    in them.

    Most images are decoded alike by all rules. Their key is the digest, whatever the rules are.
    """
    if not decoded_by:
        return digest
    return hashlib.sha256(f"{digest} {decoded_by}".encode()).hexdigest()
