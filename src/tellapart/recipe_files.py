"""Recipe files: those that come with tellapart, by name, and the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from tellapart.errors import UserError, choose, needs_extra, reason_of
from tellapart.extensions import KEYS, Extensions
from tellapart.home import user_path
from tellapart.recipe import Recipe, recipe_from


def recipe_names() -> list[str]:
    """The recipes that come with tellapart."""
    return sorted(
        file.name.removesuffix(".yaml")
        for file in _folder().iterdir()
        if file.name.endswith(".yaml")
    )


def recipe_text(name: str) -> str:
    """The YAML file of a recipe that comes with tellapart.

    Raises:
        UserError: no such recipe, with the nearest name.
    """
    file = _folder() / f"{choose('recipe', name, recipe_names())}.yaml"
    return str(file.read_text(encoding="utf-8"))


def load_recipe(
    recipe: str | Recipe,
    changes: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    extensions: Extensions | None = None,
) -> Recipe:
    """A recipe with the changes, and then with the options that were given.

    Args:
        recipe: its name, the path of a YAML file, or the recipe itself.
        changes: recipe keys and their values.
        options: recipe keys for which a verb has options of their own. None stands for an option
            that was not given.
        extensions: the user's own parts, whose names the recipe may use.

    Raises:
        UserError: the name is unknown, the file is not a recipe, or a key or value does not fit.
    """
    extensions = extensions or Extensions()
    names = extensions.names
    base = recipe if isinstance(recipe, Recipe) else recipe_from(_read(recipe), supplied=names)
    given = {key: value for key, value in (options or {}).items() if value is not None}
    changed = recipe_from({**(changes or {}), **given}, base, names)
    extensions.check_known(changed)
    changed.check_used()
    return changed


def recorded_recipe(file: Path, parts: Mapping[str, Sequence[str]]) -> Recipe:
    """The recipe of a run, whose own parts need not be at hand to read what it says.

    Args:
        file: the run's recipe.yaml.
        parts: the user's own parts that the run recorded, kind → names.

    Raises:
        UserError: it is not a recipe.
    """
    names = {KEYS[kind]: tuple(names) for kind, names in parts.items()}
    return recipe_from(_read(str(file)), supplied=names)


def _read(name: str) -> Mapping[str, Any]:
    try:
        import yaml
    except ImportError:
        raise needs_extra("pyyaml", "train") from None
    path = user_path(name)
    if path.suffix in (".yaml", ".yml"):
        text = read_text(path, "a recipe", "Give a YAML file, or a recipe's name.")
    else:
        text = recipe_text(name)
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise UserError(
            f"{path}{line} is not YAML.", "Write key: value, indented by spaces."
        ) from None
    if not isinstance(values, Mapping):
        raise UserError(f"{path} holds no keys.", "Write key: value, for example seed: 1")
    return values


def read_text(path: Path, kind: str, hint: str) -> str:
    """The text of a file that the user named.

    Raises:
        UserError: it cannot be read. The message has the reason and the hint.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        reason = reason_of(error)
    except UnicodeDecodeError:
        reason = "it is no text"
    raise UserError(f"{path} cannot be read as {kind} ({reason}).", hint)


def _folder() -> Any:
    return resources.files("tellapart").joinpath("recipes")
