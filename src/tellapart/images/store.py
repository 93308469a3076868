"""The images of one split at the network's size: decoded once and held where they fit in memory,
else each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from threading import Lock

import numpy as np
import psutil
from numpy.typing import NDArray

from tellapart.catalog.files import unchanged_pixels
from tellapart.catalog.table import Catalog
from tellapart.errors import Refused
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.progress import Console
from tellapart.threads import map_ahead

Pixels = NDArray[np.uint8]


class Images:
    """Images (S, S, 3) uint8, by position: the M-th is that of row `rows[M]` of the catalog.

    An image that is no longer what the scan saw is lost: it is named once, and no other stands in
    for it.

    Args:
        preprocessing: crops and resizes.
        max_pixels: as in the scan.
        held_bytes: how much memory they may take; above it, each is decoded whenever it is asked
            for.
        most_lost: share of them that may be lost.
    """

    def __init__(
        self,
        catalog: Catalog,
        rows: NDArray[np.int64],
        preprocessing: Preprocessing,
        *,
        max_pixels: int,
        held_bytes: int,
        most_lost: float,
        console: Console,
    ) -> None:
        self.labels: NDArray[np.int64] = catalog.labels[rows]
        self.weights: NDArray[np.float64] = catalog.weights[rows]
        self.paths: tuple[str, ...] = tuple(catalog.paths[rows])
        self.classes = catalog.classes
        self.lost: dict[int, str] = {}
        self._losing = Lock()
        self._digests = catalog.digests[rows]
        self._files = catalog.files
        self._preprocessing = preprocessing
        self._max_pixels, self._most_lost, self._console = max_pixels, most_lost, console
        size = preprocessing.size_px
        self._held: Pixels | None = None
        if len(rows) * size * size * 3 <= held_bytes:
            self._held = self._decoded_all(size)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def held(self) -> bool:
        """Whether they are in memory."""
        return self._held is not None

    def batches(
        self, groups: Sequence[NDArray[np.int64]]
    ) -> Iterator[tuple[Pixels, NDArray[np.bool_]]]:
        """For each group of positions, the images (K, S, S, 3) that are not lost, and which of the
        group they are.
        """
        if self._held is not None:
            for group in groups:
                there = np.ones(len(group), bool)
                if self.lost:
                    there = np.array(
                        [position not in self.lost for position in group.tolist()], bool
                    )
                yield self._held[group[there]], there
            return
        size = self._preprocessing.size_px
        with closing(
            map_ahead(self._decoded, (p for group in groups for p in group.tolist()))
        ) as decoded:
            for group in groups:
                found = [next(decoded) for _ in group]
                there = np.array([pixels is not None for pixels in found], bool)
                kept = [pixels for pixels in found if pixels is not None]
                yield np.array(kept, np.uint8).reshape(len(kept), size, size, 3), there

    def _decoded_all(self, size: int) -> Pixels:
        held = np.empty((len(self), size, size, 3), np.uint8)
        with self._console.track("Decoding", len(self)) as advance:
            for position, pixels in enumerate(map_ahead(self._decoded, range(len(self)))):
                if pixels is not None:
                    held[position] = pixels
                advance()
        return held

    def _decoded(self, position: int) -> Pixels | None:
        if position in self.lost:
            return None
        path = self.paths[position]
        try:
            pixels = unchanged_pixels(self._files, path, self._digests[position], self._max_pixels)
        except Refused:
            with self._losing:  # drawn twice, an image may be decoded by two threads at once
                if position not in self.lost:
                    self._lose(position, path)
            return None
        return self._preprocessing.resized(pixels)

    def _lose(self, position: int, path: str) -> None:
        label = self.classes[self.labels[position]]
        self.lost[position] = (
            f"{path} ({label}) is no longer what it was when the run began, and is left out"
        )
        self._console.say(f"note: {self.lost[position]}")
        if len(self.lost) > self._most_lost * len(self):
            raise Refused(
                f"{len(self.lost):,} of {len(self):,} images were changed while they were used,"
                f" {path!r} for one.",
                "Leave the data alone and run the command again, or raise decoding.lost_share.",
            )


def memory_for_images(share: float) -> int:
    """Bytes of memory that are `share` of what is free now."""
    return int(share * psutil.virtual_memory().available)
