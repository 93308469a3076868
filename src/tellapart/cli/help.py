"""How `--help` looks: flags take no value, each default is in the text, each example has a line."""

from __future__ import annotations

from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup


def option(help: str, *names: str, metavar: str, **limits: Any) -> Any:
    """An option with a value. Its help ends with "Default: …", if it has a default.

    Args:
        help: what it means.
        names: its flags, where these are not the parameter's name.
        metavar: what stands for the value.
        limits: `min` and `max` of a number.
    """
    return typer.Option(*names, help=escape(help), metavar=metavar, show_default=False, **limits)


def flag(help: str, *names: str, **settings: Any) -> Any:
    """An option without a value."""
    return typer.Option(*names, help=escape(help), metavar="", show_default=False, **settings)


def argument(help: str, metavar: str) -> Any:
    """A word that is given by its place."""
    return typer.Argument(help=escape(help), metavar=metavar, show_default=False)


def examples(*commands: str) -> str:
    """Commands below the help of a verb, one a line so that they can be copied."""
    return "\n".join(["Examples:", *(f"tellapart {command}" for command in commands)])


class Verb(TyperCommand):
    """A command whose `--help` is shown without a value, as all flags are."""

    def __init__(self, *args: Any, help: str | None = None, **settings: Any) -> None:
        # Rich would take the extra's name in tellapart[serve] for a style.
        super().__init__(*args, help=help and escape(help), **settings)

    def get_help_option(self, ctx: Any) -> Any:
        """The flag itself."""
        return _without_value(super().get_help_option(ctx))


class Verbs(TyperGroup):
    """The same for the program as a whole."""

    def get_help_option(self, ctx: Any) -> Any:
        """The flag itself."""
        return _without_value(super().get_help_option(ctx))


class WithListing(Verbs):
    """A group whose command `list` is meant where none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` before words that name no command of the group."""
        first = args[0] if args else ""
        if first not in self.commands and first not in ctx.help_option_names:
            args = ["list", *args]
        return list(super().parse_args(ctx, args))


def _without_value(flag: Any) -> Any:
    if flag is not None:
        flag.metavar = ""
    return flag
