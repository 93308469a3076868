"""Whatever the training runs on: one process or many, CPU, CUDA, MPS or XLA, as accelerate finds
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from torch import Tensor, nn

from tellapart.errors import UserError
from tellapart.options import TrainingOptions

T = TypeVar("T")

_PRECISIONS = {"full": "no", "bf16": "bf16", "fp16": "fp16"}


class Hardware:
    """The device of this process, and its place among the others. One of them, the writer, writes
    all files.

    Not every process trains on the same samples: of each batch, each takes its own part.
    """

    def __init__(self, options: TrainingOptions) -> None:
        # accelerate keeps one state a process, and would refuse a second training with another
        # precision.
        if AcceleratorState._shared_state:
            AcceleratorState._reset_state()
        self.accelerator = Accelerator(mixed_precision=_PRECISIONS[options.precision])
        if options.precision == "fp16" and self.device.type == "cpu":
            raise UserError("training.precision=fp16 needs a GPU.", "Use bf16, or leave it out.")

    @property
    def device(self) -> torch.device:
        """Where the tensors of this process live."""
        device: torch.device = self.accelerator.device
        return device

    @property
    def is_writer(self) -> bool:
        """Whether this process writes the files."""
        return bool(self.accelerator.is_main_process)

    @property
    def share(self) -> tuple[int, int]:
        """Which process this is, of how many."""
        return self.accelerator.process_index, self.accelerator.num_processes

    @property
    def told(self) -> str:
        """What the bits of a training depend on: "cpu, 1 process", for one."""
        world = self.share[1]
        return f"{self.device.type}, {world} process{'es' * (world > 1)}"

    def wrapped(self, module: nn.Module) -> nn.Module:
        """The module as it is called in training: with several processes, one that adds up their
        gradients.
        """
        module.to(self.device)
        return module if self.share[1] == 1 else _prepared(self.accelerator, module)

    def precise(self) -> AbstractContextManager[None]:
        """What the forward pass runs in: autocast, where another precision than full was chosen."""
        return (
            nullcontext()
            if self.accelerator.mixed_precision == "no"
            else _autocast(self.accelerator)
        )

    def silent(self, module: nn.Module) -> AbstractContextManager[None]:
        """What all parts of a batch but the last run in: the processes wait with adding up their
        gradients.
        """
        return nullcontext() if self.share[1] == 1 else _no_sync(self.accelerator, module)

    def backward(self, loss: Tensor) -> None:
        """Gradients, scaled where the precision needs it."""
        self.accelerator.backward(loss)

    @property
    def scaling(self) -> dict[str, Any]:
        """By what the gradients of fp16 are scaled, plain values; nothing with another
        precision.
        """
        scaler = self.accelerator.scaler
        return dict(scaler.state_dict()) if scaler else {}

    def scale_on(self, scaling: Mapping[str, Any]) -> None:
        """Go on with what `scaling` gave."""
        if scaling:
            self.accelerator.scaler.load_state_dict(scaling)

    def summed(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.share[1] == 1:
            return value
        total: Tensor = self.accelerator.reduce(
            torch.tensor([value], dtype=torch.float32, device=self.device)
        )
        return float(total.item())

    def least(self, value: float) -> float:
        """The smallest of a number over all processes."""
        if self.share[1] == 1:
            return value
        every: Tensor = self.accelerator.gather(
            torch.tensor([value], dtype=torch.float32, device=self.device)
        )
        return float(every.min().item())

    def of_writer(self, value: T) -> T:
        """What the writer has, in every process."""
        if self.share[1] == 1:
            return value
        values = [value]
        broadcast_object_list(values)
        return values[0]

    def gathered(self, rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """Rows that the processes took in turn, put together again: (count, C)."""
        world = self.share[1]
        if world == 1:
            return rows
        most = -(-count // world)
        padded = np.zeros((most, rows.shape[1]), np.float32)
        padded[: len(rows)] = rows
        every: Tensor = self.accelerator.gather(torch.from_numpy(padded).to(self.device))
        return np.asarray(
            every.cpu()
            .numpy()
            .reshape(world, most, -1)
            .swapaxes(0, 1)
            .reshape(world * most, -1)[:count]
        )

    def writer_first(self) -> AbstractContextManager[None]:
        """What the writer does before the others begin with it."""
        return nullcontext() if self.share[1] == 1 else _writer_first(self.accelerator)

    def leave_if_helper(self) -> None:
        """The processes that only helped to learn end here: one writes what comes next."""
        self.accelerator.wait_for_everyone()
        if not self.is_writer:
            raise SystemExit(0)


def _prepared(accelerator: Accelerator, module: nn.Module) -> nn.Module:
    prepared: nn.Module = accelerator.prepare_model(module)
    return prepared


def _autocast(accelerator: Accelerator) -> AbstractContextManager[None]:
    context: AbstractContextManager[None] = accelerator.autocast()
    return context


def _no_sync(accelerator: Accelerator, module: nn.Module) -> AbstractContextManager[None]:
    context: AbstractContextManager[None] = accelerator.no_sync(module)
    return context


def _writer_first(accelerator: Accelerator) -> AbstractContextManager[None]:
    context: AbstractContextManager[None] = accelerator.main_process_first()
    return context
