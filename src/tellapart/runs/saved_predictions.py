"""Predictions as a run folder keeps them: all that the metrics are computed from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tellapart.errors import Refused
from tellapart.evaluation.predictions import Predictions


def read_predictions(file: Path) -> Predictions:
    """What `RunFolder.write_predictions` wrote.

    Raises:
        Refused: it is gone or damaged.
    """
    import polars

    try:
        frame = polars.read_parquet(file)
        classes = tuple(name.removeprefix("p:") for name in frame.columns if name.startswith("p:"))
        place = {name: label for label, name in enumerate(classes)}
        return Predictions(
            probs=frame.select(f"p:{name}" for name in classes)
            .to_numpy()
            .astype(np.float32)
            .reshape(-1, len(classes)),
            labels=np.array([place[name] for name in frame["label"]], np.int64),
            paths=tuple(frame["path"]),
            classes=classes,
            unfamiliarity=(
                frame["unfamiliarity"].to_numpy() if "unfamiliarity" in frame.columns else None
            ),
            clusters=frame["cluster"].to_numpy().astype(np.int64),
            answers=np.array([place[name] for name in frame["answer"]], np.int64),
        )
    except (OSError, KeyError, TypeError, ValueError, polars.exceptions.PolarsError) as error:
        raise Refused(
            f"{file} is gone or damaged ({type(error).__name__}).", "Put a good copy there."
        ) from error
