"""Commands that run in this process, and what they answer."""

from __future__ import annotations

import contextlib
import io
import signal
from collections.abc import Mapping
from typing import NamedTuple

from tellapart.cli.main import main


class CommandResult(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def run_command(*words: object) -> CommandResult:
    """A command in this process. Unlike a terminal it leaves the signals as they were."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    out, err = io.StringIO(), io.StringIO()
    code: object = None
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(list(map(str, words)))
    except SystemExit as end:
        code = end.code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return CommandResult(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())


def set_arguments(values: Mapping[str, object]) -> list[str]:
    """The `--set` words of recipe keys."""
    return [f"--set={key}={value}" for key, value in values.items()]
