"""The search for C: the fits of the folds, and the fit of all rows that begins between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.calibration import fit_temperature
from tellapart.options import HeadOptions
from tellapart.probe.regression import (
    Fit,
    Regression,
    Rows,
    Scale,
    Spectrum,
    blocks,
    measure_spectrum,
    no_spectrum,
)
from tellapart.threads import map_ahead

Floats = NDArray[np.float64]

# The fits of the folds compare values of C, and their answers get a temperature. So they may be
# farther from the optimum than the last fit. At 3e-3, with three quarters of the passes, near ties
# of small sets are decided by what is left of the gap.
FOLD_TOLERANCE = 1e-3
# Standardised rows of all fits together; beyond it each pass standardises them anew.
KEPT_BYTES = 512 * 2**20
# Rows that decide the temperature by which values of C are compared. More would change the loss in
# the fifth digit.
_TEMPERATURE_ROWS = 20_000
_LARGEST_LOSS = float(-np.log(1e-7))  # of one image
# Rows a number of the embedding, from which the spectrum is known well enough to be of use.
_SPECTRUM_ROWS = 4


class Search:
    """The fits of the folds, the choice of C, and the fit of all rows.

    C goes from small to large, so that each fit can start where the last ones point to. Two rises
    in a row end the search. With many classes or images one fold alone searches, and the others are
    fitted at the C that it found.

    Args:
        features: (N, D) float32 or float16, possibly memory-mapped.
        scale: of the features.
        labels: (N,) int64 in [0, C).
        fold_of: (N,) which fold holds a row out; -1 means that none does.
        num_classes: how many classes there are.
        options: the values of C to try, and the weighting of the classes.
        in_every_fold: whether every fold tries every C.
        advance: called now and then with the share of the fits that is done.
    """

    def __init__(
        self,
        features: NDArray[np.floating],
        scale: Scale,
        labels: NDArray[np.int64],
        fold_of: NDArray[np.int64],
        num_classes: int,
        options: HeadOptions,
        *,
        in_every_fold: bool,
        advance: Callable[[float], None] | None,
    ) -> None:
        self._features, self._scale, self._labels = features, scale, labels
        self._fold_of, self._num_classes, self._options = fold_of, num_classes, options
        self._c_values = sorted(options.c_values)
        self._folds = np.unique(fold_of[fold_of >= 0]).tolist()
        self._searching = self._folds if in_every_fold else self._folds[:1]
        num_fits = len(self._folds) + (len(self._c_values) - 1) * len(self._searching) + 1
        self._progress = _Progress(num_fits, advance)
        self._spectrum = _spectrum(features, scale, num_fits * num_classes)
        kept = KEPT_BYTES // (len(self._folds) + 1)
        # Where rows are few, each fold has a thread. Where they are many, each block has.
        self._few = 4 * features.size <= kept
        self._kept_bytes = kept if self._few else 0
        self._paths = {fold: _Path(self._regression(fold_of != fold)) for fold in self._folds}

    def run(self) -> tuple[float, dict[float, float], NDArray[np.float32]]:
        """The best C, C → mean cross-entropy of the held-out images at the temperature that suits
        them, and their logits at the best C: (N, C), NaN where no fold holds an image out.

        Without the temperature a strong regularisation would lose only because it is less sure, not
        because it knows less.
        """
        logits = np.full((len(self._labels), self._num_classes), np.nan, np.float32)
        losses: dict[float, float] = {}
        if not self._folds:
            return self._c_values[len(self._c_values) // 2], losses, logits
        labels = np.concatenate([self._labels[self._fold_of == fold] for fold in self._searching])
        weights = np.ones(len(labels))
        if self._options.weighting == "balanced":
            weights = 1 / np.bincount(self._labels)[labels]
        best: list[NDArray[np.float32]] = []
        for c in self._c_values:
            answers = self._answers(self._searching, c)
            losses[c] = calibrated_loss(np.concatenate(answers), labels, weights)
            if losses[c] == min(losses.values()):
                best = answers
            recent = list(losses.values())[-3:]
            if len(recent) == 3 and recent[0] < recent[1] < recent[2]:
                break
        chosen = min(losses, key=lambda c: (losses[c], c))
        self._progress.skip((len(self._c_values) - len(losses)) * len(self._searching))
        rest = self._folds[len(self._searching) :]
        start = self._mean_weights(self._searching, chosen)
        for fold in rest:
            self._paths[fold].begin(start)
        for fold, answer in zip(self._folds, best + self._answers(rest, chosen), strict=True):
            logits[self._fold_of == fold] = answer
        return chosen, losses, logits

    def fit_all(self, c: float, tolerance: float) -> Fit:
        """The fit of all rows. It begins in the middle of those of the folds."""
        start = self._mean_weights(self._folds, c) if self._folds else None
        regression = self._regression(None)
        fit = regression.fit(
            self._strength(c), start, tolerance=tolerance, advance=self._progress.within
        )
        self._progress.finish()
        return fit

    def fold_weights(self, fold: int, c: float) -> Floats:
        """The weights of the fit that held a fold out, at the C that `run` chose."""
        return self._paths[fold].weights[self._strength(c)]

    def _answers(self, folds: Sequence[int], c: float) -> list[NDArray[np.float32]]:
        """The logits of each fold's rows, by a fit of the others."""

        def answer(fold: int) -> NDArray[np.float32]:
            within = None if self._few else self._progress.within
            weights = self._paths[fold].fit(self._strength(c), within)
            held = np.flatnonzero(self._fold_of == fold)
            rows = Rows(self._features, self._scale, held)
            return rows.logits(weights, in_parallel=not self._few)

        answers = []
        for logits in map_ahead(answer, folds) if self._few else map(answer, folds):
            answers.append(logits)
            self._progress.fitted()
        return answers

    def _regression(self, chosen: NDArray[np.bool_] | None) -> Regression:
        """The regression of the chosen rows; None means all."""
        places = None if chosen is None else np.flatnonzero(chosen)
        return Regression(
            Rows(self._features, self._scale, places, self._kept_bytes),
            self._labels if places is None else self._labels[places],
            self._num_classes,
            self._spectrum,
            balanced=self._options.weighting == "balanced",
            # One fit of all rows has all threads.
            in_parallel=chosen is None or not self._few,
        )

    def _strength(self, c: float) -> float:
        """C for one weight a class. For two classes scikit-learn penalises the one weight of their
        difference, whose square is twice the sum of their squares.
        """
        return c / 2 if self._num_classes == 2 else c

    def _mean_weights(self, folds: Sequence[int], c: float) -> Floats:
        fitted = [self._paths[fold].weights[self._strength(c)] for fold in folds]
        return np.asarray(np.mean(fitted, axis=0))


