"""Likely label errors: which images to look at first, how many of them are found, where to stop.

    held-out logits ─▶ scores ─▶ suspects are left out ─▶ held-out logits ─▶ scores ─▶ order
    order ─▶ the place of each image under a wrong label ─▶ power
    order, how likely each label is wrong ─▶ reading

The score of a label is the logarithm of its probability plus its margin: how far its logit lies
above the best other one. The probability finds errors at random, the margin those between similar
classes. Labels that are suspected at first teach the heads nothing the second time. So errors that
many images of a class share are found too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.error_count import ErrorCount
from tellapart.evaluation.intervals import wilson

FIRST_SHARE = 0.05  # of the images: those that people look at
LEAST_PRECISION = 0.05  # of what is worth reading: one error in 20 images
LEAST_EXPECTED = 0.5  # errors; where fewer are expected, there is nothing to read
SUSPECTED_SHARE = 0.25  # of the images of a class, at most; a hard class must not vanish

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Power:
    """How many wrong labels the order of the images brings to the front.

    Args:
        kind: "random" where an image gets any other label, "similar" where it gets the label of the
            class that its own class is most often taken for.
        planted: how many images got wrong labels, one image at a time.
        share: of them that stand among the first 5 % then.
    """

    kind: str
    planted: int
    share: float

    def as_json(self) -> dict[str, Any]:
        """As plain values, with a 95 % interval of the share."""
        low, high = wilson(self.share * self.planted, self.planted)
        return {
            "kind": self.kind,
            "planted": self.planted,
            "share": self.share,
            "low": low,
            "high": high,
        }


@dataclass(frozen=True)
class Reading:
    """What to expect while the images are read in their order.

    Args:
        expected: the most likely number of wrong labels.
        low: the lower end of its 95 % interval.
        high: the upper end.
        stop: how many images to read. Behind them fewer than one in 20 is expected to be wrong.
        held: how many wrong labels are expected among those to read.
        precision: (N,) the share of wrong labels to expect at each place of the order, falling.
    """

    expected: float
    low: float
    high: float
    stop: int
    held: float
    precision: NDArray[np.float64]


def label_margins(logits: Floats, labels: NDArray[np.int64]) -> Floats:
    """(N,) how far the logit of the label lies above the best other logit.

    Args:
        logits: (N, C), of heads that did not see the image. Rows of NaN give NaN.
        labels: (N,) int64 in [0, C).

    Source: Pleiss et al. 2020, https://arxiv.org/abs/2001.10528 (the margin of a label).

    >>> label_margins(np.array([[3.0, 1.0], [3.0, 1.0]]), np.array([0, 1])).tolist()
    [2.0, -2.0]
    """
    rows = np.arange(len(labels))
    others = logits.copy()
    others[rows, labels] = -np.inf
    return np.asarray(logits[rows, labels] - others.max(axis=1))


def label_scores(logits: Floats, labels: NDArray[np.int64]) -> Floats:
    """(N,) how well each label fits: the logarithm of its probability plus its margin.

    Args:
        logits: (N, C), calibrated, of heads that did not see the image. Rows of NaN give NaN.
        labels: (N,) int64 in [0, C).

    >>> label_scores(np.array([[3.0, 1.0], [3.0, 1.0]]), np.array([0, 1])).round(2).tolist()
    [1.87, -4.13]
    """
    own = logits[np.arange(len(labels)), labels]
    highest = logits.max(axis=1, keepdims=True)
    total = highest[:, 0] + np.log(np.exp(logits - highest).sum(axis=1))
    return np.asarray(own - total + label_margins(logits, labels))


def suspects(logits: Floats, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) the labels that fit worst: those that lose to another class, up to 5 % of all and a
    quarter of each class.

    Args:
        logits: (N, C), calibrated, of heads that did not see the image. Rows of NaN are none.
        labels: (N,) int64 in [0, C).

    >>> logits = np.array([[2.0, 0], [2, 0], [2, 0], [1, 3], [2, 0]])
    >>> np.flatnonzero(suspects(np.tile(logits, (4, 1)), np.zeros(20, np.int64))).tolist()
    [3]
    """
    margins = label_margins(logits, labels)
    order = error_order(label_scores(logits, labels))
    order = order[: round(FIRST_SHARE * len(order))]
    order = order[margins[order] < 0]
    counts = np.bincount(labels)
    taken = np.zeros(len(counts), np.int64)
    suspected = np.zeros(len(labels), bool)
    for place, label in zip(order.tolist(), labels[order].tolist(), strict=True):
        suspected[place] = taken[label] < SUSPECTED_SHARE * counts[label] - 1
        taken[label] += suspected[place]
    return suspected


