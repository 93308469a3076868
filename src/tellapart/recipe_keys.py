"""The recipes that there are, and what each of their keys means."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, overload

from tellapart.recipe import UNIONS, Recipe, methods_of, option_types, recipe_items
from tellapart.recipe_files import load_recipe, recipe_names, recipe_text


@dataclass(frozen=True)
class RecipeSummary:
    """One of the recipes that come with tellapart.

    Args:
        name: as `recipe=` and `--recipe` take it.
        title: what it is, in one sentence.
        method: "probe", "fit" or "finetune".
        dataset: the public data set that it is for. None means that it takes any data.
    """

    name: str
    title: str
    method: str
    dataset: str | None


@dataclass(frozen=True)
class RecipeKey:
    """One option of a recipe.

    Args:
        name: as `--set` takes it.
        value: the recipe's value.
        default: the value where a recipe does not name the key.
        takes: the type, or the values to choose from.
        help: what it means, in one or two sentences.
    """

    name: str
    value: Any
    default: Any
    takes: str
    help: str


@overload
def recipes(name: None = None) -> list[RecipeSummary]: ...
@overload
def recipes(name: str) -> list[RecipeKey]: ...
def recipes(name: str | None = None) -> list[RecipeSummary] | list[RecipeKey]:
    """List the recipes that come with tellapart, or the keys of one recipe.

    Args:
        name: a recipe, or a YAML file. None lists the recipes.

    Returns:
        A `RecipeSummary` for each recipe; or a `RecipeKey` for each key that the recipe's method
        reads, in the order of the options.

    Raises:
        UserError: there is no such recipe.

    >>> [recipe.name for recipe in recipes() if recipe.dataset == "cifar10"]
    ['cifar10-cnn', 'cifar10-lenet']
    >>> next(key.value for key in recipes("finetune") if key.name == "training.epochs")
    8
    """
    return _summaries() if name is None else _keys(name)


def _summaries() -> list[RecipeSummary]:
    summaries = []
    for name in recipe_names():
        recipe = load_recipe(name)
        title = recipe_text(name).partition("\n")[0].removeprefix("#").strip()
        summaries.append(RecipeSummary(name, title, recipe.method, recipe.dataset))
    return summaries


def _keys(name: str) -> list[RecipeKey]:
    recipe = load_recipe(name)
    values, defaults = recipe_items(recipe), recipe_items(Recipe())
    return [
        RecipeKey(key, value, default, _type_words(_type_of(key)), _help(key))
        for (key, value), (_, default) in zip(values, defaults, strict=True)
        if recipe.method in methods_of(key)
    ]


def _home(key: str) -> tuple[Any, str]:
    """The group of options that a key is a field of, and the field's name."""
    *groups, name = key.split(".")
    options: Any = Recipe()
    for group in groups:
        options = getattr(options, group)
    return options, name


def _help(key: str) -> str:
    options, name = _home(key)
    fields = {spec.name: spec for spec in dataclasses.fields(options)}
    return str(fields[name].metadata["help"])


def _type_of(key: str) -> Any:
    options, name = _home(key)
    return option_types(options)[name]


def _type_words(hint: Any) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNIONS:
        return f"{_type_words(inner[0])}, none"
    if origin is Literal:
        return ", ".join(inner)
    if origin is tuple:
        return f"list of {_PLURALS.get(inner[0], 'names')}"
    return _SINGULARS[hint]


_SINGULARS: Mapping[type, str] = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true, false",
}
_PLURALS: Mapping[type, str] = {int: "whole numbers", float: "numbers", str: "texts"}
