"""Each formula once: what one image, or one class, contributes to a number.

`scores` takes plain means of these, for an epoch; `metrics` adds the intervals, for a report.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.predictions import Predictions

Counts = NDArray[np.int64] | NDArray[np.float64]  # plain, or weighted by a resample


class ClassCounts(NamedTuple):
    """(C,) int64 each: images of a class, answers that named it, and both at once."""

    support: NDArray[np.int64]
    called: NDArray[np.int64]
    right: NDArray[np.int64]


def class_counts(predictions: Predictions) -> ClassCounts:
    """The counts that recall, precision and F1 are made of.

    >>> probs = np.array([[0.9, 0.1], [0.7, 0.3]], np.float32)
    >>> counts = class_counts(Predictions(probs, np.array([0, 1]), ("a.jpg", "b.jpg"), ("cat", "dog")))
    >>> counts.support.tolist(), counts.called.tolist(), counts.right.tolist()
    ([1, 1], [2, 0], [1, 0])
    """
    columns = (
        predictions.labels,
        predictions.predicted,
        predictions.labels[predictions.correct],
    )
    num_classes = len(predictions.classes)
    return ClassCounts(*(np.bincount(labels, minlength=num_classes) for labels in columns))


def ratio(part: Counts, whole: Counts) -> NDArray[np.float64]:
    """part / whole, and 0 where there is nothing to divide: recall and precision of a class.

    >>> ratio(np.array([1, 0]), np.array([2, 0])).tolist()
    [0.5, 0.0]
    """
    return np.asarray(part / np.where(whole > 0, whole, 1), np.float64)


def f1_ratio(right: Counts, support: Counts, called: Counts) -> NDArray[np.float64]:
    """F1, the harmonic mean of recall and precision, from weighted or plain counts.

    >>> f1_ratio(np.array([1, 0]), np.array([2, 0]), np.array([1, 0])).round(3).tolist()
    [0.667, 0.0]
    """
    return ratio(2 * right, support + called)


def image_losses(predictions: Predictions) -> NDArray[np.float64]:
    """(N,) -ln(probability of the label), in nats.

    >>> probs = np.array([[0.5, 0.5], [1.0, 0.0]], np.float32)
    >>> image_losses(Predictions(probs, np.array([0, 1]), ("a.jpg", "b.jpg"), ("cat", "dog"))).round(2).tolist()
    [0.69, 15.94]
    """
    # One certain mistake must not make the mean infinite: the smallest step of float32 is the
    # floor.
    return np.asarray(-np.log(np.maximum(_label_probs(predictions), np.finfo(np.float32).eps)))


def image_distances(predictions: Predictions) -> NDArray[np.float64]:
    """(N,) squared distance of the probabilities to the truth, in [0, 2]: the Brier score of one
    image.

    >>> probs = np.array([[0.5, 0.5], [1.0, 0.0]], np.float32)
    >>> image_distances(Predictions(probs, np.array([0, 1]), ("a.jpg", "b.jpg"), ("cat", "dog"))).tolist()
    [0.5, 2.0]
    """
    probs = predictions.probs
    squares = np.einsum("nc,nc->n", probs, probs, dtype=np.float64)
    return np.asarray(np.maximum(squares - 2 * _label_probs(predictions) + 1, 0))


def top5_hits(predictions: Predictions) -> NDArray[np.bool_]:
    """(N,) whether the label is among the five likeliest classes.

    Of equal probabilities the first class counts as the likelier, as it does for the answer.

    >>> even = np.full((2, 8), 1 / 8, np.float32)
    >>> top5_hits(Predictions(even, np.array([4, 5]), ("a.jpg", "b.jpg"), tuple("abcdefgh"))).tolist()
    [True, False]
    """
    probs, labels = predictions.probs, predictions.labels[:, None]
    label_probs = np.take_along_axis(probs, labels, axis=1)
    ahead = (probs > label_probs) | ((probs == label_probs) & (np.arange(probs.shape[1]) < labels))
    return np.asarray(ahead.sum(axis=1) < 5)


def _label_probs(predictions: Predictions) -> NDArray[np.float64]:
    """(N,) the probability of the label."""
    rows = np.arange(len(predictions))
    return predictions.probs[rows, predictions.labels].astype(np.float64)
