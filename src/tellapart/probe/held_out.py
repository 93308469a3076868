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
    """

    def __init__(
        self, features: NDArray[np.float32], fold_of: NDArray[np.int64], num_classes: int
    ) -> None:
        self._features, self._every_fold = features, fold_of
        self._pool = np.flatnonzero(fold_of != ASIDE)
        self._aside = np.flatnonzero(fold_of == ASIDE)
        self._learned = features[self._pool] if len(self._aside) else features
        self._others = features[self._aside]
        self._fold_of, self._num_classes = fold_of[self._pool], num_classes
        with threadpool_limits(1):
            self._scale = Scale(self._learned)

    def without(self, left_out: NDArray[np.bool_]) -> HeldOutHeads:
        """The same heads, fitted on none of the images (N,) that are left out."""
        fold_of = np.where(left_out, ASIDE, self._every_fold)
        return HeldOutHeads(self._features, fold_of, self._num_classes)

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
            if len(self._aside):
                weights = search.fit_all(c, FOLD_TOLERANCE).weights
                answers[self._aside] = Rows(self._others, self._scale).logits(weights)
        return c, answers
