"""The index of a run: the embeddings of its train images that the training has at hand anyway."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.table import Catalog
from tellapart.keyed import keyed_numbers
from tellapart.pipeline.probe import TrainedModel
from tellapart.pipeline.request import Request
from tellapart.pipeline.ship import reference_rows
from tellapart.probe.embeddings import FeatureExtractor, ScannedEmbeddings
from tellapart.runs.folder import RunFolder
from tellapart.runs.identity import new_identity
from tellapart.runs.index_file import Digests, Indexed, most_rows, write_index


@dataclass(frozen=True)
class TrainIndex:
    """What the index of a run is written from.

    Args:
        features: that saw the images.
        catalog: of the images.
        rows: of the train images that the index holds.
        width: the numbers in an embedding.
        source: the data of the training; only a path is kept.
    """

    features: FeatureExtractor
    catalog: Catalog
    rows: NDArray[np.int64]
    width: int
    source: object

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return 2 * self.width * len(self.rows)

    def write(self, run: RunFolder) -> None:
        """Write the index into a run folder."""
        catalog, rows = self.catalog, self.rows
        place = new_identity(run.path, name="", data=self.source, options={}).data
        indexed = Indexed(
            paths=catalog.paths[rows].tolist(),
            labels=catalog.labels[rows],
            digests=Digests.of(catalog.digests[rows].tolist()),
            classes=catalog.classes,
            of=len(catalog.split("train")),
            data=place,
        )
        write_index(run.place, ScannedEmbeddings(self.features, catalog, rows), indexed)


def train_index(model: TrainedModel, catalog: Catalog, request: Request) -> TrainIndex | None:
    """The index of a model: all train images of a probe, and those that a network by gradient was
    measured on, since a second embedding of all others would take as long as an epoch.

    Returns:
        None where no train image is embedded.
    """
    seed, train = request.recipe.seed, catalog.split("train")
    rows = train if model.probe else reference_rows(catalog, model.width, seed)
    most = most_rows(model.width)
    if len(rows) > most:
        order = np.argsort(keyed_numbers(seed, "index", catalog.digests[rows]), kind="stable")
        rows = np.sort(rows[order[:most]])
    if not len(rows):
        return None
    return TrainIndex(model.features, catalog, rows, model.width, request.source)
