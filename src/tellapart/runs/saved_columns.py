"""The columns by which the answers of a run can be sliced, as its folder keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tellapart.catalog.slice_columns import EXTRA, LIGHT, Columns, columns_of
from tellapart.catalog.table import text_column
from tellapart.errors import Refused


def read_slice_columns(run: Path, paths: Sequence[str]) -> Columns:
    """What catalog.parquet says of some images, as `slices.measure_slices` takes it.

    Runs of an earlier tellapart kept neither the light nor the user's own columns.

    Args:
        run: the run folder.
        paths: of the images, in the order wanted.

    Raises:
        Refused: the file is gone or damaged, or does not know an image.

    >>> list(read_slice_columns(run.path, run.predictions().paths))[:2]
    ['short side', 'aspect ratio']
    """
    import polars

    file = run / "catalog.parquet"
    try:
        frame = polars.read_parquet(file)
        place = {path: row for row, path in enumerate(frame["path"])}
        frame = frame[[place[path] for path in paths]]
        columns = {name: text_column(frame[name].to_list()) for name in frame.columns}
        numbers = {name: frame[name].to_numpy() for name in ("label", "width", "height")}
        light = [frame[name].to_numpy() for name in LIGHT if name in columns]
    except (OSError, KeyError, TypeError, polars.exceptions.PolarsError) as error:
        raise Refused(
            f"{file} is gone or damaged ({type(error).__name__}).", "Put a good copy there."
        ) from error
    return columns_of(
        columns["path"],
        numbers["label"],
        numbers["width"],
        numbers["height"],
        columns.get("taken", text_column([""] * len(paths))),
        np.stack(light, axis=1) if len(light) == len(LIGHT) else None,
        {
            name.removeprefix(EXTRA): column
            for name, column in columns.items()
            if name.startswith(EXTRA)
        },
    )
