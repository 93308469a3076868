"""Images that come alone get as many threads as a trial found fastest; times are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tellapart import Predictor, machine
from tellapart.cache import RuntimeMemory
from tellapart.errors import UserError
from tellapart.modelfile.lone_images import LONE_BEFORE, PAIRS, WATCHED, LoneImages

IMAGE = np.zeros((1, 4, 4, 3), np.uint8)


class MadeUp:
    """Sessions by their threads: what each run takes in seconds, what it answers, and who ran."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds, self.answers = seconds, dict.fromkeys(seconds, 0.5)
        self.ran: list[int] = []
        self.opened: list[int] = []
        self.passed = 0.0

    def open(self, model: bytes, threads: int) -> Any:
        self.opened.append(threads)
        if threads not in self.seconds:
            raise UserError("no memory", "")
        return MadeUpSession(self, threads)

    def images(self, cores: int, memory: RuntimeMemory, *, model: bytes = b"graph") -> LoneImages:
        return LoneImages(
            model,
            MadeUpSession(self, 1),  # type: ignore[arg-type]
            cores,
            memory=memory,
            opened=self.open,
            clock=lambda: self.passed,
        )


class MadeUpSession:
    def __init__(self, all_of_them: MadeUp, threads: int) -> None:
        self._all, self._threads = all_of_them, threads

    def run(self, batch: object, outputs: object) -> list[Any]:
        self._all.passed += self._all.seconds[self._threads]
        self._all.ran.append(self._threads)
        return [np.array([self._all.answers[self._threads]], np.float32)]


@pytest.fixture
def memory(tmp_path: Path) -> RuntimeMemory:
    return RuntimeMemory(tmp_path)


