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

# Images times classes. From there on only one fold is held out: on so many images one fold is
# precise enough to choose C by, and each fold costs a fit.
ONE_FOLD_FROM = 4_000_000
MAX_STEPS = 300  # of L-BFGS; a fit that needs more changes its answers hardly any further


@dataclass(frozen=True)
class Probe:
    """A fitted head: standardisation and regression folded into one linear layer.

    Args:
        layers: embedding (D,) → C logits, without hidden layers.
        c: the chosen C of scikit-learn; larger is less regularised.
        fold_losses: C → mean cross-entropy, calibrated, of the images that the folds held out. It
            is empty if there are no folds.
    """

    layers: Layers
    c: float
    fold_losses: dict[float, float]

    def as_json(self) -> dict[str, Any]:
        """How C was chosen, as plain values."""
        losses = {f"{c:g}": loss for c, loss in self.fold_losses.items()}
        return {"c": self.c, "fold_losses": losses}


def fit_probe(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    fold_of: NDArray[np.int64],
    num_classes: int,
    options: HeadOptions,
) -> Probe:
    """Fit the head on train, with the C that has the lowest loss on the images held out by folds.

    Args:
        features: (N, D) embeddings of train.
        labels: (N,) int64 in [0, C); every class is present.
        fold_of: (N,) which fold holds a row out; -1 means that none does.
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
        fold_losses = (
            _fold_losses(scaled, labels, fold_of, c_values, options) if len(c_values) > 1 else {}
        )
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
    return Probe(layers, best, fold_losses)


def _fold_losses(
    scaled: NDArray[np.float32],
    labels: NDArray[np.int64],
    fold_of: NDArray[np.int64],
    c_values: list[float],
    options: HeadOptions,
) -> dict[float, float]:
    """C → mean cross-entropy of the held-out images, at the temperature that suits them.

    Without the temperature a strong regularisation would lose only because it is less sure, not
    because it knows less. C goes from small to large, so that each fit can start at the last one.
    Two rises in a row end the search.
    """
    if len(labels) * (labels.max() + 1) >= ONE_FOLD_FROM:
        fold_of = np.where(fold_of == 0, 0, -1)
    held_out = fold_of >= 0
    models = {
        fold: _regression(options, c_values[0]) for fold in np.unique(fold_of[held_out]).tolist()
    }
    weights = _image_weights(labels, options)[held_out]
    losses: dict[float, float] = {}
    if not models:
        return losses

    def held_logits(fold: int) -> NDArray[np.float32]:
        held = fold_of == fold
        return _logits(models[fold].set_params(C=c).fit(scaled[~held], labels[~held]), scaled[held])

    for c in c_values:
        by_fold = dict(zip(models, map_ahead(held_logits, models), strict=True))
        logits = np.empty((len(labels), next(iter(by_fold.values())).shape[1]), np.float32)
        for fold, values in by_fold.items():
            logits[fold_of == fold] = values
        losses[c] = _calibrated_loss(logits[held_out], labels[held_out], weights)
        recent = list(losses.values())[-3:]
        if len(recent) == 3 and recent[0] < recent[1] < recent[2]:
            break
    return losses


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
