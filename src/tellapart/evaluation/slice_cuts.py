"""Columns of a table → slices of its images: the values of text, a few bins of numbers and times."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 5  # of numbers and dates, each with as many images as ties allow
MOST_VALUES = 20  # of a column of text; the most frequent ones
FEW_NUMBERS = 12  # numbers with at most so many values are names, as months and grades are
MISSING = "not stated"
_DAY_PARTS = (("night", 0, 6), ("morning", 6, 12), ("afternoon", 12, 18), ("evening", 18, 24))


class Cut(NamedTuple):
    """One slice of a column: what it is called, and (N,) which images it holds."""

    value: str
    rows: NDArray[np.bool_]


def cut(values: Sequence[Any] | NDArray[Any]) -> list[Cut]:
    """The slices of one column, made without a look at any answer.

    Numbers and dates are cut by their quantiles. Text gives one slice a value. Moments with a time
    of day are also cut into quarters of the day. Images without a value are a slice of their own.

    Args:
        values: (N,) text, numbers or ISO dates; None, NaN and "" mean that there is no value. Text
            that holds only numbers counts as numbers.

    >>> [part.value for part in cut(["day", "night", "day", ""])]
    ['day', 'night', 'not stated']
    >>> [part.value for part in cut(list(range(100)))]
    ['0 to 19', '20 to 39', '40 to 59', '60 to 79', '80 to 99']
    """
    texts = [_text(value) for value in values]
    stated = np.array([bool(text) for text in texts], bool)
    filled = [text for text in texts if text]
    if not filled:
        return []
    found: list[Cut] = []
    if (numbers := _numbers(filled)) is not None and len(set(numbers)) > FEW_NUMBERS:
        found += _bins(np.array(numbers), stated, _spelled)
    elif (moments := _moments(filled)) is not None and len(set(moments)) > FEW_NUMBERS:
        days = np.array([_days(moment) for moment in moments])
        found += _bins(days, stated, _day)
        found += _quarters(moments, stated)
    else:
        found += _names(texts)
    if not stated.all():
        found.append(Cut(MISSING, ~stated))
    return found


def _text(value: object) -> str:
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return ""
    return str(value).strip()


def _numbers(texts: Sequence[str]) -> list[float] | None:
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _moments(texts: Sequence[str]) -> list[datetime] | None:
    try:
        # Without its zone a moment is that of a clock on the wall, which the time of day means.
        return [datetime.fromisoformat(text).replace(tzinfo=None) for text in texts]
    except ValueError:
        return None


def _bins(numbers: NDArray[np.float64], stated: NDArray[np.bool_], spelled: Any) -> Iterator[Cut]:
    """Bins of equally many images. Equal numbers are in one bin."""
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BINS + 1)[1:-1]))
    places = np.searchsorted(edges, numbers, side="left")
    for place in np.unique(places).tolist():
        chosen = places == place
        rows = np.zeros(len(stated), bool)
        rows[np.flatnonzero(stated)[chosen]] = True
        low, high = spelled(numbers[chosen].min()), spelled(numbers[chosen].max())
        yield Cut(low if low == high else f"{low} to {high}", rows)


def _quarters(moments: Sequence[datetime], stated: NDArray[np.bool_]) -> Iterator[Cut]:
    """Quarters of the day. Nothing where all moments are at midnight, as dates are."""
    if all(moment.hour == moment.minute == moment.second == 0 for moment in moments):
        return
    hours = np.array([moment.hour for moment in moments])
    for name, first, end in _DAY_PARTS:
        rows = np.zeros(len(stated), bool)
        rows[np.flatnonzero(stated)[(hours >= first) & (hours < end)]] = True
        yield Cut(f"{name}, {first} to {end} h", rows)


def _names(texts: Sequence[str]) -> Iterator[Cut]:
    column = np.array(texts, object)
    counts = Counter(text for text in texts if text)
    chosen = sorted(counts, key=lambda text: (-counts[text], text))[:MOST_VALUES]
    for text in sorted(chosen):
        yield Cut(text, np.asarray(column == text))


def _spelled(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) and abs(number) < 1e9 else f"{number:.3g}"


def _days(moment: datetime) -> float:
    # Not a timestamp: that hangs on the zone of the machine, and some systems have none before 1970.
    return moment.toordinal() + (moment.hour * 60 + moment.minute) / 1440


def _day(days: float) -> str:
    return date.fromordinal(int(days)).isoformat()
