"""The steps of a command: measured, shown, and summed up in one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from tellapart.pipeline import services
from tellapart.pipeline.services import Clock, open_services


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock shows: the last number of a list."""
    shown = [0.0]
    monkeypatch.setattr(services.time, "monotonic", lambda: shown[-1])
    return shown


def clock_of(moments: list[float], steps: dict[str, float]) -> Clock:
    """A clock after these steps of so many seconds."""
    clock = Clock()
    for name, seconds in steps.items():
        moments.append(moments[-1] + seconds)
        clock.lap(name)
    return clock


def test_a_summary_names_each_step(moments: list[float]):
    clock = clock_of(moments, {"features": 8.0, "head": 0.4, "model file": 3.9})
    assert clock.summary() == "Total 12.3 s: features 8.0 s, head 0.4 s, model file 3.9 s"


def test_a_summary_adds_up(moments: list[float]):
    clock = clock_of(moments, {"features": 1.25, "head": 0.5, "features again": 3.0})
    moments.append(moments[-1] + 2.5)
    whole, *steps = map(float, re.findall(r"([\d.]+) s", clock.summary()))
    assert whole == pytest.approx(sum(steps), abs=0.1)
    assert clock.summary().endswith("other steps 2.5 s")


def test_steps_that_take_no_time_are_left_out(moments: list[float]):
    assert clock_of(moments, {"head": 0.01}).summary() == "Total 0.0 s"


def test_a_step_is_measured(moments: list[float]):
    with open_services(quiet=True) as opened:
        with opened.step("head", "Fitting the head"):
            moments.append(moments[-1] + 3.0)
        assert opened.clock.seconds() == {"head": 3.0, "all": 3.0}


def test_blas_works_on_one_thread_while_a_verb_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path))

    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    with threadpool_limits(2, user_api="blas"):
        with open_services(quiet=True):
            assert threads() == {1}
        assert threads() == {2}
