"""What one cell of a table is: missing, a number, yes or no, or text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_YES = frozenset({"1", "1.0", "true", "yes", "x"})
_NO = frozenset({"0", "0.0", "-1", "false", "no", ""})


def is_missing(value: object) -> bool:
    """Whether a cell is empty. A number that is not one stands for no cell.

    >>> is_missing(None), is_missing(float("nan")), is_missing("")
    (True, True, False)
    """
    if isinstance(value, str):
        return False
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):
        # pandas' NA compares to NA, which is neither true nor false; arrays compare to arrays.
        return type(value).__name__ == "NAType"


def text_or_empty(value: object) -> str:
    """A cell as text without the spaces around it. A missing one is "".

    >>> text_or_empty(" cat "), text_or_empty(None), text_or_empty(3)
    ('cat', '', '3')
    """
    if isinstance(value, str):
        return value.strip()
    return "" if is_missing(value) else str(value).strip()


def is_number(value: object) -> bool:
    """Whether a cell is a number, or text that is one.

    >>> is_number("2.50"), is_number("1e3"), is_number("cat"), is_number("nan")
    (True, True, False, False)
    """
    try:
        number = float(text_or_empty(value))
    except ValueError:
        return False
    return number == number


def yes_or_no(value: object) -> bool | None:
    """A cell as yes or no. None means that it is neither.

    >>> yes_or_no("1"), yes_or_no(0.0), yes_or_no("True"), yes_or_no("cat")
    (True, False, True, None)
    """
    text = text_or_empty(value).lower()
    return True if text in _YES else False if text in _NO else None


def are_yes_or_no(cells: Iterable[object]) -> bool:
    """Whether all cells are yes or no, and at least one is yes. An empty one is a no."""
    answers = {yes_or_no(cell) for cell in _first_of_each(cells)}
    return True in answers and None not in answers


def distinct(cells: Iterable[object]) -> set[str]:
    """The different texts of some cells, without the missing ones."""
    return {text_or_empty(cell) for cell in _first_of_each(cells)} - {""}


def evenly(cells: Sequence[object], most: int) -> Sequence[object]:
    """At most `most` of some cells, spread evenly.

    >>> evenly(list(range(10)), 3)
    [0, 4, 8]
    """
    return cells[:: max(1, -(-len(cells) // most))]


def _first_of_each(cells: Iterable[object]) -> Iterable[object]:
    """Each cell once. Of those that cannot be compared, all."""
    seen = set()
    for cell in cells:
        try:
            if cell in seen:
                continue
            seen.add(cell)
        except TypeError:
            pass
        yield cell
