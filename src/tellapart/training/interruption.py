"""Ctrl-C and SIGTERM while a network learns: the step is finished, the checkpoint saved, and then
the run ends.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PATIENCE_SECONDS = (
    5.0  # for a step to finish; a longer one is abandoned, and the last checkpoint is what is left
)


class StopAsked:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.now = False

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        """What a signal does: the first one asks; a second one, or a step that takes too long, ends
        it at once.
        """
        if self.now:
            raise KeyboardInterrupt
        self.now = True
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS)


@contextmanager
def stop_asked() -> Iterator[StopAsked]:
    """Watch for SIGINT and SIGTERM. Only the main thread can; elsewhere nothing is watched, and
    nothing is asked.
    """
    stop = StopAsked()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    watched = [
        signal.SIGINT,
        signal.SIGTERM,
        *([signal.SIGALRM] if hasattr(signal, "SIGALRM") else []),
    ]
    before = {number: signal.signal(number, stop) for number in watched}
    try:
        yield stop
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
