"""How far a training is: all that a checkpoint needs beside the tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tellapart.errors import Refused


@dataclass
class Progress:
    """The state of the loop between two optimizer steps.

    Args:
        classes: the class map.
        steps: optimizer steps planned; a budget may change that.
        per_epoch: of them in an epoch.
        runtime: threads and memory format, as `RuntimeSettings.as_json`: a resumed run keeps them,
            for the same bits.
        hardware: what it was made on, in words; elsewhere the last bits differ.
        moves: the flips and turns that were found invariant; a resumed run keeps them too.
        epoch: epochs done.
        batch: batches of the next one done.
        step: optimizer steps done.
        loss_sum, loss_count: of the batches of the running epoch.
        parts: in how many a batch is worked on.
        history: a row an epoch.
        best: the file of the best network, with its value and epoch; none without val.
        stale: epochs since then.
        ended: why it ended before its last step; empty where it did not.
        seconds: spent in the loop.
        scaling: of the gradients, with fp16.
        callbacks: what stateful callbacks remember.
        lost: what was said of images that changed while they were used.
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
        """Planned, the last one perhaps in part."""
        return -(-self.steps // self.per_epoch)

    @property
    def done(self) -> bool:
        """Whether nothing is left to learn."""
        return bool(self.ended) or self.epoch >= self.epochs

    def as_facts(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return dataclasses.asdict(self)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Progress:
        """What `as_facts` gave.

        Raises:
            Refused: a field is unknown or missing: it is another version's.
        """
        fields = {one.name for one in dataclasses.fields(cls)}
        known = {name: value for name, value in facts.items() if not name.startswith("optimizer/")}
        if known.keys() != fields:
            differing = ", ".join(sorted(known.keys() ^ fields))
            raise Refused(
                f"The checkpoint is of another version of tellapart: {differing}.",
                "Resume with the version that began the run.",
            )
        return cls(**known)
