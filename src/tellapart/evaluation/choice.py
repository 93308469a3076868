"""Which of two networks is shipped: decided on val, by images that decided nothing else.

A fine-tuned network replaces the probe only where val shows that it is better by more than chance.
Everything that is fitted or picked on val on the way is cross-fitted: the temperatures, and which
of several fine-tuned networks is the candidate. The epoch cannot be, since only one network is kept.
For it, the margin grows with the number of epochs that val was looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.calibration import fit_temperature, softmax
from tellapart.evaluation.formulas import image_losses
from tellapart.evaluation.predictions import Predictions
from tellapart.keyed import keyed_numbers
from tellapart.phrases import count_of

FOLDS = 5
FEWEST = 5  # clusters of val; fewer decide nothing
# The share of equally good networks that are shipped. At one look the margin is one standard error.
LEVEL = 0.1587
SMALLEST = 1e-38  # probabilities below it have no logarithm in float32


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which network is shipped, and the evidence for it.

    Args:
        place: the number of the network that is shipped. 0 is the one to beat.
        best: the number of the best of the others, shipped or not.
        accuracy: how much more of the images the others' best gets right, a fraction in [-1, 1].
        loss: how much lower its log loss is after calibration, in nats.
        errors: the advantage by both, in standard errors.
        margin: the standard errors that it takes.
        count: the images of val.
        clusters: the clusters of val, which count once.
    """

    place: int
    best: int
    accuracy: float
    loss: float
    errors: float
    margin: float
    count: int
    clusters: int

    def sentence(self, network: str) -> str:
        """What val says about the best of the others, and what is shipped.

        Args:
            network: what to call it.
        """
        images = count_of(self.count, "val image")
        if self.clusters < self.count:
            images += f", {count_of(self.clusters, 'cluster')}"
        shipped = network if self.place else "the probe"
        return (
            f"On {images}, {network} changes accuracy by {100 * self.accuracy:+.1f} points and log"
            f" loss by {-self.loss:+.3f}. That is worth {self.errors:+.1f} standard errors, and"
            f" {shipped} is shipped: fine-tuning must be worth more than {self.margin:.1f}, without a"
            " loss of accuracy"
        )

    def as_json(self) -> dict[str, Any]:
        """A plain dict of the evidence."""
        return {
            "accuracy": round(self.accuracy, 6),
            "loss": round(self.loss, 6),
            "standard_errors": round(self.errors, 4),
            "margin": round(self.margin, 4),
            "count": self.count,
            "clusters": self.clusters,
        }


def choose_network(networks: Sequence[Predictions], *, looks: int = 1, seed: int = 0) -> Choice:
    """Choose between a network to beat and one or several others, by their answers on val.

    The advantage of the others is that of the best of them, picked by calibrated log loss. It is
    measured on a fifth of the clusters while the other four fifths pick it and fit all temperatures,
    for each fifth in turn. Accuracy and log loss count the same, each in units of its own noise.

    Args:
        networks: their predictions for the same images, not calibrated. The first is the one to
            beat: it is shipped in a tie, and where val has too few clusters to decide.
        looks: how many networks of the training val has been looked at for, to keep the one that the
            others were made of.
        seed: decides which clusters are held out together.
    """
    first, others = networks[0], networks[1:]
    rights = [network.correct.astype(float) for network in networks]
    folds = _folds(first, seed)
    gained, saved = np.zeros(len(first)), np.zeros(len(first))
    for fold in range(FOLDS):
        held, rest = folds == fold, folds != fold
        if not held.any() or not rest.any():
            continue
        losses = [_losses(network, rest) for network in networks]
        best = 1 + int(np.argmin([values[rest].mean() for values in losses[1:]]))
        saved[held] = (losses[0] - losses[best])[held]
        gained[held] = (rights[best] - rights[0])[held]
    everywhere = np.ones(len(first), bool)
    best = 1 + int(np.argmin([_losses(network, everywhere).mean() for network in others]))
    errors, margin = _standard_errors(gained, saved, first.clusters), margin_of(looks)
    better = first.num_clusters >= FEWEST and errors > margin and gained.mean() >= 0
    return Choice(
        place=best if better else 0,
        best=best,
        accuracy=float(gained.mean()),
        loss=float(saved.mean()),
        errors=errors,
        margin=margin,
        count=len(first),
        clusters=first.num_clusters,
    )


