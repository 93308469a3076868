"""What the product says while it works: lines and progress, always on standard error."""

from __future__ import annotations

import re
import sys
import textwrap
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.constrain import Constrain
    from rich.live import Live

FIRST_SECONDS = 2.0  # work that is over sooner says nothing
EVERY_SECONDS = 10.0  # between two lines where standard error is no terminal
POLL_SECONDS = 0.5  # between two looks whether it is time for a line
# The time left follows the latest pace: what is remembered goes fast, and what is not goes slowly.
SAMPLES, SAMPLE_SECONDS = 30, 1.0
BAR_WIDTH = 20


class Advance(Protocol):
    """A function that is called after each thing that is done."""

    def __call__(self) -> None:
        """Count one more as done."""


class Task:
    """Work in progress: what it is, how far it is, and how long it will take.

    Calling it counts one more thing as done. Whoever does the work may change the attributes.

    Args:
        label: what is done, as "Reading images".
        total: how many things there are to do. None means that they cannot be counted.
        done: how many of them are done already.
    """

    def __init__(self, label: str, total: int | None = None, done: int = 0) -> None:
        self.label, self.total, self.done = label, total, done
        self.in_percent = False
        # When it will end, by `time.monotonic`. Work that knows better than its pace tells sets it.
        self.ends_at: float | None = None
        self.began = time.monotonic()
        self._samples = deque([(self.began, done)], maxlen=SAMPLES)

    def __call__(self) -> None:
        """Count one more as done."""
        self.done += 1
        self._sample()

    def reach(self, share: float) -> None:
        """Say which share is done of work that has nothing to count."""
        self.in_percent, self.total, self.done = True, 100, int(100 * share)
        self._sample()

    def _sample(self) -> None:
        moment = time.monotonic()
        if moment - self._samples[-1][0] >= SAMPLE_SECONDS:
            self._samples.append((moment, self.done))

    def left(self, moment: float) -> float | None:
        """The seconds that it will still take. None means that nothing tells."""
        if self.ends_at is not None:
            return max(0.0, self.ends_at - moment)
        since, before = self._samples[0]
        if self.total is None or self.done == before:
            return None
        return (moment - since) / (self.done - before) * max(0, self.total - self.done)

    def state(self, moment: float) -> tuple[str, str]:
        """How far it is, and how long it will take."""
        left = self.left(moment)
        if self.in_percent:
            return f"{self.done} %", left_in_words(left)
        if self.total is not None:
            return f"{self.done:,} of {self.total:,}", left_in_words(left)
        count = f"{self.done:,} done" if self.done else ""
        return count, left_in_words(left) or f"{duration(moment - self.began)} so far"


