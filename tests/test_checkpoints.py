"""Checkpoints: written whole, found damaged by their names, and the same training goes on from
them, bit for bit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from tellapart.errors import Refused
from tellapart.progress import Console
from tellapart.training import checkpoints
from tellapart.training.checkpoints import (
    Checkpoints,
    NotFinite,
    most_bytes,
)
from tellapart.training.optimizer_state import load_optimizer, optimizer_tensors
from tellapart.training.state import CheckpointFacts, Progress

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.1),
    "momentum": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda groups: torch.optim.Adam(groups, lr=0.01, foreach=True),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1, foreach=False),
    "fused": lambda groups: torch.optim.AdamW(groups, lr=0.01, fused=True, amsgrad=True),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def console() -> Console:
    return Console(quiet=True)


@pytest.fixture
def kept(tmp_path: Path, console: Console) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", "a1", console)


def state(step: int) -> dict[str, Tensor]:
    return {"weight": torch.full((3, 2), float(step)), "count": torch.tensor(step)}


def names(kept: Checkpoints) -> list[str]:
    """What is in the folder: "step-<n>" or "best-<n>" for ours, the whole name for anything
    else.
    """
    found = sorted(path.name for path in kept.folder.iterdir())
    return [
        f"{name[:4]}-{int(name[5:17])}" if name.endswith(".safetensors") else name for name in found
    ]


def file_of(kept: Checkpoints, step: int, kind: str = "step") -> Path:
    return next(kept.folder.glob(f"{kind}-{step:012}.*"))


def reopened(kept: Checkpoints, console: Console, run_id: str = "a1") -> Checkpoints:
    return Checkpoints(kept.folder, run_id, console)


def rewrite(path: Path, **changes: Any) -> None:
    """The file with other fields (None: without), under the name of its new content."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    about = json.loads(header["__metadata__"]["tellapart.checkpoint"]) | changes
    text = json.dumps({name: value for name, value in about.items() if value is not None})
    put(path, safetensors.torch.save(safetensors.torch.load(data), {"tellapart.checkpoint": text}))


def put(path: Path, data: bytes) -> None:
    path.unlink()
    digest = hashlib.sha256(data).hexdigest()[:32]
    path.with_name(f"{path.name[:17]}.{digest}.safetensors").write_bytes(data)


# ── what is written comes back ──


def test_the_newest_comes_back_as_it_was_saved(kept: Checkpoints, console: Console):
    facts = {"history": [{"epoch": 1, "val_loss": 0.1 + 0.2}], "note": "größer", "best": None}
    kept.save(5, state(5), {})
    kept.save(7, state(7), facts)
    newest = reopened(kept, console).newest()
    assert (newest.step, newest.facts, newest.file) == (7, facts, file_of(kept, 7))
    assert newest.tensors.keys() == state(7).keys()
    assert all(torch.equal(newest.tensors[name], value) for name, value in state(7).items())
    assert console.lines == []


def test_without_a_file_there_is_none(kept: Checkpoints):
    assert kept.newest() is None


def test_the_same_state_gives_the_same_file_and_is_not_written_twice(
    kept: Checkpoints, tmp_path: Path, console: Console
):
    other = Checkpoints(tmp_path / "other", "a1", console)
    kept.save(5, state(5), {"a": 1, "b": 2})
    before = file_of(kept, 5).stat()
    kept.save(5, state(5), {"a": 1, "b": 2})
    other.save(5, dict(reversed(state(5).items())), {"a": 1, "b": 2})
    assert file_of(kept, 5).stat() == before
    assert file_of(kept, 5).name == file_of(other, 5).name


def test_the_name_holds_the_digest_of_the_content(kept: Checkpoints):
    kept.save(5, state(5), {})
    digest = hashlib.sha256(file_of(kept, 5).read_bytes()).hexdigest()
    assert file_of(kept, 5).name == f"step-000000000005.{digest[:32]}.safetensors"


