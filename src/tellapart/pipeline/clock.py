"""How long each step of a verb took."""

from __future__ import annotations

import time


class Clock:
    """Seconds of each step, and of all since the clock was made."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._steps: dict[str, float] = {}

    def lap(self, step: str) -> None:
        """A step has ended, and the next one begins. A step of the same name is added to."""
        now = time.monotonic()
        self._steps[step] = round(self._steps.get(step, 0.0) + now - self._last, 2)
        self._last = now

    def seconds(self) -> dict[str, float]:
        """Step → seconds, and "all" up to now."""
        return {**self._steps, "all": round(time.monotonic() - self._start, 2)}
