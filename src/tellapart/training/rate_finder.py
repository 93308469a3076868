"""The learning-rate finder: a short training at rising rates, and where its loss fell fastest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STOP_RATIO = 4.0  # over the lowest loss so far; from there on it diverges
_RECENT = 5  # losses whose mean is compared with the lowest such mean
# of the smoothing, as a share of the rates: batches are noisy, and the slope is what counts
_WIDTH = 0.05


@dataclass(frozen=True)
class RateCurve:
    """What a range test saw.

    Args:
        rates: (M,) tried, rising.
        losses: (M,) of the batch at each rate, before the step.
        smoothed: (M,) likewise.
        suggestion: the rate at which the smoothed loss fell fastest; None if it fell nowhere.
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
        step: one training step at a rate; gives the loss of its batch. What it trains is of no use
            afterwards.
        low, high: the first and the last rate.
        count: steps at most.

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
    # The last losses may be thousands of times the others: cut off, they do not reach back through
    # the smoothing.
    highest = max([*losses[:_RECENT], STOP_RATIO * lowest])
    smoothed = _smoothed(np.minimum(seen, highest), _WIDTH * count)
    return RateCurve(tried, seen, smoothed, _steepest(tried, smoothed))


def _smoothed(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Means weighted by a bell of this standard deviation, counted in values; at the ends of those
    that are there.
    """
    places = np.arange(len(values))
    bells = np.exp(-(((places[:, None] - places) / width) ** 2) / 2)
    means: NDArray[np.float64] = bells @ values / bells.sum(axis=1)
    return means


def _steepest(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> float | None:
    """Where the loss falls fastest over the logarithm of the rate, on the way to its lowest
    point.
    """
    lowest = int(losses.argmin()) if len(losses) else 0
    if lowest < 1:
        return None
    slopes = np.diff(losses[: lowest + 1])
    place = int(slopes.argmin())
    return float(math.sqrt(rates[place] * rates[place + 1]))
