"""The one edge where a command line becomes a verb, and an error becomes a line and an exit
code.
"""

from __future__ import annotations

import atexit
import errno
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tellapart.cli import experiments as experiments  # its verbs join the others
from tellapart.cli.output import echo, hush, print_json
from tellapart.cli.verbs import app
from tellapart.errors import Interrupted, UserError, needs_extra, one_line
from tellapart.writing import disk_error

SIGINT_EXIT = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and exit: 0 done, 1 our fault, 2 wrong use, 3 some inputs rejected, 4
    interrupted, 5 refused.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _stop)
    logging.getLogger("PIL").setLevel(
        logging.CRITICAL
    )  # what it has to say is in the file's status
    interrupted = Interrupted(
        "Interrupted; nothing is half-written.",
        "What was computed is kept: run the same command again to go on.",
    )
    try:
        code = app(words, standalone_mode=False, prog_name="tellapart")
        if code == SIGINT_EXIT:  # what the command line library makes of KeyboardInterrupt
            code = _failed(interrupted, words)
    except (KeyboardInterrupt, EOFError):
        code = _failed(interrupted, words)
    except BrokenPipeError:  # the reader of our output has gone; that is its right
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open until the interpreter has flushed it
        code = 0
    except UserError as error:
        code = _failed(error, words)
    except Exception as error:
        code = _failed(_as_user_error(error), words)
    if sys.stdout:
        atexit.register(hush)  # before what libraries have registered
    sys.exit(code if isinstance(code, int) else 0)


def _stop(signal_number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _as_user_error(error: Exception) -> UserError:
    """The command line library's own errors are wrong use; anything else is our fault, told in one
    line.
    """
    if hasattr(error, "format_message"):
        return UserError(
            _plain(error.format_message()).rstrip(".") + ".",
            "Run it with --help to see what there is.",
        )
    if os.environ.get("TELLAPART_TRACEBACK"):
        raise error
    if (
        isinstance(error, ModuleNotFoundError)
        and error.name
        and not error.name.startswith("tellapart")
    ):
        return needs_extra(error.name, "train")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return disk_error(error, Path(error.filename or "standard output"), 0)
    if type(error).__name__ == "Abort":  # the same, in older releases of that library
        return Interrupted(
            "Interrupted; nothing is half-written.", "Run the same command again to go on."
        )
    fault = UserError(
        f"Unexpected fault: {type(error).__name__}: {one_line(error, 300)}",
        "Please report it; TELLAPART_TRACEBACK=1 shows where it came from.",
    )
    fault.kind, fault.exit_code = "fault", 1
    return fault


def _plain(text: str) -> str:
    return " ".join(text.split())


def _failed(error: UserError, words: Sequence[str]) -> int:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a second Ctrl-C while the first one is being told
    if "--json" in words:
        print_json({"error": {"kind": error.kind, "message": error.message, "hint": error.hint}})
    else:
        echo(f"error: {error}", err=True)
    return error.exit_code
