"""Likely label errors: which images to look at first, how many errors to expect, where to stop.

    held-out logits ─▶ scores ─▶ suspects are left out ─▶ held-out logits ─▶ scores ─▶ order
    planted flips ─▶ scores of known errors ─▶ power, expected errors, reading

The score of a label is the logarithm of its probability plus its margin: how far its logit lies
above the best other one. The probability finds errors at random, the margin those between similar
classes. Labels that are suspected at first teach the heads nothing the second time. So errors that
many images of a class share are found too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.intervals import wilson
from tellapart.keyed import keyed_uniform

FIRST_SHARE = 0.05  # of the images: those that people look at, and as many are planted
STEPS = 10  # stretches of the order, each with a tenth of the planted errors
LEAST_DEPTH = 2  # stretches from which the number of errors is estimated; fewer hold too few
LEAST_PRECISION = 0.05  # of a stretch that is worth reading: one error in 20 images
SUSPECTED_SHARE = 0.25  # of the images of a class, at most; a hard class must not vanish

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Power:
    """How many planted errors the order of the images brings to the front.

    Args:
        kind: "random" where an image got any other label, "similar" where it got the label of the
            class that its own class is most often taken for.
        planted: how many errors were planted, in all rounds.
        found: how many of them stood among the first 5 %.
        scores: (planted,) the scores of the planted errors, ascending.
    """

    kind: str
    planted: int
    found: int
    scores: Floats

    @property
    def share(self) -> float:
        """The share of the planted errors that stood among the first 5 %."""
        return self.found / self.planted

    def as_json(self) -> dict[str, Any]:
        """As plain values, with a 95 % interval of the share."""
        low, high = wilson(self.found, self.planted)
        return {
            "kind": self.kind,
            "planted": self.planted,
            "found": self.found,
            "share": self.share,
            "low": low,
            "high": high,
        }


@dataclass(frozen=True)
class Reading:
    """What to expect while the images are read in their order.

    Args:
        expected: about how many labels are wrong.
        stop: how many images to read. Behind them fewer than one in 20 is expected to be wrong.
        precision: (N,) the share of wrong labels to expect at each place of the order, falling.
    """

    expected: float
    stop: int
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


def plant_errors(
    labels: NDArray[np.int64],
    keys: NDArray[np.uint64],
    num_classes: int,
    *,
    chance: str,
    similar: NDArray[np.int64] | None = None,
    share: float = FIRST_SHARE,
) -> NDArray[np.int64]:
    """(N,) the labels with some of them changed, at random images.

    Args:
        labels: (N,) int64 in [0, C).
        keys: (N,) the key of each image, which decides with `chance`.
        num_classes: C, at least 2.
        chance: names the draw.
        similar: (C,) the label that an image of each class gets. None means any other label.
        share: of the images whose labels are changed; at least one is.

    >>> labels = np.repeat([0, 1], 10)
    >>> int((plant_errors(labels, np.arange(20).astype(np.uint64), 2, chance="a") != labels).sum())
    1
    """
    drawn = keyed_uniform(keys, f"planted {chance}", 2)
    chosen = np.argsort(drawn[:, 0], kind="stable")[: max(1, round(share * len(labels)))]
    planted = labels.copy()
    if similar is not None:
        planted[chosen] = similar[labels[chosen]]
    else:
        shift = 1 + (drawn[chosen, 1] * (num_classes - 1)).astype(np.int64)
        planted[chosen] = (labels[chosen] + shift) % num_classes
    return planted


def measure_power(
    kind: str,
    rounds: Sequence[tuple[Floats, NDArray[np.bool_]]],
    scores: Floats,
    share: float = FIRST_SHARE,
) -> Power | None:
    """What became of planted errors; None where no score is known.

    The errors that the labels have anyway stand among the first ones too, and would push planted
    ones back. So as many of the first images as are expected to be wrong are passed over.

    Args:
        kind: as in `Power`.
        rounds: for each round the scores (N,) under the changed labels, and which were changed.
        scores: (N,) of the labels as they are.
        share: of the images that count as the first ones.
    """
    planted = [values[changed & ~np.isnan(values)] for values, changed in rounds]
    known = np.sort(np.concatenate(planted)) if planted else np.zeros(0)
    if not len(known):
        return None
    power = Power(kind, len(known), 0, known)
    suspected = np.zeros(len(scores), bool)
    suspected[error_order(scores)[: round(expect_errors(scores, power).expected)]] = True
    found = 0
    for values, changed in rounds:
        order = error_order(values)
        first = max(1, round(share * len(order)))
        order = order[changed[order] | ~suspected[order]]
        found += int(changed[order[:first]].sum())
    return replace(power, found=found)


def expect_errors(scores: Floats, power: Power) -> Reading:
    """How many labels are wrong, and how far to read.

    Of the images with a score below some value, no more can be errors than there are. Planted
    errors say which share of all errors lies there. The least ratio of the two is the estimate,
    and an upper bound where real errors are spread as the planted ones are.

    Args:
        scores: (N,) of the labels as they are; NaN where there is none.
        power: of planted errors among the same images.

    Source: Blanchard et al. 2010, https://jmlr.org/papers/v11/blanchard10a.html (the share of a
    known component in a mixture).

    >>> power = Power("random", 10, 10, -np.arange(10.0, 0, -1))
    >>> expect_errors(np.append(np.arange(1.0, 91.0), power.scores), power).expected
    10.0
    """
    ordered = scores[error_order(scores)]
    steps = min(STEPS, len(power.scores))
    ends = np.quantile(power.scores, np.arange(1, steps + 1) / steps, method="inverted_cdf")
    below = np.searchsorted(ordered, ends, side="right")
    shares = np.arange(1, steps + 1) / steps
    first = min(LEAST_DEPTH, steps) - 1
    expected = float((below / shares)[first:].min())
    stretches = np.diff(below, prepend=0)
    # A stretch without images takes nothing to read.
    ratios = np.minimum(1.0, expected / steps / np.maximum(stretches, 1e-12))
    falling = np.minimum.accumulate(ratios)
    precision = np.zeros(len(ordered))
    precision[: below[-1]] = np.repeat(falling, stretches)
    worth = below[falling >= LEAST_PRECISION] if expected >= 0.5 else below[:0]
    return Reading(expected, int(worth[-1]) if len(worth) else 0, precision)


def rounds_for(count: int, wanted: int = 100, most: int = 5) -> int:
    """How often errors are planted, so that about `wanted` of them tell the power.

    >>> [rounds_for(count) for count in (100, 1000, 10_000)]
    [5, 2, 1]
    """
    return max(1, min(most, math.ceil(wanted / max(1.0, FIRST_SHARE * count))))
