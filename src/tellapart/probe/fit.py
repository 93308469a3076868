"""The probe: a multinomial logistic regression on the embeddings of a frozen backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tellapart.errors import UserError
from tellapart.modelfile.layers import Layers
from tellapart.options import HeadOptions
from tellapart.probe.regression import Scale
from tellapart.probe.search import Search

# The head is proven to be this near the least loss, as a share of it.
TOLERANCE = 3e-4

# The work of one fit, in numbers of the embedding times classes, of which so much may be done that
# all fits together stay under a third of the time that the embeddings take. The default backbone
# embeds 200 images a second on two cores, where 36 fits of 1,280 x 200 took 0.43 of that time. Both
# grow with the images alike, so their number does not matter. A measured time would make the number
# of folds, and so the answers, depend on the machine.
WORK_LIMIT = 36 / 0.43 / 3 * 1280 * 200
FEWEST_FOLDS = 2
# Held-out images that tell the values of C apart, so that one fold alone can search.
ENOUGH_HELD_OUT = 10_000


@dataclass(frozen=True)
class Probe:
    """A fitted head: standardisation and regression folded into one linear layer.

    Args:
        layers: embedding (D,) → C logits, without hidden layers.
        c: the chosen C of scikit-learn; larger is less regularised.
        fold_losses: C → mean cross-entropy, calibrated, of the images that the folds held out. It
            is empty if one C alone was asked for.
        fold_of: (N,) which fold held an image out; -1 means that none did.
        logits: (N, C) float32, the answers at the chosen C of a head that was not fitted on the
            image; NaN where no fold held it out.
    """

    layers: Layers
    c: float
    fold_losses: dict[float, float]
    fold_of: NDArray[np.int64]
    logits: NDArray[np.float32]

    def as_json(self) -> dict[str, Any]:
        """How C was chosen, as plain values."""
        losses = {f"{c:g}": loss for c, loss in self.fold_losses.items()}
        held_out = self.fold_of[self.fold_of >= 0]
        return {
            "c": self.c,
            "fold_losses": losses,
            "folds": len(np.unique(held_out)),
            "out_of_fold": len(held_out),
        }


def num_folds(width: int, num_classes: int, options: HeadOptions) -> int:
    """How many folds a probe of many classes can afford: `options.folds`, or fewer.

    Args:
        width: numbers in an embedding.
        num_classes: how many classes there are.
        options: the folds that are wanted, and the values of C to try.

    >>> num_folds(1280, 390, HeadOptions()), num_folds(1280, 1000, HeadOptions())
    (5, 2)
    """
    if _every_fold_affordable(width, num_classes, options):
        return options.folds
    affordable = _affordable(width, num_classes) - len(options.c_values)
    return min(options.folds, max(FEWEST_FOLDS, affordable))


def fit_probe(
    features: NDArray[np.floating],
    labels: NDArray[np.int64],
    fold_of: NDArray[np.int64],
    num_classes: int,
    options: HeadOptions,
    advance: Callable[[float], None] | None = None,
    *,
    tolerance: float = TOLERANCE,
) -> Probe:
    """Fit the head, with the C that has the lowest loss on the images held out by folds.

    Args:
        features: (N, D) float32 or float16 embeddings of the images to learn from, possibly
            memory-mapped. A large matrix is read a block at a time and never copied.
        labels: (N,) int64 in [0, C).
        fold_of: (N,) which fold holds a row out; -1 means that none does. `num_folds` says how many
            folds there should be.
        num_classes: how many classes there are.
        options: the values of C to try, and the weighting of the classes.
        advance: called now and then with the share of the fits that is done, about; it ends at 1.
        tolerance: the largest share of its loss by which the last fit may miss the least one.

    Raises:
        UserError: the embeddings are not finite.
    """
    features = np.asarray(features)  # of a mapped file it makes a view
    # One BLAS thread, and blocks or fits in parallel. Threads in one small product mostly wait for
    # each other, and their number could change the last digits.
    with threadpool_limits(1):
        scale = Scale(features)
        if not scale.finite:
            raise UserError(
                "The backbone gave features that are not finite.", "Choose another backbone."
            )
        search = Search(
            features,
            scale,
            labels,
            fold_of,
            num_classes,
            options,
            in_every_fold=_searches_in_every_fold(features, fold_of, num_classes, options),
            advance=advance,
        )
        c, losses, logits = search.run()
        weights = search.fit_all(c, tolerance).weights
    weight = weights[:, :-1] / scale.spread
    bias = weights[:, -1] - weight @ scale.mean
    layers = Layers((), weight.astype(np.float32), bias.astype(np.float32))
    return Probe(layers, c, losses if len(options.c_values) > 1 else {}, fold_of, logits)


def _searches_in_every_fold(
    features: NDArray[np.floating],
    fold_of: NDArray[np.int64],
    num_classes: int,
    options: HeadOptions,
) -> bool:
    """Whether every fold tries every C, because it is affordable and one alone cannot tell."""
    folds = max(1, len(np.unique(fold_of[fold_of >= 0])))
    one_is_enough = np.count_nonzero(fold_of >= 0) / folds >= ENOUGH_HELD_OUT
    return not one_is_enough and _every_fold_affordable(features.shape[1], num_classes, options)


def _every_fold_affordable(width: int, num_classes: int, options: HeadOptions) -> bool:
    """Whether every fold can afford to try every C."""
    return options.folds * len(options.c_values) <= _affordable(width, num_classes)


def _affordable(width: int, num_classes: int) -> int:
    """How many fits can be afforded beside the last one, on all images."""
    return int(WORK_LIMIT / (width * num_classes)) - 1
