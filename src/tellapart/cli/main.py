"""The one edge where a command line becomes a verb, and an error becomes a line and an exit code."""

from __future__ import annotations

import atexit
import errno
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tellapart.cli.output import echo, hush, never_fail_to_print, print_json
from tellapart.cli.verbs import app
from tellapart.errors import Fault, Interrupted, UserError, needs_extra, one_line
from tellapart.writing import disk_error

SIGINT_EXIT = 130
NO_WORDS_EXIT = 2
INTERRUPTED = Interrupted(
    "Interrupted; nothing is half-written.",
    "Run the same command again: what is in the cache is not computed again.",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and exit.

    The code is 0 when it is done, 1 for our fault, 2 for wrong use, 3 if some inputs were rejected,
    4 if it was interrupted, and 5 if it was refused.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _stop)
    never_fail_to_print()
    # What Pillow logs about a file is in the file's status.
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    try:
        code = app(words, standalone_mode=False, prog_name="tellapart")
        if code == SIGINT_EXIT:  # what the command line library makes of KeyboardInterrupt
            code = _failed(INTERRUPTED, words)
    except (KeyboardInterrupt, EOFError):
        code = _failed(INTERRUPTED, words)
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open until the interpreter has flushed it
        code = 0
    except UserError as error:
        code = _failed(error, words)
    except Exception as error:
        # Without a word the library prints the help, and then raises this with an empty message.
        alone = type(error).__name__ == "NoArgsIsHelpError"
        code = NO_WORDS_EXIT if alone else _failed(_as_user_error(error), words)
    if sys.stdout:
        atexit.register(hush)  # before what libraries have registered
    sys.exit(code if isinstance(code, int) else 0)


def _stop(signal_number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _as_user_error(error: Exception) -> UserError:
    """What the command line library raises is wrong use; anything else is our fault."""
    if hasattr(error, "format_message"):
        return UserError(_wrong_use(error), "Run it with --help to see what there is.")
    if os.environ.get("TELLAPART_TRACEBACK"):
        raise error
    if (
        isinstance(error, ModuleNotFoundError)
        and error.name
        and not error.name.startswith("tellapart")
    ):
        return needs_extra(error.name)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return disk_error(error, Path(error.filename or "standard output"), 0)
    if type(error).__name__ == "Abort":  # KeyboardInterrupt, in older releases of that library
        return INTERRUPTED
    return Fault(
        f"Unexpected fault: {type(error).__name__}: {one_line(error, 300)}",
        "Please report it; TELLAPART_TRACEBACK=1 shows where it came from.",
    )


# What the library's checks of numbers are called → the rule.
_RULES = {
    "float_parsing": "must be a number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
}


def _wrong_use(error: Exception) -> str:
    """The library's message. For a number it would quote its own checks, so we word that here."""
    checks = getattr(error.__cause__, "errors", None)
    check = checks()[0] if callable(checks) else {}
    if check.get("type") in _RULES and getattr(error, "param", None):
        rule = _RULES[check["type"]].format_map(check.get("ctx", {}))
        return f"{max(error.param.opts, key=len)} {rule}, got {check['input']!r}."  # type: ignore[attr-defined]
    message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    return message if message.endswith((".", "?", "!")) else f"{message}."


def _failed(error: UserError, words: Sequence[str]) -> int:
    # A second Ctrl-C must not cut off the message about the first one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "--json" in words:
        print_json({"error": {"kind": error.kind, "message": error.message, "hint": error.hint}})
    else:
        echo(f"error: {error}", err=True)
    return error.exit_code
