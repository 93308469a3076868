"""The scores that need a bootstrap, on the images and on resamples of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.calibration import NUM_BINS, confidence_bins
from tellapart.evaluation.formulas import f1_ratio, image_distances, image_losses, ratio
from tellapart.evaluation.intervals import RESAMPLES, Statistic, bootstrap
from tellapart.evaluation.predictions import Predictions

# What the bootstrap measures, and the highest value of each.
HIGHEST = {
    "balanced_accuracy": 1.0,
    "macro_f1": 1.0,
    "log_loss": math.inf,
    "brier": 2.0,
    "ece": 1.0,
}


@dataclass(frozen=True)
class Resampled:
    """The scores that are no plain share of images, on the images and on resamples of them.

    Args:
        names: K names, as `Metrics` has them.
        values: (K,) values on the images; NaN without images.
        resampled: (B, K) values on the resamples. The resamples depend on the images and the seed
            alone, so those of two models can be compared.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    resampled: NDArray[np.float64]


def resample(predictions: Predictions, seed: int = 0, resamples: int = RESAMPLES) -> Resampled:
    """The scores that are no plain share of images, on the images and on stratified resamples.

    Args:
        predictions: predictions of any number of images. With fewer than two clusters there is no
            resample.
        seed: the same seed and images give the same resamples.
        resamples: how many resamples are drawn.
    """
    # Sorted by path, so that a resample does not depend on the order of the images.
    by_path = sorted(range(len(predictions)), key=predictions.paths.__getitem__)
    predictions = predictions.rows(np.array(by_path, np.int64))
    count, missing = len(predictions), np.full((1, len(HIGHEST)), math.nan)
    statistic = _statistic(predictions)
    values = statistic(np.arange(count)[None], np.ones(count)) if count else missing
    resampled = (
        bootstrap(
            statistic, predictions.labels, predictions.clusters, seed=seed, resamples=resamples
        )
        if predictions.num_clusters > 1
        else missing
    )
    return Resampled(tuple(HIGHEST), values[0], resampled)


def _statistic(predictions: Predictions) -> Statistic:
    """Rows (B, M) and weights (M,) or (B, M) → (B, 5), the columns of HIGHEST."""
    labels, predicted, correct = predictions.labels, predictions.predicted, predictions.correct
    losses, distances = image_losses(predictions), image_distances(predictions)
    gaps, bins = (
        predictions.confidence - correct.astype(np.float64),
        confidence_bins(predictions.confidence),
    )
    num_classes = len(predictions.classes)

    def statistic(rows: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        # Weighted counts by class, (B, C). A (B, C, C) table would not fit into memory for many
        # classes.
        support = _totals(labels[rows], weights, num_classes)
        called = _totals(predicted[rows], weights, num_classes)
        right = _totals(labels[rows], weights * correct[rows], num_classes)
        gap = _totals(bins[rows], weights * gaps[rows], NUM_BINS)
        present, total = (support > 0).sum(axis=1), weights.sum(axis=-1)
        recall = ratio(right, support)
        f1 = np.where(support > 0, f1_ratio(right, support, called), 0)
        means = [
            _weighed(losses[rows], weights) / total,
            _weighed(distances[rows], weights) / total,
            np.abs(gap).sum(axis=1) / total,
        ]
        return np.stack([recall.sum(axis=1) / present, f1.sum(axis=1) / present, *means], axis=1)

    return statistic


def _weighed(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B,) the weighted sums of values (B, M). The weights are (M,) or (B, M)."""
    return values @ weights if weights.ndim == 1 else np.einsum("bm,bm->b", values, weights)


def _totals(
    groups: NDArray[np.int64], weights: NDArray[np.float64], num_groups: int
) -> NDArray[np.float64]:
    """(B, G) the weight of each group in each row, of groups (B, M) in [0, G).

    The weights are (M,) or (B, M).
    """
    cells = groups + num_groups * np.arange(len(groups))[:, None]
    spread = np.broadcast_to(weights, groups.shape)
    totals = np.bincount(cells.ravel(), weights=spread.ravel(), minlength=len(groups) * num_groups)
    return totals.astype(np.float64, copy=False).reshape(len(groups), num_groups)
