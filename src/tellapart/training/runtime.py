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

from tellapart.models.trial import trial_tensor
from tellapart.options import TrainingOptions
from tellapart.threads import usable_cores

TRIAL_IMAGES = 16  # the most images in a trial step
TRIAL_STEPS = 3  # the fewest trial steps
# The shortest trial: a step of a small network is over before a busy machine shows itself.
TRIAL_SECONDS = 0.1
HOPELESS = 1.3  # a way that is so many times slower in its first step is not tried further
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
    timer: StepTimer | None = None,
) -> RuntimeSettings:
    """Measure the fastest settings among those that the options leave open.

    On another device than the CPU nothing is measured.

    Args:
        module: images (N, C, S, S) float32 → logits; it stays as it is, a copy is tried.
        shape: (C, S, S).
        options: threads and memory_format, where they are set.
        device: that it will train on.
        timer: measures a step. None means `step_seconds`.
    """
    timer = timer or step_seconds
    threads = [options.threads] if options.threads else sorted({1, usable_cores()})
    formats: list[MemoryFormat] = ["channels_last", "contiguous"]
    if options.memory_format != "measured":
        formats = [options.memory_format]
    best = RuntimeSettings(threads[-1], formats[0])
    if device.type != "cpu":
        return best
    count = max(2, min(TRIAL_IMAGES, -(-options.batch_size // options.accumulation)))
    ways = [RuntimeSettings(number, form) for form in formats for number in reversed(threads)]
    best = _fastest(module, (count, *shape), best, ways, timer)
    if options.memory_format == "measured" and best.seconds < SMALL_STEP_SECONDS:
        without_onednn = [replace(way, onednn=False) for way in ways]
        best = _fastest(module, (count, *shape), best, without_onednn, timer)
    return replace(best, seconds=best.seconds / count)


def _fastest(
    module: nn.Module,
    shape: tuple[int, int, int, int],
    best: RuntimeSettings,
    candidates: list[RuntimeSettings],
    timer: StepTimer,
) -> RuntimeSettings:
    """The best settings so far, or a candidate whose step takes less time.

    `seconds` is the time of a whole step here.
    """
    for candidate in candidates:
        seconds = timer(module, shape, candidate, best.seconds)
        if not best.seconds or seconds < best.seconds:
            best = replace(candidate, seconds=seconds)
    return best


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
    fastest = float("inf")
    with running(candidate), torch.random.fork_rng(devices=[]):
        step, spent = 0, 0.0
        while step <= TRIAL_STEPS or spent < TRIAL_SECONDS:
            start = time.perf_counter()
            trial.zero_grad()
            trial(images).square().mean().backward()
            seconds = time.perf_counter() - start
            fastest = min(fastest, seconds) if step else fastest
            if step == 1 and best and seconds > HOPELESS * best:
                break
            step, spent = step + 1, spent + seconds
    return fastest
