"""The learning rate of every step, held against torch's own schedulers."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch.optim import lr_scheduler

from tellapart.options import TrainingOptions
from tellapart.training.schedules import rate_at, rate_curve

STEPS, PER_EPOCH, LR = 60, 12, 0.02

Build = Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]


def torch_rates(build: Build, steps: int = STEPS) -> list[float]:
    """The rate that a scheduler gives each step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's about its own use of the epoch
        scheduler = build(optimizer)
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


def our_rates(steps: int = STEPS, **changes: object) -> list[float]:
    options = TrainingOptions(lr=LR, **changes)
    return [LR * rate_at(step, steps, PER_EPOCH, options) for step in range(steps)]


def after_warmup(warmup: int, build: Build) -> Build:
    def whole(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
        return lr_scheduler.SequentialLR(optimizer, [rise, build(optimizer)], milestones=[warmup])

    return whole


def test_constant_stays():
    assert our_rates(schedule="constant") == [LR] * STEPS


@pytest.mark.parametrize("end", [0.0, 1e-4, LR])
def test_cosine_is_torchs_over_all_steps(end: float):
    expected = torch_rates(
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, STEPS, eta_min=end)
    )
    assert our_rates(schedule="cosine", lr_end=end) == pytest.approx(expected)


def test_cosine_begins_at_the_peak_and_nearly_reaches_its_end():
    rates = our_rates(schedule="cosine", lr_end=1e-4)
    assert rates[0] == LR
    assert 1e-4 < rates[-1] < 1.5e-4


@pytest.mark.parametrize(("milestones", "gamma"), [((2, 4), None), ((1,), 0.5), ((3, 1), 0.3)])
def test_multi_step_is_torchs_by_epoch(milestones: tuple[int, ...], gamma: float | None):
    steps = [PER_EPOCH * milestone for milestone in milestones]
    factor = 0.1 if gamma is None else gamma
    expected = torch_rates(lambda optimizer: lr_scheduler.MultiStepLR(optimizer, steps, factor))
    assert our_rates(schedule="multi_step", milestones=milestones, gamma=gamma) == pytest.approx(
        expected
    )


@pytest.mark.parametrize("steps", [2, 5, 10, 60, 101])
def test_one_cycle_is_torchs(steps: int):
    expected = torch_rates(
        lambda one: lr_scheduler.OneCycleLR(one, LR, steps, cycle_momentum=False), steps - 1
    )
    assert our_rates(steps, schedule="one_cycle")[:-1] == pytest.approx(expected)
    assert our_rates(steps, schedule="one_cycle")[-1] == pytest.approx(LR / 25 / 1e4)


def test_one_cycle_of_a_single_step_is_a_rate():
    assert 0 < rate_at(0, 1, 1, TrainingOptions(schedule="one_cycle")) <= 1


def test_warm_up_then_cosine_is_torchs():
    build = after_warmup(9, lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, STEPS - 9))
    assert our_rates(schedule="cosine", warmup_steps=9) == pytest.approx(torch_rates(build))


def test_warm_up_rises_in_equal_parts_and_then_stays():
    rates = our_rates(schedule="constant", warmup_steps=4)
    assert rates[:6] == pytest.approx([LR * share for share in (0.2, 0.4, 0.6, 0.8, 1, 1)])


def test_milestones_count_from_the_beginning_also_with_a_warm_up():
    rates = our_rates(schedule="multi_step", milestones=(1,), warmup_steps=3)
    assert rates[PER_EPOCH - 1 : PER_EPOCH + 1] == pytest.approx([LR, LR / 10])


def test_a_warm_up_is_a_quarter_of_the_training_at_most():
    rates = our_rates(16, schedule="cosine", warmup_steps=50)
    assert rates[:5] == pytest.approx([LR * share for share in (0.2, 0.4, 0.6, 0.8, 1)])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] < 0.1 * LR


def test_the_drawn_curve_is_the_schedule_from_first_to_last_step():
    options = TrainingOptions(schedule="cosine", lr=LR)
    curve = rate_curve(5000, 1000, options, most=100)
    assert len(curve) == 100
    assert (curve[0], curve[-1][0]) == ((0.0, LR), 4.999)
    assert curve[50][1] == LR * rate_at(round(1000 * curve[50][0]), 5000, 1000, options)
