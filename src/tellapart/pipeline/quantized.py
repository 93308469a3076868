"""A network in int8, made of the fp32 one and of some of the user's images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.files import decoded_files
from tellapart.catalog.table import Catalog
from tellapart.decoders.rules import rules_of
from tellapart.errors import UserError
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.export.quantize import embedding_distance, quantize
from tellapart.keyed import keyed_numbers
from tellapart.recipe import Recipe

SHOWN_IMAGES = 64  # to see the ranges of the activations; 8 were as good as 149


def quantized(network: ExportedNetwork, catalog: Catalog, recipe: Recipe) -> ExportedNetwork:
    """The network in int8. The same images in the same places give the same bytes.

    Args:
        network: in fp32.
        catalog: read, and perhaps not scanned or divided yet. Images that are set apart as test
            are not looked at; labels are not used.
        recipe: its seed chooses the images.

    Raises:
        UserError: none of the images can be decoded.
    """
    preprocessing = network.preprocessing
    images = [
        preprocessing.normalised(preprocessing.resized(pixels))
        for pixels in islice(_pixels(catalog, recipe), SHOWN_IMAGES)
    ]
    if not images:
        raise UserError(
            "There is no image to see the ranges of an int8 network by.",
            "Take the network as it is: --set backbone.precision=fp32",
        )
    graph = quantize(network.graph, images)
    distance = embedding_distance(graph, network.graph, images)
    return replace(network, graph=graph, precision="int8", distance=distance)


def _pixels(catalog: Catalog, recipe: Recipe) -> Iterator[NDArray[np.uint8]]:
    """Images (H, W, 3) in an order that the seed decides; what is no image is skipped."""
    apart = catalog.given_splits == "test"
    if (catalog.splits != "").any():  # divided already
        apart = catalog.splits != "train"
    rows = np.flatnonzero(~apart)
    order = np.argsort(keyed_numbers(recipe.seed, "ranges", catalog.paths[rows]), kind="stable")
    rules = rules_of(recipe.decoding)
    paths = map(str, catalog.paths[rows[order]])
    return (pixels for _, pixels in decoded_files(catalog.files, paths, rules))
