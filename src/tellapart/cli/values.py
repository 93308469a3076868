"""Words on the command line → values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tellapart.errors import UserError


def settings(pairs: Sequence[str] | None) -> dict[str, str]:
    """KEY=VALUE words → key → text.

    >>> settings(["seed=3", "head.c_values=0.1,1"])
    {'seed': '3', 'head.c_values': '0.1,1'}
    """
    values = {}
    for pair in pairs or ():
        key, sign, value = pair.partition("=")
        if not sign:
            raise UserError(f"--set {pair} has no value.", f"Write --set {key}=VALUE.")
        values[key] = value
    return values


def minutes(text: str) -> float:
    """A time in words → minutes.

    >>> minutes("90s"), minutes("20m"), minutes("1h30m")
    (1.5, 20.0, 90.0)
    """
    number = r"(\d{1,9}(?:\.\d{1,9})?)"
    match = re.fullmatch(rf"(?:{number}h)?(?:{number}m)?(?:{number}s)?", text, re.ASCII)
    hours, mins, seconds = (
        (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    )
    total = hours * 60 + mins + seconds / 60
    if not total:
        raise UserError(f"--budget {text} is no time.", "Write one like 90s, 20m or 1h30m.")
    return total


def goes_without(option: str, others: Mapping[str, object]) -> None:
    """Refuse those of the other options that were given: they say what this one leaves no room
    for.
    """
    given = [name for name, value in others.items() if value is not None and value is not False]
    if given:
        raise UserError(
            f"{option} does not go with {' and '.join(given)}.", "Leave one of them out."
        )


def goes_with(option: str, others: Mapping[str, object]) -> None:
    """Refuse other options that only mean something beside this one, which was not given."""
    given = [name for name, value in others.items() if value is not None and value is not False]
    if given:
        verb = "goes" if len(given) == 1 else "go"
        raise UserError(f"{' and '.join(given)} {verb} with {option} only.", f"Add {option}.")