def test_tensors_of_any_layout_and_shared_ones_are_kept_by_value(kept: Checkpoints):
    images = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    odd = {
        "last": images,
        "turned": images[0, 0].T,
        "shared": images[0],
        "wide": torch.ones(1).expand(4),
    }
    kept.save(1, odd | {"learns": nn.Parameter(images[1])}, {})
    tensors = kept.newest().tensors
    assert all(
        torch.equal(tensors[name], value) and tensors[name].is_contiguous()
        for name, value in odd.items()
    )
    assert torch.equal(tensors["learns"], images[1])


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_not_finite_is_never_written(kept: Checkpoints, wrong: float):
    kept.save(1, state(1), {})
    for save in (kept.save, kept.save_best):
        with pytest.raises(NotFinite, match="weight holds NaN or infinity"):
            save(2, {"weight": torch.tensor([1.0, wrong])}, {})
        with pytest.raises(ValueError, match="not JSON compliant"):
            save(2, state(2), {"loss": wrong})
    assert names(kept) == ["step-1"]


# ── what is kept ──


def test_the_newest_two_are_kept_and_the_bests_that_they_refer_to(kept: Checkpoints):
    best = ""
    for step, bests in (
        (10, [10]),
        (20, [10, 20]),
        (30, [20]),
        (40, [20]),
        (50, [20, 50]),
        (60, [50]),
        (70, [50]),
    ):
        if step == bests[-1]:
            best = kept.save_best(step, state(step), {})
        kept.save(step, state(step), {"best": best})
        steps = [step] if step == 10 else [step - 10, step]
        assert names(kept) == [*(f"best-{old}" for old in bests), *(f"step-{old}" for old in steps)]
    assert torch.equal(kept.load_best(best).tensors["weight"], state(50)["weight"])


def test_a_best_that_no_checkpoint_refers_to_yet_is_kept(kept: Checkpoints, console: Console):
    best = kept.save_best(10, state(10), {})
    kept.save(10, state(10), {"best": best})
    kept.save_best(20, state(20), {})
    again = reopened(kept, console)
    assert again.newest().step == 10
    again.save(15, state(15), {"best": best})
    assert names(kept) == ["best-10", "best-20", "step-10", "step-15"]


def test_a_step_saved_again_with_more_facts_replaces_the_first(kept: Checkpoints, console: Console):
    kept.save(10, state(10), {})
    kept.save(20, state(20), {})
    kept.save(20, state(20), {"epoch": 1})
    assert names(kept) == ["step-10", "step-20"]
    assert reopened(kept, console).newest().facts == {"epoch": 1}


def test_only_its_own_files_are_removed(kept: Checkpoints):
    kept.folder.mkdir()
    others = [
        "step-1.safetensors",
        f"step-000000000001.{'0' * 31}.safetensors",
        ".keep.part",
        "lock",
    ]
    for name in others:
        (kept.folder / name).write_text("mine")
    left = ".step-000000000001.ab.x8_k2lmn.part"  # as a killed process leaves it
    (kept.folder / left).write_text("half")
    for step in (1, 2, 3):
        kept.save(step, state(step), {})
    found = {path.name for path in kept.folder.iterdir()}
    assert found == {*others, file_of(kept, 2).name, file_of(kept, 3).name}


def test_what_is_written_comes_before_what_is_removed(
    kept: Checkpoints, monkeypatch: pytest.MonkeyPatch
):
    for step in (1, 2):
        kept.save(step, state(step), {"best": kept.save_best(step, state(step), {})})

    def full(path: Path, data: bytes) -> None:
        raise Refused("The disk is full.")

    before = names(kept)
    monkeypatch.setattr(checkpoints, "write_whole", full)
    with pytest.raises(Refused, match="disk is full"):
        kept.save(3, state(3), {})
    assert names(kept) == before


def test_they_never_take_more_than_is_said(kept: Checkpoints):
    for step in range(1, 9):
        kept.save(
            step,
            {"weight": torch.zeros(30_000)},
            {"best": kept.save_best(step, {"w": torch.ones(10_000)}, {})},
        )
        size = sum(path.stat().st_size for path in kept.folder.iterdir())
        assert size < most_bytes(40_000, 80_000)


