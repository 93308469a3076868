"""The learning-rate finder: a short training at rising rates, and where its loss fell fastest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STOP_RATIO = 4.0  # a loss so many times the lowest one so far means that it diverges
_RECENT = 5  # the mean of so many losses is compared with the lowest such mean
# The width of the smoothing, as a share of the rates: batches are noisy, and the slope counts.
_WIDTH = 0.05


@dataclass(frozen=True)
class RateCurve:
    """The result of a range test.

    Args:
        rates: (M,) rates that were tried, rising.
        losses: (M,) the loss of the batch at each rate, before the step.
        smoothed: (M,) the same losses, smoothed.
        suggestion: the rate at which the smoothed loss fell fastest. None means that it never fell.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    suggestion: float | None


def range_test(
    step: Callable[[float], float], *, low: float = 1e-7, high: float = 10.0, count: int = 100
) -> RateCurve:
    """Train one step at each of `count` rates, each the same multiple of the one before, until the
    loss diverges.

    Args:
        step: makes one training step at a rate and returns the loss of its batch. The network that
            it trains is of no use afterwards.
        low: the first rate.
        high: the last rate.
        count: the largest number of steps.

    Raises:
        ValueError: the range is empty.

    Source: Smith 2017, https://arxiv.org/abs/1506.01186, section 3.3. The suggestion is fastai's
    "steep", on a loss smoothed to both sides, so that it does not come late.

    >>> curve = range_test(lambda rate: 2 / (1 + rate / 1e-3) + (rate / 0.5) ** 2)
    >>> 2e-4 < curve.suggestion < 5e-3
    True
    """
    if not 0 < low < high or count < 2:
        raise ValueError(f"{count} rates from {low} to {high} are no range")
    rates = np.geomspace(low, high, count)
    losses: list[float] = []
    lowest = math.inf
    for rate in rates:
        loss = step(float(rate))
        if not math.isfinite(loss):
            break
        losses.append(loss)
        recent = float(np.mean(losses[-_RECENT:]))
        lowest = min(lowest, recent)
        if recent > STOP_RATIO * lowest:
            break
    seen, tried = np.array(losses), rates[: len(losses)]
    # The last losses may be thousands of times the others. They are cut off, or the smoothing would
    # carry them back to earlier rates.
    highest = max([*losses[:_RECENT], STOP_RATIO * lowest])
    smoothed = _smoothed(np.minimum(seen, highest), _WIDTH * count)
    return RateCurve(tried, seen, smoothed, _steepest(tried, smoothed))


def _smoothed(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Means weighted by a bell curve whose standard deviation is `width` values.

    At the ends, the mean is over the values that exist.
    """
    places = np.arange(len(values))
    bells = np.exp(-(((places[:, None] - places) / width) ** 2) / 2)
    means: NDArray[np.float64] = bells @ values / bells.sum(axis=1)
    return means


def _steepest(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> float | None:
    """The rate at which the loss falls fastest over the logarithm of the rate, before its lowest
    point.
    """
    lowest = int(losses.argmin()) if len(losses) else 0
    if lowest < 1:
        return None
    slopes = np.diff(losses[: lowest + 1])
    place = int(slopes.argmin())
    return float(math.sqrt(rates[place] * rates[place + 1]))