@cache
def margin_of(looks: int) -> float:
    """How many standard errors the best of several looks must be ahead.

    Of networks that are no better, `LEVEL` exceed it. The differences of several networks from the
    same one correlate at 1/2 where their errors are independent. Epochs of a training are more
    alike, so that fewer exceed it.

    Source: Dunnett 1955, https://doi.org/10.1080/01621459.1955.10501294, with many degrees of
    freedom.

    >>> [round(margin_of(looks), 2) for looks in (1, 2, 8)]
    [1.0, 1.32, 1.83]
    """
    common = np.linspace(-8, 8, 1601)
    density = np.exp(-(common**2) / 2)
    density /= density.sum()
    low, high = 0.0, 8.0
    for _ in range(40):
        margin = (low + high) / 2
        below = np.array([_normal(math.sqrt(2) * margin + value) for value in common.tolist()])
        low, high = (margin, high) if (density * below**looks).sum() < 1 - LEVEL else (low, margin)
    return (low + high) / 2


def _normal(value: float) -> float:
    """The share of a standard normal distribution below a value."""
    return 0.5 * math.erfc(-value / math.sqrt(2))


def _folds(predictions: Predictions, seed: int) -> NDArray[np.int64]:
    """(N,) the fold of each image, in [0, FOLDS). A cluster is in one fold, by the key of its first
    image.
    """
    order = np.argsort(np.array(predictions.paths), kind="stable")
    _, firsts, inverse = np.unique(
        predictions.clusters[order], return_index=True, return_inverse=True
    )
    keys = keyed_numbers(seed, "choice", [predictions.paths[place] for place in order[firsts]])
    ranks = np.empty(len(keys), np.int64)
    ranks[np.argsort(keys, kind="stable")] = np.arange(len(keys))
    folds = np.empty(len(predictions), np.int64)
    folds[order] = ranks[inverse] % FOLDS
    return folds


def _losses(predictions: Predictions, fitted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) the log loss of each image, calibrated on the images that `fitted` marks."""
    logits = np.log(np.maximum(predictions.probs, SMALLEST))
    temperature = fit_temperature(logits[fitted], predictions.labels[fitted])
    calibrated = Predictions(
        softmax(logits, temperature), predictions.labels, predictions.paths, predictions.classes
    )
    return image_losses(calibrated)


def _standard_errors(
    gained: NDArray[np.float64], saved: NDArray[np.float64], clusters: NDArray[np.int64]
) -> float:
    """The mean advantage by accuracy and by log loss, each in units of its noise, in standard errors
    of their sum.
    """
    score = np.zeros(len(gained))
    for values in (gained, saved):
        error = clustered_error(values, clusters)
        score += values / error if error > 0 else 0.0
    error = clustered_error(score, clusters)
    return float(score.mean() / error) if error > 0 else 0.0


def clustered_error(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> float:
    """The standard error of the mean of values, where the images of a cluster go together.

    >>> values = np.array([1.0, 0.0, 1.0, 1.0])
    >>> round(clustered_error(values, np.arange(4)), 3)
    0.25
    >>> round(clustered_error(np.tile(values, 5), np.tile(np.arange(4), 5)), 3)  # five copies each
    0.25
    """
    _, inverse = np.unique(clusters, return_inverse=True)
    totals = np.bincount(inverse, weights=values - values.mean())
    if len(totals) < 2:
        return 0.0
    return math.sqrt(len(totals) / (len(totals) - 1) * float((totals**2).sum())) / len(values)
