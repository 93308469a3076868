"""How far a training comes in the time that is left, at the pace of its steps so far."""

from __future__ import annotations

PACED_OVER = 50  # steps, about, whose mean is the pace by which a budget is planned


class Pace:
    """What the steps of a training take: a guess until some were measured.

    Args:
        step: seconds a step, guessed.
    """

    def __init__(self, step: float) -> None:
        self.step = step
        self.measured = 0  # steps that `step` is the mean of, about
        # what the first step of an epoch takes more, where a frozen part's outputs are computed
        self.opening = 0.0
        self.openings = 0  # of the running phase's epochs, how many still compute some

    def note(self, seconds: float, *, opens: bool, alone: bool) -> None:
        """A step's seconds.

        Args:
            opens: the first of an epoch, which waits for what is computed once, or for the first
                images.
            alone: no other step follows in its epoch, so that it counts all the same.

        >>> pace = Pace(9.0)
        >>> for seconds, opens in ((30.0, True), (1.0, False), (2.0, False)):
        ...     pace.note(seconds, opens=opens, alone=False)
        >>> pace.step, pace.opening, pace.measured
        (1.5, 0.0, 2)
        """
        if opens and self.openings:
            self.opening, self.openings = max(0.0, seconds - self.step), self.openings - 1
        elif alone or not opens:
            self.measured += 1
            self.step += (seconds - self.step) / min(self.measured, PACED_OVER)

    def steps_in(self, left: float, judging: float, val: float, per_epoch: int, batch: int) -> int:
        """How many steps there will have been since the running epoch began. The last epoch may be
        cut short.

        Args:
            left: seconds from now.
            judging: seconds of all looks at an epoch's end.
            val: of these, the one at val.
            batch: steps of the running epoch made.

        >>> pace = Pace(1.0)
        >>> pace.opening, pace.openings = 20.0, 2
        >>> pace.steps_in(100.0, 10.0, 10.0, 10, 0)  # 40 + 40 s, then 10 steps and a look
        30
        >>> pace.steps_in(35.0, 10.0, 10.0, 10, 4)  # 16 s, and no time to open another one
        10
        """
        step, left, epochs = max(self.step, 1e-6), max(left, 0.0), 0
        whole = per_epoch * step + judging
        if batch:
            left += batch * step
            if left < whole:
                return max(batch, min(per_epoch, int((left - val) / step)))
            left, epochs = left - whole, 1
        opened = min(self.openings, int(left // (whole + self.opening)))
        left -= opened * (whole + self.opening)
        more, left = (0, left - self.opening) if opened < self.openings else divmod(left, whole)
        begun = max(0, min(per_epoch, int((left - val) / step)))
        return (epochs + opened + int(more)) * per_epoch + begun
