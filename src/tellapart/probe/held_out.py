"""Answers of heads to images that they were not fitted on, for any labels, at one strength."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tellapart.options import HeadOptions
from tellapart.probe.fit import ENOUGH_HELD_OUT
from tellapart.probe.regression import Rows, Scale
from tellapart.probe.search import FOLD_TOLERANCE, Search

ASIDE = -2  # the fold of an image that no head is fitted on


class HeldOutHeads:
    """Heads that are fitted again and again on the same features, with other labels each time.

    Args:
        features: (N, D) float32 embeddings.
        fold_of: (N,) which fold holds an image out. -1 means that every head is fitted on it, and
            `ASIDE` that none is.
        num_classes: C.
        left_out: (N,) images that no head is fitted on. The head of their fold answers them, as it
            answers the others of the fold.
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        fold_of: NDArray[np.int64],
        num_classes: int,
        left_out: NDArray[np.bool_] | None = None,
    ) -> None:
        self._features, self._every_fold = features, fold_of
        self._left_out = np.zeros(len(fold_of), bool) if left_out is None else left_out
        self._pool = np.flatnonzero((fold_of != ASIDE) & ~self._left_out)
        self._aside = np.flatnonzero(fold_of == ASIDE)
        self._learned = features if len(self._pool) == len(features) else features[self._pool]
        self._others = features[self._aside]
        self._fold_of, self._num_classes = fold_of[self._pool], num_classes
        with threadpool_limits(1):
            self._scale = Scale(self._learned)

    def without(self, left_out: NDArray[np.bool_]) -> HeldOutHeads:
        """The same heads, fitted on none of the images (N,) that are left out."""
        return HeldOutHeads(self._features, self._every_fold, self._num_classes, left_out)

    def logits(
        self,
        labels: NDArray[np.int64],
        c_values: tuple[float, ...],
        advance: Callable[[float], None] | None = None,
    ) -> tuple[float, NDArray[np.float32]]:
        """The best C, and (N, C) the logits of heads that were not fitted on the image.

        They are NaN for images that every head is fitted on.

        Args:
            labels: (N,) int64 in [0, C).
            c_values: the values of C to try; the folds choose between several.
            advance: called now and then with the share of the fits that is done.
        """
        answers = np.full((len(labels), self._num_classes), np.nan, np.float32)
        with threadpool_limits(1):
            search = Search(
                self._learned,
                self._scale,
                labels[self._pool],
                self._fold_of,
                self._num_classes,
                HeadOptions(c_values=c_values),
                in_every_fold=len(self._pool) < ENOUGH_HELD_OUT,
                advance=advance,
            )
            c, _, answers[self._pool] = search.run()
            self._answer_left_out(search, c, answers)
            if len(self._aside):
                weights = search.fit_all(c, FOLD_TOLERANCE).weights
                answers[self._aside] = Rows(self._others, self._scale).logits(weights)
        return c, answers

    def _answer_left_out(self, search: Search, c: float, answers: NDArray[np.float32]) -> None:
        """Fill in the answers to the images that are left out.

        A head of all other images would be surer of them than of the rest of their fold, and would
        know their copies.
        """
        for fold in np.unique(self._every_fold[self._left_out]).tolist():
            if fold in self._fold_of and fold >= 0:
                places = np.flatnonzero(self._left_out & (self._every_fold == fold))
                rows = Rows(self._features[places], self._scale)
                answers[places] = rows.logits(search.fold_weights(fold, c))
