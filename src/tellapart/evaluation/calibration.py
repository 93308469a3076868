"""Logits → calibrated probabilities: one temperature, and the check that it worked."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.predictions import Predictions

NUM_BINS = 15
COLDEST, HOTTEST = 1 / 20, 20.0
PRIOR_DEVIATION = 0.5  # of 1/T around 1

_BLOCK_LOGITS = 1_000_000  # float64 logits worked on at once, so that memory does not grow with N


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float32]:
    """Probabilities of logits / temperature.

    Args:
        logits: (N, C) or (C,), finite.
        temperature: above 0. More than 1 makes the model less sure, less than 1 surer; the answer
            never changes.

    Returns:
        float32 of the same shape, in [0, 1].

    Raises:
        ValueError: if the temperature is not above 0.

    >>> softmax(np.array([[1000.0, 1000.0]])).tolist()
    [[0.5, 0.5]]
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    # In float64, so that nothing overflows and rows sum to 1.
    scaled = np.asarray(logits, np.float64) / temperature
    exp: NDArray[np.float64] = np.exp(scaled - scaled.max(axis=-1, keepdims=True, initial=-np.inf))
    exp /= exp.sum(axis=-1, keepdims=True)
    return exp.astype(np.float32)


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The temperature whose probabilities fit the labels best.

    1/T has a normal prior around 1 with deviation 1/2, which weighs as much as an image or two.
    Without the prior, a small val without mistakes would ask for certainty.

    Args:
        logits: (N, C) of images that the model was not fitted on, which are those of val.
        labels: (N,) int64 in [0, C).

    Returns:
        The T in [1/20, 20] that minimises the summed cross-entropy of softmax(logits / T) plus the
        prior's. It is 1 without images, with one class, or if all logits are equal.

    Raises:
        ValueError: shapes or labels do not fit, or a logit is not finite.

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 4.2 (temperature scaling; the
    prior is ours).

    >>> sure_but_half_right = np.array([[8.0, 0.0], [8.0, 0.0]] * 50)
    >>> fit_temperature(sure_but_half_right, np.array([0, 1] * 50)) > 10
    True
    """
    _check(logits, labels)
    if not logits.size or logits.shape[1] == 1:
        return 1.0
    low, high, b = 1 / HOTTEST, 1 / COLDEST, 1.0
    if _slope(logits, labels, low)[0] > 0:
        return HOTTEST
    if _slope(logits, labels, high)[0] < 0:
        return COLDEST
    # The loss is convex in b = 1/T, so Newton's steps on its slope find the minimum. The shrinking
    # bracket keeps a step that is too long from leaving the range.
    for _ in range(100):
        slope, curvature = _slope(logits, labels, b)
        low, high = (low, b) if slope > 0 else (b, high)
        newton = b - slope / curvature if curvature > 0 else b
        nearer = newton if low <= newton <= high else math.sqrt(low * high)
        if abs(nearer - b) < 1e-9 * b:
            break
        b = nearer
    return 1 / b


@dataclass(frozen=True)
class Calibration:
    """What was fitted on val, or on out-of-fold answers.

    Args:
        temperature: the logits are divided by it; 1 without val.
        count: images that it was fitted on.
        confidence_threshold: an answer below it is "unsure"; None without val.
        unfamiliar_distance: an image beyond it is "unfamiliar"; None without val.

    >>> Calibration(1.5, 40, 0.8, None).as_json()["temperature"]
    1.5
    """

    temperature: float
    count: int
    confidence_threshold: float | None
    unfamiliar_distance: float | None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Reliability:
    """How often the model was right, by how sure it was. An empty bin is zero in every column.

    Args:
        edges: (B + 1,) from 0 to 1. A bin holds its lower edge; the last holds confidence 1 too.
        counts: (B,) int64 images.
        confidence: (B,) mean confidence of these images, in [0, 1].
        accuracy: (B,) share of these images that was right, in [0, 1].
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def reliability(predictions: Predictions, num_bins: int = NUM_BINS) -> Reliability:
    """The columns of a reliability diagram, over confidence bins of equal width.

    Args:
        predictions: predictions of any number of images, also none.
        num_bins: how many bins divide [0, 1].

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 2.

    >>> sure = np.array([[0.8, 0.2], [0.8, 0.2]], np.float32)
    >>> table = reliability(Predictions(sure, np.array([0, 1]), ("a.jpg", "b.jpg"), ("cat", "dog")), num_bins=2)
    >>> table.counts.tolist(), table.confidence.round(3).tolist(), table.accuracy.tolist()
    ([0, 2], [0.0, 0.8], [0.0, 0.5])
    """
    bins = confidence_bins(predictions.confidence, num_bins)
    counts = np.bincount(bins, minlength=num_bins)
    divisor = np.maximum(counts, 1)
    return Reliability(
        edges=np.linspace(0, 1, num_bins + 1),
        counts=counts,
        confidence=np.bincount(bins, weights=predictions.confidence, minlength=num_bins) / divisor,
        accuracy=np.bincount(bins, weights=predictions.correct, minlength=num_bins) / divisor,
    )


def confidence_bins(confidence: NDArray[np.float32], num_bins: int = NUM_BINS) -> NDArray[np.int64]:
    """(N,) the bin of each confidence, in [0, num_bins). All bins have the same width.

    A confidence of exactly 1 is in the last bin.

    >>> confidence_bins(np.array([0.0, 0.5, 1.0], np.float32), num_bins=2).tolist()
    [0, 1, 1]
    """
    bins = (confidence.astype(np.float64) * num_bins).astype(np.int64)
    return np.clip(bins, 0, num_bins - 1)


def _slope(
    logits: NDArray[np.floating], labels: NDArray[np.int64], b: float
) -> tuple[float, float]:
    """First and second derivative in b of the summed cross-entropy of softmax(b * logits), with the
    prior's.
    """
    slope, curvature = (b - 1) / PRIOR_DEVIATION**2, 1 / PRIOR_DEVIATION**2
    rows = max(1, _BLOCK_LOGITS // logits.shape[1])
    for start in range(0, len(logits), rows):
        z = np.asarray(logits[start : start + rows], np.float64)
        z = z - z.max(axis=1, keepdims=True)  # the highest is 0: exp cannot overflow
        label_z = z[np.arange(len(z)), labels[start : start + rows]]
        probs = np.exp(b * z)
        probs /= probs.sum(axis=1, keepdims=True)
        weighted = probs * z
        mean, square = weighted.sum(axis=1), np.einsum("nc,nc->n", weighted, z)
        slope += float((mean - label_z).sum())
        curvature += float((square - mean**2).sum())
    return slope, curvature


def _check(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> None:
    if logits.ndim != 2 or labels.shape != (len(logits),):
        raise ValueError(
            f"logits must be (N, C) and labels (N,), got {logits.shape} and {labels.shape}"
        )
    if labels.size and (labels.min() < 0 or labels.max() >= logits.shape[1]):
        raise ValueError(f"labels must be in [0, {logits.shape[1]})")
    if not np.isfinite(logits).all():
        raise ValueError("logits must be finite")
