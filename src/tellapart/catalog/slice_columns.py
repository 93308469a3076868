"""What is known of every image beside its label: the columns by which answers can be sliced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.table import Catalog, Column

LIGHT = ("brightness", "contrast", "colourfulness")  # the columns of `Catalog.light`
EXTRA = "column:"  # begins the names of the user's own columns in catalog.parquet
MOST_LEVELS = 4  # of folders

Columns = dict[str, Sequence[Any] | NDArray[Any]]


def slice_columns(catalog: Catalog) -> Columns:
    """The columns of all rows of a catalog, as `slices.measure_slices` takes them.

    There are the user's own columns, the levels of folders, the size, the light where it was
    measured, and what EXIF says of the moment and the camera. A column of the user's that has the
    name of ours takes its place.

    Args:
        catalog: scanned.

    >>> from tellapart.sources.source import read_source
    >>> list(slice_columns(read_source(photos)))
    ['short side', 'aspect ratio', 'taken', 'camera']
    """
    return columns_of(
        catalog.paths,
        catalog.labels,
        catalog.widths,
        catalog.heights,
        catalog.taken,
        catalog.light,
        catalog.extras,
    )


def columns_of(
    paths: Column,
    labels: Column,
    widths: Column,
    heights: Column,
    taken: Column,
    light: NDArray[np.float32] | None,
    extras: Mapping[str, Column],
) -> Columns:
    """The columns of `slice_columns`, from those of a catalog or of its file.

    Args:
        paths: (N,) catalog paths.
        labels: (N,) by which folders that are the classes are left out.
        widths, heights: (N,) pixels; 0 where nothing is known.
        taken: (N,) as `Decoded.taken`.
        light: (N, 3) or None.
        extras: name → (N,) the user's own columns.
    """
    columns: Columns = {**extras}
    for name, column in _folders(paths, labels).items():
        columns.setdefault(name, column)
    known = (widths > 0) & (heights > 0)
    sides = np.minimum(widths, heights)
    columns.setdefault("short side", np.where(known, sides, np.nan))
    columns.setdefault("aspect ratio", np.where(known, widths / np.maximum(heights, 1), np.nan))
    if light is not None:
        for place, name in enumerate(LIGHT):
            columns.setdefault(name, np.where(known, light[:, place], np.nan))
    parts = [text.partition("|") for text in taken.tolist()]
    columns.setdefault("taken", [moment for moment, _, _ in parts])
    columns.setdefault("camera", [camera for _, _, camera in parts])
    return columns


def saved_extras(catalog: Catalog) -> dict[str, Column | list[float]]:
    """The columns of catalog.parquet beside the usual ones: the light, and the user's own."""
    light = {} if catalog.light is None else dict(zip(LIGHT, catalog.light.T, strict=True))
    return {**light, **{EXTRA + name: column for name, column in catalog.extras.items()}}


def _folders(paths: Column, labels: Column) -> Columns:
    """The folder of each image at each level from the top, as `--group-by folder:N` counts them.

    A level that only repeats the classes, or says the same of all images, is left out.
    """
    found: Columns = {}
    parts = [path.split("/")[:-1] for path in paths.tolist()]
    for level in range(min(max(map(len, parts), default=0), MOST_LEVELS)):
        names = [folders[level] if level < len(folders) else "" for folders in parts]
        pairs = set(zip(names, labels.tolist(), strict=True))
        are_classes = len(pairs) == len(set(names)) == len(set(labels.tolist()))
        if not are_classes and len(set(names)) > 1:
            found[f"folder:{level + 1}"] = names
    return found
