"""Buckets of a store that are folders on disk: see `store/s3fs.py`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

STAND_IN = Path(__file__).parent / "store"


@contextmanager
def buckets_in(folder: Path) -> Iterator[Any]:
    """Let s3:// mean the folders in a folder; gives the class of the store."""
    registry = pytest.importorskip("fsspec.registry") and sys.modules["fsspec.registry"]._registry
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BUCKETS", str(folder))
        patch.setenv("PYTHONPATH", str(STAND_IN), prepend=os.pathsep)
        patch.syspath_prepend(str(STAND_IN))
        patch.delitem(sys.modules, "s3fs", raising=False)
        store = importlib.import_module("s3fs").S3FileSystem
        patch.setitem(registry, "s3", store)
        yield store
        sys.modules.pop("s3fs")


def write_aged(path: Path, data: bytes, *, seconds: float) -> None:
    """A file that was written this long ago: a scan remembers none that was written just now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    age(path, seconds)


def age(path: Path, seconds: float) -> None:
    """Let a file have been written this long ago."""
    written = path.stat().st_mtime - seconds
    os.utime(path, (written, written))
