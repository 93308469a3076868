"""How a network runs fastest: measured among what the options leave open, and nothing else is
changed by it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from helpers.training import classifier_of, same_bits, small_recipe
from tellapart import machine
from tellapart.models.classifier import Classifier
from tellapart.options import TrainingOptions
from tellapart.training import runtime_choice, speed_trials
from tellapart.training.runtime import RuntimeSettings, running
from tellapart.training.runtime_choice import choose_runtime
from tellapart.training.speed_trials import Limits

CPU = torch.device("cpu")
SHAPE = (3, 32, 32)
WAY = RuntimeSettings(1, "contiguous")
LATE = 2.0  # seconds that a busy machine may add to what a test measures


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

    It lists the ways that it was asked about, and in steps of how many images.
    """

    def __init__(self, seconds: dict[tuple[int, str], float], without_onednn: float = 2.0) -> None:
        self.tried: list[tuple[int, str]] = []
        self.counts: list[int] = []
        self._seconds, self._without_onednn = seconds, without_onednn

    def __call__(
        self, module: nn.Module, shape: tuple[int, ...], candidate: RuntimeSettings, limits: Limits
    ) -> float:
        way = (candidate.threads, candidate.memory_format)
        self.tried.append(way)
        self.counts.append(shape[0])
        return self._seconds[way] * shape[0] * (1 if candidate.onednn else self._without_onednn)


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_choice, "usable_cores", lambda: 4)


def choose(cnn: Classifier, timer: object = None, **options: object) -> RuntimeSettings:
    num_images = options.pop("num_images", 1000)
    return choose_runtime(
        cnn, SHAPE, TrainingOptions(**options), CPU, num_images=num_images, timer=timer
    )


ALL = {
    (1, "contiguous"): 4.0,
    (4, "contiguous"): 3.0,
    (1, "channels_last"): 1.0,
    (4, "channels_last"): 2.0,
}


def test_the_fastest_way_is_chosen_with_its_seconds_an_image(cnn: Classifier):
    timer = MadeUpTimer(ALL)
    assert choose(cnn, timer) == RuntimeSettings(1, "channels_last", 1.0)
    assert set(timer.tried) == set(ALL)


def test_threads_that_are_given_are_kept(cnn: Classifier):
    timer = MadeUpTimer({(2, "contiguous"): 9.0, (2, "channels_last"): 8.0})
    assert choose(cnn, timer, threads=2) == RuntimeSettings(2, "channels_last", 8.0)


def test_a_format_that_is_given_is_kept(cnn: Classifier):
    found = choose(cnn, MadeUpTimer(ALL), memory_format="contiguous")
    assert found == RuntimeSettings(4, "contiguous", 3.0)


def test_threads_and_format_that_are_given_are_only_timed(cnn: Classifier):
    timer = MadeUpTimer({(2, "contiguous"): 9.0})
    found = choose(cnn, timer, threads=2, memory_format="contiguous")
    assert found == RuntimeSettings(2, "contiguous", 9.0)


@pytest.mark.parametrize(("scale", "tried_without"), [(1e-4, True), (1e-3, False)])
@pytest.mark.parametrize("times", [0.5, 2.0])
def test_small_steps_are_tried_without_onednn(
    cnn: Classifier, scale: float, tried_without: bool, times: float
):
    """A trial is of 16 images, so its fastest way takes 1.6 or 16 ms."""
    timer = MadeUpTimer({way: scale * value for way, value in ALL.items()}, times)
    found = choose(cnn, timer)
    faster = tried_without and times < 1
    assert (found.threads, found.memory_format, found.onednn) == (1, "channels_last", not faster)
    assert found.seconds == pytest.approx(scale * (times if faster else 1))
    assert len(timer.tried) == 1 + len(ALL) * (1 + tried_without)


