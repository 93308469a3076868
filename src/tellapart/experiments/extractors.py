"""Several networks that look at the same images, so that each file is decoded once for all of
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from tellapart.probe.embeddings import FeatureExtractor


class Extractors:
    """Visits a scan for several networks. One that fails drops out, and the others go on.

    Args:
        extractors: name → what computes and keeps the network's features.
    """

    def __init__(self, extractors: Mapping[str, FeatureExtractor]) -> None:
        self.failed: dict[str, str] = {}
        self.seconds = dict.fromkeys(extractors, 0.0)  # of one core
        self._extractors = dict(extractors)
        self._lock = Lock()

    @property
    def working(self) -> dict[str, FeatureExtractor]:
        """Those that have not failed."""
        return {name: one for name, one in self._extractors.items() if name not in self.failed}

    def known(self, digest: str) -> bool:
        """Whether each of them has its features of an image."""
        return all(one.known(digest) for one in self.working.values())

    def visit(self, digest: str, pixels: NDArray[np.uint8]) -> None:
        """Show an image to those that do not know it."""
        for name, one in self.working.items():
            if one.known(digest):
                continue
            began = perf_counter()
            try:
                one.visit(digest, pixels)
            except (
                Exception
            ) as error:  # onnxruntime has an exception class a fault, without a common base
                self.failed[name] = fault(error)
            with self._lock:
                self.seconds[name] += perf_counter() - began


def fault(error: BaseException) -> str:
    """An error that is no message to the user, in one line.

    >>> fault(MemoryError())
    'MemoryError'
    """
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
