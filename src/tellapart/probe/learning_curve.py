"""Heads that learn from ever more of the images, and answer those of a fold that none learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.learning_curve import (
    FEWEST_SIZES,
    LearningCurve,
    fit_learning_curve,
)
from tellapart.keyed import keyed_numbers
from tellapart.options import HeadOptions
from tellapart.probe.fit import fit_probe
from tellapart.probe.left_out import SECONDS_A_NUMBER
from tellapart.probe.search import FOLD_TOLERANCE

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # of the images of the other folds
FEWEST_A_CLASS = 2  # images, in the mean, that a head learns from
# A measured time would make the curve depend on the machine, so the work is estimated.
MOST_SECONDS = 20.0


def learning_curve(
    features: NDArray[np.floating],
    labels: NDArray[np.int64],
    fold_of: NDArray[np.int64],
    clusters: NDArray[np.int64],
    num_classes: int,
    c: float,
    options: HeadOptions,
    *,
    seed: int = 0,
    advance: Callable[[float], None] | None = None,
) -> LearningCurve | None:
    """The accuracy over the number of images, by out-of-fold answers. No test image is looked at.

    Clusters stay whole: a head learns from all images of one or from none. Each class gives the
    same share of its clusters.

    Args:
        features: (N, D) embeddings of the images to learn from.
        labels: (N,) int64 in [0, C).
        fold_of: (N,) which fold holds a row out; -1 means that none does.
        clusters: (N,) the cluster of each image.
        num_classes: how many classes there are.
        c: the regularisation that was chosen.
        options: of the head.
        seed: decides which clusters are taken first.
        advance: called now and then with the share of the fits that is done.

    Returns:
        None where the images are too few, no fold holds any out, or it would take too long.
    """
    folds = np.unique(fold_of[fold_of >= 0]).tolist()
    if len(folds) < 2 or num_classes < 2:
        return None
    learned = len(labels) * (len(folds) - 1) / len(folds)
    shares = [share for share in SHARES if share * learned >= FEWEST_A_CLASS * num_classes]
    folds = folds[: _affordable(len(labels), features.shape[1], num_classes, sum(shares))]
    if len(shares) < FEWEST_SIZES or not folds:
        return None
    right, sizes = [], []
    for number, fold in enumerate(folds):
        others = np.flatnonzero(fold_of != fold)
        ranks = _ranks(labels[others], clusters[others], seed + fold)
        rows = [others[ranks < share] for share in shares]
        held = np.flatnonzero(fold_of == fold)

        def fitted(place: int, number: int = number, done: int = len(rows)) -> None:
            if advance:
                advance((number + (place + 1) / done) / len(folds))

        right.append(_right(features, labels, held, rows, num_classes, c, options, fitted))
        sizes.append([len(learned_from) for learned_from in rows])
    order = np.concatenate([np.flatnonzero(fold_of == fold) for fold in folds])
    means = np.mean(sizes, axis=0).round().astype(int).tolist()
    return fit_learning_curve(
        means, np.concatenate(right, axis=1), clusters[order], len(labels), seed
    )


def _right(
    features: NDArray[np.floating],
    labels: NDArray[np.int64],
    held: NDArray[np.int64],
    rows: Sequence[NDArray[np.int64]],
    num_classes: int,
    c: float,
    options: HeadOptions,
    fitted: Callable[[int], None],
) -> NDArray[np.bool_]:
    """(S, held) whether heads of ever more rows are right about the images of one fold."""
    single, answers = replace(options, c_values=(c,)), []
    for place, learned_from in enumerate(rows):
        layers = fit_probe(
            features[learned_from],
            labels[learned_from],
            np.full(len(learned_from), -1),  # no fold holds any of them out
            num_classes,
            single,
            tolerance=FOLD_TOLERANCE,
        ).layers
        logits = layers.logits(np.asarray(features[held], np.float32))
        answers.append(logits.argmax(axis=1) == labels[held])
        fitted(place)
    return np.stack(answers)


def _affordable(num_images: int, width: int, num_classes: int, shares: float) -> int:
    """How many folds fit into the time."""
    seconds = SECONDS_A_NUMBER * num_images * width * num_classes * max(shares, 1e-9)
    return int(MOST_SECONDS / seconds)


def _ranks(
    labels: NDArray[np.int64], clusters: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """(N,) above which share of its class an image is learned from, in [0, 1); one for a cluster.

    The first cluster of each class is at 0, so that no head misses a class.
    """
    names, first, place = np.unique(clusters, return_index=True, return_inverse=True)
    keys = keyed_numbers(seed, "learning", [str(name) for name in names.tolist()])
    ranks = np.zeros(len(names))
    for label in np.unique(labels[first]).tolist():
        members = np.flatnonzero(labels[first] == label)
        ordered = members[np.argsort(keys[members], kind="stable")]
        ranks[ordered] = np.arange(len(ordered)) / len(ordered)
    return ranks[place]
