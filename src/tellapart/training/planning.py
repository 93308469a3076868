"""How far a training comes in the time that is left."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """What a training takes, in seconds.

    Args:
        step: one optimizer step. opening: what the first step of an epoch takes more, where a frozen part's outputs are
            computed. judging: all looks at an epoch's end. val: of these, the one at val.
    """

    step: float
    opening: float
    judging: float
    val: float


def steps_in(left: float, pace: Pace, per_epoch: int, batch: int, openings: int) -> int:
    """How many steps there will have been since the running epoch began. The last epoch may be cut short.

    Args:
        left: seconds from now. batch: steps of the running epoch made. openings: epochs that still have to compute
            outputs, the running one among them while it has made no step.

    >>> steps_in(100.0, Pace(1.0, 20.0, 10.0, 10.0), 10, 0, 2)  # 40 + 40 s, then 10 steps and a look
    30
    >>> steps_in(35.0, Pace(1.0, 20.0, 10.0, 10.0), 10, 4, 2)  # 16 s, and no time to open another one
    10
    """
    step, left, epochs = max(pace.step, 1e-6), max(left, 0.0), 0
    whole = per_epoch * step + pace.judging
    if batch:
        left += batch * step
        if left < whole:
            return max(batch, min(per_epoch, int((left - pace.val) / step)))
        left, epochs = left - whole, 1
    opened = min(openings, int(left // (whole + pace.opening)))
    left -= opened * (whole + pace.opening)
    more, left = (0, left - pace.opening) if opened < openings else divmod(left, whole)
    begun = max(0, min(per_epoch, int((left - pace.val) / step)))
    return (epochs + opened + int(more)) * per_epoch + begun
