"""The hardware of a training, as accelerate finds it: one process or many, on any device."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, broadcast, broadcast_object_list
from numpy.typing import NDArray
from torch import Tensor, nn

from tellapart.errors import UserError
from tellapart.options import TrainingOptions

T = TypeVar("T")

_PRECISIONS = {"full": "no", "bf16": "bf16", "fp16": "fp16"}


class Hardware:
    """The device of this process, and its place among the others.

    One process, the writer, writes all files. Each process takes its own share of every batch.
    """

    def __init__(self, options: TrainingOptions) -> None:
        # accelerate keeps one state for a whole process. It would refuse a second training with
        # another precision.
        if AcceleratorState._shared_state:
            AcceleratorState._reset_state()
        self.accelerator = Accelerator(mixed_precision=_PRECISIONS[options.precision])
        if options.precision == "fp16" and self.device.type == "cpu":
            raise UserError("training.precision=fp16 needs a GPU.", "Use bf16, or leave it out.")
        kind, world = self.accelerator.distributed_type, self.share[1]
        if kind == DistributedType.XLA and world > 1:
            # There, accelerate adds the gradients up inside its own optimizer, which is not used
            # here: each process would learn alone.
            raise UserError(
                f"Several processes cannot train together on XLA devices ({world} were started).",
                "Start one process.",
            )

    @property
    def device(self) -> torch.device:
        """The device that holds the tensors of this process."""
        device: torch.device = self.accelerator.device
        return device

    @property
    def is_writer(self) -> bool:
        """Whether this process writes the files."""
        return bool(self.accelerator.is_main_process)

    @property
    def share(self) -> tuple[int, int]:
        """The number of this process, from 0, and how many there are."""
        return self.accelerator.process_index, self.accelerator.num_processes

    @property
    def description(self) -> str:
        """Device and processes in words, as "cpu, 1 process". The last bits depend on them."""
        world = self.share[1]
        return f"{self.device.type}, {world} process{'es' * (world > 1)}"

    def wrapped(self, module: nn.Module) -> nn.Module:
        """The module as training calls it. With several processes it averages their gradients."""
        module.to(self.device)
        return module if self.share[1] == 1 else _prepared(self.accelerator, module)

    def autocast(self) -> AbstractContextManager[None]:
        """The context of a forward pass. It casts where another precision than full was chosen."""
        return (
            nullcontext()
            if self.accelerator.mixed_precision == "no"
            else _autocast(self.accelerator)
        )

    def no_sync(self, module: nn.Module) -> AbstractContextManager[None]:
        """The context of all parts of a batch but the last: the processes do not exchange their
        gradients yet, which would cost a transfer a part.
        """
        return nullcontext() if self.share[1] == 1 else _no_sync(self.accelerator, module)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients, scaled where the precision needs it."""
        self.accelerator.backward(loss)

    @property
    def scaler_state(self) -> dict[str, Any]:
        """The state of fp16's gradient scaler, as plain values. Other precisions have none."""
        scaler = self.accelerator.scaler
        return dict(scaler.state_dict()) if scaler else {}

    def load_scaler_state(self, state: Mapping[str, Any]) -> None:
        """Go on with what `scaler_state` gave."""
        if state:
            self.accelerator.scaler.load_state_dict(state)

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
        values: Tensor = self.accelerator.gather(
            torch.tensor([value], dtype=torch.float32, device=self.device)
        )
        return float(values.min().item())

    def of_writer(self, value: T) -> T:
        """The writer's value, in every process."""
        if self.share[1] == 1:
            return value
        values = [value]
        broadcast_object_list(values)
        return values[0]

    def gathered(self, rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """Put the rows together that the processes took in turn: (count, C)."""
        world = self.share[1]
        if world == 1:
            return rows
        most = -(-count // world)
        padded = np.zeros((most, rows.shape[1]), np.float32)
        padded[: len(rows)] = rows
        gathered: Tensor = self.accelerator.gather(torch.from_numpy(padded).to(self.device))
        by_process = gathered.cpu().numpy().reshape(world, most, -1)
        return np.asarray(by_process.swapaxes(0, 1).reshape(world * most, -1)[:count])

    def share_statistics(self, module: nn.Module) -> None:
        """Give all processes the writer's buffers: the running statistics of BatchNorm.

        Each process moves its own in the last step. The writer's are those that are saved.
        """
        if self.share[1] > 1:
            for buffer in module.buffers():
                broadcast(buffer)

    def writer_first(self) -> AbstractContextManager[None]:
        """A context that the writer goes through before the others enter it."""
        return nullcontext() if self.share[1] == 1 else _writer_first(self.accelerator)

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.accelerator.wait_for_everyone()


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
