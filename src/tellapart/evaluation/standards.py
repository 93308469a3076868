"""How unfamiliar an image is, from two measurements and what is usual for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Standard:
    """Mean and spread of a measurement on images that nothing was fitted on.

    Args:
        mean: of the measurement.
        spread: its standard deviation. Zero means that it tells no two images apart.
    """

    mean: float
    spread: float

    @property
    def weight(self) -> float:
        """What a deviation from the mean is multiplied by."""
        return 1 / self.spread if self.spread else 0.0


@dataclass(frozen=True)
class Standards:
    """What is usual for images like the training images.

    Args:
        residual: the distance of an embedding from the subspace.
        evenness: how evenly the classes share the answer.
    """

    residual: Standard
    evenness: Standard

    @classmethod
    def from_json(cls, values: Mapping[str, Mapping[str, float]]) -> Standards:
        """What `dataclasses.asdict` made of standards."""
        return cls(Standard(**values["residual"]), Standard(**values["evenness"]))

    @classmethod
    def mean_of(cls, each: Sequence[Standards]) -> Standards:
        """The mean of the standards of several networks."""
        residuals = [standards.residual for standards in each]
        return cls(_mean(residuals), _mean([standards.evenness for standards in each]))

    @property
    def tell(self) -> bool:
        """Whether at least one of the two measurements tells images apart."""
        return self.residual.spread > 0 or self.evenness.spread > 0

    def scores(self, terms: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,) how unfamiliar images are, from their measurements (N, 2); 0 or more.

        Both deviations are added softly from below: an image that is far away is no more familiar
        for a sure answer. Networks are often sure of images that are like nothing they have seen.
        """
        both = (self.residual, self.evenness)
        mean = np.array([standard.mean for standard in both], np.float32)
        weight = np.array([standard.weight for standard in both], np.float32)
        with np.errstate(invalid="ignore"):  # what was not measured stays NaN
            surprises = np.logaddexp(0, (terms - mean) * weight)
        return np.asarray(surprises.sum(axis=1), np.float32)


def _mean(each: Sequence[Standard]) -> Standard:
    return Standard(
        float(np.mean([standard.mean for standard in each])),
        float(np.mean([standard.spread for standard in each])),
    )


UNMEASURED = Standards(Standard(0.0, 0.0), Standard(0.0, 0.0))
