"""What a model is called where nobody names it: by its run folder, or by its file."""

from __future__ import annotations

import re
from pathlib import Path

_DATED = re.compile(r"^\d{8}-\d{6}-")


def model_name(path: Path) -> str:
    """The name of a run without its date, or that of a model file; "" where nothing is left.

    >>> model_name(Path("runs/20261121-101500-photos/model.onnx")), model_name(Path("cats.onnx"))
    ('photos', 'cats')
    """
    place = path.absolute()
    in_run = place.name == "model.onnx"
    if in_run:
        place = place.parent
    return _DATED.sub("", place.name if in_run or place.is_dir() else place.stem)
