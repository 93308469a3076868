"""How far a training comes in the time that is left."""

from __future__ import annotations

from dataclasses import dataclass

PACED_OVER = 50  # steps, about, whose mean is the pace by which a budget is planned


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


class Watch:
    """What the steps of a training take: a guess until some were measured.

    Args:
        step: seconds a step, guessed.
    """

    def __init__(self, step: float) -> None:
        self.step, self.opening = step, 0.0
        self.measured = 0  # steps that `step` is the mean of, about
        self.openings = 0  # of the running learner's epochs, how many still compute outputs of a frozen part

    def note(self, seconds: float, *, opens: bool, alone: bool) -> None:
        """A step's seconds.

        Args:
            opens: the first of an epoch, which waits for what is computed once, or for the first pictures. alone: no
                other step follows in its epoch, so that it counts all the same.

        >>> watch = Watch(9.0)
        >>> for seconds, opens in ((30.0, True), (1.0, False), (2.0, False)):
        ...     watch.note(seconds, opens=opens, alone=False)
        >>> watch.step, watch.opening, watch.measured
        (1.5, 0.0, 2)
        """
        if opens and self.openings:
            self.opening, self.openings = max(0.0, seconds - self.step), self.openings - 1
        elif alone or not opens:
            self.measured += 1
            self.step += (seconds - self.step) / min(self.measured, PACED_OVER)

    def steps_in(self, left: float, judging: float, val: float, per_epoch: int, batch: int) -> int:
        """How many steps there will have been since the running epoch began, at the pace so far: `steps_in`."""
        return steps_in(left, Pace(self.step, self.opening, judging, val), per_epoch, batch, self.openings)
