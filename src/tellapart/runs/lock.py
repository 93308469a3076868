"""One training at a time in a run folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tellapart.errors import UserError
from tellapart.writing import disk_error

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class InUse(UserError):
    """Another process trains in that run folder."""


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the lock of a run folder. The system takes it back when its process ends, however that
    ends.

    Raises:
        InUse: another process trains there; its number is in the message.
        UserError: the lock cannot be made.
    """
    path = run / "checkpoints" / "lock"
    try:
        path.parent.mkdir(exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise disk_error(error, path, 0) from error
    with file:
        try:
            _lock(file)
        except OSError:
            raise InUse(
                f"{run} is being trained by {_holder(file)}.",
                "Wait until it has ended, or stop it, and try again.",
            ) from None
        _write(file, str(os.getpid()))
        try:
            yield
        finally:
            _write(file, "")


def _lock(file: IO[str]) -> None:
    if sys.platform == "win32":
        file.seek(1024)  # a locked byte cannot be read, so it lies behind the number
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(file: IO[str]) -> str:
    file.seek(0)
    return f"process {number}" if (number := file.read(20).strip()) else "another process"


def _write(file: IO[str], text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()
