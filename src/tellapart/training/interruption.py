"""Ctrl-C and SIGTERM during training: the step is finished, the state saved, and the run ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# A step that takes longer to finish is abandoned; the last checkpoint is what is left then.
PATIENCE_SECONDS = 5.0


class StopRequest:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.received = False

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        """Handle a signal. The first one asks; a second one, or a step that takes too long, ends
        the run at once.
        """
        if self.received:
            raise KeyboardInterrupt
        self.received = True
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Watch for SIGINT and SIGTERM. Python lets only the main thread do so; elsewhere no request
    is ever received.
    """
    stop = StopRequest()
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
