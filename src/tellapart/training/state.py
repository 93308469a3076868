"""How far a training is: all that a checkpoint needs beside the tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict, cast

from tellapart.errors import Refused


class CheckpointFacts(TypedDict, total=False):
    """The plain values of a checkpoint, as JSON gives them back: the fields of `Progress`.

    Beside them are what the optimizer remembers as plain values, under "optimizer/…". The file of a
    best network has its epoch and its value alone.
    """

    classes: list[str]
    steps: int
    per_epoch: int
    runtime: dict[str, Any]
    hardware: str
    parts: int
    moves: list[str]
    epoch: int
    batch: int
    step: int
    loss_sum: float
    loss_count: int
    history: list[dict[str, float]]
    best: str | None
    best_value: float | None
    best_epoch: int | None
    stale: int
    ended: str
    seconds: float
    scaling: dict[str, Any]
    callbacks: dict[str, Any]
    lost: list[str]


@dataclass
class Progress:
    """The state of the loop between two optimizer steps.

    Args:
        classes: the class map.
        steps: the optimizer steps that are planned; a budget may change that.
        per_epoch: the optimizer steps of an epoch.
        runtime: threads and memory format, as `RuntimeSettings.as_json`. A resumed run keeps them,
            for the same bits.
        hardware: what the training runs on, in words. Elsewhere the last bits differ.
        parts: the number of parts in which a batch is worked on.
        moves: the flips and turns that were found invariant. A resumed run keeps them too.
        epoch: the epochs that are done.
        batch: the batches of the running epoch that are done.
        step: the optimizer steps that are done.
        loss_sum: the sum of the losses of the running epoch's batches.
        loss_count: the number of these losses.
        history: a row an epoch.
        best: the file of the best network. None without val.
        best_value: its value of `training.monitor`.
        best_epoch: its epoch, from 1.
        stale: the epochs since then.
        ended: why the training ended before its last step; empty where it did not.
        seconds: the time that was spent in the loop.
        scaling: the state of fp16's gradient scaler.
        callbacks: what stateful callbacks remember.
        lost: a sentence for each image that changed while it was used.
    """

    classes: list[str]
    steps: int
    per_epoch: int
    runtime: dict[str, Any]
    hardware: str
    parts: int
    moves: list[str] = field(default_factory=list)
    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: str | None = None
    best_value: float | None = None
    best_epoch: int | None = None
    stale: int = 0
    ended: str = ""
    seconds: float = 0.0
    scaling: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """The epochs that are planned, the last one perhaps in part."""
        return -(-self.steps // self.per_epoch)

    @property
    def done(self) -> bool:
        """Whether nothing is left to learn."""
        return bool(self.ended) or self.epoch >= self.epochs

    def as_facts(self) -> CheckpointFacts:
        """The plain values that a checkpoint keeps."""
        return cast(CheckpointFacts, dataclasses.asdict(self))

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Progress:
        """The progress that a checkpoint kept.

        Raises:
            Refused: a field is unknown or missing, so it is another version's.
        """
        fields = {spec.name for spec in dataclasses.fields(cls)}
        known = {name: value for name, value in facts.items() if not name.startswith("optimizer/")}
        if known.keys() != fields:
            differing = ", ".join(sorted(known.keys() ^ fields))
            raise Refused(
                f"The checkpoint is of another version of tellapart: {differing}.",
                "Resume with the version that began the run.",
            )
        return cls(**known)
