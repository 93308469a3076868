"""The one way in which tellapart writes a file: whole, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from tellapart.errors import Refused, UserError, reason_of

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a write raises where there is no room


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file. A reader, and whoever looks after a crash, sees the old file or the new one,
    never a part.

    The temporary file lies in the target's own folder, because a rename is atomic only within one
    file system.

    Raises:
        Refused: the disk is full. The old file is untouched.
        UserError: the folder cannot be written to.
    """
    content = data.encode() if isinstance(data, str) else data
    write_whole_by(path, lambda file: file.write(content), len(content))


def write_whole_by(path: Path, write: Callable[[BinaryIO], object], num_bytes: int) -> None:
    """Write a file as `write_whole` does, piece by piece, so that it need not fit into memory.

    Args:
        path: of the file.
        write: writes all of it to an open file, in which it may seek.
        num_bytes: about how large the file is, for the message where the disk is full.

    Raises:
        Refused, UserError: as `write_whole`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            prefix=f".{path.name[:20]}.", suffix=".part", dir=path.parent
        )
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise disk_error(error, path, num_bytes) from error


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut.

    It does nothing where the file system cannot do it, or where the folder may not be read: the
    file is there already.
    """
    if os.name == "nt":  # Windows cannot open a folder, and needs no such call
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def disk_error(error: OSError, path: Path, num_bytes: int) -> UserError:
    """The error for a file that could not be written, with what the user can do about it."""
    if error.errno in FULL:
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        free = shutil.disk_usage(folder).free
        return Refused(
            f"{path} could not be written: it needs {num_bytes:,} bytes and {free:,} are free.",
            "Make room, or choose another folder, and run the command again.",
        )
    return UserError(
        f"{path} could not be written ({reason_of(error)}).",
        "Choose a folder that you may write to.",
    )


def _umask() -> int:
    # mkstemp makes private files, and these are to be ordinary ones. The umask can only be read by
    # setting it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
