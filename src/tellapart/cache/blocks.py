"""Blocks of records of one size: pairs of files that are appended to and mapped.

    <folder>/<block>.keys       a header, then the key and the checksum of each record
    <folder>/<block>.records    the records, one after the other

Many processes may share a folder. Only the process that holds the lock of a block appends to it, and
no record changes once it is written.
"""

from __future__ import annotations

import errno
import mmap
import secrets
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

BLOCK_BYTES = 2**27  # of a block that is full; the oldest blocks go first
_HEADER = struct.Struct("<8sII")  # what the file is, the bytes of a record, and a checksum
_MAGIC = b"records1"
_ENTRY = np.dtype([("key", "<u8"), ("sum", "<u4"), ("zero", "<u4")])
_HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)  # why a lock is not had: another has it
_LOCKED_BYTE = 2**40  # on Windows a locked byte cannot be read, so it lies behind all that is

Bytes = NDArray[np.uint8]


class Block:
    """One pair of files, of which a number of whole records is known.

    Args:
        path: of the keys.
        width: bytes of a record.
        count: records that were there when it was opened.
    """

    def __init__(self, path: Path, width: int, count: int) -> None:
        self.width, self._count = width, count
        self._path, self._records = path, path.with_suffix(".records")
        self._mapped = np.zeros((0, width), np.uint8)
        self._files: tuple[BinaryIO, BinaryIO] | None = None  # while it is appended to

    @classmethod
    def found(cls, path: Path) -> Block | None:
        """A block on the disk. None means that it is damaged."""
        try:
            with path.open("rb") as file:
                magic, width, total = _HEADER.unpack(file.read(_HEADER.size))
            if magic != _MAGIC or total != zlib.crc32(struct.pack("<I", width)) or not width:
                return None
            return cls(path, width, _whole(path, width))
        except (OSError, struct.error):
            return None

    @classmethod
    def made(cls, folder: Path, width: int) -> Block:
        """A new block, which this process appends to.

        Raises:
            OSError: it cannot be made.
        """
        path = folder / f"{time.time_ns():020}-{secrets.token_hex(4)}.keys"
        block = cls(path, width, 0)
        header = _HEADER.pack(_MAGIC, width, zlib.crc32(struct.pack("<I", width)))
        path.with_suffix(".records").touch()
        path.write_bytes(header)
        if not block.claim(new=True):
            raise BlockingIOError(f"{path} is in use")
        return block

    @property
    def size(self) -> int:
        """Bytes of its records."""
        return self._count * self.width

    def entries(self) -> NDArray[np.void]:
        """The keys and checksums of its records."""
        return np.fromfile(self._path, _ENTRY, self._count, offset=_HEADER.size)

    def record(self, row: int) -> Bytes:
        """One record, or nothing where it cannot be read."""
        if row >= len(self._mapped):
            self.map()
        return self._mapped[row] if row < len(self._mapped) else np.zeros(0, np.uint8)

    def map(self) -> None:
        """Map all records that there are. Those that cannot be read are left out."""
        with suppress(OSError, ValueError), ExitStack() as stack:
            # By the open file where there is one: another process may have deleted the name.
            file = self._files[1] if self._files else stack.enter_context(self._records.open("rb"))
            mapped = mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_READ)
            self._mapped = np.frombuffer(mapped, np.uint8).reshape(self._count, self.width)

    def claim(self, *, new: bool = False) -> bool:
        """Become the one process that appends to it. False means that another one does.

        Where files cannot be locked, as on some network drives, only a new block can be claimed.
        """
        try:
            keys = self._path.open("r+b", buffering=0)
        except OSError:
            return False
        try:
            try:
                lock(keys)
            except OSError as error:
                if not new or error.errno in _HELD:
                    raise
            # What another process has added since is in no index of ours, and a process that
            # crashed may have left a part of a record.
            if _whole(self._path, self.width) != self._count:
                raise BlockingIOError("it has grown")
            records = self._records.open("r+b", buffering=0)
        except OSError:
            keys.close()
            return False
        self._files = keys, records
        return True

    def append(self, keys: NDArray[np.uint64], sums: NDArray[np.uint32], data: bytes) -> int:
        """Add records, the keys last: a record counts once its key is there.

        Returns:
            the row of the first of them.

        Raises:
            OSError: the disk is full, say. The block is then as it was.
        """
        assert self._files
        entries = np.zeros(len(keys), _ENTRY)
        entries["key"], entries["sum"] = keys, sums
        ends = (_HEADER.size + self._count * _ENTRY.itemsize, self.size)
        first = self._count
        try:
            for file, end, added in zip(
                self._files[::-1], ends[::-1], (data, entries.tobytes()), strict=True
            ):
                file.seek(end)
                write_all(file, added)
        except OSError:
            for file, end in zip(self._files, ends, strict=True):
                with suppress(OSError):
                    file.truncate(end)
            raise
        self._count += len(keys)
        return first

    def release(self) -> None:
        """Let another process append to it."""
        for file in self._files or ():
            file.close()
        self._files = None


def forget_oldest(folder: Path, most: int) -> None:
    """Delete the blocks that were written longest ago, until those in all folders below `folder`
    have at most so many bytes.
    """
    found = sorted(_sized(folder))
    total = sum(size for _, _, size in found)
    for _, path, size in found:
        if total <= most:
            return
        # The keys last: without them nobody would find the records, to delete them.
        with suppress(OSError):
            path.with_suffix(".records").unlink(missing_ok=True)
            path.unlink()
            total -= size


def _sized(folder: Path) -> Iterator[tuple[int, Path, int]]:
    """When each block was written, its keys, and its bytes."""
    for path in folder.glob("**/*.keys"):
        with suppress(OSError):
            info = path.stat()
            yield info.st_mtime_ns, path, info.st_size + path.with_suffix(".records").stat().st_size


def _whole(path: Path, width: int) -> int:
    """How many records have both their key and all of their bytes."""
    keys = (path.stat().st_size - _HEADER.size) // _ENTRY.itemsize
    return max(0, min(keys, path.with_suffix(".records").stat().st_size // width))


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all bytes, however often the system takes only some of them."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def lock(file: BinaryIO) -> None:
    """Lock a file that is open.

    Raises:
        OSError: another process holds it.
    """
    if sys.platform == "win32":
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