# ── damage ──


def flip_one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "half": (
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        "was cut short or changed",
    ),
    "flipped": (flip_one_bit, "was cut short or changed"),
    "strange": (lambda path: put(path, b"\x10\0\0\0\0\0\0\0" + b"[" * 16), "holds no checkpoint"),
    "another": (lambda path: rewrite(path, run="b2"), "belongs to another run"),
    "newer": (
        lambda path: rewrite(path, format=2, tellapart="9.1", more=1),
        r"was written by tellapart 9\.1 in format 2 \(this is tellapart \d[\d.]+, of format 1\)",
    ),
    "more": (lambda path: rewrite(path, ema=1), r"has unknown or missing fields \(ema\)"),
    "less": (lambda path: rewrite(path, facts=None), r"has unknown or missing fields \(facts\)"),
    "renamed": (lambda path: rewrite(path, step=1), r"was renamed \(it holds step 1\)"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), r"cannot be read \(is a directory\)"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_named_and_the_one_before_is_used(
    kept: Checkpoints, console: Console, damage: str
):
    harm, says = DAMAGES[damage]
    for step in (10, 20):
        kept.save(step, state(step), {})
    harm(file_of(kept, 20))
    assert reopened(kept, console).newest().step == 10
    assert len(console.lines) == 1
    assert re.search(rf"step-0+20\.\w+\.safetensors {says}.*; it is passed over$", console.lines[0])


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_all_are_damaged_it_never_starts_again_silently(
    kept: Checkpoints, console: Console, damage: str
):
    harm, says = DAMAGES[damage]
    kept.save(10, state(10), {})
    harm(file_of(kept, 10))
    with pytest.raises(
        Refused, match=rf"No checkpoint in .+ can be used: step-0+10\.\w+\.safetensors {says}"
    ):
        reopened(kept, console).newest()


def test_the_newest_is_so_by_step_whatever_the_dates_say(kept: Checkpoints, console: Console):
    for step in (999, 1000):
        kept.save(step, state(step), {})
    os.utime(file_of(kept, 999), (2e9, 2e9))
    assert reopened(kept, console).newest().step == 1000


def test_after_going_back_the_damaged_one_does_not_count_as_kept(
    kept: Checkpoints, console: Console
):
    for step in (10, 20):
        kept.save(step, state(step), {})
    flip_one_bit(file_of(kept, 20))
    again = reopened(kept, console)
    again.newest()
    again.save(15, state(15), {})
    assert names(kept) == ["step-10", "step-15", "step-20"]
    again.save(25, state(25), {})
    assert names(kept) == ["step-15", "step-25"]


def test_a_checkpoint_whose_best_is_damaged_is_passed_over(kept: Checkpoints, console: Console):
    for step in (10, 20):
        best = kept.save_best(step, state(step), {})
        kept.save(step, state(step), {"best": best})
    flip_one_bit(file_of(kept, 20, "best"))
    assert reopened(kept, console).newest().step == 10
    assert "step-000000000020" in console.lines[0]
    assert f"needs {best}, which was cut short or changed" in console.lines[0]
    with pytest.raises(Refused, match="was cut short or changed"):
        kept.load_best(best)


@pytest.mark.parametrize(
    ("name", "says"),
    [(f"best-{1:012}.{'0' * 32}.safetensors", "cannot be read"), ("../x", "is no name of a check")],
)
def test_a_best_that_is_not_there_is_refused(kept: Checkpoints, name: str, says: str):
    with pytest.raises(Refused, match=says):
        kept.load_best(name)


