"""The probe: a frozen backbone, the features of the images, and a head on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import FeatureStore
from tellapart.cache.packages import in_int8
from tellapart.catalog.duplicates import clusters
from tellapart.catalog.scan import scan
from tellapart.catalog.splits import make_folds
from tellapart.catalog.table import Catalog
from tellapart.evaluation.calibration import softmax
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.rule import AnswerRule
from tellapart.export.compose import EMBEDDING, compose_features
from tellapart.export.graph_cache import ExportedNetwork, keep_network, kept_network
from tellapart.export.references import Embed
from tellapart.extensions import Extensions
from tellapart.modelfile.layers import Layers
from tellapart.modelfile.session import Session
from tellapart.packaged.networks import packaged_network
from tellapart.pipeline.data import changed_paths, scan_memory
from tellapart.pipeline.needs import check_torch
from tellapart.pipeline.services import Services
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.probe.fit import Probe, fit_probe, num_folds
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.threads import map_ahead

if TYPE_CHECKING:
    from tellapart.models.backbones import Backbone, Embedder


@dataclass(frozen=True, kw_only=True)
class FrozenBackbone:
    """A backbone without a head.

    Args:
        network: the backbone as a graph.
        features: the hook that computes and keeps its embeddings while images are scanned.
        embed: preprocessed images (C, S, S) → embeddings (D,), for the gate: by torch, or by the
            packaged graph on its own.
    """

    network: ExportedNetwork
    features: FeatureExtractor
    embed: Embed

    def with_head(self, layers: Layers, probe: Probe | None = None) -> TrainedModel:
        """The backbone with a head, which a probe may have fitted."""
        return TrainedModel(
            network=self.network,
            features=self.features,
            embed=self.embed,
            layers=layers,
            probe=probe,
        )

    def embed_rows(
        self, catalog: Catalog, rows: NDArray[np.int64], recipe: Recipe, console: Console
    ) -> list[str]:
        """Compute the features of these rows, unless they are kept.

        Files that an earlier scan remembers and whose features are kept are not read.

        Returns:
            The paths of images that are no longer what the catalog says.
        """
        chosen = np.zeros(len(catalog), bool)
        chosen[rows] = True
        part = catalog.rows(chosen)
        with (
            scan_memory(part, recipe) as memory,
            console.track("Embedding images", len(part)) as advance,
        ):
            now = scan(part, rules=part.rules, hook=self.features, memory=memory, advance=advance)
        return changed_paths(part, now)


@dataclass(frozen=True)
class HeldOut:
    """Out-of-fold answers of a head: each image is answered by one that was not fitted on it.

    Args:
        rows: (M,) rows of the catalog.
        logits: (M, C) float32, not calibrated.
        fold_of: (M,) the fold that held the image out.
    """

    rows: NDArray[np.int64]
    logits: NDArray[np.float32]
    fold_of: NDArray[np.int64]

    def folds_in(self, catalog: Catalog) -> NDArray[np.int64]:
        """(N,) the fold of each row of the catalog; -1 where none held it out."""
        fold_of = np.full(len(catalog), -1)
        fold_of[self.rows] = self.fold_of
        return fold_of


@dataclass(frozen=True, kw_only=True)
class TrainedModel(FrozenBackbone):
    """A classifier in parts, ready to be shipped.

    Args:
        layers: the head, not yet calibrated.
        probe: how the head was fitted, where it is a probe.
        held_out: out-of-fold answers, where there are any, which calibrate it together with val.
    """

    layers: Layers
    probe: Probe | None = None
    held_out: HeldOut | None = None

    @property
    def width(self) -> int:
        """Numbers in an embedding."""
        first = self.layers.hidden[0][0] if self.layers.hidden else self.layers.weight
        return int(first.shape[1])

    def predictions(self, catalog: Catalog, rows: NDArray[np.int64]) -> Predictions:
        """Its predictions for images whose features are computed, not yet calibrated."""
        return predictions_by(self.layers, self.features.of(catalog, rows), catalog, rows)

    def embed_anew(self, catalog: Catalog, rows: NDArray[np.int64], console: Console) -> list[str]:
        """Read images once more for a network that training has changed, and embed them.

        The scan that fed the training knows nothing of the new network. Reading the files again
        also finds those that changed meanwhile.

        Returns:
            The paths of images that are no longer what they were.
        """
        chosen = np.zeros(len(catalog), bool)
        chosen[rows] = True
        part = catalog.rows(chosen)
        with console.track("Embedding images with the trained network", len(part)) as advance:
            now = scan(part, rules=part.rules, hook=self.features, advance=advance)
        return changed_paths(part, now)


def predictions_by(
    layers: Layers,
    features: NDArray[np.float32],
    catalog: Catalog,
    rows: NDArray[np.int64],
    rule: AnswerRule | None = None,
) -> Predictions:
    """The predictions of a head by features (N, D); as confident as its layers are.

    Args:
        rule: says what is answered. None means the most probable class.
    """
    probs = softmax(layers.logits(features).astype(np.float32))
    return Predictions(
        probs,
        catalog.labels[rows],
        tuple(catalog.paths[rows]),
        catalog.classes,
        clusters=clusters(catalog)[rows],
        answers=(rule or AnswerRule()).answers(probs),
    )


def frozen_backbone(
    recipe: Recipe,
    store: FeatureStore,
    console: Console,
    extensions: Extensions,
    catalog: Catalog,
) -> FrozenBackbone:
    """The recipe's backbone; no image is embedded yet.

    The graph of an earlier training is used again where it can be. Torch is loaded only where it
    must be, so that a second training with the same backbone needs none.

    Args:
        catalog: some of its images show the ranges of a network that is made int8 here.
    """
    loaded = LoadedBackbone(recipe, console, extensions, catalog)
    network = loaded.exported()
    graph = compose_features(network.graph, network.preprocessing)
    features = FeatureExtractor(graph, store)
    return FrozenBackbone(network=network, features=features, embed=loaded.embed)


def embed_by(graph: bytes, images: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """The embeddings of preprocessed images by a network's graph on its own."""
    session = Session(graph)
    return list(map_ahead(lambda image: session.run(image[None], [EMBEDDING])[0][0], images))


