"""The time budget: how many steps fit into the time that is left, at the pace so far."""

from __future__ import annotations

PACED_OVER = 50  # the mean of about so many steps is the pace by which a budget is planned


class Pace:
    """The seconds that the steps of a training take. They are a guess until some were measured.

    Args:
        step: the guess, in seconds a step.
    """

    def __init__(self, step: float) -> None:
        self.step = step
        self.measured = 0  # how many steps `step` is the mean of
        # The first step of an epoch takes so much longer where it computes a frozen part's outputs.
        self.opening = 0.0
        self.openings = 0  # how many epochs of the running phase are still to compute them

    def note(self, seconds: float, *, opens: bool, alone: bool) -> None:
        """Take the seconds of a step into the mean.

        Args:
            seconds: that the step took.
            opens: whether it is the first of an epoch, which waits for its images and does not
                count.
            alone: whether no other step follows in its epoch, so that it has to count.

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

    def steps_in(
        self, left: float, evaluating: float, val: float, per_epoch: int, batch: int
    ) -> int:
        """How many steps fit, counted from the beginning of the running epoch.

        The last epoch may be cut short.

        Args:
            left: the seconds that are left.
            evaluating: the seconds of all evaluations at an epoch's end.
            val: the seconds of evaluating val alone.
            per_epoch: the steps of an epoch.
            batch: the steps of the running epoch that are done.

        >>> pace = Pace(1.0)
        >>> pace.opening, pace.openings = 20.0, 2
        >>> pace.steps_in(100.0, 10.0, 10.0, 10, 0)  # 40 + 40 s, then 10 steps and an evaluation
        30
        >>> pace.steps_in(35.0, 10.0, 10.0, 10, 4)  # 16 s, and no time to open another one
        10
        """
        step, left, epochs = max(self.step, 1e-6), max(left, 0.0), 0
        whole = per_epoch * step + evaluating
        if batch:
            left += batch * step
            if left < whole:
                return max(batch, min(per_epoch, int((left - val) / step)))
            left, epochs = left - whole, 1
        opened = min(self.openings, int(left // (whole + self.opening)))
        left -= opened * (whole + self.opening)
        further = 0.0
        if opened < self.openings:
            left -= self.opening
        else:
            further, left = divmod(left, whole)
        begun = max(0, min(per_epoch, int((left - val) / step)))
        return (epochs + opened + int(further)) * per_epoch + begun
