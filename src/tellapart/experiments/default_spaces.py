"""What is searched where nobody says: a file a recipe in `spaces`, without what cannot be loaded
here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from importlib import resources

from tellapart.cache.packages import packaged_file
from tellapart.experiments.space import Space, Value, fitting_space
from tellapart.recipe import Recipe

BACKBONE = "backbone.name"


def default_space(recipe: Recipe, fixed: Collection[str] = ()) -> tuple[Space, list[str]]:
    """The space of a recipe by its name, else by its method.

    Args:
        fixed: keys that the user has set, which are not searched then, nor what does not go with
            them.

    Returns:
        the space, and the backbones that were left out of it, because their weights are neither in
        an installed package nor in the hub's cache.

    Raises:
        UserError: of a range only one end goes with what is fixed.
    """
    names = {file.name for file in _folder().iterdir()}
    name = next(one for one in (f"{recipe.name}.yaml", f"{recipe.method}.yaml") if one in names)
    space = fitting_space(_folder().joinpath(name).read_text("utf-8"), recipe, name, fixed)
    own_weights = recipe.backbone.weights is not None or not recipe.backbone.pretrained
    left_out: list[str] = []
    kept = []
    for parameter in space.parameters:
        if parameter.key == BACKBONE and own_weights:
            continue
        if parameter.key == BACKBONE:
            here, left_out = _sorted_out(parameter.choices)
            parameter = replace(parameter, choices=tuple(here))
        if parameter.key != BACKBONE or parameter.choices:
            kept.append(parameter)
    return Space(tuple(kept), recipe), left_out


def space_text(name: str) -> str:
    """The file of a recipe's own space, for tests and for those who want to begin with it."""
    return _folder().joinpath(f"{name}.yaml").read_text("utf-8")


def weights_are_here(name: str) -> bool:
    """Whether a network's pretrained weights can be had without a download."""
    if packaged_file(name):
        return True
    from tellapart.models.weights import in_hub_cache, timm_config

    return bool(in_hub_cache(timm_config(name).to_dict()))


def _sorted_out(names: Collection[Value]) -> tuple[list[Value], list[str]]:
    here = [name for name in names if weights_are_here(str(name))]
    return here, [str(name) for name in names if name not in here]


def _folder() -> resources.abc.Traversable:
    return resources.files("tellapart.experiments").joinpath("spaces")
