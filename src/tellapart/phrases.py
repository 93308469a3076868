"""Phrases that many messages share: a number with its noun, and names in a list."""

from __future__ import annotations

from collections.abc import Sequence


def count_of(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun. Without a plural, an s is added.

    >>> count_of(1, "image"), count_of(2000, "image"), count_of(0, "copy", "copies")
    ('1 image', '2,000 images', '0 copies')
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def in_groups(number: int, groups: int, singular: str) -> str:
    """A number of images with their noun, and how many groups these are where they differ.

    Args:
        number: how many images there are.
        groups: how many there are if copies and the images of a group count once.
        singular: the noun of one image.

    >>> in_groups(300, 300, "test image"), in_groups(300, 60, "image"), in_groups(5, 1, "image")
    ('300 test images', '300 images, 60 groups', '5 images, 1 group')
    """
    counted = count_of(number, singular)
    return counted if groups == number else f"{counted}, {count_of(groups, 'group')}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names in quotes, and how many more there are.

    >>> listed(["cat", "dog", "emu"], most=2)
    "'cat', 'dog' and 1 more"
    """
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + rest


def in_words(items: Sequence[str]) -> str:
    """Items in a sentence.

    >>> in_words(["train", "val", "test"]), in_words(["test"])
    ('train, val and test', 'test')
    """
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last
