"""The embeddings that a graph computes from an image's content, kept for the next time.

An embedding hangs on how the bytes become pixels and on what runs the graph, too. So the versions of
our decoding, of Pillow and of onnxruntime are part of what it is kept under.

They are kept in single precision. Rounded to half of it, they would differ from those that the model
file computes, and so would all numbers that are measured on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import __version__ as pillow_version

from tellapart.cache import database
from tellapart.cache.blocks import forget_oldest
from tellapart.cache.records import Records
from tellapart.decoders import rules
from tellapart.errors import Refused

FORMAT = 4  # the version of the blocks; another one gets another folder


class FeatureStore:
    """Embeddings by graph and content. Many threads may use it at once.

    Args:
        folder: the cache folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / f"features-{FORMAT}"
        self._made_by = f"{rules.CONTRACT} {pillow_version} {_runtime_version()}"
        self._graphs: dict[str, Records] = {}

    def get(self, graph: str, digest: str) -> NDArray[np.float32] | None:
        """The kept embedding (D,) of an image's content. None means that there is none."""
        data = self._records(graph).get(digest)
        return None if data is None else data.view(np.float32)

    def put(self, graph: str, digest: str, values: NDArray[np.float32]) -> None:
        """Keep the embedding (D,) of an image's content."""
        self._records(graph).put(digest, values.astype(np.float32, copy=False).tobytes())

    def gather(self, graph: str, digests: Sequence[str]) -> NDArray[np.float32]:
        """(len(digests), D) the embeddings of contents, in this order. Many of them are mapped from
        a temporary file.

        Raises:
            Refused: an embedding was damaged or deleted since it was found or put here.
        """
        try:
            return self._records(graph).gather(digests).view(np.float32)
        except KeyError as error:
            raise Refused(
                f"The features of the image {error.args[0][:16]}… were lost from the cache"
                f" {self._folder} while they were used.",
                "Run the command again: it computes them anew.",
            ) from None

    def width(self, graph: str) -> int:
        """D, the numbers in an embedding; 0 before there is any."""
        return self._records(graph).width // np.dtype(np.float32).itemsize

    def flush(self) -> None:
        """Write what waits in memory. A full disk costs the cache, not the work."""
        for records in list(self._graphs.values()):
            records.flush()

    def close(self) -> None:
        """Write what waits, and make room for what is to come."""
        for records in self._graphs.values():
            records.close()
        forget_oldest(self._folder, database.KEPT_BYTES)

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _records(self, graph: str) -> Records:
        if graph not in self._graphs:
            name = hashlib.sha256(f"{graph} {self._made_by}".encode()).hexdigest()[:32]
            # Of two threads that come here at once, both get the one that is there first.
            self._graphs.setdefault(graph, Records(self._folder / name))
        return self._graphs[graph]


def _runtime_version() -> str:
    """The version of onnxruntime, under either name of its package."""
    # It is not imported, as that takes longer than all that the cache does.
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ""
