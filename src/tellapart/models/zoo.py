"""The list of backbones, with what a user wants to know before choosing one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import timm
import torch

from tellapart.cache.packages import PACKAGES
from tellapart.models.networks import OWN_NETWORKS, OWN_SIZE_PX
from tellapart.models.weights import licence_of, timm_config
from tellapart.models.weights_place import weights_place

# To count the parameters of a network it has to be built, which takes up to 0.3 s.
MOST_COUNTED = 50


@dataclass(frozen=True)
class BackboneFacts:
    """One row of the list.

    Args:
        name: as `backbone.name` takes it.
        parameters: the number of parameters, with the network's own classifier. None means that
            the list is too long to count them.
        size_px: the side of the images that it was trained on.
        licence: of its weights, as their publisher states it; "" without weights.
        weights: "package NAME", "here (hub cache)", "hub", or "none".
    """

    name: str
    parameters: int | None
    size_px: int
    licence: str
    weights: str


def backbones(pattern: str | None = None) -> list[BackboneFacts]:
    """List the networks that can be a backbone.

    tellapart's own come first, then timm's by name. A network with several weights is there under
    its plain name, which means timm's choice among them, and under a name with a tag for each of
    the others. Networks that `timm.register_model` added are there too.

    Args:
        pattern: a part of the names, or a pattern as "resnet*". A pattern that is a name lists this
            network alone, with all its weights. None lists all.

    >>> [facts.name for facts in backbones("lenet")]
    ['lenet']
    """
    names = _matching([*OWN_NETWORKS, *_timm_names()], pattern)
    return [_facts(name, counted=len(names) <= MOST_COUNTED) for name in names]


def _timm_names() -> list[str]:
    plain = timm.list_models()
    default = {f"{name}.{timm_config(name).tag}" for name in plain}
    tagged = (
        name for name in timm.list_models(include_tags=True) if "." in name and name not in default
    )
    return sorted([*plain, *tagged])


def _matching(names: list[str], pattern: str | None) -> list[str]:
    if pattern is None:
        return names
    if pattern in names:
        return [name for name in names if name == pattern or name.startswith(f"{pattern}.")]
    return [name for name in names if pattern in name or fnmatchcase(name, pattern)]


def _facts(name: str, *, counted: bool) -> BackboneFacts:
    parameters = _count_parameters(name) if counted else None
    if name in OWN_NETWORKS:
        return BackboneFacts(name, parameters, OWN_SIZE_PX, "", "none")
    config = timm_config(name)
    weights, licence = _weights(name, config.to_dict())
    return BackboneFacts(name, parameters, config.input_size[-1], licence, weights)


def _weights(name: str, config: dict[str, Any]) -> tuple[str, str]:
    """The place of a network's weights, and their licence."""
    place = weights_place(name)
    if place == "package":
        return f"package {PACKAGES[name].pip_name}", PACKAGES[name].licence
    if place == "none":
        return "none", ""
    return "here (hub cache)" if place == "cache" else "hub", licence_of(config)


def _count_parameters(name: str) -> int | None:
    """Count parameters without memory for them. None means that a network cannot be built so."""
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = OWN_NETWORKS[name]() if name in OWN_NETWORKS else timm.create_model(name)
    except (RuntimeError, NotImplementedError):
        return None
    return sum(parameter.numel() for parameter in network.parameters())
