"""The images of a finished run, decoded again from where its data is now."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.files import Files
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import decode
from tellapart.errors import Refused, UserError
from tellapart.evaluation.predictions import Predictions
from tellapart.keyed import keyed_numbers
from tellapart.pipeline.data import reading_by
from tellapart.pipeline.request import as_source
from tellapart.runs.data_place import data_of
from tellapart.runs.history import read_settings
from tellapart.runs.saved_predictions import read_predictions
from tellapart.runs.saved_splits import SavedSplits, read_splits
from tellapart.sources.source import Source, read_source
from tellapart.threads import map_ahead

ENOUGH = 64  # images of val; with fewer, images with out-of-fold answers join them
MOST = 500  # images are compared; more would take minutes
SAY_WHERE = "Say where the data of the training is now: --data DATA"


@dataclass(frozen=True)
class RunImages:
    """Images of a run that are still what they were.

    Args:
        pixels: N images, each (H, W, 3) uint8.
        paths: N paths.
        labels: (N,) the truth.
        clusters: (N,) the cluster of each image.
        missing: how many images were wanted and are gone or changed.
        source: what they are, in words.
    """

    pixels: list[NDArray[np.uint8]]
    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    clusters: NDArray[np.int64]
    missing: int
    source: str


class RunData:
    """The data of a finished run.

    Args:
        run: the run folder.
        data: where the data is now. None means where the run says it is.
        rules: by which the model decodes.

    Raises:
        UserError: the run does not say where its data is, or nothing is there.
        Refused: a file of the run is gone or damaged.
    """

    def __init__(self, run: Path, data: Source | None, rules: DecodeRules) -> None:
        self._run, self._rules = run, rules
        self._splits: SavedSplits = read_splits(run)
        self._files: Files = files_of(run, data, "Another form is judged by the run's own images.")

    def held_out(self) -> RunImages:
        """The images of val. Where they are few, train images with out-of-fold answers join them.

        Raises:
            Refused: none of them is what it was.
        """
        val = _predictions(self._run, "val")
        train = _predictions(self._run, "train") if val is None or len(val) < ENOUGH else None
        parts = {"val": val, "train images with out-of-fold answers": train}
        used = {name: part for name, part in parts.items() if part is not None and len(part)}
        if not used:
            raise Refused(
                "The run has no image that could judge another form of its model.",
                "Train it with val: --set split.val=0.15",
            )
        return self._read(used)

    def shown(self, count: int, without: tuple[str, ...]) -> list[NDArray[np.uint8]]:
        """Train images that show the ranges of a network in int8; those that judge it come last.

        Args:
            count: how many.
            without: paths of the images that judge it.

        Raises:
            Refused: none of them is what it was.
        """
        paths = [path for path, row in self._splits.rows.items() if row[3] == "train"]
        judges = set(without)
        order = np.argsort(keyed_numbers(0, "ranges", paths), kind="stable").tolist()
        ordered = sorted((paths[place] for place in order), key=judges.__contains__)
        found = map_ahead(self.pixels, ordered[:count])
        pixels = [image for image in found if image is not None]
        if not pixels:
            raise self.gone(len(ordered[:count]))
        return pixels

    def _read(self, used: Mapping[str, Predictions]) -> RunImages:
        paths = [path for part in used.values() for path in part.paths]
        labels = np.concatenate([part.labels for part in used.values()])
        clusters = np.concatenate([part.clusters for part in used.values()])
        chosen = np.argsort(keyed_numbers(0, "forms", paths), kind="stable")[:MOST]
        found = list(map_ahead(self.pixels, (paths[place] for place in chosen.tolist())))
        kept = [place for place, image in enumerate(found) if image is not None]
        if not kept:
            raise self.gone(len(found))
        rows = chosen[kept]
        return RunImages(
            pixels=[image for image in found if image is not None],
            paths=tuple(paths[row] for row in rows.tolist()),
            labels=labels[rows],
            clusters=clusters[rows],
            missing=len(found) - len(kept),
            source=" and ".join(used),
        )

    def pixels(self, path: str) -> NDArray[np.uint8] | None:
        """The pixels of an image; None where it is gone or changed."""
        data, row = self._files.read(path), self._splits.rows.get(path)
        if not isinstance(data, bytes) or row is None:
            return None
        if hashlib.sha256(data).hexdigest() != row[1]:
            return None
        return decode(data, rules=self._rules).pixels

    def gone(self, count: int) -> Refused:
        """The error where none of so many images is what it was."""
        return Refused(
            f"None of the {count:,} images of {self._run} that are needed is what it was.",
            SAY_WHERE,
        )


def source_of(run: Path, data: Source | None, why: str) -> Source:
    """The data of a run.

    Args:
        run: the run folder.
        data: where the data is now. None means where the run says it is.
        why: what the data is needed for, a sentence.

    Raises:
        UserError: the run does not say where its data is, or nothing is there.
    """
    source = as_source(data) if data is not None else data_of(run)
    if source is None or (isinstance(source, Path) and not source.exists()):
        what = "does not say where its data is" if source is None else f"has its data in {source}"
        ending = "" if source is None else ", which is gone"
        raise UserError(f"{run} {what}{ending}. {why}", SAY_WHERE)
    return source


def files_of(run: Path, data: Source | None, why: str) -> Files:
    """The files of a run's data; for the arguments and errors see `source_of`."""
    form = {key: value for key, value in read_settings(run).items() if key.startswith("data.")}
    return read_source(source_of(run, data, why), reading_by(form)).files


def _predictions(run: Path, split: str) -> Predictions | None:
    file = run / f"predictions-{split}.parquet"
    return read_predictions(file) if file.exists() else None
