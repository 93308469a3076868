"""Short trials of how fast a network trains with given settings, within a few seconds in all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import nn

from tellapart.models.trial import trial_tensor
from tellapart.options import TrainingOptions
from tellapart.training.runtime import RuntimeSettings, running

# All trials together may take so many seconds, and such shares of a budget and of the training.
TRIALS_SECONDS, BUDGET_SHARE, TRAINING_SHARE = 3.0, 0.03, 0.05
LEAST_SECONDS = 1.0  # that they may take, however short the training is
TRIAL_IMAGES = 16  # the most images in a trial step
FEW_IMAGES = 2  # the fewest: batch normalisation cannot learn from one
TRIAL_STEPS = 3  # the most trial steps, once they have taken so many seconds:
# A step of a small network is over before a busy machine shows itself.
TRIAL_SECONDS = 0.1
# A way that is so many times slower than the best is stopped in the middle of its step. Where
# others use the cores, threads wait for each other in every layer.
HOPELESS = 1.3
KERNELS_SECONDS = 0.3  # that the first step may take longer, as it makes the kernels
# In a step that takes longer, the fixed cost of oneDNN's calls hardly counts.
SMALL_STEP_SECONDS = 0.01


@dataclass(frozen=True)
class Limits:
    """When a trial ends, by `time.perf_counter`.

    Args:
        enough: no further step begins then.
        stop: the step at work is stopped.
    """

    enough: float
    stop: float


# The module, the shape of its input, the settings to try, and when to end → seconds of a step.
StepTimer = Callable[[nn.Module, tuple[int, int, int, int], RuntimeSettings, Limits], float]


class Trials:
    """The trials of one network, until their time is up.

    Args:
        module: what is tried.
        shape: (C, S, S) of an image.
        count: the most images in a step.
        timer: measures a step.
        options: of the training, which may have a budget.
        num_images: images in an epoch.
    """

    def __init__(
        self,
        module: nn.Module,
        shape: tuple[int, int, int],
        count: int,
        timer: StepTimer,
        options: TrainingOptions,
        num_images: int,
    ) -> None:
        self._module, self._shape, self._count = module, shape, count
        self._timer, self._options = timer, options
        self._trained_images = num_images * options.epochs
        self._began = time.perf_counter()
        budget = 60 * (options.budget_minutes or math.inf)
        self._end = self._began + min(TRIALS_SECONDS, BUDGET_SHARE * budget)

    def fastest(self, ways: list[RuntimeSettings]) -> RuntimeSettings:
        """The way whose step takes the least time, with the seconds of an image."""
        share = (self._end - self._began) / len(ways)
        enough = self._began + share
        first = replace(ways[0], seconds=self._step(FEW_IMAGES, ways[0], Limits(enough, self._end)))
        if math.isinf(first.seconds):
            # Nothing could be measured: the network is too large for that, or stuck.
            spent = (time.perf_counter() - self._began) / FEW_IMAGES
            return replace(ways[0], seconds=spent)
        image = first.seconds / FEW_IMAGES
        training = TRAINING_SHARE * image * self._trained_images
        self._end = min(self._end, self._began + max(LEAST_SECONDS, training))
        count = self._count
        while count > FEW_IMAGES and (TRIAL_STEPS + 1) * image * count > share:
            count //= 2
        count = max(count, FEW_IMAGES)
        few = count == FEW_IMAGES
        best = self._best(first if few else None, ways[1:] if few else ways, count)
        if math.isinf(best.seconds):
            return replace(ways[0], seconds=image)
        if self._options.memory_format == "measured" and best.seconds < SMALL_STEP_SECONDS:
            best = self._best(best, [replace(way, onednn=False) for way in ways], count)
        return replace(best, seconds=best.seconds / count)

    def _best(
        self, best: RuntimeSettings | None, ways: list[RuntimeSettings], count: int
    ) -> RuntimeSettings:
        """The best way so far, or one whose step takes less time. `seconds` are those of a step."""
        for place, way in enumerate(ways):
            moment = time.perf_counter()
            if best and moment >= self._end:
                break
            enough = moment + max(0.0, self._end - moment) / (len(ways) - place)
            hopeless = moment + KERNELS_SECONDS + HOPELESS * best.seconds if best else math.inf
            seconds = self._step(count, way, Limits(enough, min(self._end, hopeless)))
            if best is None or seconds < best.seconds:
                best = replace(way, seconds=seconds)
        assert best
        return best

    def _step(self, count: int, way: RuntimeSettings, limits: Limits) -> float:
        return self._timer(self._module, (count, *self._shape), way, limits)


def step_seconds(
    module: nn.Module,
    shape: tuple[int, int, int, int],
    candidate: RuntimeSettings,
    limits: Limits,
) -> float:
    """The seconds of one training step: the fastest of several after one that warms up, or that one
    where there is no time for another.

    Args:
        module: images (N, C, S, S) float32 → logits; a copy of it is trained.
        shape: (N, C, S, S).
        candidate: how it runs.
        limits: when to end. The result is infinite where the first step is stopped.
    """
    trial = deepcopy(module).train().to(memory_format=candidate.torch_format)
    images = trial_tensor(*shape).contiguous(memory_format=candidate.torch_format)
    stopping, fastest = _stopping_at(limits.stop, trial), math.inf
    with suppress(_Stuck), running(candidate), torch.random.fork_rng(devices=[]), stopping:
        first = fastest = _timed_step(trial, images)
        step, spent = 0, 0.0
        while step < TRIAL_STEPS or spent < TRIAL_SECONDS:
            if time.perf_counter() + min(first, fastest) > limits.enough:
                break
            seconds = _timed_step(trial, images)
            fastest = min(fastest, seconds) if step else seconds
            step, spent = step + 1, spent + seconds
    return fastest


def _timed_step(module: nn.Module, images: torch.Tensor) -> float:
    """The seconds of one training step.

    Args:
        module: images (N, C, S, S) float32 → logits; its gradients change.
        images: (N, C, S, S).
    """
    start = time.perf_counter()
    module.zero_grad()
    module(images).square().mean().backward()
    return time.perf_counter() - start


@contextmanager
def _stopping_at(moment: float, module: nn.Module) -> Iterator[None]:
    """Let a step raise `_Stuck` in the first layer that ends later, forwards or backwards."""

    def look(*_: object) -> None:
        if time.perf_counter() > moment:
            raise _Stuck

    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    hooks = [layer.register_forward_hook(look) for layer in module.modules()]
    hooks += [parameter.register_hook(look) for parameter in parameters]  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Stuck(Exception):
    """A step takes too long, and is stopped."""