def proposals(logits: Floats, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) the best class beside the label, from logits (N, C) and labels (N,).

    >>> proposals(np.array([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]]), np.array([0, 1])).tolist()
    [2, 0]
    """
    others = logits.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return np.asarray(others.argmax(axis=1))


def error_order(margins: Floats) -> NDArray[np.int64]:
    """The places of the images that have a margin, the most likely error first.

    >>> error_order(np.array([2.0, np.nan, -1.0])).tolist()
    [2, 0]
    """
    order = np.argsort(margins, kind="stable")  # NaN comes last
    return np.asarray(order[: np.count_nonzero(~np.isnan(margins))])


def taken_for(logits: Floats, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """(C,) for each class, the other class whose logit its images have highest on average.

    >>> taken_for(np.array([[3.0, 1.0, 2.0], [0, 5, 1], [2, 1, 4]]), np.array([0, 1, 2])).tolist()
    [2, 2, 0]
    """
    num_classes = logits.shape[1]
    answered = np.isfinite(logits).all(axis=1)
    means = np.full((num_classes, num_classes), -np.inf)
    for label in range(num_classes):
        own = logits[answered & (labels == label)]
        means[label] = own.mean(axis=0) if len(own) else 0
    np.fill_diagonal(means, -np.inf)
    return np.asarray(means.argmax(axis=1))


def scores_of_all(logits: Floats) -> Floats:
    """(N, C) the score that each image has under each label, as `label_scores` gives it.

    Args:
        logits: (N, C), calibrated, of heads that did not see the image. Rows of NaN give NaN.

    >>> scores_of_all(np.array([[3.0, 1.0]])).round(2).tolist()
    [[1.87, -4.13]]
    """
    rows, best = np.arange(len(logits)), logits.argmax(axis=1)
    highest = logits[rows, best][:, None]
    total = highest[:, 0] + np.log(np.exp(logits - highest).sum(axis=1))
    scores = 2 * logits - total[:, None] - highest
    second = label_margins(logits, best)  # the best label is compared with the second
    scores[rows, best] = logits[rows, best] - total + second
    return np.asarray(scores)


def measure_power(
    kind: str,
    logits: Floats,
    labels: NDArray[np.int64],
    wrong: Floats,
    similar: NDArray[np.int64] | None = None,
) -> Power | None:
    """Which share of wrong labels stands among the first 5 %; None where no image was answered.

    Each image gets a wrong label while all others keep theirs, and takes its place in the order.
    No head is fitted anew: the one that judges an image never saw the label of that image. So its
    answer is the same under any label. The errors that the labels have anyway stay where they are.

    Args:
        kind: as in `Power`.
        logits: (N, C), calibrated, of heads that did not see the image. Rows of NaN do not count.
        labels: (N,) int64 in [0, C).
        wrong: (N,) how likely each label is wrong. Another label may be right there, so these
            images count less.
        similar: (C,) the label that an image of each class gets. None means each other label.

    >>> logits = np.tile([[4.0, 0], [0, 4.0]], (20, 1))
    >>> measure_power("random", logits, np.tile([0, 1], 20), np.zeros(40)).share
    1.0
    """
    known = np.isfinite(logits).all(axis=1)
    if not known.any():
        return None
    own, right = labels[known], 1 - wrong[known]
    scores = scores_of_all(logits[known])
    rows = np.arange(len(own))
    before = scores[rows, own]
    ordered = np.sort(before)
    first = max(1, round(FIRST_SHARE * len(own)))
    found = np.zeros(len(own))
    for label in range(scores.shape[1]):
        changed = own != label if similar is None else (similar[own] == label) & (own != label)
        ahead = np.searchsorted(ordered, scores[:, label]) - (before < scores[:, label])
        found += changed & (ahead < first)
    if similar is None:
        found /= scores.shape[1] - 1
    share = float((found * right).sum() / max(right.sum(), 1e-12))
    return Power(kind, len(own), share)


def read_order(scores: Floats, count: ErrorCount) -> Reading:
    """How many labels are wrong, and how far to read.

    Args:
        scores: (N,) of the labels; NaN where there is none.
        count: of the errors among them.

    >>> count = ErrorCount(2.0, 1.0, 4.0, np.array([0.9, 0, 0.9, 0.2, 0]))
    >>> reading = read_order(np.arange(5.0), count)
    >>> reading.stop, reading.precision.round(2).tolist()
    (4, [0.9, 0.45, 0.45, 0.2, 0.0])
    """
    wrong = count.wrong[error_order(scores)]
    precision = falling(wrong)
    worth = precision >= LEAST_PRECISION
    stop = int(worth.sum())
    if min(count.expected, wrong[:stop].sum()) < LEAST_EXPECTED:
        stop = 0
    held = float(wrong[:stop].sum())
    return Reading(count.expected, count.low, count.high, stop, held, precision)


def falling(values: Floats) -> NDArray[np.float64]:
    """(N,) the nearest numbers to some values that never rise: neighbours that rise are averaged.

    Source: Ayer et al. 1955, https://doi.org/10.1214/aoms/1177728423 (pooling of neighbours).

    >>> falling(np.array([3.0, 1.0, 2.0, 0.0])).tolist()
    [3.0, 1.5, 1.5, 0.0]
    """
    totals: list[float] = []
    sizes: list[int] = []
    for value in values.tolist():
        total, size = value, 1
        while totals and totals[-1] * size < total * sizes[-1]:
            total, size = total + totals.pop(), size + sizes.pop()
        totals.append(total)
        sizes.append(size)
    means = np.array(totals) / np.array(sizes) if totals else np.zeros(0)
    return np.repeat(means, sizes)
