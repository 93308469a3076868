"""Values that lie far from those of the other images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NORMAL_SPREAD = 1.4826  # times the median distance from the median is the spread of a normal


def oddity(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) how many spreads each value lies above the median; NaN where the value is.

    Median and median distance stand for mean and spread, as odd values do not move them.

    Source: Iglewicz and Hoaglin 1993, "How to Detect and Handle Outliers" (modified z-score).

    >>> oddity(np.array([1.0, 2.0, 3.0, 100.0])).round(1).tolist()
    [-1.0, -0.3, 0.3, 65.8]
    """
    known = np.asarray(values, np.float64)
    if not np.isfinite(known).any():
        return np.full(len(known), np.nan)
    distances = known - np.nanmedian(known)
    spread = NORMAL_SPREAD * np.nanmedian(np.abs(distances))
    return np.asarray(distances / spread if spread > 0 else np.where(np.isnan(known), np.nan, 0.0))
