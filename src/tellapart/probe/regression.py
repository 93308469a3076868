"""Multinomial logistic regression by L-BFGS, preconditioned by the spectrum of the features.

    rows of a block ──▶ standardised ──▶ logits ──▶ what the block adds to loss and gradient ──▶ step

The objective is scikit-learn's: the cross-entropy of weighted rows, and a penalty on the squared
weights but not on the biases. Rows are standardised a block at a time, so that a large matrix is
never copied. Blocks are added up in their order, so that the number of threads changes no digit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.threads import map_ahead

Floats = NDArray[np.float64]

# A block of so many rows of 1,280 numbers stays in the cache between its steps. With 2,048 rows each
# product takes three times as long a row.
BLOCK_ROWS = 512
# A fit of embeddings takes 3 to 40 passes over the rows, and up to 350 where C is 1.
MOST_PASSES = 500
MEMORY = 20  # steps that L-BFGS remembers
ABSENT_LOGITS = 10.0  # by which a class without rows is below the least likely one
_LEAST_SPREAD = 1e-6  # a feature that varies less is constant
_SUFFICIENT = 1e-4  # share of the promised decrease that a step must reach (Armijo)
_ROUNDING = 1e-7  # share of the loss that products in float32 may hide
_STALLED = 10  # steps without a decrease beyond rounding that end a fit


class Scale:
    """The mean and the spread of each feature, measured a block at a time.

    Args:
        features: (N, D) float16 or float32, possibly memory-mapped.
    """

    def __init__(self, features: NDArray[np.floating]) -> None:
        def moments(block: slice) -> tuple[int, Floats, Floats]:
            rows = np.asarray(features[block], np.float32)
            mean = rows.mean(axis=0, dtype=np.float64)
            with np.errstate(invalid="ignore"):  # of rows that are not finite
                rows = rows - mean.astype(np.float32)
                squares = np.einsum("nd,nd->d", rows, rows)
            return len(rows), mean, squares.astype(np.float64)

        count, mean, squares = 0, np.zeros(features.shape[1]), np.zeros(features.shape[1])
        for rows, block_mean, block_squares in map_ahead(moments, blocks(len(features))):
            count += rows
            with np.errstate(invalid="ignore"):
                shift = block_mean - mean
                mean += shift * rows / count
                squares += block_squares + shift**2 * rows * (count - rows) / count
        spread = np.sqrt(squares / max(1, count))
        self.finite = bool(np.isfinite(spread).all())
        self.mean = mean.astype(np.float32)
        self.spread = np.where(spread < _LEAST_SPREAD, 1, spread).astype(np.float32)


class Rows:
    """Some rows of the features, standardised: once where they are few, else for each use.

    Args:
        features: (N, D) float16 or float32, possibly memory-mapped.
        scale: of all rows of the features.
        places: which rows these are, ascending. None means all.
        most_bytes: up to which standardised rows are kept.
    """

    def __init__(
        self,
        features: NDArray[np.floating],
        scale: Scale,
        places: NDArray[np.int64] | None = None,
        most_bytes: int = 0,
    ) -> None:
        self._features, self._scale, self._places = features, scale, places
        self._kept: NDArray[np.float32] | None = None
        if 4 * len(self) * self.width <= most_bytes:
            self._kept = self[:]

    def __len__(self) -> int:
        return len(self._features) if self._places is None else len(self._places)

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return int(self._features.shape[1])

    def __getitem__(self, block: slice) -> NDArray[np.float32]:
        """(n, D) these rows, with mean 0 and spread 1; not to be changed."""
        if self._kept is not None:
            return self._kept[block]
        rows = self._features[block if self._places is None else self._places[block]]
        scaled: NDArray[np.float32] = np.subtract(rows, self._scale.mean, dtype=np.float32)
        scaled /= self._scale.spread
        return scaled

    def logits(self, weights: Floats, *, in_parallel: bool = False) -> NDArray[np.float32]:
        """(N, C) the logits of a regression (C, D + 1).

        Args:
            weights: with the bias as the last column.
            in_parallel: whether several blocks are taken at once.
        """
        weight, bias = weights[:, :-1].astype(np.float32), weights[:, -1].astype(np.float32)
        logits = np.empty((len(self), len(bias)), np.float32)

        def fill(block: slice) -> None:
            np.add(self[block] @ weight.T, bias, out=logits[block])

        every = blocks(len(self))
        deque(map_ahead(fill, every) if in_parallel else map(fill, every), maxlen=0)
        return logits


@dataclass(frozen=True)
class Spectrum:
    """The covariance of standardised features: how much they vary along its eigenvectors.

    Args:
        values: (D,) the eigenvalues; ones where they were not measured.
        vectors: (D, D) float32, a row each. None where they were not measured.
    """

    values: Floats
    vectors: NDArray[np.float32] | None = None

    def turned(self, weights: Floats) -> Floats:
        """Weights (C, D) of features as weights along the eigenvectors."""
        if self.vectors is None:
            return weights
        return (weights.astype(np.float32) @ self.vectors.T).astype(np.float64)

    def turned_back(self, weights: Floats) -> Floats:
        """Weights (C, D) along the eigenvectors as weights of features."""
        if self.vectors is None:
            return weights
        return (weights.astype(np.float32) @ self.vectors).astype(np.float64)


def measure_spectrum(rows: NDArray[np.float32]) -> Spectrum:
    """The spectrum of standardised rows (N, D), with N at least D.

    A preconditioner decides how fast a fit is and not what it finds. So some of the rows do.
    """
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    return Spectrum(np.maximum(values, 0).astype(np.float64), np.ascontiguousarray(vectors.T))


def no_spectrum(width: int) -> Spectrum:
    """What stands for the spectrum where measuring it takes longer than it saves."""
    return Spectrum(np.ones(width))


@dataclass(frozen=True)
class Fit:
    """What a regression found.

    Args:
        weights: (C, D + 1) for standardised rows; the bias is the last column.
        loss: the objective over the summed weights of the rows.
        gap: by how much, at most, the loss is above the least one.
        passes: how often the rows were gone through.
    """

    weights: Floats
    loss: float
    gap: float
    passes: int


@dataclass(frozen=True)
class _Value:
    """The loss at a point (C, D + 1), or what one block adds to it.

    A point holds weights along the eigenvectors of the spectrum, and the biases as its last column.

    Args:
        loss: with its penalty, once all blocks are added up.
        slope: (C, D) its gradient along the weights; in a block, along those of features.
        bias_slope: (C,) its gradient along the biases.
        curvature: (C,) the mean of p (1 - p) of each class.
    """

    loss: float
    slope: NDArray[np.floating]
    bias_slope: Floats
    curvature: Floats

    @property
    def gradient(self) -> Floats:
        """(C, D + 1)."""
        return np.column_stack([self.slope, self.bias_slope])


class Regression:
    """The regression of labels on rows, which is fitted for one strength after another.

    Args:
        rows: standardised.
        labels: (N,) int64 in [0, C).
        num_classes: C. A class without rows gets a logit that is always small.
        spectrum: of these rows, or of rows like them.
        balanced: whether each class counts the same.
        in_parallel: whether a pass takes several blocks at once.
    """

    def __init__(
        self,
        rows: Rows,
        labels: NDArray[np.int64],
        num_classes: int,
        spectrum: Spectrum,
        *,
        balanced: bool = False,
        in_parallel: bool = False,
    ) -> None:
        self._rows, self._spectrum, self._num_classes = rows, spectrum, num_classes
        self._present, self._labels = np.unique(labels, return_inverse=True)
        counts = np.bincount(self._labels)
        shares = np.full(len(counts), 1 / len(counts)) if balanced else counts / len(labels)
        self._row_weights = (shares / counts).astype(np.float32)[self._labels]  # their sum is 1
        self._log_shares = np.log(shares) - np.log(shares).mean()
        self._in_parallel = in_parallel

    def fit(
        self,
        c: float,
        start: Floats | None = None,
        *,
        tolerance: float = 1e-3,
        advance: Callable[[float], None] | None = None,
    ) -> Fit:
        """Minimise the mean cross-entropy plus |weights|² / (2 C N).

        A fit ends where its gap is proven to be small. The duality gap is |slope|² N C / 2: the
        least that a function with this penalty can be below a point with this gradient.

        Args:
            c: C, as scikit-learn names it; larger is less regularised.
            start: (C, D + 1) where to begin. None begins at the shares of the classes.
            tolerance: the largest share of the loss that the gap may be.
            advance: called with the share that is done, about.

        Source: Nocedal and Wright 2006, Numerical Optimization, algorithms 7.4 and 7.5.
        """
        penalty = 1 / (c * len(self._labels))
        point = np.zeros((len(self._present), self._rows.width + 1))
        point[:, -1] = self._log_shares
        if start is not None:
            point = start[self._present]
            point[:, :-1] = self._spectrum.turned(point[:, :-1])
        value, passes = self._value(point, penalty), 1
        first = _gap(value, penalty)
        memory: deque[tuple[Floats, Floats]] = deque(maxlen=MEMORY)
        losses = deque([value.loss], maxlen=_STALLED + 1)
        while passes < MOST_PASSES and _gap(value, penalty) > tolerance * value.loss:
            direction = self._direction(value, penalty, memory)
            step, nearer, tried = self._step(point, value, direction, penalty)
            memory.append((step, nearer.gradient - value.gradient))
            point, value, passes = point + step, nearer, passes + tried
            losses.append(value.loss)
            if advance:
                advance(_share(first, _gap(value, penalty), tolerance * value.loss))
            if len(losses) > _STALLED and losses[0] - value.loss < _ROUNDING * value.loss:
                break  # no closer in float32, which can be where there is next to no penalty
        return Fit(self._of_all_classes(point), value.loss, _gap(value, penalty), passes)

    def _direction(
        self, value: _Value, penalty: float, memory: deque[tuple[Floats, Floats]]
    ) -> Floats:
        """Downhill: the gradient by the inverse Hessian, as the last steps show it."""
        # Along an eigenvector the loss bends as much as the features vary there.
        curvature = np.maximum(value.curvature, 1e-12)[:, None]
        bend = np.column_stack([curvature * self._spectrum.values + penalty, curvature])
        rest, shares = value.gradient, []
        for step, change in reversed(memory):
            shares.append(_product(step, rest) / _product(step, change))
            rest = rest - shares[-1] * change
        scale = 1.0
        if memory:
            step, change = memory[-1]
            scale = _product(step, change) / _product(change, change / bend)
        rest = np.asarray(scale * rest / bend)
        for (step, change), share in zip(memory, reversed(shares), strict=True):
            rest += (share - _product(change, rest) / _product(step, change)) * step
        return -rest

    def _step(
        self, point: Floats, value: _Value, direction: Floats, penalty: float
    ) -> tuple[Floats, _Value, int]:
        """A step that lowers the loss enough, the value after it, and how many were tried."""
        promised = _product(value.gradient, direction)
        size, tried = 1.0, 1
        nearer = self._value(point + direction, penalty)
        slack = _ROUNDING * value.loss
        while nearer.loss > value.loss + _SUFFICIENT * size * promised + slack and size > 1e-6:
            # The lowest point of the parabola through both losses and the slope.
            bend = (nearer.loss - value.loss - size * promised) / size**2
            size = float(np.clip(-promised / (2 * bend), 0.1 * size, 0.5 * size))
            nearer, tried = self._value(point + size * direction, penalty), tried + 1
        return size * direction, nearer, tried

    def _value(self, point: Floats, penalty: float) -> _Value:
        weight = self._spectrum.turned_back(point[:, :-1]).astype(np.float32)
        bias = point[:, -1].astype(np.float32)
        loss = penalty / 2 * float((point[:, :-1] ** 2).sum())
        slope = np.zeros_like(point[:, :-1])
        bias_slope, curvature = np.zeros(len(bias)), np.zeros(len(bias))
        for part in self._parts(weight, bias):
            loss += part.loss
            slope += part.slope
            bias_slope += part.bias_slope
            curvature += part.curvature
        slope = self._spectrum.turned(slope) + penalty * point[:, :-1]
        return _Value(loss, slope, bias_slope, curvature)

    def _parts(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Iterable[_Value]:
        def part(block: slice) -> _Value:
            return self._part(block, weight, bias)

        every = blocks(len(self._rows))
        several = self._in_parallel and len(self._rows) > BLOCK_ROWS
        return map_ahead(part, every) if several else map(part, every)

    def _part(self, block: slice, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> _Value:
        """What one block adds to the mean cross-entropy and to its derivatives."""
        rows, row_weights = self._rows[block], self._row_weights[block]
        own = (np.arange(len(rows)), self._labels[block])
        logits = rows @ weight.T
        logits += bias
        logits -= logits.max(axis=1, keepdims=True)
        own_logits = logits[own].astype(np.float64)
        probs = np.exp(logits, out=logits)
        own_exp = probs[own].astype(np.float64)
        # 1 - p of a sure answer would be lost to rounding. The sum of the others is not.
        probs[own] = 0
        others = probs.sum(axis=1, dtype=np.float64)
        total = own_exp + others
        probs /= total.astype(np.float32)[:, None]
        wrong = (others / total).astype(np.float32)
        curvature = row_weights @ (probs - probs * probs)
        curvature += np.bincount(own[1], row_weights * (wrong - wrong * wrong), len(bias))
        probs[own] = -wrong
        probs *= row_weights[:, None]
        return _Value(
            loss=float(row_weights @ (np.log(total) - own_logits)),
            slope=probs.T @ rows,
            bias_slope=probs.sum(axis=0, dtype=np.float64),
            curvature=curvature,
        )

    def _of_all_classes(self, point: Floats) -> Floats:
        """(C, D + 1) with a small logit for the classes without rows."""
        weights = np.zeros((self._num_classes, point.shape[1]))
        weights[:, -1] = point[:, -1].min() - ABSENT_LOGITS
        weights[self._present, :-1] = self._spectrum.turned_back(point[:, :-1])
        weights[self._present, -1] = point[:, -1]
        return weights


def blocks(count: int) -> Iterator[slice]:
    """The rows of each block, of `count` rows in all.

    >>> list(blocks(600))
    [slice(0, 512, None), slice(512, 600, None)]
    """
    return (slice(start, min(start + BLOCK_ROWS, count)) for start in range(0, count, BLOCK_ROWS))


def _gap(value: _Value, penalty: float) -> float:
    """The duality gap. A bias is taken to be within one of its best value."""
    return float((value.slope**2).sum() / (2 * penalty) + np.abs(value.bias_slope).sum())


def _share(first: float, gap: float, wanted: float) -> float:
    """How much of the way from the first gap to the wanted one is behind, on a logarithmic scale."""
    if gap <= wanted or first <= wanted:
        return 1.0
    return float(np.clip(np.log(first / gap) / np.log(first / wanted), 0, 1))


def _product(one: Floats, other: Floats) -> float:
    return float(np.vdot(one, other))
