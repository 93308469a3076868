"""How well a model would notice a class that it was never shown, found by leaving each one out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LeftOut:
    """What a model of all classes but one says of the images of that one.

    Args:
        by_class: name of a class that was left out → the chance that one of its images looks less
            familiar than an image of the others. 0.5 is chance. At least one class.
        by_residual: whether the embedding alone was measured, since one class was left to know.

    >>> LeftOut({"cat": 0.9, "dog": 0.7}, False).worst
    'dog'
    """

    by_class: Mapping[str, float]
    by_residual: bool

    @property
    def mean(self) -> float:
        """Over the classes."""
        return float(np.mean(list(self.by_class.values())))

    @property
    def worst(self) -> str:
        """The class that is noticed least; the first of equals."""
        return min(self.by_class, key=lambda name: self.by_class[name])

    @property
    def best(self) -> str:
        """The class that is noticed most; the first of equals."""
        return max(self.by_class, key=lambda name: self.by_class[name])

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "auroc": self.mean,
            "low": self.by_class[self.worst],
            "high": self.by_class[self.best],
            "worst": self.worst,
            "by_class": dict(self.by_class),
            "by_residual": self.by_residual,
        }


def chance_to_stand_out(familiar: NDArray[np.floating], strange: NDArray[np.floating]) -> float:
    """The chance that a strange image has a higher score than a familiar one: the AUROC.

    Equal scores count half.

    >>> chance_to_stand_out(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    0.875
    """
    ordered = np.sort(familiar)
    below = np.searchsorted(ordered, strange, side="left")
    up_to = np.searchsorted(ordered, strange, side="right")
    return float(np.mean(below + up_to) / (2 * len(familiar)))
