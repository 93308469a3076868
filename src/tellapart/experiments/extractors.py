"""Extract features with several networks from each image, so that a file is decoded only once."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from tellapart.probe.embeddings import FeatureExtractor


class Extractors:
    """A scan hook for several networks. If one fails it drops out, and the others go on.

    Args:
        extractors: name → what computes and keeps the features of that network.
    """

    def __init__(self, extractors: Mapping[str, FeatureExtractor]) -> None:
        self.failed: dict[str, str] = {}
        self.seconds = dict.fromkeys(extractors, 0.0)  # of one core, for each network
        self._extractors = dict(extractors)
        self._lock = Lock()

    @property
    def working(self) -> dict[str, FeatureExtractor]:
        """The networks that have not failed."""
        return {
            name: extractor
            for name, extractor in self._extractors.items()
            if name not in self.failed
        }

    def known(self, digest: str, decoded_by: str) -> bool:
        """Whether every working network has the features of an image."""
        return all(extractor.known(digest, decoded_by) for extractor in self.working.values())

    def visit(self, digest: str, pixels: NDArray[np.uint8], decoded_by: str) -> None:
        """Compute the features of an image with each network that does not have them yet."""
        for name, extractor in self.working.items():
            if extractor.known(digest, decoded_by):
                continue
            began = perf_counter()
            try:
                extractor.visit(digest, pixels, decoded_by)
            # onnxruntime raises many classes of exception, which have no common base.
            except Exception as error:
                self.failed[name] = fault(error)
            with self._lock:
                self.seconds[name] += perf_counter() - began


def fault(error: BaseException) -> str:
    """An error that was not written for the user, in one line.

    >>> fault(MemoryError())
    'MemoryError'
    """
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