def fit_head(
    frozen: FrozenBackbone,
    catalog: Catalog,
    rows: NDArray[np.int64],
    recipe: Recipe,
    advance: Callable[[float], None] | None = None,
) -> TrainedModel:
    """The backbone with a head fitted on these rows; folds among them choose its C.

    Args:
        advance: called now and then with the share of the fits that is done.
    """
    features, num_classes = frozen.features.of(catalog, rows), len(catalog.classes)
    folds = num_folds(features.shape[1], num_classes, recipe.head)
    fold_of = make_folds(catalog, rows, folds, recipe.seed)
    probe = fit_probe(features, catalog.labels[rows], fold_of, num_classes, recipe.head, advance)
    answered = fold_of >= 0
    held_out = HeldOut(rows[answered], probe.logits[answered], fold_of[answered])
    return replace(frozen.with_head(probe.layers, probe), held_out=held_out)


def fit_train(
    frozen: FrozenBackbone,
    catalog: Catalog,
    recipe: Recipe,
    advance: Callable[[float], None] | None = None,
) -> TrainedModel:
    """The backbone with a head fitted on the train split; `advance` as in `fit_head`."""
    return fit_head(frozen, catalog, catalog.split("train"), recipe, advance)


def frozen_for(
    recipe: Recipe, services: Services, extensions: Extensions, catalog: Catalog
) -> FrozenBackbone | None:
    """The frozen backbone of a recipe that starts at a probe; None for the others."""
    if not recipe.starts_at_probe:
        return None
    with services.step("network", "Preparing the network"):
        return frozen_backbone(recipe, services.store, services.console, extensions, catalog)


class LoadedBackbone:
    """The backbone as a graph and in torch, where torch loads it only when it is first needed.

    A packaged network needs no torch at all.

    Args:
        recipe: names the network and its precision.
        catalog: some of its images show the ranges of a network that is made int8 here.
    """

    def __init__(
        self, recipe: Recipe, console: Console, extensions: Extensions, catalog: Catalog
    ) -> None:
        self._recipe, self._console, self._extensions = recipe, console, extensions
        self._catalog = catalog
        self._own = recipe.backbone.name in extensions.networks

    def exported(self) -> ExportedNetwork:
        """The backbone as a graph: from a package, kept from an earlier training, or made now."""
        return self._int8 or self._packaged or self._by_torch()

    def embed(self, images: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Preprocessed images (C, S, S) → their embeddings (D,).

        Torch computes them where torch made the network. Another graph computes them on its own,
        without the preprocessing and the head that are put together with it.
        """
        alone = self._int8 or self._packaged
        return embed_by(alone.graph, images) if alone else self._module.embed(images)

    def _by_torch(self) -> ExportedNetwork:
        """The network as torch exports it."""
        # The name of the user's own network says nothing of its weights: it is exported each time.
        kept = (
            None if self._own else kept_network(self._recipe.backbone, self._recipe.preprocessing)
        )
        if kept:
            return kept
        check_torch(self._recipe, self._extensions)
        from tellapart.models.to_onnx import export_backbone

        network = export_backbone(self._backbone, self._module)
        if not self._own:
            keep_network(network, self._recipe.backbone, self._recipe.preprocessing)
        return network

    @cached_property
    def _int8(self) -> ExportedNetwork | None:
        """The network in int8, if the recipe wants it so and no package brings it so."""
        if not in_int8(self._recipe) or (self._packaged and self._packaged.precision == "int8"):
            return None
        from tellapart.pipeline.quantized import quantized

        return quantized(self._packaged or self._by_torch(), self._catalog, self._recipe)

    @cached_property
    def _packaged(self) -> ExportedNetwork | None:
        if self._own:
            return None
        recipe = self._recipe
        return packaged_network(recipe.backbone, recipe.preprocessing, int8=in_int8(recipe))

    @cached_property
    def _backbone(self) -> Backbone:
        self._console.say(f"Loading {self._recipe.backbone.name}")
        from tellapart.models.backbones import find_preprocessing, load_backbone

        recipe, networks = self._recipe, self._extensions.networks
        preprocessing = find_preprocessing(recipe.backbone, recipe.preprocessing, networks)
        # The seed decides the numbers that a function of the user's draws when it builds a network.
        return load_backbone(recipe.backbone, preprocessing, recipe.seed, networks)

    @cached_property
    def _module(self) -> Embedder:
        from tellapart.models.backbones import embedder

        return embedder(self._backbone)