def test_a_format_that_is_given_keeps_onednn(cnn: Classifier):
    timer = MadeUpTimer({way: 1e-4 * value for way, value in ALL.items()}, 0.5)
    assert choose(cnn, timer, memory_format="channels_last").onednn


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 16), ({"batch_size": 6}, 6), ({"accumulation": 16}, 2), ({"accumulation": 4}, 8)],
)
def test_a_trial_of_a_fast_network_is_as_large_as_a_part_of_a_batch(
    cnn: Classifier, options: dict[str, int], count: int
):
    timer = MadeUpTimer({way: 1e-5 * value for way, value in ALL.items()})
    choose(cnn, timer, **options)
    assert (timer.counts[0], set(timer.counts[1:])) == (2, {count})


def test_a_trial_of_a_slow_network_has_few_images(cnn: Classifier):
    timer = MadeUpTimer({way: 0.1 * value for way, value in ALL.items()})
    choose(cnn, timer)
    assert set(timer.counts) == {2}


def test_trying_leaves_everything_as_it_was(cnn: Classifier):
    cnn.head.insert(0, nn.Dropout(0.5))
    cnn.eval()
    before, drawn = (
        {name: value.clone() for name, value in cnn.state_dict().items()},
        torch.get_rng_state(),
    )
    found = choose(cnn, batch_size=4, threads=1)
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
    choose(cnn, timer)
    assert timer.tried[0] == (1, "channels_last")


class Slow(nn.Module):
    """Takes so many seconds for each layer, forwards and backwards, and counts its passes."""

    def __init__(self, seconds: float, layers: int = 1) -> None:
        super().__init__()
        sizes = [3 * 32 * 32, *[2] * layers]
        self.linears = nn.ModuleList(map(nn.Linear, sizes, sizes[1:]))
        self.seconds, self.counts = seconds, []

    def __deepcopy__(self, memo: object) -> Slow:
        return self

    def forward(self, images: Tensor) -> Tensor:
        self.counts.append(len(images))
        outputs = images.flatten(1)
        for linear in self.linears:
            time.sleep(self.seconds)
            outputs = linear(outputs)
        return outputs


def seconds_of_choice(module: nn.Module, **options: object) -> float:
    began = time.perf_counter()
    choose_runtime(module, SHAPE, TrainingOptions(**options), CPU, num_images=10**6)
    return time.perf_counter() - began


@pytest.mark.parametrize("seconds", [0.0, 0.03, 0.2])
def test_all_trials_together_are_bounded(monkeypatch: pytest.MonkeyPatch, seconds: float):
    monkeypatch.setattr(speed_trials, "TRIALS_SECONDS", 0.5)
    assert seconds_of_choice(Slow(seconds, layers=60)) < 0.5 + 2 * seconds + LATE


def test_all_trials_together_take_a_small_share_of_a_budget():
    assert seconds_of_choice(Slow(0.02, layers=200), budget_minutes=10 / 60) < 0.3 + LATE


def test_trials_are_short_where_the_training_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(speed_trials, "LEAST_SECONDS", 0.0)
    timer = MadeUpTimer({way: 1e-7 * seconds for way, seconds in ALL.items()})
    began = time.perf_counter()
    choose_runtime(Slow(0.0), SHAPE, TrainingOptions(epochs=1), CPU, num_images=1, timer=timer)
    assert len(timer.tried) == 2
    assert time.perf_counter() - began < LATE


