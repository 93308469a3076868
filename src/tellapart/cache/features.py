"""The embeddings that a graph computes from an image's content, kept for the next time.

An embedding hangs on how the bytes become pixels and on what runs the graph, too. So the versions of
our decoding, of Pillow and of onnxruntime are part of what it is kept under.
"""

from __future__ import annotations

import zlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import __version__ as pillow_version

from tellapart.cache.database import Database
from tellapart.decoders import rules

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
        self._made_by = f"{rules.CONTRACT} {pillow_version} {_runtime_version()}"

    def get(self, graph: str, digest: str) -> NDArray[np.float32] | None:
        """The kept embedding (D,) of an image's content. None means that there is none."""
        key = f"{graph} {self._made_by}"
        found = self._rows(
            "SELECT numbers, sum FROM features WHERE graph = ? AND digest = ?", (key, digest)
        )
        for values, check in found:
            if check == _check(key, digest, values):
                return np.frombuffer(values, np.float32)
        return None  # not there, or damaged on the disk: it is computed anew

    def put(self, graph: str, digest: str, values: NDArray[np.float32]) -> None:
        """Keep the embedding (D,) of an image's content."""
        data = values.tobytes()
        key = f"{graph} {self._made_by}"
        self._put("features", key, digest, data, _check(key, digest, data))


def _runtime_version() -> str:
    """The version of onnxruntime, under either name of its package."""
    # It is not imported, as that takes longer than all that the cache does.
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ""


def _check(graph: str, digest: str, values: bytes) -> int:
    """A checksum over a whole row: a damaged index can lead to the row of another image."""
    return zlib.crc32(values, zlib.crc32(f"{graph} {digest}".encode()))
