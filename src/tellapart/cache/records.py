"""Records of one size by name, in blocks that many processes may share.

The checksum of a record covers its name and its bytes, so a damaged record is as good as none.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import blocks, database
from tellapart.cache.blocks import Block, Bytes
from tellapart.scratch import scratch

WAITING_BYTES = 2**24  # of records that wait in memory to be written together
_PLACE = np.dtype([("key", "<u8"), ("block", "<u4"), ("row", "<u4"), ("sum", "<u4")])
RECENT = 50_000  # places that are held in a dict before they are sorted into the array


class Records:
    """Records of one size by name. A disk that is full or cannot be written to costs the cache, not
    the work: what cannot be written is held in memory.

    Args:
        folder: holds the blocks. It is made with the first record.
    """

    def __init__(self, folder: Path) -> None:
        self.width = 0  # bytes of a record; 0 before there is any
        self._folder = folder
        self._lock = threading.RLock()
        self._index = _Index()
        self._blocks: list[Block] = []
        self._writing: int | None = None  # the number of the block that is appended to
        self._waiting: dict[int, tuple[int, bytes]] = {}
        self._waiting_bytes = 0
        self._flushed = time.monotonic()
        self._works = True
        with suppress(OSError):
            for path in sorted(folder.glob("*.keys")):
                self._load(path)

    def get(self, name: str) -> Bytes | None:
        """A record. None means that there is none, or that it is damaged."""
        key = _key_of(name)
        with self._lock:
            waiting = self._waiting.get(key)
            if waiting:
                total, data = waiting[0], np.frombuffer(waiting[1], np.uint8)
            else:
                place = self._index.find(key)
                if place is None:
                    return None
                block, row, total = place
                data = self._blocks[block].record(row)
        return data if _check(name, data.data) == total else None

    def put(self, name: str, data: bytes) -> None:
        """Keep a record. It reaches the disk within seconds, or at `flush`."""
        with self._lock:
            self.width = self.width or len(data)
            assert len(data) == self.width
            self._waiting[_key_of(name)] = _check(name, data), data
            self._waiting_bytes += len(data)
            late = time.monotonic() - self._flushed > database.FLUSH_SECONDS
            if self._works and (late or self._waiting_bytes > WAITING_BYTES):
                self.flush()

    def gather(self, names: Sequence[str]) -> Bytes:
        """(len(names), width) the records in this order. Many of them are mapped from a temporary
        file.

        Raises:
            KeyError: there is no such record.
        """
        gathered = scratch((len(names), self.width), np.uint8)
        for row, name in enumerate(names):
            data = self.get(name)
            if data is None:
                raise KeyError(name)
            gathered[row] = data
        return gathered

    def flush(self) -> None:
        """Write the records that wait."""
        with self._lock:
            if self._waiting:
                try:
                    self._append()
                except OSError:
                    self._works = False  # tried once more at the end; the work needs none of it
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Write what waits, and let other processes append to the block."""
        self.flush()
        with self._lock:
            if self._writing is not None:
                self._blocks[self._writing].release()
                self._writing = None

    def _append(self) -> None:
        if self._writing is not None and self._blocks[self._writing].size > blocks.BLOCK_BYTES:
            # Mapped now, it stays readable though another process may delete it as the oldest.
            self._blocks[self._writing].map()
            self._blocks[self._writing].release()
            self._writing = None
        if self._writing is None:
            self._writing = self._writable()
        keys = np.fromiter(self._waiting, np.uint64, len(self._waiting))
        sums = np.fromiter((total for total, _ in self._waiting.values()), np.uint32, len(keys))
        block = self._blocks[self._writing]
        first = block.append(keys, sums, b"".join(data for _, data in self._waiting.values()))
        self._index.add(self._writing, keys, np.arange(first, first + len(keys)), sums)
        self._waiting.clear()
        self._waiting_bytes = 0

    def _writable(self) -> int:
        """The number of a block that no other process appends to: the last one, or a new one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for number, block in list(enumerate(self._blocks))[-1:]:
            if block.size < blocks.BLOCK_BYTES and block.claim():
                return number
        self._blocks.append(Block.made(self._folder, self.width))
        return len(self._blocks) - 1

    def _load(self, path: Path) -> None:
        block = Block.found(path)
        if block is None or (self.width and block.width != self.width):
            return
        self.width = block.width
        entries = block.entries()
        self._index.add(len(self._blocks), entries["key"], np.arange(len(entries)), entries["sum"])
        self._blocks.append(block)


class _Index:
    """Where the record of each key is: a sorted array, and a dict of what came last."""

    def __init__(self) -> None:
        self._sorted = np.zeros(0, _PLACE)
        self._keys = self._sorted["key"].copy()
        self._recent: dict[int, tuple[int, int, int]] = {}

    def add(
        self,
        block: int,
        keys: NDArray[np.uint64],
        rows: NDArray[np.int64],
        sums: NDArray[np.uint32],
    ) -> None:
        """Add the records of a block. A later record of a key takes the place of an earlier one."""
        self._recent.update(
            (key, (block, row, total))
            for key, row, total in zip(keys.tolist(), rows.tolist(), sums.tolist(), strict=True)
        )
        if len(self._recent) > RECENT:
            self._sort()

    def find(self, key: int) -> tuple[int, int, int] | None:
        """The number of the block, the row there, and the checksum."""
        if key in self._recent:
            return self._recent[key]
        at = int(np.searchsorted(self._keys, np.uint64(key)))
        if at == len(self._keys) or int(self._keys[at]) != key:
            return None
        _, block, row, total = self._sorted[at].tolist()
        return block, row, total

    def _sort(self) -> None:
        recent = ((key, *place) for key, place in self._recent.items())
        every = np.concatenate([self._sorted, np.fromiter(recent, _PLACE, len(self._recent))])
        every = every[np.argsort(every["key"], kind="stable")]
        last = np.append(every["key"][1:] != every["key"][:-1], True)
        self._sorted = every[last]
        self._keys = self._sorted["key"].copy()
        self._recent.clear()


def _key_of(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(name), digest_size=8).digest(), "little")


def _check(name: str, data: memoryview | bytes) -> int:
    """A checksum over name and bytes: a damaged key can lead to the record of another name."""
    return zlib.crc32(data, zlib.crc32(os.fsencode(name)))
