"""How a network runs: the threads of torch, the memory format and the kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

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
