"""Commands that run in this process, and what they answer."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from typer.main import get_command

from tellapart.cli.main import app, main

# A probe of images of 64 pixels: a second a training.
SMALL = (
    "--set",
    "preprocessing.size_px=64",
    "--set",
    "head.folds=2",
    "--set",
    "head.c_values=0.01,0.1",
)
VERBS = list(get_command(app).commands)


class CommandResult(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be one JSON object and nothing else."""
        return json.loads(self.out)


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


def is_one_line(text: str) -> bool:
    """Whether a text is an error in one line."""
    return (
        text.startswith("error: ")
        and text.endswith("\n")
        and text.count("\n") == 1
        and "Traceback" not in text
    )


def run_python(code: str, *words: object, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run code in a Python of its own, with these words as its arguments."""
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
