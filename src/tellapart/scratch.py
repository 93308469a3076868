"""Large arrays that need no memory: they lie in a file without a name in the temporary folder."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

HELD_BYTES = 2**28  # a smaller array is simply held in memory
_SPARE_SHARE = 0.1  # of the free disk that an array leaves alone


def scratch(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array to fill, of undefined content.

    A large one is mapped from a temporary file. The system writes its pages out where memory is
    short, and the file is gone once the array is. An array for which the disk has no room is held
    in memory.

    >>> scratch((2, 3), np.uint8).shape
    (2, 3)
    """
    kind = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    mapped = _mapped(size) if size > HELD_BYTES else None
    if mapped is None:
        return np.empty(shape, kind)
    return np.frombuffer(mapped, kind).reshape(shape)


def _mapped(size: int) -> mmap.mmap | None:
    """Memory that a file backs. None means that there is no room for the file."""
    try:
        if size > shutil.disk_usage(tempfile.gettempdir()).free * (1 - _SPARE_SHARE):
            return None
        with tempfile.TemporaryFile() as file:
            if hasattr(os, "posix_fallocate"):
                # A page that has no room on the disk would end the process when it is written.
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return mmap.mmap(file.fileno(), size)
    except OSError:
        return None
