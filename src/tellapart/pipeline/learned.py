"""What a method learned, ready to be shipped: a network as a graph, a head, and torch's word on
both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.scan import scan
from tellapart.catalog.table import Catalog
from tellapart.evaluation.calibration import softmax
from tellapart.evaluation.predictions import Predictions
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.modelfile.layers import Layers
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.progress import Console

Embed = Callable[[Sequence[NDArray[np.float32]]], list[NDArray[np.float32]]]


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A classifier in parts.

    Args:
        network: without its head.
        layers: the head, not yet calibrated.
        features: what the network's graph says of the images that it has looked at.
        embed: preprocessed images (C, S, S) → embeddings (D,), by torch.
    """

    network: ExportedNetwork
    layers: Layers
    features: FeatureExtractor
    embed: Embed

    @property
    def width(self) -> int:
        """Numbers in an embedding."""
        first = self.layers.hidden[0][0] if self.layers.hidden else self.layers.weight
        return int(first.shape[1])

    def look(
        self, catalog: Catalog, rows: NDArray[np.int64], max_pixels: int, console: Console
    ) -> list[str]:
        """Compute the features of more rows; returns the paths of images that are no longer what
        they were.
        """
        chosen = np.zeros(len(catalog), bool)
        chosen[rows] = True
        part = catalog.rows(chosen)
        with console.track("Looking with the trained network", len(part)) as advance:
            now = scan(part, max_pixels=max_pixels, hook=self.features, advance=advance)
        return list(part.paths[(now.digests != part.digests) | ~now.ok])

    def predictions(self, catalog: Catalog, rows: NDArray[np.int64]) -> Predictions:
        """What it says of images that it has looked at, not yet calibrated."""
        return predictions_by(self.layers, self.features.of(catalog, rows), catalog, rows)


def predictions_by(
    layers: Layers, features: NDArray[np.float32], catalog: Catalog, rows: NDArray[np.int64]
) -> Predictions:
    """What a head says of images by their features (N, D); as sure as its layers are."""
    probs = softmax(layers.logits(features).astype(np.float32))
    return Predictions(probs, catalog.labels[rows], tuple(catalog.paths[rows]), catalog.classes)
