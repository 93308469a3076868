"""Ctrl-C and SIGTERM: the first one asks, the second one ends, and afterwards all is as it was."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from tellapart.training import interruption
from tellapart.training.interruption import stop_requests

WATCHED = [signal.SIGINT, signal.SIGTERM, signal.SIGALRM]


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in WATCHED]


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_one_ends(first: int, second: int):
    with stop_requests() as stop:
        assert not stop.received
        signal.raise_signal(first)
        assert stop.received
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(second)


def test_a_step_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(interruption, "PATIENCE_SECONDS", 0.05)
    with stop_requests():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            time.sleep(5)


def test_what_was_watched_before_is_watched_again_and_no_alarm_is_left():
    before = handlers()
    with stop_requests() as stop:
        assert handlers() == [stop] * 3
        signal.raise_signal(signal.SIGINT)
    assert handlers() == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_in_another_thread_nothing_is_watched():
    before, seen = handlers(), []

    def work() -> None:
        with stop_requests() as stop:
            seen.extend([stop.received, handlers() == before])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, True]
