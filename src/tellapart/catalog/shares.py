"""How far a long search is: the share that is done, told to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

Tell: TypeAlias = Callable[[float], None]  # of the share that is done, 0 to 1

Result = TypeVar("Result")


def silent(_: float) -> None:
    """Tell nobody."""


def within(tell: Tell, begin: float, end: float) -> Tell:
    """What a step tells its own share to, where the step is a part of something longer.

    >>> within(print, 0.5, 1.0)(0.5)
    0.75
    """
    return lambda share: tell(begin + (end - begin) * share)


def told(results: Iterable[Result], count: int, tell: Tell) -> Iterator[Result]:
    """The same results, of which there are `count`; the share that came is told."""
    for number, result in enumerate(results, 1):
        yield result
        tell(min(1.0, number / max(count, 1)))
