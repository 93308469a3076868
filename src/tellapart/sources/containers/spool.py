"""Bytes put aside for later: in memory, or in a file without a name when they are many."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from threading import Lock

from tellapart.errors import UserError, reason_of

_IN_MEMORY_BYTES = 2**26
_FREE_SHARE = 0.9  # of the temporary folder's room, at most


class Spool:
    """A store that grows. Any thread may add and read.

    Args:
        name: what messages call the source of the bytes.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 (closed with it)
        weakref.finalize(self, self._file.close)
        self._size = 0
        self._limit = _IN_MEMORY_BYTES
        self._lock = Lock()

    def add(self, data: bytes) -> tuple[int, int]:
        """Put bytes aside.

        Returns:
            where they are, as `read` wants it.

        Raises:
            UserError: the temporary folder has no room for them.
        """
        with self._lock:
            place = (self._size, len(data))
            self._make_room(self._size + len(data))
            try:
                self._file.seek(self._size)
                self._file.write(data)
            except OSError as error:
                raise UserError(
                    f"The images of {self._name} could not be unpacked ({reason_of(error)}).",
                    "Make room in the temporary folder, or set TMPDIR to another.",
                ) from None
            self._size += len(data)
            return place

    def read(self, at: int, count: int) -> bytes:
        """Bytes that were put aside."""
        with self._lock:
            self._file.seek(at)
            return self._file.read(count)

    def _make_room(self, size: int) -> None:
        """Check that there is room, a gibibyte ahead, so that the system is seldom asked."""
        if size <= self._limit:
            return
        try:
            free = shutil.disk_usage(tempfile.gettempdir()).free * _FREE_SHARE
        except OSError:
            free = 0
        if size - self._size > free:
            raise UserError(
                f"The images of {self._name} need more than {size / 2**30:.1f} GiB in the temporary"
                " folder, which is all the room there is.",
                "Make room, or set TMPDIR to a larger disk.",
            )
        self._limit = size + int(min(2**30, free - (size - self._size)) // 2)
