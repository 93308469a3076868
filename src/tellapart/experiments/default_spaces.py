"""The default search spaces: one file per recipe in `spaces`, without what cannot be loaded here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from importlib import resources

from tellapart.cache.packages import INT8
from tellapart.experiments.space import Space, Value, fitting_space
from tellapart.models.weights_place import weights_place
from tellapart.recipe import Recipe

BACKBONE = "backbone.name"


def default_space(recipe: Recipe, fixed: Collection[str] = ()) -> tuple[Space, list[str]]:
    """The space of a recipe: that of its name if there is one, else that of its method.

    Args:
        recipe: what to search around.
        fixed: keys that the user has set. They are not searched, nor is what does not fit them.

    Returns:
        the space, and the backbones that were left out of it, because their weights are neither in
        an installed package nor in the hub's cache.

    Raises:
        UserError: only one end of a range fits the fixed keys.
    """
    names = {file.name for file in _folder().iterdir()}
    candidates = (f"{recipe.name}.yaml", f"{recipe.method}.yaml")
    name = next(file for file in candidates if file in names)
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
    """The text of a recipe's own space file, as a start for one's own."""
    return _folder().joinpath(f"{name}.yaml").read_text("utf-8")


def weights_are_here(name: str) -> bool:
    """Whether a network's pretrained weights are available without a download."""
    return name in INT8 or weights_place(name) in ("package", "cache")


def _sorted_out(names: Collection[Value]) -> tuple[list[Value], list[str]]:
    here = [name for name in names if weights_are_here(str(name))]
    return here, [str(name) for name in names if name not in here]


def _folder() -> resources.abc.Traversable:
    return resources.files("tellapart.experiments").joinpath("spaces")
