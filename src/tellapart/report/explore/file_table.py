"""The table of files: first those that need a look, then a sample of the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.duplicates import find_copies
from tellapart.catalog.table import Catalog
from tellapart.report.parts.data_section import spread

MOST_ROWS = 2_000


@dataclass(frozen=True)
class FileRow:
    """One file. Unknown numbers are None; an unknown time `taken` is ""."""

    path: str
    class_name: str
    split: str
    status: str
    notes: str
    width: int | None
    height: int | None
    brightness: float | None
    contrast: float | None
    colourfulness: float | None
    taken: str
    copies: int  # other files that show the same image

    @property
    def folder(self) -> str:
        """The path without the name of the file."""
        return self.path[: self.path.rfind("/") + 1]

    @property
    def name(self) -> str:
        """The name of the file without its folders."""
        return self.path[len(self.folder) :]


def file_rows(catalog: Catalog, appearance: NDArray[np.float32]) -> list[FileRow]:
    """At most `MOST_ROWS` files: those not used, then those with notes, then copies, then the rest."""
    copies = np.zeros(len(catalog), np.int64)
    for group in find_copies(catalog):
        copies[list(group.rows)] = len(group.rows) - 1
    rank = np.select([~catalog.ok, np.asarray(catalog.notes != ""), copies > 0], [0, 1, 2], 3)
    rows: list[int] = []
    for place in range(4):
        rows += spread(np.flatnonzero(rank == place), MOST_ROWS - len(rows))
    return [_row(catalog, row, appearance[row], int(copies[row])) for row in rows]


def _row(catalog: Catalog, row: int, appearance: NDArray[np.float32], copies: int) -> FileRow:
    label, status = int(catalog.labels[row]), str(catalog.statuses[row])
    brightness, contrast, colourfulness = (
        float(value) if np.isfinite(value) else None for value in appearance
    )
    return FileRow(
        path=str(catalog.paths[row]),
        class_name=catalog.classes[label] if label >= 0 else "",
        split=str(catalog.splits[row]),
        status=status,
        notes=str(catalog.notes[row]).replace(";", ", "),
        width=int(catalog.widths[row]) or None,
        height=int(catalog.heights[row]) or None,
        brightness=brightness,
        contrast=contrast,
        colourfulness=colourfulness,
        taken=_moment(str(catalog.taken[row])),
        copies=copies,
    )


def _moment(taken: str) -> str:
    """The time when an image was taken, to the second and without the camera.

    >>> _moment("2026-05-04T13:02:09.250|Make Model")
    '2026-05-04 13:02:09'
    """
    return taken.partition("|")[0].partition(".")[0].replace("T", " ")
