"""Phrases that many messages share: a number with its noun, and names in a list."""

from __future__ import annotations

from collections.abc import Sequence


def count_of(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun. Without a plural, an s is added.

    >>> count_of(1, "image"), count_of(2000, "image"), count_of(0, "copy", "copies")
    ('1 image', '2,000 images', '0 copies')
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names in quotes, and how many more there are.

    >>> listed(["cat", "dog", "emu"], most=2)
    "'cat', 'dog' and 1 more"
    """
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + rest
