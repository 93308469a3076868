"""Exported networks in the user's cache folder. No torch here: a second training needs none.

Only pretrained networks are kept. One that began at random numbers, or was trained, is never wanted
a second time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tellapart.cache import cache_folder
from tellapart.cache.packages import weights_identity
from tellapart.errors import UserError
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.options import BackboneOptions, PreprocessingOptions
from tellapart.recipe import Recipe, recipe_values
from tellapart.writing import write_whole

FORMAT = 3  # raise it when an older cache must not be used
MAX_KEPT = 32  # networks of about 20 MB each; a search over sizes and crops exports many


@dataclass(frozen=True)
class ExportedNetwork:
    """A network as a graph, with what the model card states about it.

    Args:
        graph: input (N, C, S, S) float32 → embedding (N, D). A network with a feature map gives
            features (N, D, h, w) too.
        preprocessing: how the network takes its images.
        source: where the weights come from.
        licence: the licence of the weights.
        digest: the SHA-256 of the weights.
        versions: the versions of the packages that wrote the graph.
        precision: "fp32" or "int8".
        distance: how far the embeddings of a network in int8 are from those in fp32, on the images
            that showed its ranges: the mean, as a share of their length.
    """

    graph: bytes
    preprocessing: Preprocessing
    source: str
    licence: str
    digest: str
    versions: Mapping[str, str]
    precision: str = "fp32"
    distance: float | None = None


def kept_network(
    backbone: BackboneOptions, preprocessing: PreprocessingOptions
) -> ExportedNetwork | None:
    """The exported network of these options; None if it is not in the cache, or damaged there."""
    if not backbone.pretrained:
        return None
    folder = _folder(backbone, preprocessing)
    try:
        card = json.loads((folder / "card.json").read_text())
        graph = (folder / "network.onnx").read_bytes()
        if hashlib.sha256(graph).hexdigest() != card.pop("graph_digest"):
            return None
        return ExportedNetwork(graph, Preprocessing.from_json(card.pop("preprocessing")), **card)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or damaged: the caller exports the network again


def keep_network(
    network: ExportedNetwork, backbone: BackboneOptions, preprocessing: PreprocessingOptions
) -> None:
    """Keep an exported network, if it is pretrained.

    A cache that cannot be written to is no reason to stop.
    """
    if not backbone.pretrained:
        return
    folder = _folder(backbone, preprocessing)
    card = {
        "graph_digest": hashlib.sha256(network.graph).hexdigest(),
        "preprocessing": network.preprocessing.as_json(),
        "source": network.source,
        "licence": network.licence,
        "digest": network.digest,
        "versions": dict(network.versions),
    }
    try:
        # The card is written last: a graph without a card is not used.
        write_whole(folder / "network.onnx", network.graph)
        write_whole(folder / "card.json", json.dumps(card, indent=1))
    except UserError:
        return
    _forget_oldest(folder.parent)


def _forget_oldest(networks: Path) -> None:
    cards = sorted(networks.glob("*/card.json"), key=lambda card: card.stat().st_mtime)
    for card in cards[:-MAX_KEPT]:
        shutil.rmtree(card.parent, ignore_errors=True)


def _folder(backbone: BackboneOptions, preprocessing: PreprocessingOptions) -> Path:
    values = recipe_values(Recipe(backbone=backbone, preprocessing=preprocessing))
    parts = [FORMAT, backbone.name, weights_identity(backbone), values["preprocessing"]]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return (
        cache_folder()
        / "networks"
        / f"{''.join(c if c.isalnum() else '_' for c in backbone.name)}-{key[:16]}"
    )
