"""Words on the command line → values, and which words go together."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from tellapart.errors import UserError


def settings(
    pairs: Sequence[str] | None,
    columns: str | None = None,
    label_by: str | None = None,
    fixes: Path | None = None,
    *,
    crops: bool = False,
) -> dict[str, str]:
    """KEY=VALUE words, and the options that say how the data is read → key → text.

    >>> settings(["seed=3", "head.c_values=0.1,1"], label_by="folder")
    {'seed': '3', 'head.c_values': '0.1,1', 'data.label_by': 'folder'}
    """
    values = {}
    for pair in pairs or ():
        key, sign, value = pair.partition("=")
        if not sign:
            raise UserError(f"--set {pair} has no value.", f"Write --set {key}=VALUE.")
        values[key] = value
    given = {
        "data.columns": columns,
        "data.label_by": label_by,
        # Whole, since the run that keeps it may be resumed in another folder.
        "data.fixes": fixes and str(fixes.absolute()),
        "data.crops": "true" * crops,
    }
    return values | {key: value for key, value in given.items() if value}


def seconds(text: str) -> float:
    """A time in words → seconds.

    >>> seconds("90s"), seconds("20m"), seconds("1h30m")
    (90.0, 1200.0, 5400.0)
    """
    number = r"(\d{1,9}(?:\.\d{1,9})?)"
    match = re.fullmatch(rf"(?:{number}h)?(?:{number}m)?(?:{number}s)?", text, re.ASCII)
    parts = match.groups() if match else ()
    total = sum(unit * float(part or 0) for unit, part in zip((3600, 60, 1), parts, strict=False))
    if not total:
        raise UserError(f"--budget {text} is not a time.", "Write one like 90s, 20m or 1h30m.")
    return total


def page_for(out: Path | None, data: Path, what: str) -> Path:
    """Where the page of a verb goes: where the user wants it, or into the current folder.

    >>> print(page_for(None, Path("pets/photos"), "explore"))
    photos-explore.html
    """
    from tellapart.sources.source import name_of

    return out or page_called(f"{name_of(data)}-{what}.html")


def page_called(name: str) -> Path:
    """A page in the current folder; in that of temporary files where nothing can be written."""
    return Path(name) if os.access(os.curdir, os.W_OK) else Path(tempfile.gettempdir(), name)


def budget_settings(
    budget: str | None, recipe: str, changes: Mapping[str, Any]
) -> dict[str, float]:
    """The recipe key that `--budget` stands for.

    Raises:
        UserError: it is no time, or the recipe does not train by gradient. The recipe's own error
            would name a key that the user never typed.
    """
    if budget is None:
        return {}
    minutes = seconds(budget) / 60
    from tellapart.recipe_files import load_recipe

    if load_recipe(recipe, changes).method == "probe":
        raise UserError(
            f"--budget limits a training by gradient, and the recipe {recipe!r} has none.",
            "Leave it out, or take another recipe: --recipe finetune.",
        )
    return {"training.budget_minutes": minutes}


def is_first_process() -> bool:
    """Whether this process prints the result. Of several that train together the first one does."""
    return os.environ.get("RANK", "0") == "0"


def goes_without(option: str, ctx: typer.Context, allowed: str) -> None:
    """Refuse options that were typed although this one leaves no room for them.

    Args:
        option: the one that was given.
        ctx: what was typed.
        allowed: the names of the parameters that it goes with.
    """
    typed = [
        _spelling(parameter)
        for parameter in ctx.command.params
        if _is_typed(parameter, ctx)
        and parameter.name not in allowed.split()
        and option not in parameter.opts
    ]
    if typed:
        raise UserError(
            f"{option} does not go with {' and '.join(typed)}.", "Leave one of them out."
        )


def goes_with(option: str, ctx: typer.Context, *names: str) -> None:
    """Refuse options that mean something only beside this one, which was not given.

    Args:
        option: the one that is missing.
        ctx: what was typed.
        names: the parameters that need it.
    """
    typed = [
        _spelling(parameter)
        for parameter in ctx.command.params
        if parameter.name in names and _is_typed(parameter, ctx)
    ]
    if typed:
        verb = "goes" if len(typed) == 1 else "go"
        raise UserError(f"{' and '.join(typed)} {verb} with {option} only.", f"Add {option}.")


def _is_typed(parameter: Any, ctx: typer.Context) -> bool:
    # By name: typer brings its own copy of click's enumeration in some releases.
    source = ctx.get_parameter_source(parameter.name)
    return source is not None and source.name == "COMMANDLINE"


def _spelling(parameter: Any) -> str:
    return str(max(parameter.opts, key=len))


def check_export(
    form: str | None, out: Path | None, web: Path | None, runtime: Path | None, name: str | None
) -> None:
    """See that the options of an export go together.

    >>> check_export(None, None, None, None, None)
    Traceback (most recent call last):
        ...
    tellapart.errors.UserError: Nothing says what to export. Add --as FORM or --web DIR.
    """
    if not form and not web:
        raise UserError("Nothing says what to export.", "Add --as FORM or --web DIR.")
    if web and out:
        raise UserError("--out names a file, and --web a folder.", "Leave one of them out.")
    if not web and (runtime or name):
        raise UserError(
            f"{'--runtime' if runtime else '--name'} is for a page in the browser.",
            "Add --web DIR, or leave it out.",
        )
