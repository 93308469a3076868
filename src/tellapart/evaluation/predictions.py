"""The predictions of a model for one split. Metrics and report read this and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tellapart.tables import to_frame

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True)
class Predictions:
    """The predictions of a model for one split, with the truth.

    Args:
        probs: (N, C) float32 calibrated probabilities, as the model file gives them; rows sum to 1.
        labels: (N,) int64 in [0, C), the truth.
        paths: N paths, relative to the root of the data, in the order of `probs`.
        classes: C names, in the order of the columns of `probs`.
        unfamiliarity: (N,) float32. An image above 1 is unlike the training images. None means that
            it was not measured.
        clusters: (N,) int64. Images with the same number are copies of one image or of one group,
            and count once together. Default: each image is its own cluster.
        answers: (N,) int64 in [0, C), what the model answers. Default: the most probable classes.

    >>> probs = np.array([[0.75, 0.25], [0.5, 0.5]], np.float32)
    >>> predictions = Predictions(probs, np.array([0, 1]), ("a.jpg", "b.jpg"), ("cat", "dog"))
    >>> predictions.predicted.tolist(), predictions.correct.tolist()
    ([0, 0], [True, False])
    """

    probs: NDArray[np.float32]
    labels: NDArray[np.int64]
    paths: tuple[str, ...]
    classes: tuple[str, ...]
    unfamiliarity: NDArray[np.float32] | None = None
    clusters: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    answers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        count, num_classes = len(self.paths), len(self.classes)
        if self.probs.shape != (count, num_classes):
            raise ValueError(f"probs must be ({count}, {num_classes}), got {self.probs.shape}")
        if self.labels.shape != (count,):
            raise ValueError(f"labels must be ({count},), got {self.labels.shape}")
        if not len(self.clusters):
            object.__setattr__(self, "clusters", np.arange(count))
        if self.clusters.shape != (count,):
            raise ValueError(f"clusters must be ({count},), got {self.clusters.shape}")
        if count and not np.allclose(self.probs.sum(axis=1), 1, atol=1e-3):
            raise ValueError("rows of probs do not sum to 1: were logits passed?")
        if count and not (self.labels.min() >= 0 and self.labels.max() < num_classes):
            raise ValueError(f"labels must be in [0, {num_classes})")
        if count and not len(self.clusters):
            object.__setattr__(self, "clusters", np.arange(count))
        if count and not len(self.answers):
            object.__setattr__(self, "answers", self.probs.argmax(axis=1))
        for name in ("clusters", "answers"):
            if getattr(self, name).shape != (count,):
                raise ValueError(f"{name} must be ({count},), got {getattr(self, name).shape}")

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) the answer to each image."""
        return self.answers

    @property
    def confidence(self) -> NDArray[np.float32]:
        """(N,) the probability of each answer."""
        return self.probs[np.arange(len(self)), self.answers]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(N,) whether the answer is the label."""
        return np.asarray(self.predicted == self.labels)

    @property
    def num_clusters(self) -> int:
        """How many images there are if copies and the images of a group count once."""
        return len(np.unique(self.clusters))

    def rows(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Predictions:
        """The predictions of some rows.

        Args:
            chosen: (K,) row numbers, in the order wanted, or (N,) whether each row is kept.
        """
        places = np.arange(len(self))[chosen]
        return Predictions(
            self.probs[places],
            self.labels[places],
            tuple(self.paths[place] for place in places.tolist()),
            self.classes,
            None if self.unfamiliarity is None else self.unfamiliarity[places],
            self.clusters[places],
            self.answers[places],
        )

    def to_frame(self) -> polars.DataFrame:
        """A polars data frame, one row an image.

        The columns are path, label, prediction, confidence, then p:<class> for each class.
        The column "unfamiliarity" follows where that was measured.

        Raises:
            UserError: polars is not installed.

        >>> probs = np.array([[0.75, 0.25]], np.float32)
        >>> frame = Predictions(probs, np.array([1]), ("a.jpg",), ("cat", "dog")).to_frame()
        >>> frame.rows()
        [('a.jpg', 'dog', 'cat', 0.75, 0.75, 0.25)]
        """
        columns = {
            "path": self.paths,
            "label": [self.classes[label] for label in self.labels],
            "prediction": [self.classes[label] for label in self.predicted],
            "confidence": self.confidence.tolist(),
            **{
                f"p:{name}": self.probs[:, place].tolist()
                for place, name in enumerate(self.classes)
            },
        }
        if self.unfamiliarity is not None:
            columns["unfamiliarity"] = self.unfamiliarity.tolist()
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        texts = ("path", "label", "prediction")
        return to_frame(rows, {name: str if name in texts else float for name in columns})
