"""Leave each class out, fit a probe on the others, and see how unfamiliar its images are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.left_out import LeftOut, chance_to_stand_out
from tellapart.modelfile.familiarity import measure_terms
from tellapart.modelfile.layers import Layers
from tellapart.options import HeadOptions
from tellapart.probe.familiarity import fit_standards, fit_subspace
from tellapart.probe.fit import fit_probe
from tellapart.probe.search import FOLD_TOLERANCE

# One fit of 2,000 images, 1,280 numbers and 20 classes takes 0.1 s on two cores. A measured time
# would make the result depend on the machine.
SECONDS_A_NUMBER = 0.1 / (2000 * 1280 * 20)
SUBSPACE_SECONDS = 0.2  # of at most so many images:
SUBSPACE_IMAGES = 1000
ALL_FOLDS_SECONDS = 10.0  # up to which every fold is tried, and not one a class
MOST_SECONDS = 60.0


def leave_each_class_out(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    fold_of: NDArray[np.int64],
    classes: Sequence[str],
    c: float,
    options: HeadOptions,
    *,
    always: bool = False,
    advance: Callable[[float], None] | None = None,
) -> LeftOut | None:
    """How well each class would be noticed if the model had never been shown it.

    For each class a probe and a subspace are fitted on the other classes without a fold. The images
    of the class are compared with those of the fold, which nothing was fitted on either.

    Args:
        features: (N, D) embeddings of the images to learn from.
        labels: (N,) int64 in [0, C).
        fold_of: (N,) which fold holds a row out; -1 means that none does.
        classes: C names.
        c: the regularisation that was chosen for all classes.
        options: of the head.
        always: whether it may take longer than a minute.
        advance: called now and then with the share of the fits that is done.

    Returns:
        None where it would take longer, or where no class can be left out.
    """
    folds = np.unique(fold_of[fold_of >= 0]).tolist()
    seconds = _seconds(len(features), features.shape[1], len(classes))
    if len(classes) < 2 or len(folds) < 2 or (seconds > MOST_SECONDS and not always):
        return None
    every = seconds * len(folds) <= ALL_FOLDS_SECONDS
    single = replace(options, c_values=(c,))

    def noticed(label: int) -> float:
        tried = folds if every else [folds[label % len(folds)]]
        chances = []
        for place, fold in enumerate(tried):
            chances.append(_noticed(features, labels, fold_of, label, fold, single))
            if advance:
                advance((label + (place + 1) / len(tried)) / len(classes))
        known = [chance for chance in chances if chance is not None]
        return float(np.mean(known)) if known else np.nan

    chances = [noticed(label) for label in range(len(classes))]
    measured = {
        name: chance for name, chance in zip(classes, chances, strict=True) if np.isfinite(chance)
    }
    return LeftOut(measured, by_residual=len(classes) == 2) if measured else None


def _noticed(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    fold_of: NDArray[np.int64],
    label: int,
    fold: int,
    options: HeadOptions,
) -> float | None:
    """The chance that an image of the class looks less familiar than one of the fold. None where
    there is nothing to compare.
    """
    others, strange = labels != label, labels == label
    train, held = others & (fold_of != fold), others & (fold_of == fold)
    if not (train.any() and held.any() and strange.any()):
        return None
    known, places = np.unique(labels[train], return_inverse=True)
    layers = _fit(features[train], places.astype(np.int64), len(known), options)
    step = -(-int(train.sum()) // SUBSPACE_IMAGES)
    subspace = fit_subspace(features[train][::step])
    familiar_terms, strange_terms = (
        measure_terms(subspace, features[rows], layers.logits(features[rows]))
        for rows in (held, strange)
    )
    standards = fit_standards(familiar_terms)
    return chance_to_stand_out(standards.scores(familiar_terms), standards.scores(strange_terms))


def _fit(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    num_classes: int,
    options: HeadOptions,
) -> Layers:
    """A probe of these images. One class needs none: its answer is always the same."""
    if num_classes == 1:
        width = features.shape[1]
        return Layers((), np.zeros((1, width), np.float32), np.zeros(1, np.float32))
    no_folds = np.full(len(labels), -1)
    return fit_probe(
        features, labels, no_folds, num_classes, options, tolerance=FOLD_TOLERANCE
    ).layers


def _seconds(num_images: int, width: int, num_classes: int) -> float:
    """What one fold of every class takes, about."""
    fit = SECONDS_A_NUMBER * num_images * width * num_classes
    subspace = SUBSPACE_SECONDS * min(1, num_images / SUBSPACE_IMAGES)
    return num_classes * (fit + subspace)
