"""The embeddings that a graph computes from an image's content, kept for the next time."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.cache.database import Database

FORMAT = 3  # the version of the table; another one gets another file


class FeatureStore(Database):
    """Embeddings by graph and content.

    Args:
        folder: the cache folder.
    """

    def __init__(self, folder: Path) -> None:
        columns = (
            "graph TEXT, digest TEXT, numbers BLOB, sum INTEGER, kept INTEGER, PRIMARY KEY (graph,"
            " digest)"
        )
        super().__init__(folder / f"features-{FORMAT}.sqlite", {"features": columns})

    def get(self, graph: str, digest: str) -> NDArray[np.float32] | None:
        """The kept embedding (D,) of an image's content. None means that there is none."""
        found = self._rows(
            "SELECT numbers, sum FROM features WHERE graph = ? AND digest = ?", (graph, digest)
        )
        for values, check in found:
            if check == _check(graph, digest, values):
                return np.frombuffer(values, np.float32)
        return None  # not there, or damaged on the disk: it is computed anew

    def put(self, graph: str, digest: str, values: NDArray[np.float32]) -> None:
        """Keep the embedding (D,) of an image's content."""
        data = values.tobytes()
        self._put("features", graph, digest, data, _check(graph, digest, data))


def _check(graph: str, digest: str, values: bytes) -> int:
    """A checksum over a whole row: a damaged index can lead to the row of another image."""
    return zlib.crc32(values, zlib.crc32(f"{graph} {digest}".encode()))
