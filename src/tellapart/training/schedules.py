"""The learning rate of every optimizer step, as a pure function of the step: nothing has to be
restored when a run is resumed.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping

from tellapart.errors import UserError, choose
from tellapart.extensions import Schedule
from tellapart.options import TrainingOptions
from tellapart.recipe import own_choices

# The numbers of torch's OneCycleLR, which are fastai's.
RISING_SHARE, FIRST_DIVISOR, LAST_DIVISOR = 0.3, 25.0, 1e4

# The longest warm-up, as a share of the steps: a short training would never leave it otherwise.
LONGEST_WARMUP = 0.25


def rate_at(
    step: int,
    steps: int,
    steps_per_epoch: int,
    options: TrainingOptions,
    schedules: Mapping[str, Schedule] | None = None,
) -> float:
    """The learning rate of one optimizer step, as a multiple of `training.lr`.

    Args:
        step: the number of the step, from 0.
        steps: the steps of the whole training.
        steps_per_epoch: the steps of an epoch. The milestones of multi_step are in epochs.
        options: `schedule` and what goes with it. one_cycle changes the rate alone. torch's
            OneCycleLR changes the momentum against it.
        schedules: the user's own, by name.

    Raises:
        UserError: there is no such schedule, or the user's own gives no rate.

    Returns:
        A multiple, 1 at the peak. The warm-up rises in equal parts, in at most a quarter of the
        steps. The schedule begins when it is over.

    Source: one_cycle: Smith & Topin 2017, https://arxiv.org/abs/1708.07120; cosine: Loshchilov &
    Hutter 2016, https://arxiv.org/abs/1608.03983, without restarts.

    >>> [rate_at(step, 4, 2, TrainingOptions(schedule="multi_step", milestones=(1,))) for step in range(4)]
    [1.0, 1.0, 0.1, 0.1]
    """
    if schedules and options.schedule in schedules:
        return _own_rate(step, steps, steps_per_epoch, options.schedule, schedules)
    warmup = min(options.warmup_steps, int(LONGEST_WARMUP * steps))
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if options.schedule == "cosine":
        end = (options.lr_end or 0.0) / options.lr
        return _cosine(1.0, end, (step - warmup) / max(steps - warmup, 1))
    if options.schedule == "multi_step":
        gamma = 0.1 if options.gamma is None else options.gamma
        return float(gamma ** bisect_right(sorted(options.milestones), step // steps_per_epoch))
    if options.schedule == "one_cycle":
        return _one_cycle(step, steps)
    choose("training.schedule", options.schedule, own_choices("training.schedule"))
    return 1.0


def rate_curve(
    steps: int,
    steps_per_epoch: int,
    options: TrainingOptions,
    most: int = 400,
    schedules: Mapping[str, Schedule] | None = None,
) -> tuple[tuple[float, float], ...]:
    """Pairs of epochs done and learning rate, at `most` steps or fewer, for a report to draw.

    >>> rate_curve(2, 2, TrainingOptions(schedule="constant", lr=0.1))
    ((0.0, 0.1), (0.5, 0.1))
    """
    drawn = sorted(
        {round(number * (steps - 1) / max(most - 1, 1)) for number in range(min(most, steps))}
    )
    shown = drawn if steps > most else range(steps)
    return tuple(
        (
            step / steps_per_epoch,
            options.lr * rate_at(step, steps, steps_per_epoch, options, schedules),
        )
        for step in shown
    )


def _own_rate(
    step: int, steps: int, steps_per_epoch: int, name: str, schedules: Mapping[str, Schedule]
) -> float:
    rate = schedules[name](step, steps, steps_per_epoch)
    try:
        number = float(rate)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise UserError(
            f"schedules={{{name!r}: …}} gives {rate!r} for step {step} of {steps}.",
            "Return a finite multiple of training.lr, 0 or more.",
        )
    return number


def _one_cycle(step: int, steps: int) -> float:
    """Up in a third of the steps, then down to almost nothing, both along a cosine."""
    first, last = 1 / FIRST_DIVISOR, 1 / FIRST_DIVISOR / LAST_DIVISOR
    peak, end = RISING_SHARE * steps - 1, steps - 1
    if step <= peak:
        return _cosine(first, 1.0, step / peak if peak else 1.0)
    return _cosine(1.0, last, (step - peak) / (end - peak))


def _cosine(start: float, end: float, share: float) -> float:
    """From start to end along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
