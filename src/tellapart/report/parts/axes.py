"""The two axes of every plot: a linear and a logarithmic one. Each places a number and its ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass

# The plot inside its image, in SVG units; the margins hold the axis labels.
WIDTH, HEIGHT = 340, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 328, 12, 204

_MOST_TICKS = 6
_MOST_DECADES = 8  # ticks where only powers of ten are marked; their labels are short


@dataclass(frozen=True)
class Tick:
    """One grid line and its label: where it stands, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class LinearAxis:
    """Numbers from `low` to `high` along one side of the plot.

    Args:
        low, high: the numbers at its ends.
        start, end: where those ends stand, in SVG units.
        unit: 100 labels fractions as percentages.
    """

    low: float
    high: float
    start: float
    end: float
    unit: float = 1.0

    def at(self, value: float) -> float:
        """Where a number stands, in SVG units. A number beyond an end stands at that end.

        >>> LinearAxis(0, 4, 0, 100).at(1)
        25.0
        """
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    @property
    def ticks(self) -> list[Tick]:
        """Round numbers, at most `_MOST_TICKS`.

        >>> [tick.text for tick in LinearAxis(0.2, 2.3, 0, 100).ticks]
        ['0.5', '1', '1.5', '2']
        """
        step = _round_step(self.high - self.low)
        # The tolerance keeps a tick that stands at an end but for rounding.
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        values = [number * step for number in range(first, last + 1)]
        # As many digits as tell two neighbours apart.
        digits = math.ceil(math.log10(max(abs(self.low), abs(self.high)) / step)) + 1
        return [Tick(self.at(value), f"{self.unit * value:.{max(digits, 4)}g}") for value in values]


@dataclass(frozen=True)
class LogAxis:
    """Positive numbers from `low` to `high`. A factor is the same distance everywhere."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a number stands, in SVG units.

        >>> LogAxis(10, 1000, 0, 100).at(100)
        50.0
        """
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return round(self.start + share * (self.end - self.start), 2)

    @property
    def ticks(self) -> list[Tick]:
        """1, 2 and 5 times the powers of ten; the powers alone where those would be too many.

        >>> [tick.text for tick in LogAxis(90, 1100, 0, 100).ticks]
        ['100', '200', '500', '1,000']
        >>> [tick.text for tick in LogAxis(1e-5, 1, 0, 100).ticks]
        ['1e-5', '1e-4', '0.001', '0.01', '0.1', '1']
        """
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        pairs = [
            (factor, power)
            for power in powers
            for factor in (1, 2, 5)
            if self.low * (1 - 1e-9) <= factor * 10.0**power <= self.high * (1 + 1e-9)
        ]
        if len(pairs) > _MOST_TICKS:
            pairs = [pair for pair in pairs if pair[0] == 1]
            pairs = pairs[:: math.ceil(len(pairs) / _MOST_DECADES)]
        return [
            Tick(self.at(factor * 10.0**power), _written(factor, power)) for factor, power in pairs
        ]


def _written(factor: int, power: int) -> str:
    """A factor times a power of ten, as short as it can be read.

    >>> _written(2, 3), _written(5, -2), _written(1, -4)
    ('2,000', '0.05', '1e-4')
    """
    if power < -3:
        return f"{factor}e{power}"
    return f"{factor * 10**power:,}" if power >= 0 else f"{factor * 10.0**power:g}"


def _round_step(span: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that gives at most `_MOST_TICKS` ticks."""
    power = 10.0 ** math.floor(math.log10(span / _MOST_TICKS))
    return next(
        factor * power
        for factor in (1, 2, 5, 10)
        if span / (factor * power) <= _MOST_TICKS - 1 or factor == 10
    )
