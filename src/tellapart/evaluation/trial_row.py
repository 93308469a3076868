"""What is recorded of one trial of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One trial.

    Args:
        number: counts from 0.
        state: "finished", "pruned" (stopped early), "failed" or "running".
        settings: key → value of each setting that is searched and counts in this trial.
        value: the metric that decides; NaN where it was not measured.
        scores: "train_loss", "val_accuracy" and so on, as far as they were measured.
        epochs: how many it trained; None where that was not recorded.
        seconds: how long it took; None where that was not recorded.
        reason: why it failed or was stopped, else "".
        run: the name of its run folder, or "".

    >>> TrialRow(number=0, state="failed", settings={}, value=math.nan).as_json()["value"] is None
    True
    """

    number: int
    state: str
    settings: Mapping[str, Any]
    value: float
    scores: Mapping[str, float] = field(default_factory=dict)
    epochs: int | None = None
    seconds: float | None = None
    reason: str = ""
    run: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values, null where there is no number."""
        value = self.value if math.isfinite(self.value) else None
        return {
            **vars(self),
            "settings": dict(self.settings),
            "scores": dict(self.scores),
            "value": value,
        }
