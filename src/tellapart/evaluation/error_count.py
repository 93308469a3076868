"""How many labels are wrong: the answers of a model, and what errors would look like among them.

    held-out logits ─▶ softmax at a temperature ─▶ what labels would be without errors ┐
                                                 └▶ what errors would be ──────────────┴▶ likelihood

A hard image gets a low probability, but seldom a very low one. A wrong label gets one as low as
the model is sure of the image. So the two differ where the model is sure, and the likelihood of the
labels tells how many of them are wrong. It chooses the temperature, the share of wrong labels and
their kinds at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TEMPERATURES = np.geomspace(
    0.1, 1.5, 26
)  # errors make the calibrated logits too small, seldom large
SHIFTS = np.linspace(-3, 3, 9)  # of the logits of two classes; errors in one of them move these
LOST = np.linspace(0, 3, 4)  # by which the logit of a class was too small, if many of it are wrong
LEAST_CLASS = 0.02  # of the images; errors in a smaller class are few
RATES = 0.5 * np.linspace(0, 1, 250) ** 2  # of wrong labels; dense where few are wrong
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the errors that are between similar classes, or in one
DROP = 1.92  # of the log-likelihood, to the ends of a 95 % interval: half of chi-square's 3.84
BINS = np.linspace(-15, 700, 3576)  # of the logarithm of how much better an error explains a label
TINY = 1e-300

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class ErrorCount:
    """How many labels are wrong.

    Args:
        expected: the most likely number.
        low: the lower end of a 95 % interval.
        high: its upper end.
        wrong: (N,) the probability that a label is wrong, where `expected` are; NaN where no head
            answered. They add up to `expected`, or nearly.
    """

    expected: float
    low: float
    high: float
    wrong: Doubles


def count_errors(
    logits: Floats, labels: NDArray[np.int64], similar: NDArray[np.int64] | None = None
) -> ErrorCount:
    """How many labels are wrong, with an interval.

    A label is drawn from the probabilities of the model, or it is an error. An error has any other
    class, or the class that its true one is most often taken for. One class may have all errors,
    and with two classes one of them more than the other. The likelihood of this mixture is highest
    at the estimate. Its interval is that of the profile likelihood.

    The estimate is good where one temperature makes the probabilities right. Where the model itself
    learned errors from the labels, it is too low.

    Args:
        logits: (N, C), calibrated, of heads that did not see the image. Rows of NaN do not count.
        labels: (N,) int64 in [0, C).
        similar: (C,) the class that each class is most often taken for. None means that all errors
            are at random. With two classes it does not matter.

    Source: Patrini et al. 2017, https://arxiv.org/abs/1609.03683 (labels as a noisy draw from
    probabilities); Venzon & Moolgavkar 1988, https://doi.org/10.2307/2347496 (the interval).

    >>> logits = np.tile([[6.0, 0], [0, 6.0]], (500, 1))
    >>> labels = np.tile([0, 1], 500)
    >>> labels[:40] = 0  # 20 of them wrong
    >>> count = count_errors(logits, labels)
    >>> bool(count.low < 20 < count.high)
    True
    """
    known = np.isfinite(logits).all(axis=1)
    wrong = np.full(len(labels), np.nan)
    if not known.any():
        return ErrorCount(0.0, 0.0, 0.0, wrong)
    answers, given = logits[known].astype(np.float64), labels[known]
    profile = np.full(len(RATES), -np.inf)
    for mixture in _mixtures(answers, given, similar):
        likelihoods = mixture.likelihoods()
        if likelihoods.max() > profile.max():
            best = mixture
        profile = np.maximum(profile, likelihoods)
    rate = RATES[profile.argmax()]
    wrong[known] = best.wrong(rate)
    held = np.flatnonzero(profile >= profile.max() - DROP)
    # A step outwards: the ends lie between two of the rates.
    ends = RATES[[max(held[0] - 1, 0), min(held[-1] + 1, len(RATES) - 1)]] * len(given)
    return ErrorCount(float(rate * len(given)), float(ends[0]), float(ends[1]), wrong)


@dataclass(frozen=True)
class _Mixture:
    """What the labels are without errors, and what a rate of errors changes of that.

    Args:
        right: (N,) the probability of each label without errors.
        lost: (N,) the share of it that is lost, for each unit of the rate.
        other: (N,) the probability of the label as an error, for each unit of the rate.
        weight: the logarithm of how likely the mixture is before the labels are seen.
    """

    right: Doubles
    lost: Doubles
    other: Doubles
    weight: float = 0.0

    def likelihoods(self) -> Doubles:
        """(R,) the log-likelihood of the labels at each of `RATES`; -inf where a rate is too high.

        Images with nearly the same ratio are counted together, so that many rates cost little.
        """
        ratios = self.other / self.right - self.lost
        bins = np.digitize(np.log(ratios - ratios.min() + TINY), BINS)
        counts = np.bincount(bins)
        used = np.flatnonzero(counts)
        means = np.bincount(bins, ratios)[used] / counts[used]
        mixed = 1 + RATES[:, None] * means
        logs = np.log(np.maximum(mixed, TINY)) @ counts[used]
        possible = RATES * self.lost.max() < 1
        whole = self.weight + np.log(self.right).sum() + logs
        return np.asarray(np.where(possible, whole, -np.inf))

    def wrong(self, rate: float) -> Doubles:
        """(N,) the probability that each label is wrong, at a rate of errors."""
        error = rate * self.other
        return np.asarray(error / ((1 - rate * self.lost) * self.right + error))


def _mixtures(
    logits: Doubles, labels: NDArray[np.int64], similar: NDArray[np.int64] | None
) -> Iterator[_Mixture]:
    """Everything that is tried, from logits (N, C) and labels (N,)."""
    for temperature in TEMPERATURES:
        if logits.shape[1] == 2:
            for shift in SHIFTS:
                probs = _softmax(logits / temperature + [0, shift])
                yield from _mixtures_of_two(probs, labels)
        else:
            probs = _softmax(logits / temperature)
            yield from _mixtures_of_many(probs, labels, similar)
            if similar is not None:
                yield from _mixtures_of_one(probs, labels, similar)


def _mixtures_of_two(probs: Doubles, labels: NDArray[np.int64]) -> Iterator[_Mixture]:
    """For each share of the errors that the first class has."""
    rows = np.arange(len(labels))
    right, left = (np.maximum(probs[rows, given], TINY) for given in (labels, 1 - labels))
    sizes = np.maximum(probs.mean(axis=0), TINY)
    for share in SHARES:
        rates = np.array([share, 1 - share]) / sizes  # of the errors in each class
        yield _Mixture(right, rates[labels], rates[1 - labels] * left)


def _mixtures_of_many(
    probs: Doubles, labels: NDArray[np.int64], similar: NDArray[np.int64] | None
) -> Iterator[_Mixture]:
    """For each share of the errors that is between similar classes."""
    rows = np.arange(len(labels))
    right = np.maximum(probs[rows, labels], TINY)
    any_other = (1 - right) / (probs.shape[1] - 1)
    taken = np.zeros(len(labels))
    for true, label in enumerate([] if similar is None else similar.tolist()):
        own = labels == label
        taken[own] += probs[own, true]
    lost = np.ones(len(labels))
    for share in (0.0,) if similar is None else SHARES:
        yield _Mixture(right, lost, share * taken + (1 - share) * any_other)


def _mixtures_of_one(
    probs: Doubles, labels: NDArray[np.int64], similar: NDArray[np.int64]
) -> Iterator[_Mixture]:
    """For errors in one class alone, which the model has partly learned; for each class."""
    right = np.maximum(probs[np.arange(len(labels)), labels], TINY)
    counts = np.bincount(labels, minlength=probs.shape[1])
    large = np.flatnonzero(counts >= LEAST_CLASS * len(labels)).tolist()
    # All of these together are as likely as those of `_mixtures_of_many` together. Else the best of
    # so many would fit by chance.
    weight = -float(np.log(max(1, len(large)) * len(LOST) / len(SHARES)))
    for true in large:
        own, taken = labels == true, labels == similar[true]
        for lost in LOST:
            grown = probs[:, true] * np.exp(lost)
            total = 1 - probs[:, true] + grown
            size = max(float((grown / total).mean()), TINY)
            others = np.where(taken, grown / total / size, 0.0)
            given = np.where(own, np.maximum(grown, TINY), right) / total
            yield _Mixture(given, own / size, others, weight)


def _softmax(logits: Doubles) -> Doubles:
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(probs / probs.sum(axis=1, keepdims=True))
