"""Logits → calibrated probabilities: a temperature, where needed a bias a class, and the check that
it worked.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.conformal import SetScores
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.rule import AnswerRule
from tellapart.evaluation.standards import Standards
from tellapart.evaluation.threshold import Threshold

NUM_BINS = 15
COLDEST, HOTTEST = 1 / 20, 20.0
BIAS_DEVIATION = 1.0  # of a class's bias around the logarithm of its share
_ROUNDS = 60  # of temperature and bias in turn

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


@dataclass(frozen=True)
class Scaling:
    """Calibrated probabilities are the softmax of logits / temperature + bias.

    Args:
        temperature: above 0.
        bias: (C,) float64, or one number for all. It is 0 where the model was fitted on classes as
            frequent as they are.
    """

    temperature: float
    bias: NDArray[np.float64]

    def scaled(self, logits: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, C) logits of the calibrated model."""
        return np.asarray(np.asarray(logits, np.float64) / self.temperature + self.bias, np.float32)

    def probabilities(self, logits: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, C) float32 of logits (N, C)."""
        return softmax(np.asarray(logits, np.float64) / self.temperature + self.bias)


def fit_temperature(
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    *,
    num_clusters: int | None = None,
    bias: NDArray[np.float64] | None = None,
) -> float:
    """The temperature whose probabilities fit the labels best.

    A model without mistakes on a few images would ask for certainty. So it is fitted as if half a
    cluster more had been answered wrongly. Such smoothed labels are Platt's idea; they weigh the
    same whatever the size of the logits.

    Args:
        logits: (N, C) of images that the model was not fitted on.
        labels: (N,) int64 in [0, C).
        num_clusters: how many clusters the images form. Default: each is its own.
        bias: (C,) is added to logits / T. Default: 0.

    Returns:
        The T in [1/20, 20] that minimises the cross-entropy of softmax(logits / T + bias) with the
        smoothed labels. It is 1 without images, with one class, or if all logits are equal.

    Raises:
        ValueError: shapes or labels do not fit, or a logit is not finite.

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 4.2 (temperature scaling);
    Platt 1999, "Probabilistic outputs for support vector machines", section 2.2 (the targets).

    >>> sure_but_half_right = np.array([[8.0, 0.0], [8.0, 0.0]] * 50)
    >>> fit_temperature(sure_but_half_right, np.array([0, 1] * 50)) > 10
    True
    """
    _check(logits, labels)
    num_classes = logits.shape[1]
    if not logits.size or num_classes == 1:
        return 1.0
    wrong = 0.5 / ((num_clusters or len(labels)) + 1)
    offset = np.zeros(num_classes) if bias is None else bias

    def slope_at(b: float) -> tuple[float, float]:
        return _slope(logits, labels, b, offset, wrong)

    low, high, b = 1 / HOTTEST, 1 / COLDEST, 1.0
    if not slope_at(b)[1] > 0:
        return 1.0
    if slope_at(low)[0] > 0:
        return HOTTEST
    if slope_at(high)[0] < 0:
        return COLDEST
    # The loss is convex in b = 1/T, so Newton's steps on its slope find the minimum. The shrinking
    # bracket keeps a step that is too long from leaving the range.
    for _ in range(100):
        slope, curvature = slope_at(b)
        low, high = (low, b) if slope > 0 else (b, high)
        newton = b - slope / curvature if curvature > 0 else b
        nearer = newton if low <= newton <= high else math.sqrt(low * high)
        if abs(nearer - b) < 1e-9 * b:
            break
        b = nearer
    return 1 / b


def fit_scaling(
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    *,
    num_clusters: int | None = None,
    shares: NDArray[np.float64] | None = None,
) -> Scaling:
    """The temperature, and a bias a class where the model saw classes as if they were as frequent.

    Weights and sampling that balance the classes shift all probabilities towards the rare ones. A
    temperature cannot undo that. The bias can: afterwards the mean probability of each class is its
    share. A normal prior holds each bias near the logarithm of the class's share.

    Args:
        logits: (N, C) of images that the model was not fitted on.
        labels: (N,) int64 in [0, C).
        num_clusters: how many clusters the images form. Default: each is its own.
        shares: (C,) the shares of the classes, where the model was balanced. None fits no bias.

    Source: Alexandari et al. 2020, https://arxiv.org/abs/1901.06852 (bias-corrected temperature
    scaling; the prior is ours).

    >>> balanced = np.array([[2.0, 0.0]] * 90 + [[0.0, 0.5]] * 10)
    >>> rare = np.repeat([0, 1], [90, 10])
    >>> scaling = fit_scaling(balanced, rare, shares=np.array([0.9, 0.1]))
    >>> bool(abs(scaling.probabilities(balanced).mean(axis=0)[1] - 0.1) < 0.02)
    True
    """
    temperature = fit_temperature(logits, labels, num_clusters=num_clusters)
    num_classes = logits.shape[1]
    if shares is None or not len(labels) or num_classes == 1:
        return Scaling(temperature, np.zeros(num_classes))
    centre = np.log(np.maximum(shares, 1e-9) * num_classes)
    centre -= centre.mean()
    bias = centre.copy()
    counts = np.bincount(labels, minlength=num_classes)
    for _ in range(_ROUNDS):
        temperature = fit_temperature(logits, labels, num_clusters=num_clusters, bias=bias)
        probs = Scaling(temperature, bias).probabilities(logits).astype(np.float64)
        slope = probs.sum(axis=0) - counts + (bias - centre) / BIAS_DEVIATION**2
        # Twice the diagonal bounds the curvature, so that no step goes too far.
        bound = 2 * (probs * (1 - probs)).sum(axis=0) + 1 / BIAS_DEVIATION**2
        step = slope / bound
        bias = bias - step
        if np.abs(step).max() < 1e-5:
            break
    return Scaling(temperature, bias - bias.mean())


@dataclass(frozen=True)
class Calibration:
    """What was fitted on answers to images that the model was not fitted on: of val, or of folds.

    Args:
        temperature: the logits are divided by it; 1 without such answers.
        count: images that it was fitted on.
        threshold: from which confidence on the model answers. None without such answers, or where
            costs decide.
        unfamiliar_distance: an image whose score is above it is "unfamiliar". None if it could not be
            measured.
        bias: (C,) added to logits / temperature. Empty where no bias was needed.
        num_clusters: how many images these are if copies and groups count once.
        standards: what the scores of unfamiliarity are measured by. None if they were not.
        rule: what is answered, and when.
        sets: for sets of classes that hold the truth. None without such answers.

    >>> Calibration(1.5, 40, None, None).as_json()["temperature"]
    1.5
    """

    temperature: float
    count: int
    threshold: Threshold | None
    unfamiliar_distance: float | None
    bias: tuple[float, ...] = ()
    num_clusters: int = 0
    standards: Standards | None = None
    rule: AnswerRule = field(default_factory=AnswerRule)
    sets: SetScores | None = None

    @property
    def scaling(self) -> Scaling:
        """What turns logits into calibrated probabilities."""
        return Scaling(self.temperature, np.array(self.bias or 0.0))

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "temperature": self.temperature,
            "bias": list(self.bias),
            "count": self.count,
            "clusters": self.num_clusters,
            "confidence_threshold": self.rule.threshold,
            "rule": self.rule.as_json(),
            "threshold": None if self.threshold is None else self.threshold.as_json(),
            "unfamiliar_distance": self.unfamiliar_distance,
            "standards": self.standards and asdict(self.standards),
        }


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
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    b: float,
    bias: NDArray[np.float64],
    wrong: float,
) -> tuple[float, float]:
    """First and second derivative in b of the summed cross-entropy of softmax(b * logits + bias).

    The label has the probability 1 - `wrong`; the other classes share the rest.
    """
    slope, curvature = 0.0, 0.0
    num_classes = logits.shape[1]
    rows = max(1, _BLOCK_LOGITS // num_classes)
    for start in range(0, len(logits), rows):
        z = np.asarray(logits[start : start + rows], np.float64)
        z = z - z.max(axis=1, keepdims=True)
        label_z = z[np.arange(len(z)), labels[start : start + rows]]
        others = (z.sum(axis=1) - label_z) / (num_classes - 1)
        scaled = b * z + bias
        probs = np.exp(scaled - scaled.max(axis=1, keepdims=True))  # exp cannot overflow
        probs /= probs.sum(axis=1, keepdims=True)
        weighted = probs * z
        mean, square = weighted.sum(axis=1), np.einsum("nc,nc->n", weighted, z)
        slope += float((mean - (1 - wrong) * label_z - wrong * others).sum())
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