def test_no_damage_at_all_is_ever_loaded(kept: Checkpoints, console: Console):
    kept.save(10, state(10), {"epoch": 1})
    path = file_of(kept, 10)
    whole, chance = path.read_bytes(), random.Random(0)
    for _ in range(200):
        data = bytearray(whole)
        data[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(data if chance.random() < 0.8 else whole[: chance.randrange(len(whole))])
        with pytest.raises(Refused):
            reopened(kept, console).newest()


# ── the same training goes on ──


class Training:
    """A small net of all kinds of layers, two groups of parameters, one of them frozen at first;
    keyed data.
    """

    def __init__(self, optimizer: str, layout: torch.memory_format) -> None:
        torch.manual_seed(3)
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 4, 3),
            nn.Flatten(),
            nn.Linear(64, 3),
        ).to(memory_format=layout)
        groups = [
            {"params": self.net[:3].parameters()},
            {"params": self.net[3:].parameters(), "lr": 0.05},
        ]
        self.optimizer = OPTIMIZERS[optimizer](groups)

    def run(self, first: int, last: int) -> None:
        for step in range(first, last):
            self.net[3].requires_grad_(step >= 7)  # takes its first step after the checkpoint
            chance = torch.Generator().manual_seed(step)
            images = torch.randn(8, 3, 8, 8, generator=chance)
            loss = nn.functional.cross_entropy(self.net(images), torch.arange(8) % 3)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def tensors(self) -> dict[str, Tensor]:
        return {**self.net.state_dict(), **optimizer_tensors(self.optimizer)[0]}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_five_steps_and_five_more_are_ten_steps(
    kept: Checkpoints, console: Console, optimizer: str, layout: torch.memory_format
):
    whole, first, second = (Training(optimizer, layout) for _ in range(3))
    whole.run(0, 10)
    first.run(0, 5)
    kept.save(5, first.tensors(), optimizer_tensors(first.optimizer)[1])
    found = reopened(kept, console).newest()
    second.net.load_state_dict({name: found.tensors[name] for name in second.net.state_dict()})
    load_optimizer(second.optimizer, found.tensors, found.facts)
    second.run(5, 10)
    expected, got = whole.tensors(), second.tensors()
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_the_state_of_an_optimizer_lies_in_memory_as_its_parameters_do(kept: Checkpoints):
    first, second = (Training("adam", torch.channels_last) for _ in range(2))
    first.run(0, 8)
    load_optimizer(second.optimizer, *optimizer_tensors(first.optimizer))
    weight = second.net[3].weight
    assert second.optimizer.state[weight]["exp_avg"].stride() == weight.stride()


def test_what_an_optimizer_remembers_is_copied(kept: Checkpoints):
    first, second = (Training("adam", torch.contiguous_format) for _ in range(2))
    first.run(0, 1)
    tensors, facts = optimizer_tensors(first.optimizer)
    load_optimizer(second.optimizer, tensors, facts)
    first.run(1, 2)
    assert second.optimizer.state[second.net[0].weight]["step"] == 1


def test_plain_values_of_an_optimizer_are_facts():
    one = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([one], lr=0.1)
    optimizer.state[one] = {"momentum_buffer": None, "seen": 3}
    tensors, facts = optimizer_tensors(optimizer)
    assert tensors == {}
    other = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1)
    load_optimizer(other, tensors, json.loads(json.dumps(facts)))
    assert optimizer_tensors(other) == (tensors, facts)


@pytest.mark.parametrize("sizes", [[3], [2, 2]])
def test_the_state_of_other_parameters_is_refused_whole(sizes: list[int]):
    def adam(sizes: list[int]) -> torch.optim.Optimizer:
        parameters = [nn.Parameter(torch.ones(size)) for size in sizes]
        optimizer = torch.optim.Adam(parameters)
        sum(parameter.sum() for parameter in parameters).backward()
        optimizer.step()
        return optimizer

    mine = adam([2])
    before = {name: value.clone() for name, value in optimizer_tensors(mine)[0].items()}
    with pytest.raises(
        Refused, match=r"is of another network or optimizer: optimizer/0/\d/\w+ does not fit"
    ):
        load_optimizer(mine, *optimizer_tensors(adam(sizes)))
    after = optimizer_tensors(mine)[0]
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_facts_of_a_checkpoint_are_the_fields_of_the_progress():
    fields = {field.name for field in dataclasses.fields(Progress)}
    assert set(CheckpointFacts.__annotations__) == fields
