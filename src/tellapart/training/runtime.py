"""The threads, memory format and kernels with which a network runs fastest on this CPU. They are
measured, not assumed.

Two threads were four times slower than one for a network of 60,000 parameters, and nearly twice as
fast for others. The same network took a fifth less time without oneDNN, whose calls have a fixed
cost. Larger networks take twice as long without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from tellapart.cores import usable_cores
from tellapart.models.trial import trial_tensor
from tellapart.options import TrainingOptions

TRIAL_IMAGES = 16  # the most images in a trial step
TRIAL_STEPS = 3  # the fewest trial steps
# The shortest trial: a step of a small network is over before a busy machine shows itself.
TRIAL_SECONDS = 0.1
# A step that would take longer is not made: two images tell how long it takes.
SLOW_STEP_SECONDS = 2.0
FEW_IMAGES = 2
HOPELESS = 1.3  # a way that is so many times slower in its first step is not tried further
# The same of a forward pass, which is stopped. Where others use the cores, threads wait for each
# other in every layer. The first pass also makes the kernels, which may take a second.
STUCK, STUCK_SECONDS = 3.0, 2.0
# All trials may take this share of the training, but so many seconds at least and at most.
TRIALS_SHARE, TRIALS_SECONDS = 0.05, (2.0, 30.0)
# In a step that takes longer, the fixed cost of oneDNN's calls hardly counts.
SMALL_STEP_SECONDS = 0.01

LOOKING_SHARE = 0.4  # an evaluated image takes this share of the time that it takes in training

MemoryFormat = Literal["contiguous", "channels_last"]


@dataclass(frozen=True)
class RuntimeSettings:
    """How the network runs. Other settings give the same numbers but for their last bits.

    Args:
        threads: the threads of torch.
        memory_format: the layout of images and weights in memory.
        seconds: the time of one image in training; 0 where nothing was measured.
        kept_bytes: the memory that the outputs of a frozen part may take.
        onednn: whether torch calls oneDNN's kernels rather than its own.
    """

    threads: int
    memory_format: MemoryFormat
    seconds: float = 0.0
    kept_bytes: int = 0
    onednn: bool = True

    @property
    def torch_format(self) -> torch.memory_format:
        """The memory format as torch names it."""
        return {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}[
            self.memory_format
        ]

    @property
    def looking_seconds(self) -> float:
        """The seconds of evaluating one image, estimated from its time in training."""
        return LOOKING_SHARE * self.seconds

    def as_json(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self)


# The module, the shape of its input, the settings to try, and the fastest step so far → seconds.
StepTimer = Callable[[nn.Module, tuple[int, int, int, int], RuntimeSettings, float], float]


def choose_runtime(
    module: nn.Module,
    shape: tuple[int, int, int],
    options: TrainingOptions,
    device: torch.device,
    *,
    num_images: int,
    timer: StepTimer | None = None,
) -> RuntimeSettings:
    """Measure the fastest settings among those that the options leave open.

    On another device than the CPU nothing is measured. Trials end early where they would take more
    than a small share of the training: one thread is tried first, as it cannot be stuck.

    Args:
        module: images (N, C, S, S) float32 → logits; it stays as it is, a copy is tried.
        shape: (C, S, S).
        options: threads and memory_format, where they are set.
        device: that it will train on.
        num_images: images in an epoch.
        timer: measures a step. None means `step_seconds`.
    """
    timer = timer or step_seconds
    threads = [options.threads] if options.threads else sorted({1, usable_cores()})
    formats: list[MemoryFormat] = ["channels_last", "contiguous"]
    if options.memory_format != "measured":
        formats = [options.memory_format]
    best = RuntimeSettings(threads[0], formats[0])
    if device.type != "cpu":
        return replace(best, threads=threads[-1])
    count = max(2, min(TRIAL_IMAGES, -(-options.batch_size // options.accumulation)))
    trials = _Trials(module, (count, *shape), timer, num_images * options.epochs / count)
    for form in formats:
        ways = [replace(best, threads=number, memory_format=form) for number in threads]
        # Of the second format, the number of threads that was best of the first comes first.
        best = trials.fastest(best, sorted(ways, key=lambda way: way.threads != best.threads))
    if options.memory_format == "measured" and best.seconds < SMALL_STEP_SECONDS:
        ways = [RuntimeSettings(number, form) for form in formats for number in threads]
        best = trials.fastest(best, [replace(way, onednn=False) for way in ways])
    return replace(best, seconds=best.seconds / count)


class _Trials:
    """The trials of one network, until their time is up.

    Args:
        module: what is tried.
        shape: (N, C, S, S) of a step.
        timer: measures a step.
        num_steps: how many of such steps the training has.
    """

    def __init__(
        self,
        module: nn.Module,
        shape: tuple[int, int, int, int],
        timer: StepTimer,
        num_steps: float,
    ) -> None:
        self._module, self._shape, self._timer = module, shape, timer
        self._num_steps, self._start = num_steps, time.perf_counter()

    def fastest(self, best: RuntimeSettings, candidates: list[RuntimeSettings]) -> RuntimeSettings:
        """The best settings so far, or a candidate whose step takes less time.

        `seconds` is the time of a whole step here.
        """
        for candidate in candidates:
            if best.seconds and time.perf_counter() - self._start > self._limit(best):
                break
            seconds = self._timer(self._module, self._shape, candidate, best.seconds)
            if not best.seconds or seconds < best.seconds:
                best = replace(candidate, seconds=seconds)
        return best

    def _limit(self, best: RuntimeSettings) -> float:
        shortest, longest = TRIALS_SECONDS
        return min(longest, max(shortest, TRIALS_SHARE * best.seconds * self._num_steps))


@contextmanager
def running(runtime: RuntimeSettings) -> Iterator[None]:
    """Run torch with these threads and kernels."""
    threads, onednn = torch.get_num_threads(), torch.backends.mkldnn.enabled
    torch.set_num_threads(runtime.threads)
    torch.backends.mkldnn.enabled = onednn and runtime.onednn  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.mkldnn.enabled = onednn


def step_seconds(
    module: nn.Module, shape: tuple[int, int, int, int], candidate: RuntimeSettings, best: float
) -> float:
    """The seconds of one training step: the fastest of several, after one that warms up.

    Args:
        module: images (N, C, S, S) float32 → logits; a copy of it is trained.
        shape: (N, C, S, S).
        candidate: how it runs.
        best: seconds of the fastest so far; a candidate that is far behind ends early.
    """
    trial = deepcopy(module).train().to(memory_format=candidate.torch_format)
    images = trial_tensor(*shape).contiguous(memory_format=candidate.torch_format)
    few = images[:FEW_IMAGES]
    more = len(images) / len(few)
    with running(candidate), torch.random.fork_rng(devices=[]):
        try:
            # The first one warms up.
            estimate = [more * _timed_step(trial, few, best / more) for _ in range(2)][-1]
        except _Stuck:
            return float("inf")
        if estimate > SLOW_STEP_SECONDS:
            return estimate
        fastest = float("inf")
        step, spent = 0, 0.0
        while step <= TRIAL_STEPS or spent < TRIAL_SECONDS:
            seconds = _timed_step(trial, images, 0.0)
            fastest = min(fastest, seconds) if step else fastest
            if step == 1 and best and seconds > HOPELESS * best:
                break
            step, spent = step + 1, spent + seconds
    return fastest


def _timed_step(module: nn.Module, images: torch.Tensor, best: float) -> float:
    """The seconds of one training step.

    Args:
        module: images (N, C, S, S) float32 → logits; its gradients change.
        images: (N, C, S, S).
        best: seconds of the fastest so far; 0 where there is none.

    Raises:
        _Stuck: the forward pass takes many times as long.
    """
    start = time.perf_counter()
    deadline = start + max(STUCK * best, STUCK_SECONDS)

    def look(*_: object) -> None:
        if time.perf_counter() > deadline:
            raise _Stuck

    layers = module.modules() if best else ()
    hooks = [layer.register_forward_hook(look) for layer in layers]
    try:
        module.zero_grad()
        module(images).square().mean().backward()
    finally:
        for hook in hooks:
            hook.remove()
    return time.perf_counter() - start


class _Stuck(Exception):
    """A forward pass takes far too long, and is stopped."""