class Console:
    """Tells the person who waits what happens, and keeps it for the run's log.

    Args:
        quiet: keep the lines for the log, and print none.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.lines: list[str] = []
        self._terminal: RichConsole | None = None
        self._tasks: _Tasks | None = None
        self._outer: _Tasks | None = None

    def say(self, line: str) -> None:
        """Print one line, and keep it with the time of day."""
        line = shown(line)
        self.lines.append(f"{time.strftime('%H:%M:%S')} {line}")
        if not self.quiet:
            self._print(line)

    @contextmanager
    def track(self, label: str, total: int | None = None, done: int = 0) -> Iterator[Task]:
        """Show how far work is and how long it will take, until it is done.

        A terminal gets a bar. Elsewhere it is a line after two seconds, then one every ten.

        Args:
            label: what is done, as "Reading images".
            total: how many things there are to do. None means that they cannot be counted.
            done: how many of them are done already.
        """
        task = Task(label, total, done)
        if total == 0 or (tasks := self._shown_tasks()) is None:
            yield task
        else:
            with tasks.showing(task):
                yield task

    @contextmanager
    def step(self, label: str) -> Iterator[Task]:
        """Show work that cannot be counted, with the seconds that it has taken so far.

        It says nothing when it takes less than two seconds.
        """
        with self.track(label) as task:
            yield task

    def inner(self) -> Console:
        """A console for work inside this one's: its lines are kept and not printed, and its
        progress is shown below this one's.
        """
        console = Console(quiet=True)
        console._outer = self._shown_tasks()
        return console

    def speak_if_due(self) -> None:
        """Print how far the work is, if it is time for that. A thread calls it."""
        if tasks := self._shown_tasks():
            tasks.speak_if_due()

    def _shown_tasks(self) -> _Tasks | None:
        """Where progress is shown. None means nowhere."""
        if self.quiet:
            return self._outer
        if self._tasks is None:
            self._tasks = _Tasks(self)
        return self._tasks

    def _print(self, line: str) -> None:
        from rich.text import Text

        console = self._rich()
        text = Text(wrapped(line, console.width) if console.is_terminal else line)
        if line.startswith(NOTE):
            text.stylize("yellow", 0, len(NOTE))
        console.print(text, soft_wrap=True)

    def _rich(self) -> RichConsole:
        if self._terminal is None:
            from rich.console import Console as RichConsole

            self._terminal = RichConsole(file=sys.stderr)
        return self._terminal


NOTE = "note:"  # how a line begins that says what the user should know


class _Tasks:
    """The tasks in progress, the outermost first, and how they are shown."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tasks: list[Task] = []
        self._live: Live | None = None
        self._drawing = Lock()
        self._ended = Event()
        self._next = 0.0

    @contextmanager
    def showing(self, task: Task) -> Iterator[None]:
        """Show a task until it is done."""
        self._tasks.append(task)
        if self._tasks == [task]:
            self._begin()
        if task.total and self._on_terminal:
            self._draw()
        try:
            yield
        finally:
            if self._tasks == [task]:
                self._end()
            self._tasks.remove(task)

    def speak_if_due(self) -> None:
        """Print a line with the state of the outermost and the innermost task, when it is time.

        On a terminal, begin to draw them then.
        """
        moment, tasks = time.monotonic(), self._tasks[:]
        if not tasks or moment < self._next:
            return
        if self._on_terminal:
            self._draw()
            return
        ends = tasks if len(tasks) == 1 else (tasks[0], tasks[-1])
        while self._next <= moment:
            self._next += EVERY_SECONDS
        self._console._print(shown("; ".join(_line(task, moment) for task in ends)))

    @property
    def _on_terminal(self) -> bool:
        return self._console._rich().is_terminal

    def _begin(self) -> None:
        self._next = time.monotonic() + FIRST_SECONDS
        self._ended = Event()
        Thread(target=self._watch, args=(self._ended,), daemon=True).start()

    def _end(self) -> None:
        with self._drawing:
            self._ended.set()
            if self._live:
                self._live.stop()
                self._live = None

    def _watch(self, ended: Event) -> None:
        while not ended.wait(POLL_SECONDS):
            self.speak_if_due()

    def _draw(self) -> None:
        """Draw the tasks below what is printed, until they are done; then they are erased."""
        from rich.live import Live

        with self._drawing:
            if self._live is None and not self._ended.is_set():
                self._live = Live(
                    get_renderable=self._drawn,
                    console=self._console._rich(),
                    transient=True,
                    refresh_per_second=5,
                )
                self._live.start()

    def _drawn(self) -> Constrain:
        """The tasks as rows that fit a narrow terminal."""
        from rich.constrain import Constrain
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        moment = time.monotonic()
        table = Table.grid(padding=(0, 1))
        table.add_column()  # the label alone gives way where there is no room for all
        for _ in range(3):
            table.add_column(no_wrap=True)
        for task in self._tasks[:]:
            if task.total is None and moment - task.began < FIRST_SECONDS:
                continue
            count, left = task.state(moment)
            bar = ProgressBar(task.total, task.done, BAR_WIDTH) if task.total else Text("")
            label = Text(shown(task.label), no_wrap=True, overflow="ellipsis")
            table.add_row(label, bar, Text(count), Text(left))
        # Room for the ^C that a terminal writes: in a full row it would go to the next line, and the
        # rows would not be found again to be erased.
        return Constrain(table, self._console._rich().width - len("^C^C"))


def _line(task: Task, moment: float) -> str:
    return f"{task.label}: {', '.join(filter(None, task.state(moment)))}"


def left_in_words(seconds: float | None) -> str:
    """The time left, in words; "" where nothing tells.

    >>> left_in_words(95), left_in_words(None)
    ('about 1 min 35 s left', '')
    """
    return "" if seconds is None else f"about {duration(seconds)} left"


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
