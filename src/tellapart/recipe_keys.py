"""What recipes there are, and what each of their keys means: read from the YAML files and the
options' own comments.
"""

from __future__ import annotations

import ast
import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tellapart import options, recipe
from tellapart.recipe import UNIONS, Recipe, methods_of, recipe_items
from tellapart.recipe_files import load_recipe, recipe_names, recipe_text


@dataclass(frozen=True)
class Key:
    """One option of a recipe.

    Args:
        name: as `--set` takes it.
        value: the recipe's.
        default: what it is where a recipe does not say.
        takes: the type, or the values to choose from.
        help: what it means, one line.
    """

    name: str
    value: Any
    default: Any
    takes: str
    help: str


def recipe_titles() -> dict[str, str]:
    """Recipe → what it is, the first line of its file.

    >>> recipe_titles()["probe"].split(":")[0]
    'The fast answer'
    """
    return {
        name: recipe_text(name).partition("\n")[0].removeprefix("#").strip()
        for name in recipe_names()
    }


def recipe_listing(name: str) -> list[Key]:
    """The keys that a recipe's method reads, in the order of the options.

    Raises:
        UserError: no such recipe.
    """
    shown = load_recipe(name)
    helps = _comments()
    return [
        Key(key, value, default, _takes(key), helps[key])
        for (key, value), (_, default) in zip(
            recipe_items(shown), recipe_items(Recipe()), strict=True
        )
        if shown.method in methods_of(key)
    ]


def _comments() -> dict[str, str]:
    """Key → the comment beside its field."""
    of_class = {**_field_comments(options), **_field_comments(recipe)}
    helps = {}
    for key, _ in recipe_items(Recipe()):
        kind, name = _home(key)
        helps[key] = of_class[kind.__name__][name].replace("GROUP_FORMS", options.GROUP_FORMS)
    return helps


def _field_comments(module: types.ModuleType) -> dict[str, dict[str, str]]:
    """Class → field → the comment beside it."""
    source = inspect.getsource(module)
    lines = source.split("\n")
    return {
        node.name: {
            field.target.id: _comment(lines[field.lineno - 1 : field.end_lineno])
            for field in node.body
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        }
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef)
    }


def _comment(lines: list[str]) -> str:
    """The comment of a field; a long default puts it on any of the field's lines."""
    comments = [line.partition("  # ")[2] for line in lines]
    return " ".join(comment for comment in comments if comment)


def _home(key: str) -> tuple[type, str]:
    """The dataclass that a key is a field of, and the field's name."""
    *groups, name = key.split(".")
    part: Any = Recipe()
    for group in groups:
        part = getattr(part, group)
    return type(part), name


def _takes(key: str) -> str:
    kind, name = _home(key)
    return _type_words(typing.get_type_hints(kind)[name])


def _type_words(hint: Any) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNIONS:
        return f"{_type_words(inner[0])}, none"
    if origin is Literal:
        return ", ".join(inner)
    if origin is tuple:
        return f"list of {_PLURALS[inner[0]]}"
    return _SINGULARS[hint]


_SINGULARS: Mapping[type, str] = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true, false",
}
_PLURALS: Mapping[type, str] = {int: "whole numbers", float: "numbers", str: "texts"}
