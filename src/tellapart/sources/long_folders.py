"""The files of one folder in the order of their names, in the memory that a few thousand take."""

from __future__ import annotations

import heapq
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

from tellapart.catalog.files import Item

HELD = 20_000  # files whose names are in memory at a time
_PIECE_BYTES = 2**14


def sorted_items(items: Iterable[Item]) -> tuple[Items, list[Item]]:
    """The files and the folders among what lies in a folder, sorted by name.

    Raises:
        OSError: the folder cannot be read.
    """
    files, folders = Items(), []
    for item in items:
        if item.folder:
            folders.append(item)
        else:
            files.add(item)
    return files, sorted(folders)


class Items:
    """Files of a folder. They are sorted whenever they are iterated over.

    A million names take 200 MB. Where there are many, sorted runs of them lie in a temporary file,
    and are merged.
    """

    def __init__(self) -> None:
        self._held: list[Item] = []
        self._runs: list[tuple[int, int]] = []  # where each run begins and ends in the file
        self._file: IO[bytes] | None = None
        self._spilled = 0
        self._most = HELD if hasattr(os, "pread") else sys.maxsize  # Windows has no such call

    def __len__(self) -> int:
        return self._spilled + len(self._held)

    def __iter__(self) -> Iterator[Item]:
        runs = [self._read(*run) for run in self._runs]
        return heapq.merge(*runs, sorted(self._held)) if runs else iter(sorted(self._held))

    def __del__(self) -> None:
        if self._file:
            self._file.close()

    def add(self, item: Item) -> None:
        """Add a file."""
        self._held.append(item)
        if len(self._held) >= self._most:
            self._spill()

    def _spill(self) -> None:
        """Write the names in memory to the file. Where there is no room for it, they stay."""
        self._held.sort()
        data = b"".join(b"%d%s\0" % (item.link, item.name.encode()) for item in self._held)
        begin = self._runs[-1][1] if self._runs else 0
        try:
            self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115 - `__del__` closes it
            self._file.seek(begin)
            self._file.write(data)
            self._file.flush()
        except OSError:
            self._most *= 2
            return
        self._runs.append((begin, begin + len(data)))
        self._spilled += len(self._held)
        self._held = []

    def _read(self, begin: int, end: int) -> Iterator[Item]:
        assert self._file
        rest = b""
        while begin < end:
            # By place: the runs are read in turns, and several may iterate at once.
            piece = os.pread(self._file.fileno(), min(_PIECE_BYTES, end - begin), begin)
            begin += len(piece)
            *texts, rest = (rest + piece).split(b"\0")
            yield from map(_item, texts)


def _item(text: bytes) -> Item:
    return Item(text[1:].decode(), False, text[:1] == b"1")
