"""How a network runs fastest: measured among what the options leave open, and nothing else is
changed by it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from helpers.training import classifier_of, same_bits, small_recipe
from tellapart.models.classifier import Classifier
from tellapart.options import TrainingOptions
from tellapart.training import runtime
from tellapart.training.runtime import RuntimeSettings, choose_runtime, running

CPU = torch.device("cpu")
SHAPE = (3, 32, 32)


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    """A number that nothing here would choose."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def cnn() -> Classifier:
    return classifier_of(small_recipe({"backbone.name": "cnn"}))


class MadeUpTimer:
    """Takes so many seconds for an image in each way, and so many times as many without oneDNN.

    It lists the ways that it was asked about.
    """

    def __init__(self, seconds: dict[tuple[int, str], float], without_onednn: float = 2.0) -> None:
        self.tried: list[tuple[int, str]] = []
        self._seconds, self._without_onednn = seconds, without_onednn

    def __call__(
        self, module: nn.Module, shape: tuple[int, ...], candidate: RuntimeSettings, best: float
    ) -> float:
        way = (candidate.threads, candidate.memory_format)
        self.tried.append(way)
        return self._seconds[way] * shape[0] * (1 if candidate.onednn else self._without_onednn)


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "usable_cores", lambda: 4)


ALL = {
    (1, "contiguous"): 4.0,
    (4, "contiguous"): 3.0,
    (1, "channels_last"): 1.0,
    (4, "channels_last"): 2.0,
}


def test_the_fastest_way_is_chosen_with_its_seconds_a_image(cnn: Classifier):
    timer = MadeUpTimer(ALL)
    assert choose_runtime(
        cnn, SHAPE, TrainingOptions(), CPU, num_images=1000, timer=timer
    ) == RuntimeSettings(1, "channels_last", 1.0)
    assert set(timer.tried) == set(ALL)


def test_threads_and_format_that_are_given_are_kept(cnn: Classifier):
    timer = MadeUpTimer({**ALL, (2, "contiguous"): 9.0, (2, "channels_last"): 8.0})
    assert (
        choose_runtime(
            cnn, SHAPE, TrainingOptions(threads=2), CPU, num_images=1000, timer=timer
        ).threads
        == 2
    )
    assert choose_runtime(
        cnn, SHAPE, TrainingOptions(memory_format="contiguous"), CPU, num_images=1000, timer=timer
    ) == RuntimeSettings(4, "contiguous", 3.0)
    both = TrainingOptions(threads=2, memory_format="contiguous")
    assert choose_runtime(cnn, SHAPE, both, CPU, num_images=1000, timer=timer) == RuntimeSettings(
        2, "contiguous", 9.0
    )
    assert timer.tried[-1] == (2, "contiguous")


@pytest.mark.parametrize(("scale", "tried_without"), [(1e-4, True), (1e-3, False)])
@pytest.mark.parametrize("times", [0.5, 2.0])
def test_small_steps_are_tried_without_onednn(
    cnn: Classifier,
    scale: float,
    tried_without: bool,
    times: float,
):
    """A trial is of 16 images, so its fastest way takes 1.6 or 16 ms."""
    timer = MadeUpTimer({way: scale * value for way, value in ALL.items()}, times)
    best = RuntimeSettings(1, "channels_last", scale)
    faster = tried_without and times < 1
    wanted = replace(best, seconds=scale * times, onednn=False) if faster else best
    found = choose_runtime(cnn, SHAPE, TrainingOptions(), CPU, num_images=1000, timer=timer)
    assert replace(found, seconds=0) == replace(wanted, seconds=0)
    assert found.seconds == pytest.approx(wanted.seconds)
    assert len(timer.tried) == len(ALL) * (1 + tried_without)
    assert choose_runtime(
        cnn,
        SHAPE,
        TrainingOptions(memory_format="channels_last"),
        CPU,
        num_images=1000,
        timer=timer,
    ).onednn


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 16), ({"batch_size": 6}, 6), ({"accumulation": 16}, 2), ({"accumulation": 4}, 8)],
)
def test_a_trial_is_as_large_as_a_part_of_a_batch(
    cnn: Classifier, options: dict[str, int], count: int
):
    sizes: list[int] = []

    def timer(module: nn.Module, shape: tuple[int, ...], *_: object) -> float:
        sizes.append(shape[0])
        return 1.0

    choose_runtime(cnn, SHAPE, TrainingOptions(**options), CPU, num_images=1000, timer=timer)
    assert set(sizes) == {count}


