"""The embeddings of the images, computed during the scan, so that each file is read once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

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
        # Only of images that the rules had a part in: for all others it is "".
        self._decoded_by: dict[str, str] = {}

    def known(self, digest: str, decoded_by: str) -> bool:
        """Whether the embedding of an image, decoded so, is in the store."""
        if self._store.get(self.graph_digest, content_key(digest, decoded_by)) is None:
            return False
        self._note(digest, decoded_by)
        return True

    def visit(self, digest: str, pixels: NDArray[np.uint8], decoded_by: str) -> None:
        """Compute the embedding of one image, and keep it."""
        features = self._session.run(pixels[None], ["embedding"])[0][0]
        self._store.put(self.graph_digest, content_key(digest, decoded_by), features)
        self._note(digest, decoded_by)
        self.computed += 1

    def of(self, catalog: Catalog, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(len(rows), D) the embeddings of scanned images. Those of very many images lie in a
        temporary file and not in memory.

        Raises:
            Refused: an embedding was lost from the cache since the scan.
        """
        return self.of_contents(catalog.digests[rows].tolist())

    def of_contents(self, digests: Sequence[str]) -> NDArray[np.float32]:
        """(len(digests), D) the embeddings of contents that were seen, by their hashes.

        Raises:
            Refused: an embedding was lost from the cache since.
        """
        if not len(digests):
            return np.zeros((0, self._store.width(self.graph_digest)), np.float32)
        keys = [content_key(digest, self._decoded_by.get(digest, "")) for digest in digests]
        return self._store.gather(self.graph_digest, keys)

    def _note(self, digest: str, decoded_by: str) -> None:
        if decoded_by:
            self._decoded_by[digest] = decoded_by
        else:
            self._decoded_by.pop(digest, None)


class ScannedEmbeddings:
    """The embeddings of scanned images, of which some are read at a time.

    Args:
        features: that saw the images.
        catalog: of the images.
        rows: of those that are meant.
    """

    def __init__(
        self, features: FeatureExtractor, catalog: Catalog, rows: NDArray[np.int64]
    ) -> None:
        self._features, self._catalog, self._rows = features, catalog, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, part: slice, /) -> NDArray[np.float32]:
        return self._features.of(self._catalog, self._rows[part])


def content_key(digest: str, decoded_by: str) -> str:
    """What tells the pixels of an image from all others: its content, and the rules that had a part
    in them.

    Most images are decoded alike by all rules. Their key is the digest, whatever the rules are.
    """
    if not decoded_by:
        return digest
    return hashlib.sha256(f"{digest} {decoded_by}".encode()).hexdigest()
