"""One process: all is its own, and what needs a GPU is refused without one. Several processes:
tests of whole runs.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn

from tellapart.errors import UserError
from tellapart.options import TrainingOptions
from tellapart.training.hardware import Hardware


def test_a_single_process_writes_and_has_all_of_each_batch():
    hardware = Hardware(TrainingOptions())
    assert hardware.is_writer
    assert hardware.share == (0, 1)


def test_a_single_process_gathers_and_sums_what_it_has():
    hardware, rows = Hardware(TrainingOptions()), np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(hardware.gathered(rows, 3), rows)
    assert hardware.summed(0.1) == 0.1


def test_a_single_process_wraps_nothing_and_waits_for_nobody():
    hardware, module = Hardware(TrainingOptions()), nn.Linear(2, 1)
    assert hardware.wrapped(module) is module
    with hardware.writer_first(), hardware.no_sync(module):
        hardware.backward(module(torch.ones(1, 2)).sum())
    hardware.wait()
    assert module.weight.grad.tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("precision", "dtype"), [("full", torch.float32), ("bf16", torch.bfloat16)]
)
def test_the_forward_pass_has_the_precision_asked_for(precision: str, dtype: torch.dtype):
    with Hardware(TrainingOptions(precision=precision)).autocast():
        assert nn.Linear(2, 1)(torch.ones(1, 2)).dtype == dtype


def test_a_second_training_may_have_another_precision():
    kinds = [
        Hardware(TrainingOptions(precision=one)).accelerator.mixed_precision
        for one in ("bf16", "full", "bf16")
    ]
    assert kinds == ["bf16", "no", "bf16"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_fp16_is_refused_without_a_gpu():
    with pytest.raises(
        UserError, match=r"training.precision=fp16 needs a GPU. Use bf16, or leave it out"
    ):
        Hardware(TrainingOptions(precision="fp16"))
    assert Hardware(TrainingOptions()).accelerator.mixed_precision == "no"


def test_several_processes_on_xla_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Accelerator, "distributed_type", DistributedType.XLA)
    monkeypatch.setattr(Accelerator, "num_processes", 4)
    with pytest.raises(UserError, match=r"cannot train together on XLA devices \(4 were started\)"):
        Hardware(TrainingOptions())
    monkeypatch.setattr(Accelerator, "num_processes", 1)
    assert Hardware(TrainingOptions()).share == (0, 1)
