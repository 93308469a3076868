"""The head as scikit-learn fits it: the other side of `head.py`.

The same standardised rows, folds, values of C and rule of the search as `tellapart.probe.fit`, with
LogisticRegression, which goes on where its last fit ended, and one thread a fold.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tellapart.modelfile.layers import Layers
from tellapart.options import HeadOptions
from tellapart.probe import fit
from tellapart.probe.search import calibrated_loss
from tellapart.threads import map_ahead

MAX_STEPS = 300


def fit_by_sklearn(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    fold_of: NDArray[np.int64],
    num_classes: int,
    options: HeadOptions,
) -> fit.Probe:
    """What `fit_probe` does, by scikit-learn."""
    from sklearn.linear_model import LogisticRegression

    mean, std = features.mean(axis=0), features.std(axis=0)
    std[std < 1e-6] = 1
    scaled = np.ascontiguousarray((features - mean) / std, np.float32)
    folds = np.unique(fold_of[fold_of >= 0]).tolist()
    every = fit._searches_in_every_fold(features, fold_of, num_classes, options)
    searching = folds if every else folds[:1]
    settings = {"max_iter": MAX_STEPS, "warm_start": True}
    models = {fold: LogisticRegression(**settings) for fold in folds}
    logits = np.full((len(labels), num_classes), np.nan, np.float32)

    def answers(folds: list[int], c: float) -> None:
        def answer(fold: int) -> NDArray[np.float32]:
            held = fold_of == fold
            models[fold].set_params(C=c).fit(scaled[~held], labels[~held])
            return two_sided(models[fold].decision_function(scaled[held]))

        for fold, answer_of in zip(folds, map_ahead(answer, folds), strict=True):
            logits[fold_of == fold] = answer_of

    def two_sided(values: NDArray[Any]) -> NDArray[np.float32]:
        if values.ndim == 1:
            values = np.stack([-values, values], axis=1) / 2
        return values.astype(np.float32)

    losses: dict[float, float] = {}
    best = logits.copy()
    held = np.isin(fold_of, searching)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about MAX_STEPS being reached
        for c in sorted(options.c_values):
            answers(searching, c)
            losses[c] = calibrated_loss(logits[held], labels[held], np.ones(held.sum()))
            if losses[c] == min(losses.values()):
                best[held] = logits[held]
            recent = list(losses.values())[-3:]
            if len(recent) == 3 and recent[0] < recent[1] < recent[2]:
                break
        chosen = min(losses, key=lambda c: (losses[c], c))
        logits[held] = best[held]
        answers([fold for fold in folds if fold not in searching], chosen)
        model = LogisticRegression(C=chosen, **settings).fit(scaled, labels)
    weight, bias = model.coef_, model.intercept_
    if num_classes == 2:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight = weight / std
    layers = Layers((), weight.astype(np.float32), (bias - weight @ mean).astype(np.float32))
    return fit.Probe(layers, chosen, losses, fold_of, logits)
