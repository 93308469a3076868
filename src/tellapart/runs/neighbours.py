"""The index of a run: embeddings of its training images, for the images that are most like another.

The file is an uncompressed .npz, which NumPy reads on its own. Its embeddings are mapped from the
disk, so that 100,000 images need no memory. Nothing of it is in the model file.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import Refused, UserError
from tellapart.runs.index_file import FILE, ROWS, Indexed, directions, read_index

_DAMAGED = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)
_QUERIES = 1024  # that are compared with the index at a time


@dataclass(frozen=True)
class Neighbour:
    """A training image that is like another image.

    Args:
        path: its catalog path.
        label: the name of its class.
        split: "train".
        digest: the SHA-256 of its file, in hexadecimal.
        similarity: the cosine between both embeddings, each less the mean of all training images:
            1 for the same image, about 0 for images that have nothing in common.
    """

    path: str
    label: str
    split: str
    digest: str
    similarity: float

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {**vars(self), "similarity": round(self.similarity, 4)}


class Neighbours:
    """The index of a run, read from its folder.

    Args:
        embeddings: (N, D) float16, each a direction of length 1.
        mean: (D,) that is taken from every embedding before its direction is.
        indexed: what is known of the images.
    """

    def __init__(
        self, embeddings: NDArray[np.float16], mean: NDArray[np.float32], indexed: Indexed
    ) -> None:
        self._embeddings, self._mean, self.indexed = embeddings, mean, indexed

    def __len__(self) -> int:
        return len(self._embeddings)

    @property
    def width(self) -> int:
        """D, the numbers in an embedding."""
        return len(self._mean)

    @classmethod
    def read(cls, run: str | os.PathLike[str]) -> Neighbours | None:
        """The index of a run folder; None where it has none.

        Raises:
            Refused: the index is damaged.

        >>> len(Neighbours.read(run.path)) > 0
        True
        """
        file = Path(run) / FILE
        if not file.is_file():
            return None
        try:
            return cls(*read_index(file))
        except _DAMAGED as error:
            raise Refused(
                f"{file} is damaged ({type(error).__name__}).",
                "Put a good copy there, or delete it: the run can do without.",
            ) from error

    def nearest(
        self, embedding: NDArray[np.floating[Any]], count: int = 3, leave_out: str | None = None
    ) -> list[Neighbour]:
        """The training images that are most like an image, the nearest first.

        Args:
            embedding: (D,) of the image, by the run's model.
            count: how many are wanted. There are fewer where the index holds fewer.
            leave_out: the digest of the image itself, so that it is no neighbour of its own.

        Raises:
            UserError: the embedding is of another network.

        >>> index, photo = Neighbours.read(run.path), photos / "sky" / "000.jpg"
        >>> [near.label for near in index.nearest(predictor.embed(photo)[0], count=2)]
        ['sky', 'sky']
        """
        return self.nearest_each(np.asarray(embedding)[None], count, [leave_out])[0]

    def nearest_each(
        self,
        embeddings: NDArray[np.floating[Any]],
        count: int = 3,
        leave_out: Sequence[str | None] = (),
    ) -> list[list[Neighbour]]:
        """The training images that are most like each of many images.

        Args:
            embeddings: (M, D) of the images.
            count: how many are wanted for each.
            leave_out: M digests of the images themselves, or None for each that has none. Empty
                means that none is left out.

        Raises:
            UserError: the embeddings are of another network.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self.width:
            raise UserError(
                f"An embedding of shape {embeddings.shape[1:]} cannot be compared with the index,"
                f" whose embeddings have {self.width} numbers.",
                "Take the embedding that the run's own model gives.",
            )
        left = list(leave_out) or [None] * len(embeddings)
        found: list[list[Neighbour]] = []
        for start in range(0, len(embeddings), _QUERIES):
            stop = start + _QUERIES
            asked = directions(embeddings[start:stop], self._mean)
            found += self._search(asked, count, left[start:stop])
        return found

    def _search(
        self, asked: NDArray[np.float32], count: int, leave_out: Sequence[str | None]
    ) -> list[list[Neighbour]]:
        own = [self._rows_of(digest) for digest in leave_out]
        rows = np.zeros((len(asked), 0), np.int64)
        best = np.zeros((len(asked), 0), np.float32)
        for start in range(0, len(self), ROWS):
            likeness = asked @ self._embeddings[start : start + ROWS].astype(np.float32).T
            width = likeness.shape[1]
            for query, left in enumerate(own):
                likeness[query, left[(left >= start) & (left < start + width)] - start] = -np.inf
            numbers = np.broadcast_to(np.arange(start, start + width), likeness.shape)
            best = np.concatenate([best, likeness], axis=1)
            rows = np.concatenate([rows, numbers], axis=1)
            best, rows = _largest(best, rows, count)
        return [
            [
                self._neighbour(row, similarity)
                for row, similarity in zip(*pair, strict=True)
                if np.isfinite(similarity)
            ]
            for pair in zip(rows.tolist(), best.tolist(), strict=True)
        ]

    def _rows_of(self, digest: str | None) -> NDArray[np.int64]:
        return self.indexed.digests.rows_of(digest) if digest else np.zeros(0, np.int64)

    def _neighbour(self, row: int, similarity: float) -> Neighbour:
        indexed = self.indexed
        return Neighbour(
            path=indexed.paths[row],
            label=indexed.classes[int(indexed.labels[row])],
            split=indexed.split,
            digest=indexed.digests[row],
            similarity=min(1.0, similarity),  # half precision rounds beyond it
        )


def no_index(run: str | os.PathLike[str]) -> UserError:
    """The error for a run without an index, where somebody needs one."""
    return UserError(
        f"{run} has no index of its training images, so the nearest cannot be shown.",
        "Train it again with this version: `train` writes the index at its end.",
    )


def _largest(
    values: NDArray[np.float32], rows: NDArray[np.int64], count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The `count` largest values of each line with their rows, the largest first."""
    if count < values.shape[1]:
        chosen = np.argpartition(-values, count, axis=1)[:, :count]
        values = np.take_along_axis(values, chosen, 1)
        rows = np.take_along_axis(rows, chosen, 1)
    order = np.lexsort((rows, -values), axis=1)
    return np.take_along_axis(values, order, 1), np.take_along_axis(rows, order, 1)
