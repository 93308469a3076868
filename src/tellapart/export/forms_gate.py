"""The gate of another form of a model file: what it answers otherwise than the file that was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import Refused
from tellapart.evaluation.paired_shares import PairedShares, compare_shares
from tellapart.modelfile.card import ModelCard
from tellapart.modelfile.predictor import Outputs
from tellapart.threads import map_ahead

MOST_CHANGED = 0.05  # the share of images that may get another answer or decision
MOST_CHANCE = 0.05  # a loss of accuracy that chance explains less often is a real one


@dataclass(frozen=True)
class FormAgreement:
    """How far another form of a model file is from the file that was trained.

    Args:
        accuracy: of the trained file, then of the form, on the same images, with the paired test.
        changed: how many images get another answer or another decision.
        mean_difference: the mean over the images of the largest difference of a probability.
        largest_difference: the largest difference of a probability.
    """

    accuracy: PairedShares
    changed: int
    mean_difference: float
    largest_difference: float

    @property
    def images(self) -> int:
        """How many images were compared."""
        return self.accuracy.first.count

    @property
    def faults(self) -> list[str]:
        """Why the form must not be written, a sentence each. Empty where it may be."""
        faults = []
        accuracy = self.accuracy
        if accuracy.difference.value < 0 and accuracy.p < MOST_CHANCE:
            faults.append(
                f"Accuracy falls from {accuracy.first.value:.1%} to {accuracy.second.value:.1%}"
                f" on {self.images:,} images: {accuracy.lost:,} are lost and {accuracy.gained:,}"
                f" gained, p = {accuracy.p:.2g}."
            )
        if self.changed > MOST_CHANGED * self.images:
            faults.append(
                f"{self.changed:,} of {self.images:,} images get another answer or decision,"
                f" where at most {MOST_CHANGED:.0%} may."
            )
        if not np.isfinite(self.largest_difference):
            faults.append("Some of its probabilities are no numbers.")
        return faults

    def as_json(self) -> dict[str, Any]:
        """Plain values, which the metadata of the file holds too."""
        accuracy = self.accuracy
        return {
            "images": self.images,
            "accuracy_before": round(accuracy.first.value, 6),
            "accuracy_after": round(accuracy.second.value, 6),
            "lost": accuracy.lost,
            "gained": accuracy.gained,
            "p": accuracy.p,
            "test": accuracy.test,
            "changed": self.changed,
            "mean_difference": round(self.mean_difference, 6),
            "largest_difference": round(self.largest_difference, 6),
        }

    def __str__(self) -> str:
        accuracy = self.accuracy
        return (
            f"accuracy {accuracy.first.value:.1%} → {accuracy.second.value:.1%} on {self.images:,}"
            f" images (lost {accuracy.lost:,}, gained {accuracy.gained:,}, p = {accuracy.p:.2g});"
            f" {self.changed:,} with another answer or decision; probabilities differ by"
            f" {self.mean_difference:.4f} on average, at most {self.largest_difference:.4f}"
        )


class Answering(Protocol):
    """A model file that answers, by whichever runtime."""

    @property
    def card(self) -> ModelCard:
        """Its metadata."""

    def outputs(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Its outputs for one image."""


def compare_forms(
    trained: Answering,
    form: Answering,
    images: Sequence[NDArray[np.uint8]],
    labels: NDArray[np.int64],
    clusters: NDArray[np.int64],
) -> FormAgreement:
    """Ask both files about the same images.

    Args:
        trained: the file that was trained.
        form: another form of it.
        images: N images, each (H, W, 3) uint8.
        labels: (N,) the truth.
        clusters: (N,) the cluster of each image.
    """
    first = list(map_ahead(trained.outputs, images))
    second = [form.outputs(image) for image in images]  # a form may serve one thread only
    right, other_right = _answers(trained, first) == labels, _answers(form, second) == labels
    same = [
        before == after
        for before, after in zip(_in_full(trained, first), _in_full(form, second), strict=True)
    ]
    differences = np.array(
        [
            np.abs(before.probs - after.probs).max()
            for before, after in zip(first, second, strict=True)
        ]
    )
    return FormAgreement(
        accuracy=compare_shares(right, other_right, clusters),
        changed=len(same) - sum(same),
        mean_difference=float(differences.mean()),
        largest_difference=float(differences.max()),
    )


def refuse_unless_as_good(agreement: FormAgreement, name: str) -> None:
    """See that a form may be written.

    Args:
        agreement: with the file that was trained.
        name: of the form, for the message.

    Raises:
        Refused: it is measurably worse, or answers too many images otherwise.
    """
    if agreement.faults:
        hint = "Ship the file as it was trained."
        if name == "int8":
            hint += " Or train it anew in int8, which fits the head: --set backbone.precision=int8"
        raise Refused(f"The form {name} was not written. {' '.join(agreement.faults)}", hint)


def _answers(file: Answering, found: Sequence[Outputs]) -> NDArray[np.int64]:
    return file.card.rule.answers(np.stack([outputs.probs for outputs in found]))


def _in_full(file: Answering, found: Sequence[Outputs]) -> list[tuple[str, int]]:
    """The decision on each image, and its answer."""
    probs = np.stack([outputs.probs for outputs in found])
    far = np.array([outputs.unfamiliarity for outputs in found], np.float32)
    familiar = far if file.card.detects_unfamiliar else None
    decisions = file.card.rule.decide(probs, familiar).tolist()
    return list(zip(decisions, _answers(file, found).tolist(), strict=True))