def test_trying_leaves_everything_as_it_was(cnn: Classifier):
    cnn.head.insert(0, nn.Dropout(0.5))
    cnn.eval()
    before, drawn = (
        {name: value.clone() for name, value in cnn.state_dict().items()},
        torch.get_rng_state(),
    )
    found = choose_runtime(
        cnn, SHAPE, TrainingOptions(batch_size=4, threads=1), CPU, num_images=1000
    )
    assert found.seconds > 0
    assert same_bits(cnn.state_dict(), before)
    assert torch.get_num_threads() == 3
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not any(module.training for module in cnn.modules())
    assert all(parameter.grad is None for parameter in cnn.parameters())
    weight: Tensor = cnn.embedder.network.blocks[0][0].weight
    assert weight.is_contiguous()


def test_one_thread_is_tried_first(cnn: Classifier):
    timer = MadeUpTimer(ALL)
    choose_runtime(cnn, SHAPE, TrainingOptions(), CPU, num_images=1000, timer=timer)
    assert timer.tried[0] == (1, "channels_last")


@pytest.mark.parametrize(("num_images", "tried"), [(1, 1), (10**9, 4)])
def test_trials_end_when_they_have_taken_their_share_of_the_training(
    cnn: Classifier, monkeypatch: pytest.MonkeyPatch, num_images: int, tried: int
):
    monkeypatch.setattr(runtime, "TRIALS_SECONDS", (0.0, 60.0))
    timer = MadeUpTimer({way: 1e-7 * seconds for way, seconds in ALL.items()}, 1e6)
    options = TrainingOptions(memory_format="measured", epochs=1)
    monkeypatch.setattr(runtime, "SMALL_STEP_SECONDS", 0.0)
    choose_runtime(cnn, SHAPE, options, CPU, num_images=num_images, timer=timer)
    assert len(timer.tried) == tried


class Slow(nn.Module):
    """Takes so many seconds for each pass, and notes how many images it was given."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 32 * 32, 2)
        self.seconds, self.counts = seconds, []

    def __deepcopy__(self, memo: object) -> Slow:
        return self

    def forward(self, images: Tensor) -> Tensor:
        self.counts.append(len(images))
        time.sleep(self.seconds)
        return self.linear(images.flatten(1))


WAY = RuntimeSettings(1, "contiguous")


def test_a_way_that_is_stuck_is_left_in_the_middle_of_a_step(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runtime, "STUCK_SECONDS", 0.01)
    slow = Slow(0.05)
    assert runtime.step_seconds(slow, (16, *SHAPE), WAY, 0.02) == float("inf")
    assert slow.counts == [2]
    assert torch.get_num_threads() == 3


def test_of_a_slow_step_a_few_images_are_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runtime, "SLOW_STEP_SECONDS", 0.1)
    slow = Slow(0.02)
    assert runtime.step_seconds(slow, (16, *SHAPE), WAY, 0.0) >= 8 * 0.02
    assert slow.counts == [2, 2]


def test_of_a_fast_step_all_images_are_measured():
    fast = Slow(0.0)
    runtime.step_seconds(fast, (16, *SHAPE), WAY, 0.0)
    assert fast.counts[-1] == 16


@pytest.mark.parametrize("onednn", [True, False])
def test_running_sets_the_threads_and_kernels_and_puts_them_back(onednn: bool):
    before = torch.backends.mkldnn.enabled
    with running(RuntimeSettings(1, "contiguous", onednn=onednn)):
        assert torch.get_num_threads() == 1
        assert torch.backends.mkldnn.enabled == (before and onednn)
    assert torch.get_num_threads() == 3
    assert torch.backends.mkldnn.enabled == before


def test_it_is_the_same_again_from_its_plain_values():
    found = RuntimeSettings(2, "channels_last", 0.25, onednn=False)
    assert RuntimeSettings(**found.as_json()) == found
    assert found.torch_format is torch.channels_last
