"""The probe: a multinomial logistic regression on the embeddings of a frozen backbone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import UserError
from tellapart.evaluation.calibration import fit_temperature, softmax
from tellapart.modelfile.layers import Layers
from tellapart.options import HeadOptions
from tellapart.threads import map_ahead

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

MAX_STEPS = 300  # of L-BFGS; a fit that needs more changes its answers hardly any further

# The work of one fit, in numbers of the embedding times classes, of which so much may be done that
# all fits together stay under a third of the time that the embeddings take. The default backbone
# embeds 100 images a second on two cores, where 31 fits of 1,280 x 20 took 0.17 of that time. Both
# grow with the images alike, so their number does not matter. A measured time would make the number
# of folds, and so the answers, depend on the machine.
WORK_LIMIT = 31 / 0.17 / 3 * 1280 * 20
FEWEST_FOLDS = 2


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

    >>> num_folds(1280, 20, HeadOptions()), num_folds(1280, 200, HeadOptions())
    (5, 2)
    """
    if _every_fold_tries(width, num_classes, options):
        return options.folds
    affordable = _affordable(width, num_classes) - len(options.c_values)
    return min(options.folds, max(FEWEST_FOLDS, affordable))


def fit_probe(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    fold_of: NDArray[np.int64],
    num_classes: int,
    options: HeadOptions,
) -> Probe:
    """Fit the head, with the C that has the lowest loss on the images held out by folds.

    Args:
        features: (N, D) embeddings of the images to learn from.
        labels: (N,) int64 in [0, C); every class is present.
        fold_of: (N,) which fold holds a row out; -1 means that none does. `num_folds` says how many
            folds there should be.
        num_classes: how many classes there are.
        options: the values of C to try, and the weighting of the classes.

    Raises:
        UserError: the embeddings are not finite.
    """
    if not np.isfinite(features).all():
        raise UserError(
            "The backbone gave features that are not finite.", "Choose another backbone."
        )
    from threadpoolctl import threadpool_limits

    mean, std = features.mean(axis=0), features.std(axis=0)
    std[std < 1e-6] = 1  # a feature that never changes says nothing
    scaled = np.ascontiguousarray((features - mean) / std, np.float32)
    c_values = sorted(options.c_values)
    # One BLAS thread a fit, and the fits in parallel: threads in one small product mostly wait for
    # each other.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about MAX_STEPS being reached
        fold_losses, logits = _search(scaled, labels, fold_of, num_classes, options)
        best = (
            min(fold_losses, key=lambda c: (fold_losses[c], c))
            if fold_losses
            else c_values[len(c_values) // 2]
        )
        model = _regression(options, best).fit(scaled, labels)
    weight, bias = model.coef_, model.intercept_
    if num_classes == 2:  # scikit-learn keeps one logit of two
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight = weight / std
    layers = Layers((), weight.astype(np.float32), (bias - weight @ mean).astype(np.float32))
    losses = fold_losses if len(c_values) > 1 else {}
    return Probe(layers, best, losses, fold_of, logits)


def _search(
    scaled: NDArray[np.float32],
    labels: NDArray[np.int64],
    fold_of: NDArray[np.int64],
    num_classes: int,
    options: HeadOptions,
) -> tuple[dict[float, float], NDArray[np.float32]]:
    """C → mean cross-entropy of the held-out images at the temperature that suits them; and their
    logits at the best C, (N, C), NaN where no fold holds an image out.

    Without the temperature a strong regularisation would lose only because it is less sure, not
    because it knows less. C goes from small to large, so that each fit can start at the last one.
    Two rises in a row end the search. With many classes one fold alone searches, and the others are
    fitted at the C that it found.
    """
    best_logits = np.full((len(labels), num_classes), np.nan, np.float32)
    losses: dict[float, float] = {}
    folds = np.unique(fold_of[fold_of >= 0]).tolist()
    if not folds:
        return losses, best_logits
    c_values = sorted(options.c_values)
    searching = folds if _every_fold_tries(scaled.shape[1], num_classes, options) else folds[:1]
    models = {fold: _regression(options, c_values[0]) for fold in folds}

    def held_logits(fold: int, c: float) -> NDArray[np.float32]:
        held = fold_of == fold
        return _logits(models[fold].set_params(C=c).fit(scaled[~held], labels[~held]), scaled[held])

    def fitted(folds: list[int], c: float) -> dict[int, NDArray[np.float32]]:
        return dict(zip(folds, map_ahead(lambda fold: held_logits(fold, c), folds), strict=True))

    held_out = np.isin(fold_of, searching)
    weights = _image_weights(labels, options)[held_out]
    logits = np.empty_like(best_logits)
    for c in c_values:
        for fold, values in fitted(searching, c).items():
            logits[fold_of == fold] = values
        losses[c] = _calibrated_loss(logits[held_out], labels[held_out], weights)
        if losses[c] == min(losses.values()):
            best_logits[held_out] = logits[held_out]
        recent = list(losses.values())[-3:]
        if len(recent) == 3 and recent[0] < recent[1] < recent[2]:
            break
    best = min(losses, key=lambda c: (losses[c], c))
    rest = [fold for fold in folds if fold not in searching]
    for fold, values in fitted(rest, best).items():
        best_logits[fold_of == fold] = values
    return losses, best_logits


def _every_fold_tries(width: int, num_classes: int, options: HeadOptions) -> bool:
    """Whether every fold can afford to try every C."""
    return options.folds * len(options.c_values) <= _affordable(width, num_classes)


def _affordable(width: int, num_classes: int) -> int:
    """How many fits can be afforded beside the last one, on all images."""
    return int(WORK_LIMIT / (width * num_classes)) - 1


def _calibrated_loss(
    logits: NDArray[np.float32], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> float:
    probs = softmax(logits, fit_temperature(logits, labels))
    losses = -np.log(np.maximum(probs[np.arange(len(labels)), labels], 1e-7))
    return float(np.average(losses, weights=weights))


def _logits(model: LogisticRegression, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, C): scikit-learn keeps one logit where there are two classes."""
    logits = model.decision_function(scaled)
    return np.asarray(
        logits if logits.ndim == 2 else np.stack([-logits, logits], axis=1) / 2, np.float32
    )


def _regression(options: HeadOptions, c: float) -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    weighting = None if options.weighting == "none" else "balanced"
    return LogisticRegression(C=c, class_weight=weighting, max_iter=MAX_STEPS, warm_start=True)


def _image_weights(labels: NDArray[np.int64], options: HeadOptions) -> NDArray[np.float64]:
    if options.weighting == "none":
        return np.ones(len(labels))
    return 1 / np.bincount(labels)[labels]