@pytest.fixture(autouse=True)
def others(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that others have worked, one reading after the other; 0 after the last."""
    readings: list[float] = []
    monkeypatch.setattr(machine, "seconds_of_others", lambda: readings.pop(0) if readings else 0.0)
    return readings


def answered(images: LoneImages, count: int = LONE_BEFORE + 2 * PAIRS) -> LoneImages:
    for _ in range(count):
        images.run(IMAGE, ["probabilities"])
    return images


def test_two_threads_that_take_less_time_are_kept(memory: RuntimeMemory):
    made_up = MadeUp({1: 0.010, 2: 0.006})
    images = answered(made_up.images(2, memory))
    assert (images.threads, made_up.ran[-1]) == (2, 2)


def test_a_small_gain_is_none(memory: RuntimeMemory):
    made_up = MadeUp({1: 0.010, 2: 0.0095})
    images = answered(made_up.images(2, memory))
    assert (images.threads, made_up.ran[-1]) == (1, 1)


def test_more_threads_are_tried_for_as_long_as_they_win(memory: RuntimeMemory):
    made_up = MadeUp({1: 0.010, 2: 0.006, 4: 0.003, 8: 0.003})
    images = answered(made_up.images(16, memory), LONE_BEFORE + 4 * PAIRS)
    assert (images.threads, made_up.opened) == (4, [2, 4, 8])


def test_threads_with_other_bits_are_refused(memory: RuntimeMemory):
    made_up = MadeUp({1: 0.010, 2: 0.001})
    made_up.answers[2] = np.nextafter(np.float32(0.5), np.float32(1))
    images = answered(made_up.images(2, memory))
    assert (images.threads, made_up.ran.count(2)) == (1, 1)


def test_a_few_images_open_no_second_session(memory: RuntimeMemory):
    made_up = MadeUp({1: 0.010, 2: 0.006})
    answered(made_up.images(2, memory), LONE_BEFORE - 1)
    assert made_up.opened == []


def test_one_core_needs_no_trial(memory: RuntimeMemory):
    made_up = MadeUp({1: 0.010})
    answered(made_up.images(1, memory))
    assert made_up.opened == []


def test_a_trial_is_remembered_for_the_same_graph(memory: RuntimeMemory):
    answered(MadeUp({1: 0.010, 2: 0.006}).images(2, memory))
    again, other = MadeUp({1: 0.010, 2: 0.006}), MadeUp({1: 0.010, 2: 0.006})
    answered(again.images(2, memory), LONE_BEFORE + 2)
    answered(other.images(2, memory, model=b"another"), LONE_BEFORE + 2)
    assert (again.ran[-2:], other.ran[-4:]) == ([2, 2], [1, 2, 2, 1])


def test_that_one_thread_won_is_remembered_too(memory: RuntimeMemory):
    answered(MadeUp({1: 0.010, 2: 0.020}).images(2, memory))
    again = MadeUp({1: 0.010, 2: 0.020})
    answered(again.images(2, memory))
    assert again.opened == []


def test_what_is_measured_while_others_work_is_not_remembered(
    memory: RuntimeMemory, others: list[float]
):
    others += [0.0, 0.0, 0.0, 1e6]  # read at both ends of the wait, and of the trial
    images = answered(MadeUp({1: 0.010, 2: 0.020}).images(2, memory))
    again = MadeUp({1: 0.010, 2: 0.020})
    answered(again.images(2, memory))
    assert (images.threads, again.opened) == (1, [2])


def test_what_is_remembered_is_not_taken_while_others_work(
    memory: RuntimeMemory, others: list[float]
):
    answered(MadeUp({1: 0.010, 2: 0.006}).images(2, memory))
    others += [0.0, 1e6]  # read at the first image, and at the last before the trial
    busy = MadeUp({1: 0.010, 2: 0.020})
    assert answered(busy.images(2, memory)).threads == 1


def test_while_others_work_one_thread_answers(memory: RuntimeMemory, others: list[float]):
    made_up = MadeUp({1: 0.010, 2: 0.006})
    images = answered(made_up.images(2, memory), LONE_BEFORE + PAIRS)
    others += [1e6, 2e6]  # the second begins the next stretch, in which nobody else works
    answered(images, WATCHED)
    assert made_up.ran[-2:] == [2, 1]
    others += [2e6, 2e6]
    answered(images, WATCHED)
    assert made_up.ran[-2:] == [1, 2]


def test_a_slow_network_is_tried_for_three_seconds(memory: RuntimeMemory):
    made_up = MadeUp({1: 2.0, 2: 1.2, 4: 0.7})
    images = answered(made_up.images(4, memory), LONE_BEFORE + 2)
    assert (images.threads, made_up.opened) == (2, [2])


def test_a_second_session_that_cannot_be_opened_stops_nothing(memory: RuntimeMemory):
    made_up, again = MadeUp({1: 0.010}), MadeUp({1: 0.010, 2: 0.006})
    assert answered(made_up.images(2, memory)).threads == 1
    assert answered(again.images(2, memory)).threads == 2


def test_a_forked_process_gets_one_thread(memory: RuntimeMemory, monkeypatch: pytest.MonkeyPatch):
    made_up = MadeUp({1: 0.010, 2: 0.006})
    images = answered(made_up.images(2, memory))
    monkeypatch.setattr("os.getpid", lambda: -1)
    images.run(IMAGE, ["probabilities"])
    assert made_up.ran[-2:] == [2, 1]


def test_only_the_first_of_two_images_at_once_is_alone(memory: RuntimeMemory):
    images = MadeUp({1: 0.010}).images(2, memory)
    with images.entered() as first, images.entered() as second:
        pass
    with images.entered() as later:
        pass
    assert (first, second, later) == (True, False, True)


def test_a_predictor_answers_the_same_before_in_and_after_the_trial(
    example_names: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path))
    monkeypatch.setattr("tellapart.modelfile.predictor.usable_cores", lambda: 2)
    file = example_names["photos"] / "sky" / "000.jpg"
    predictor = Predictor(example_names["predictor"].graph)
    answers = [predictor.predict(file) for _ in range(LONE_BEFORE + PAIRS + 2)]
    assert answers == [answers[0]] * len(answers)
    assert (tmp_path / "runtimes.json").exists()


def test_images_that_come_together_get_one_thread_each(
    example_names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tellapart.modelfile.predictor.usable_cores", lambda: 2)
    predictor = Predictor(example_names["predictor"].graph)
    lone: list[bool] = []
    monkeypatch.setattr(LoneImages, "run", lambda *_: lone.append(True))
    predictor.predict([example_names["photos"] / "sky" / "000.jpg"] * 4)
    assert lone == []
