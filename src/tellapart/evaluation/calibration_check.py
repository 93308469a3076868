"""Are the confidences true? The errors that were measured, beside those that chance alone makes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.calibration import NUM_BINS, confidence_bins
from tellapart.evaluation.predictions import Predictions

DRAWS = 1000
_BLOCK = 2_000_000  # simulated images held at once


@dataclass(frozen=True)
class CalibrationCheck:
    """Two calibration errors, and what they would be for a model whose confidences are true.

    Args:
        ece: the mean gap between confidence and accuracy over 15 bins of confidence.
        ece_by_chance: what a perfectly calibrated model stays below 19 times out of 20.
        ks: the largest gap between the sums of confidence and of right answers, over all images up
            to any confidence, a share of all images. It needs no bins.
        ks_by_chance: what a perfectly calibrated model stays below 19 times out of 20.

    >>> CalibrationCheck(0.03, 0.05, 0.02, 0.04).passed
    True
    """

    ece: float
    ece_by_chance: float
    ks: float
    ks_by_chance: float

    @property
    def passed(self) -> bool:
        """Whether the images show no sign that the confidences are wrong."""
        return self.ks <= self.ks_by_chance and self.ece <= self.ece_by_chance

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "passed": self.passed}


def check_calibration(predictions: Predictions, seed: int = 0) -> CalibrationCheck | None:
    """Hold the calibration errors against those of simulated models whose confidences are true.

    The images of a cluster are right or wrong together in the simulation, as copies are. For groups
    that vary more this asks for less than it could, and never for more.

    Args:
        predictions: calibrated predictions of images that nothing was chosen on.
        seed: decides the simulation.

    Returns:
        None without images.

    Source of the error without bins: Gupta et al. 2021, https://arxiv.org/abs/2006.12800.

    >>> sure = np.array([[0.9, 0.1]] * 50, np.float32)
    >>> half_right = Predictions(sure, np.arange(50) % 2, tuple(map(str, range(50))), ("cat", "dog"))
    >>> check_calibration(half_right).passed
    False
    """
    if not len(predictions):
        return None
    order = np.argsort(predictions.confidence, kind="stable")
    predictions = predictions.rows(order)
    confidence = predictions.confidence.astype(np.float64)
    bins = confidence_bins(predictions.confidence)
    ece, ks = _errors(confidence, predictions.correct[None], bins)
    _, cluster_of = np.unique(predictions.clusters, return_inverse=True)
    rng = np.random.Generator(np.random.Philox(key=seed))
    size = max(1, _BLOCK // len(predictions))
    simulated = []
    for done in range(0, DRAWS, size):
        luck = rng.random((min(size, DRAWS - done), cluster_of.max() + 1))
        simulated.append(np.stack(_errors(confidence, luck[:, cluster_of] < confidence, bins)))
    ece_chance, ks_chance = np.quantile(np.concatenate(simulated, axis=1), 0.95, axis=1)
    return CalibrationCheck(float(ece[0]), float(ece_chance), float(ks[0]), float(ks_chance))


def chance_bands(predictions: Predictions, seed: int = 0) -> NDArray[np.float64]:
    """The accuracy that chance alone gives in each bin of confidence, were every confidence true.

    The images of a cluster are right or wrong together in the simulation, as in
    `check_calibration`.

    Args:
        predictions: calibrated predictions of images that nothing was chosen on.
        seed: decides the simulation.

    Returns:
        (B, 2) the bounds between which the accuracy of a bin lies 19 times out of 20; NaN where a
        bin is empty.

    Source: Bröcker & Smith 2007, https://doi.org/10.1175/WAF993.1 (consistency bars).

    >>> sure = np.array([[0.9, 0.1]] * 50, np.float32)
    >>> images = Predictions(sure, np.zeros(50, int), tuple(map(str, range(50))), ("cat", "dog"))
    >>> chance_bands(images)[13].round(2).tolist()
    [0.82, 0.98]
    """
    bands = np.full((NUM_BINS, 2), np.nan)
    if not len(predictions):
        return bands
    confidence = predictions.confidence.astype(np.float64)
    bins = confidence_bins(predictions.confidence)
    _, cluster_of = np.unique(predictions.clusters, return_inverse=True)
    rng = np.random.Generator(np.random.Philox(key=seed))
    for place in np.unique(bins).tolist():
        chosen = np.flatnonzero(bins == place)
        names, local = np.unique(cluster_of[chosen], return_inverse=True)
        size = max(1, _BLOCK // len(chosen))
        shares = []
        for done in range(0, DRAWS, size):
            luck = rng.random((min(size, DRAWS - done), len(names)))
            shares.append((luck[:, local] < confidence[chosen]).mean(axis=1))
        bands[place] = np.quantile(np.concatenate(shares), (0.025, 0.975))
    return bands


def _errors(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(B,) the binned error and (B,) the one without bins, of rows (B, N) sorted by confidence."""
    gaps = confidence - correct
    ks = np.abs(np.cumsum(gaps, axis=1)).max(axis=1) / len(confidence)
    # The images are sorted by confidence, so each bin is a range of columns.
    starts = np.searchsorted(bins, np.arange(NUM_BINS))
    ends = np.append(starts[1:], len(bins))
    sums = np.concatenate([np.zeros((len(gaps), 1)), np.cumsum(gaps, axis=1)], axis=1)
    ece = np.abs(sums[:, ends] - sums[:, starts]).sum(axis=1) / len(confidence)
    return ece, ks
