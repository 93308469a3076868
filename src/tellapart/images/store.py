"""The images of one split at the network's size.

They are decoded once and held where they fit into memory, and decoded each time elsewhere.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from threading import Lock

import numpy as np
import psutil
from numpy.typing import NDArray

from tellapart.catalog.files import threads_for, unchanged_pixels
from tellapart.catalog.table import Catalog
from tellapart.errors import Refused
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.progress import Console
from tellapart.threads import map_ahead

Pixels = NDArray[np.uint8]


class Images:
    """Images (S, S, 3) uint8 by position: the M-th is that of row `rows[M]` of the catalog.

    An image that is no longer what the scan saw is lost. It is named once, and no other image
    replaces it.

    Args:
        catalog: the scanned images.
        rows: of the catalog.
        preprocessing: crops and resizes.
        held_bytes: the memory that they may take. Beyond it, an image is decoded whenever it is
            needed.
        most_lost: the share of them that may be lost.
        console: where lost images are named.
        decoded: the same images and others, decoded before. What they hold is not decoded again.
    """

    def __init__(
        self,
        catalog: Catalog,
        rows: NDArray[np.int64],
        preprocessing: Preprocessing,
        *,
        held_bytes: int,
        most_lost: float,
        console: Console,
        decoded: Images | None = None,
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
        self._rules, self._most_lost, self._console = catalog.rules, most_lost, console
        size = preprocessing.size_px
        self._held: Pixels | None = None
        if len(rows) * size * size * 3 <= held_bytes:
            self._held = self._taken(decoded) if decoded else self._decoded_all(size)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def held(self) -> bool:
        """Whether the images are in memory."""
        return self._held is not None

    def batches(
        self, groups: Sequence[NDArray[np.int64]]
    ) -> Iterator[tuple[Pixels, NDArray[np.bool_]]]:
        """For each group of positions: its images (K, S, S, 3) that are not lost, and a mask."""
        if self._held is not None:
            for group in groups:
                present = np.ones(len(group), bool)
                if self.lost:
                    present = np.array(
                        [position not in self.lost for position in group.tolist()], bool
                    )
                yield self._held[group[present]], present
            return
        size = self._preprocessing.size_px
        with closing(self._map(p for group in groups for p in group.tolist())) as decoded:
            for group in groups:
                found = [next(decoded) for _ in group]
                present = np.array([pixels is not None for pixels in found], bool)
                kept = [pixels for pixels in found if pixels is not None]
                yield np.array(kept, np.uint8).reshape(len(kept), size, size, 3), present

    def _taken(self, decoded: Images) -> Pixels:
        """The pixels that other images hold; what they have lost is lost here too."""
        assert decoded._held is not None
        place = {path: position for position, path in enumerate(decoded.paths)}
        positions = [place[path] for path in self.paths]
        for position, source in enumerate(positions):
            if source in decoded.lost:
                self.lost[position] = decoded.lost[source]
        return decoded._held[positions]

    def _decoded_all(self, size: int) -> Pixels:
        held = np.empty((len(self), size, size, 3), np.uint8)
        with self._console.track("Decoding", len(self)) as advance:
            for position, pixels in enumerate(self._map(range(len(self)))):
                if pixels is not None:
                    held[position] = pixels
                advance()
        return held

    def _map(self, positions: Iterable[int]) -> Generator[Pixels | None, None, None]:
        return map_ahead(self._decoded, positions, workers=threads_for(self._files))

    def _decoded(self, position: int) -> Pixels | None:
        if position in self.lost:
            return None
        path = self.paths[position]
        try:
            pixels = unchanged_pixels(self._files, path, self._digests[position], self._rules)
        except Refused:
            # Two threads may decode an image at once, as it may be drawn twice.
            with self._losing:
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
                f"{len(self.lost):,} of {len(self):,} images changed while they were used, {path!r}"
                " among them.",
                "Leave the data alone and run the command again, or raise decoding.lost_share.",
            )


def memory_for_images(share: float) -> int:
    """`share` of the memory that is free, in bytes."""
    return int(share * psutil.virtual_memory().available)
