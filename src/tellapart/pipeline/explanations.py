"""Explanations of a prediction, with the training images of the run, read again from its data."""

from __future__ import annotations

import hashlib
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import decode
from tellapart.errors import UserError
from tellapart.explain.folder import ExplanationFolder, Photo
from tellapart.home import user_path
from tellapart.modelfile.predictor import Predictor
from tellapart.runs.data_place import is_there, place_at
from tellapart.runs.neighbours import Neighbour, Neighbours, no_index


def explanation_folder(
    folder: str | PathLike[str], model: str | PathLike[str] | Predictor, predictor: Predictor
) -> ExplanationFolder:
    """A folder of explanations, with the index of the run where the model is that of a run.

    Args:
        folder: where they go.
        model: a run folder, a model file, or a loaded predictor.
        predictor: of that model.

    Raises:
        UserError: the folder holds something else.
        Refused: the index of the run is damaged.
    """
    if isinstance(model, Predictor) or not (run := user_path(model)).is_dir():
        remark = "The nearest training images are shown where the model is given as its run folder."
        return ExplanationFolder(folder, predictor, remarks=[remark])
    index = Neighbours.read(run)
    if index is None:
        missing = no_index(run)
        remark = f"{missing.message} {missing.hint}"
        return ExplanationFolder(folder, predictor, remarks=[remark])
    if photo := train_photos(run, index, predictor.card.decoding):
        return ExplanationFolder(folder, predictor, index, photo)
    remark = "The training images are named only, since their data is not where it was."
    return ExplanationFolder(folder, predictor, index, remarks=[remark])


def train_photos(run: Path, index: Neighbours, rules: DecodeRules) -> Photo | None:
    """A function that reads the training images of a run; None where its data is not at hand.

    The function gives the pixels (H, W, 3) uint8 of an image, or None where the image is gone or
    is no longer what it was.

    Args:
        run: the run folder.
        index: of the run, which knows where the data is.
        rules: by which the model decodes.
    """
    data = place_at(run, index.indexed.data)
    if data is None or not is_there(data):
        return None
    # Only here: reading sources takes a third of a second to import.
    from tellapart.pipeline.data import reading_by
    from tellapart.runs.history import read_settings
    from tellapart.sources.source import read_source

    try:
        settings = read_settings(run)
        form = {key: value for key, value in settings.items() if key.startswith("data.")}
        files = read_source(data, reading_by(form)).files
    except UserError:  # the data has another form now, or a package is missing
        return None

    def photo(neighbour: Neighbour) -> NDArray[np.uint8] | None:
        content = files.read(neighbour.path)
        if not isinstance(content, bytes):
            return None
        if hashlib.sha256(content).hexdigest() != neighbour.digest:
            return None
        return decode(content, rules=rules).pixels

    return photo
