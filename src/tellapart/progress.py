"""What the product says while it works: lines and a progress bar, always on standard error."""

from __future__ import annotations

import re
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console as RichConsole


class Advance(Protocol):
    """A function that is called after each thing that is done."""

    def __call__(self) -> None:
        """Count one more as done."""


class Console:
    """Tells the person who waits what happens, and keeps it for the run's log.

    Args:
        quiet: keep the lines for the log, and print none.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.lines: list[str] = []
        self._terminal: RichConsole | None = None

    def say(self, line: str) -> None:
        """Print one line, and keep it with the time of day."""
        line = shown(line)
        self.lines.append(f"{time.strftime('%H:%M:%S')} {line}")
        if not self.quiet:
            console = self._rich()
            line = wrapped(line, console.width) if console.is_terminal else line
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def track(self, label: str, total: int) -> Iterator[Advance]:
        """A bar with the time left. Where standard error is no terminal it is a line now and
        then.
        """
        if self.quiet or not total:
            yield lambda: None
        elif self._rich().is_terminal:
            with self._bar(label, total) as advance:
                yield advance
        else:
            yield _Lines(self, label, total)

    def _rich(self) -> RichConsole:
        if self._terminal is None:
            from rich.console import Console as RichConsole

            self._terminal = RichConsole(file=sys.stderr)
        return self._terminal

    @contextmanager
    def _bar(self, label: str, total: int) -> Iterator[Advance]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._rich(), transient=True) as bar:
            task = bar.add_task(label, total=total)
            yield lambda: bar.advance(task)


class _Lines:
    """Progress in plain lines: the first estimate soon, then one every ten seconds."""

    FIRST_SECONDS = 2.0
    EVERY_SECONDS = 10.0

    def __init__(self, console: Console, label: str, total: int) -> None:
        self._console, self._label, self._total = console, label, total
        self._done = 0
        self._start = time.monotonic()
        self._next = self._start + self.FIRST_SECONDS

    def __call__(self) -> None:
        self._done += 1
        moment = time.monotonic()
        if moment >= self._next and self._done < self._total:
            left = (moment - self._start) / self._done * (self._total - self._done)
            self._console.say(
                f"{self._label}: {self._done:,} of {self._total:,}, about {duration(left)} left"
            )
            self._next = moment + self.EVERY_SECONDS


def wrapped(line: str, width: int) -> str:
    r"""A line wrapped at words, as a terminal would cut it inside them.

    A word that is wider than the terminal, a path for example, stays in one piece.

    >>> wrapped("  said in a few words", 12)
    '  said in a\n  few words'
    """
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def shown(text: str) -> str:
    r"""Text that may be printed. Characters that could steer a terminal, turn the writing round, or
    are no text are escaped.

    >>> print(shown("a\nb\x1b[2J"))
    a\x0ab\x1b[2J
    """
    return _STEERING.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def duration(seconds: float) -> str:
    """Seconds in words.

    >>> duration(7.4), duration(95), duration(5400)
    ('7 s', '1 min 35 s', '1 h 30 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
