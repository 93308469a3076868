"""Prediction sets: the classes that hold the truth with a probability that is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.predictions import Predictions

MOST_SCORES = 1000  # kept in the model file


@dataclass(frozen=True)
class SetScores:
    """How improbable the truth was to models that had not seen the images.

    Args:
        scores: sorted, each 1 less the probability of the label. There are at most `MOST_SCORES`;
            of more clusters, evenly spaced ones are kept, each rounded up to the next.
        num_clusters: how many clusters of images they stand for.

    >>> round(SetScores((0.1, 0.2, 0.9), 3).least_probability(0.75), 3)
    0.1
    """

    scores: tuple[float, ...]
    num_clusters: int

    def least_probability(self, level: float) -> float:
        """The probability from which on a class belongs to the set; 0 if all classes do.

        Args:
            level: how often the sets should hold the truth, in (0, 1).
        """
        rank = math.ceil((self.num_clusters + 1) * level - 1e-9)
        if rank > self.num_clusters:
            return 0.0
        place = math.ceil(rank * len(self.scores) / self.num_clusters - 1e-9) - 1
        return max(1 - self.scores[place], 0.0)

    def sets(
        self, probs: NDArray[np.floating], answers: NDArray[np.int64], level: float
    ) -> NDArray[np.bool_]:
        """(N, C) which classes belong to the set of each image. The answer always does.

        On new images like those that calibrated the model, the sets hold the truth at least as
        often as `level` says, on average over all images.

        Args:
            probs: (N, C) calibrated probabilities.
            answers: (N,) the answers.
            level: how often the sets should hold the truth, in (0, 1).

        Raises:
            ValueError: `level` is not in (0, 1).

        Source: Sadinle et al. 2019, https://arxiv.org/abs/1609.00451 (least ambiguous sets); the
        answer is added, so that no set is empty.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be in (0, 1), got {level}")
        # The rounding of float32 must not lose the class that the bound was taken from.
        chosen = np.asarray(probs) >= self.least_probability(level) - 1e-6
        chosen[np.arange(len(probs)), answers] = True
        return np.asarray(chosen)

    def as_json(self) -> dict[str, Any]:
        """Plain values, with as many digits as a set can depend on."""
        scores = [round(score, 6) for score in self.scores]
        return {"scores": scores, "clusters": self.num_clusters}

    @classmethod
    def from_json(cls, values: dict[str, Any] | None) -> SetScores | None:
        """The scores whose `as_json` gave these values; None for None.

        Raises:
            KeyError, TypeError, ValueError: they are not such scores.
        """
        if values is None:
            return None
        return cls(tuple(map(float, values["scores"])), int(values["clusters"]))


def fit_sets(predictions: Predictions) -> SetScores:
    """The scores of calibrated answers to images that the model was not fitted on.

    A cluster counts once: its least probable truth stands for it, which keeps the promise for any
    image of a new cluster.

    Source: Vovk et al. 2005, "Algorithmic Learning in a Random World" (split conformal prediction).

    >>> probs = np.array([[0.9, 0.1], [0.8, 0.2]], np.float32)
    >>> fit_sets(Predictions(probs, np.array([0, 1]), ("a.jpg", "b.jpg"), ("cat", "dog"))).num_clusters
    2
    """
    rows = np.arange(len(predictions))
    scores = 1 - predictions.probs[rows, predictions.labels].astype(np.float64)
    _, cluster_of = np.unique(predictions.clusters, return_inverse=True)
    worst = np.zeros(predictions.num_clusters)
    np.maximum.at(worst, cluster_of, scores)
    worst.sort()
    count = len(worst)
    if count > MOST_SCORES:
        places = np.ceil(np.arange(1, MOST_SCORES + 1) * count / MOST_SCORES - 1e-9).astype(int) - 1
        worst = worst[places]
    return SetScores(tuple(worst.tolist()), count)
