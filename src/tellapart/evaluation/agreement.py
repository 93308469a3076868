"""How far two people agree on the same images: Cohen's kappa."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tellapart.evaluation.intervals import wilson


@dataclass(frozen=True)
class Agreement:
    """The agreement of two people.

    Args:
        names: of the two.
        count: how many images both decided on.
        same: on how many of them both gave one answer.
        kappa: 1 where they always agree and 0 where they agree as often as chance alone makes them.
            It is NaN without images, or where both gave one single answer throughout.
        low: of its 95 % interval.
        high: likewise.
    """

    names: tuple[str, str]
    count: int
    same: int
    kappa: float
    low: float
    high: float

    def __str__(self) -> str:
        both = f"{self.names[0]} and {self.names[1]}"
        if not self.count:
            return f"{both} decided on no image in common"
        share = f"{both} agree on {self.same:,} of {self.count:,} images"
        if math.isnan(self.kappa):
            return f"{share}; kappa needs more than one answer"
        return f"{share}; kappa {self.kappa:.2f} (95 % interval {self.low:.2f} to {self.high:.2f})"

    def as_json(self) -> dict[str, Any]:
        """Plain values; what cannot be known is null."""
        known = not math.isnan(self.kappa)
        numbers = {"kappa": self.kappa, "low": self.low, "high": self.high}
        return {
            "names": list(self.names),
            "count": self.count,
            "same": self.same,
            **{name: value if known else None for name, value in numbers.items()},
        }


def agreement(first: Sequence[str], second: Sequence[str], names: tuple[str, str]) -> Agreement:
    """Cohen's kappa of two people's answers, with its 95 % interval.

    The interval is Wilson's for the share of images on which they agree, carried over to kappa. It
    stays open where they agree on all of a few images, which the usual standard error does not. The
    agreement that chance makes counts as known.

    Args:
        first: N answers of one person.
        second: N answers of the other to the same images.
        names: what the two are called.

    Raises:
        ValueError: the two have not answered the same number of images.

    Source: Cohen 1960, https://doi.org/10.1177/001316446002000104 (kappa).

    >>> print(agreement(["cat", "dog", "cat", "dog"], ["cat", "dog", "dog", "dog"], ("ann", "bob")))
    ann and bob agree on 3 of 4 images; kappa 0.50 (95 % interval -0.40 to 0.91)
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} answers cannot be compared with {len(second)}")
    count = len(first)
    same = sum(one == other for one, other in zip(first, second, strict=True))
    of_first, of_second = Counter(first), Counter(second)
    chance = sum(number * of_second[answer] for answer, number in of_first.items())
    expected = chance / count**2 if count else 1.0
    if expected >= 1:
        return Agreement(names, count, same, math.nan, math.nan, math.nan)
    shares = (same / count, *wilson(same, count))
    kappa, low, high = ((share - expected) / (1 - expected) for share in shares)
    return Agreement(names, count, same, kappa, max(low, -1.0), high)
