"""Optimizers: each group at its own rate, and the same steps as torch's plain ones."""

from __future__ import annotations

import pytest
import torch

from tellapart.options import TrainingOptions
from tellapart.training.optimizers import build_optimizer, set_rate

PLAIN = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def parameters() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(4, 3, generator=generator)) for _ in range(2)]


def trained(optimizer: torch.optim.Optimizer, of: list[torch.nn.Parameter]) -> torch.Tensor:
    for _ in range(5):
        optimizer.zero_grad()
        sum((one**2).sum() for one in of).backward()
        optimizer.step()
    return torch.cat([one.detach().flatten() for one in of])


def groups_of(of: list[torch.nn.Parameter]) -> list[dict[str, object]]:
    return [{"params": [of[0]], "scale": 0.1}, {"params": iter([of[1]]), "scale": 1.0}]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_steps_are_those_of_torchs_plain_loop_for_each_group(name: str):
    options = TrainingOptions(optimizer=name, lr=0.01, weight_decay=0.1)
    ours, theirs = parameters(), parameters()
    momentum = {"momentum": 0.9} if name == "sgd" else {}
    groups = [{"params": [theirs[0]], "lr": 0.001}, {"params": [theirs[1]], "lr": 0.01}]
    plain = PLAIN[name](groups, weight_decay=0.1, foreach=False, fused=False, **momentum)
    torch.testing.assert_close(
        trained(build_optimizer(groups_of(ours), options), ours), trained(plain, theirs)
    )


def test_the_rate_of_a_group_is_its_scale_times_that_of_the_head():
    optimizer = build_optimizer(groups_of(parameters()), TrainingOptions(lr=0.5))
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.5]
    set_rate(optimizer, 0.02)
    assert [group["lr"] for group in optimizer.param_groups] == [0.002, 0.02]


def test_momentum_is_the_recipes():
    optimizer = build_optimizer(
        groups_of(parameters()), TrainingOptions(optimizer="sgd", momentum=0.0)
    )
    assert {group["momentum"] for group in optimizer.param_groups} == {0.0}


def test_the_fused_kernel_is_used_on_a_cpu():
    assert build_optimizer(groups_of(parameters()), TrainingOptions()).param_groups[0]["fused"]


def test_where_there_is_no_fused_kernel_the_plain_one_is_used():
    on_meta = torch.nn.Parameter(torch.zeros(2, device="meta"))
    optimizer = build_optimizer([{"params": [on_meta], "scale": 1.0}], TrainingOptions())
    assert not optimizer.param_groups[0]["fused"]
    on_meta.grad = torch.zeros_like(on_meta)
    optimizer.step()