class _Path:
    """The fits of one fold, from small C to large.

    Args:
        regression: of the rows that the fold does not hold out.
    """

    def __init__(self, regression: Regression) -> None:
        self._regression = regression
        self._start: Floats | None = None
        self.weights: dict[float, Floats] = {}

    def begin(self, start: Floats) -> None:
        """Start the first fit there."""
        self._start = start

    def fit(self, c: float, advance: Callable[[float], None] | None) -> Floats:
        """The weights at C. The fit starts where the last two point to."""
        fit = self._regression.fit(
            c, self._next_start(c), tolerance=FOLD_TOLERANCE, advance=advance
        )
        self.weights[c] = fit.weights
        return fit.weights

    def _next_start(self, c: float) -> Floats | None:
        tried = list(self.weights)
        if not tried:
            return self._start
        last = self.weights[tried[-1]]
        if len(tried) == 1:
            return last
        ratio = np.log(c / tried[-1]) / np.log(tried[-1] / tried[-2])
        return np.asarray(last + min(1.0, ratio) * (last - self.weights[tried[-2]]))


class _Progress:
    """The share of the fits that is done.

    Args:
        num_fits: how many there are.
        advance: is told.
    """

    def __init__(self, num_fits: int, advance: Callable[[float], None] | None) -> None:
        self._num_fits, self._done, self._told = num_fits, 0, 0.0
        self._advance = advance or (lambda share: None)

    def within(self, share: float) -> None:
        """A share of the next fit is done."""
        # A step can make the gap larger, but nothing that is done is undone.
        self._told = max(self._told, min(1.0, (self._done + share) / self._num_fits))
        self._advance(self._told)

    def fitted(self) -> None:
        """One more fit is done."""
        self.skip(1)

    def skip(self, count: int) -> None:
        """So many fits more are done, or not needed."""
        self._done += count
        self.within(0)

    def finish(self) -> None:
        """All of them are done."""
        self._advance(1.0)


def _spectrum(features: NDArray[np.floating], scale: Scale, units: int) -> Spectrum:
    """The spectrum of the features, where measuring it is cheap beside the fits.

    Args:
        features: (N, D).
        scale: of the features.
        units: fits times classes.
    """
    count, width = features.shape
    enough = _SPECTRUM_ROWS * width
    # Measuring takes some 10 D³; a fit makes 20 passes of 4 N D a class, a third fewer with it.
    if count < enough or units * count < width**2:
        return no_spectrum(width)
    places = np.linspace(0, count - 1, enough).astype(np.int64)
    return measure_spectrum(Rows(features, scale, places)[:])


def calibrated_loss(
    logits: NDArray[np.float32], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> float:
    """The weighted mean cross-entropy of logits (N, C), at the temperature that suits them."""
    step = -(-len(labels) // _TEMPERATURE_ROWS)
    temperature = np.float32(fit_temperature(logits[::step], labels[::step]))
    losses = np.empty(len(labels))
    for block in blocks(len(labels)):
        scaled = logits[block] / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        own = scaled[np.arange(len(scaled)), labels[block]]
        losses[block] = np.log(np.exp(scaled).sum(axis=1)) - own
    return float(np.average(np.minimum(losses, _LARGEST_LOSS), weights=weights))