def test_a_network_that_is_too_large_to_be_tried_runs_with_one_thread(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(speed_trials, "TRIALS_SECONDS", 0.05)
    found = choose_runtime(Slow(0.04, layers=9), SHAPE, TrainingOptions(), CPU, num_images=10)
    assert (found.threads, found.memory_format) == (1, "channels_last")
    assert 0.02 < found.seconds < LATE


def soon(seconds: float) -> Limits:
    moment = time.perf_counter() + seconds
    return Limits(enough=moment, stop=moment)


def test_a_step_that_takes_too_long_is_stopped_between_two_layers():
    slow = Slow(0.05, layers=100)
    began = time.perf_counter()
    assert math.isinf(speed_trials.step_seconds(slow, (2, *SHAPE), WAY, soon(0.07)))
    assert time.perf_counter() - began < LATE
    assert (slow.counts, torch.get_num_threads()) == ([2], 3)


def test_a_slow_step_is_measured_once():
    slow = Slow(0.1)
    assert speed_trials.step_seconds(slow, (2, *SHAPE), WAY, soon(0.15)) >= 0.1
    assert slow.counts == [2]


def test_a_fast_step_is_measured_several_times():
    fast = Slow(0.0)
    speed_trials.step_seconds(fast, (16, *SHAPE), WAY, soon(5.0))
    assert len(fast.counts) > speed_trials.TRIAL_STEPS


class Memory:
    """Remembers in a dict what trials measured."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, object]] = {}

    def recall(self, key: str) -> dict[str, object] | None:
        return self.kept.get(key)

    def remember(self, key: str, values: dict[str, object]) -> None:
        self.kept[key] = values


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How many cores other processes use: the last number of a list. The machine has four."""
    cores = [0.0]
    monkeypatch.setattr(machine, "seconds_of_others", lambda: cores[-1] * time.perf_counter())
    monkeypatch.setattr(machine, "usable_cores", lambda: 4)
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(runtime_choice, "WATCHED_SECONDS", 0.01)
    return cores


def chosen_twice(cnn: Classifier, memory: Memory, **second: object) -> list[MadeUpTimer]:
    """The timers of two choices, each for a training with these options."""
    timers = [MadeUpTimer(ALL), MadeUpTimer(ALL)]
    for timer, options in zip(timers, ({}, second), strict=True):
        choose_runtime(
            cnn,
            SHAPE,
            TrainingOptions(**options),
            CPU,
            num_images=1000,
            timer=timer,
            memory=memory,
        )
    return timers


@pytest.mark.usefixtures("others")
def test_what_was_measured_is_remembered(cnn: Classifier):
    first, second = chosen_twice(cnn, Memory())
    assert (len(first.tried), second.tried) == (4, [])


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize(
    "options", [{"batch_size": 4}, {"threads": 4}, {"memory_format": "contiguous"}]
)
def test_other_options_are_measured_anew(cnn: Classifier, options: dict[str, object]):
    assert chosen_twice(cnn, Memory(), **options)[1].tried


def test_what_was_measured_on_a_busy_machine_is_not_remembered(
    cnn: Classifier, others: list[float]
):
    others.append(1.0)
    memory = Memory()
    assert chosen_twice(cnn, memory)[1].tried
    assert memory.kept == {}


def test_on_a_busy_machine_it_is_measured_again(cnn: Classifier, others: list[float]):
    memory = Memory()
    chosen_twice(cnn, memory)
    others.append(1.0)
    assert chosen_twice(cnn, memory)[0].tried


def test_cores_that_a_container_does_not_have_may_be_used_by_others(
    cnn: Classifier, others: list[float], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 64)
    others.append(50.0)
    assert chosen_twice(cnn, Memory())[1].tried == []


def test_a_network_of_another_form_has_another_key(cnn: Classifier):
    other = classifier_of(small_recipe({"backbone.name": "cnn"}))
    shape, ways = (2, *SHAPE), [WAY]
    key = runtime_choice.runtime_key(cnn, shape, ways)
    assert runtime_choice.runtime_key(other, shape, ways) == key
    other.head.insert(0, nn.Dropout(0.5))
    assert runtime_choice.runtime_key(other, shape, ways) != key


def test_a_network_that_learns_in_fewer_layers_has_another_key(cnn: Classifier):
    shape, ways = (2, *SHAPE), [WAY]
    key = runtime_choice.runtime_key(cnn, shape, ways)
    next(cnn.parameters()).requires_grad_(False)
    assert runtime_choice.runtime_key(cnn, shape, ways) != key


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
