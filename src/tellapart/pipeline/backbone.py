"""The backbone: as a graph, kept from an earlier time where it can be, and in torch where it must
be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tellapart.export.graph_cache import ExportedNetwork, keep_network, kept_network
from tellapart.extensions import Network
from tellapart.progress import Console
from tellapart.recipe import Recipe

if TYPE_CHECKING:
    from tellapart.models.backbones import Backbone, Embedder


class TorchSide:
    """The backbone in torch, loaded when first needed. A second training with the same backbone
    never needs it.

    Args:
        networks: the user's own, by name. What they are is not known by their names, so none of
            them is kept.
    """

    def __init__(
        self, recipe: Recipe, console: Console, networks: Mapping[str, Network] | None = None
    ) -> None:
        self._recipe, self._console, self._networks = recipe, console, networks or {}

    def exported(self) -> ExportedNetwork:
        """The backbone as a graph: kept from an earlier training, or made now."""
        of_user = self._recipe.backbone.name in self._networks
        kept = kept_network(self._recipe.backbone, self._recipe.preprocessing)
        if kept and not of_user:
            return kept
        from tellapart.models.to_onnx import export_backbone

        network = export_backbone(self._backbone, self._module)
        if not of_user:
            keep_network(network, self._recipe.backbone, self._recipe.preprocessing)
        return network

    def embed(self, images: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Preprocessed images (C, S, S) → their embeddings (D,)."""
        return self._module.embed(images)

    @cached_property
    def _backbone(self) -> Backbone:
        self._console.say(f"Loading {self._recipe.backbone.name}")
        from tellapart.models.backbones import find_preprocessing, load_backbone

        recipe, networks = self._recipe, self._networks
        preprocessing = find_preprocessing(recipe.backbone, recipe.preprocessing, networks)
        return load_backbone(recipe.backbone, preprocessing, recipe.seed, networks)

    @cached_property
    def _module(self) -> Embedder:
        from tellapart.models.backbones import embedder

        return embedder(self._backbone)
