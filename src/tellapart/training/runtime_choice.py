"""The threads, memory format and kernels with which a network runs fastest on this CPU. They are
measured, not assumed, and remembered.

Two threads were four times slower than one for a network of 60,000 parameters, and nearly twice as
fast for others. The same network took a fifth less time without oneDNN, whose calls have a fixed
cost. Larger networks take twice as long without it.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from tellapart.cache import RuntimeMemory
from tellapart.cores import usable_cores
from tellapart.machine import MachineWatch, machine_facts
from tellapart.options import TrainingOptions
from tellapart.training.runtime import MemoryFormat, RuntimeSettings
from tellapart.training.speed_trials import (
    FEW_IMAGES,
    TRIAL_IMAGES,
    StepTimer,
    Trials,
    step_seconds,
)

WATCHED_SECONDS = 0.2  # how long the machine is watched before a remembered choice is taken


def choose_runtime(
    module: nn.Module,
    shape: tuple[int, int, int],
    options: TrainingOptions,
    device: torch.device,
    *,
    num_images: int,
    timer: StepTimer | None = None,
    memory: RuntimeMemory | None = None,
) -> RuntimeSettings:
    """The fastest settings among those that the options leave open: remembered, or measured.

    On another device than the CPU nothing is measured. What is measured while others use the
    machine is not remembered, and what is remembered is not taken while they do.

    Args:
        module: images (N, C, S, S) float32 → logits; it stays as it is, a copy is tried.
        shape: (C, S, S).
        options: threads and memory_format, where they are set.
        device: that it will train on.
        num_images: images in an epoch.
        timer: measures a step. None means `step_seconds`.
        memory: of what was measured before. None means that nothing is remembered.
    """
    threads = [options.threads] if options.threads else sorted({1, usable_cores()})
    formats: list[MemoryFormat] = ["channels_last", "contiguous"]
    if options.memory_format != "measured":
        formats = [options.memory_format]
    if device.type != "cpu":
        return RuntimeSettings(threads[-1], formats[0])
    # One thread comes first, as it cannot be stuck. For large networks the number of threads
    # decides more than the format, and there may be time for few trials.
    ways = [RuntimeSettings(number, formats[0]) for number in threads]
    ways += [RuntimeSettings(number, form) for form in formats[1:] for number in threads[::-1]]
    count = max(FEW_IMAGES, min(TRIAL_IMAGES, -(-options.batch_size // options.accumulation)))
    key = runtime_key(module, (count, *shape), ways)
    kept = _kept(memory.recall(key)) if memory else None
    if kept and not _is_busy_now():
        return kept
    watch = MachineWatch()
    trials = Trials(module, shape, count, timer or step_seconds, options, num_images)
    best = trials.fastest(ways)
    if memory and math.isfinite(best.seconds) and not watch.is_busy():
        memory.remember(key, best.as_json())
    return best


def runtime_key(
    module: nn.Module, shape: tuple[int, int, int, int], ways: list[RuntimeSettings]
) -> str:
    """What decides how fast each way is: the network's form, its input, torch and the machine."""
    parts = [
        str(module),
        [(name, list(tensor.shape)) for name, tensor in module.state_dict().items()],
        [name for name, parameter in module.named_parameters() if parameter.requires_grad],
        list(shape),
        [(way.threads, way.memory_format) for way in ways],
        torch.__version__,
        *machine_facts(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _kept(values: Any) -> RuntimeSettings | None:
    """Remembered settings; None where there are none, or of another form."""
    names = {field.name for field in fields(RuntimeSettings)}
    return RuntimeSettings(**values) if values and set(values) == names else None


def _is_busy_now() -> bool:
    watch = MachineWatch()
    time.sleep(WATCHED_SECONDS)
    return watch.is_busy()
