"""Where the bytes of a catalog's images come from. Folders are here; archives, arrays and images in
memory have their own modules.

All of them read through a `Store` of bytes; `packed` unpacks a file into one.
"""

from __future__ import annotations

import hashlib
import os
import stat
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import IO, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.names import escape, unescape
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import Decoded, decode, read_file
from tellapart.errors import Refused

AGAIN = "Copy or download it again."
READ_IT = "Give yourself the right to read it."


class Files(Protocol):
    """The files of one source, by their catalog paths. Several threads call it."""

    @property
    def place(self) -> str:
        """What tells this source from every other on this machine. Scans are remembered by it."""

    def read(self, path: str) -> bytes | Decoded:
        """The bytes of one image file, or the verdict that says why there are none."""

    def stamp(self, path: str) -> tuple[str, float]:
        """A text that is another one whenever the content may be, and when the file last changed,
        in seconds since 1970.

        The text is "" where nothing is known.
        """


def threads_for(files: Files) -> int | None:
    """How many threads read files at once. None means one a core.

    A store answers one request slowly and many at once, so that more threads wait for it.
    """
    threads: int | None = getattr(files, "threads", None)
    return threads


class Item(NamedTuple):
    """A file or folder in a folder. A link counts as what it leads to; a broken one is a file."""

    name: str  # escaped
    folder: bool
    link: bool = False


class Tree(Files, Protocol):
    """Files that lie in folders, on disk or in an archive. Paths are catalog paths, and "" is the
    top folder.
    """

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def ignored(self) -> Mapping[str, int]:
        """What was passed over before any folder was listed: reason → count."""

    def list(self, inside: str) -> Iterable[Item]:
        """What lies in a folder. An OSError says why that cannot be known."""

    def is_file(self, path: str) -> bool:
        """Whether there is a file of this path."""

    def real(self, path: str) -> str:
        """The path without links, with "/" or the system's separator between folders. It starts
        with the real path of "".
        """

    def open(self, path: str) -> Store:
        """One file, whatever it holds. An OSError says why it cannot be read."""


class Damage(Exception):
    """Why bytes cannot be had: a status, and a sentence in our own words."""

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Store:
    """Bytes that any thread may read at any place: a file, or a stretch of one."""

    def __init__(self, size: int, read_at: Callable[[int, int], bytes]) -> None:
        self.size = size
        self._read_at = read_at

    def read(self, at: int, count: int) -> bytes:
        """The bytes from a place on; fewer where the store ends."""
        return self._read_at(at, max(0, min(count, self.size - at)))

    def part(self, at: int, size: int) -> Store:
        """A stretch of it as a store of its own."""
        return Store(size, lambda inner, count: self.read(at + inner, count))


def store_of(file: IO[bytes], size: int) -> Store:
    """A store of an open file, which nobody else may use any more. It is closed when the store is
    no longer used.
    """
    lock = Lock()

    def read_at(at: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(file.fileno(), count, at)
        with lock:  # Windows cannot read at a place without moving there first
            file.seek(at)
            return file.read(count)

    weakref.finalize(read_at, file.close)
    return Store(size, read_at)


def open_store(path: str | Path) -> Store:
    """A file on disk as a store. It stays the file that it is now, should another one take its
    name.

    Raises:
        OSError: it cannot be opened, or is a folder, pipe, socket or device.
    """
    # O_NONBLOCK, because opening a pipe that nobody writes to would wait for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    info = os.fstat(file.fileno())
    if not stat.S_ISREG(info.st_mode):
        file.close()
        raise OSError(f"{path} is no file")
    return store_of(file, info.st_size)


def reopened_store(path: str, stamp: str) -> Store:
    """A file on disk as a store that opens it for each reading. An OSError says that it was changed
    since.

    Args:
        path: on disk.
        stamp: the text of its stamp.

    Raises:
        OSError: it cannot be opened.
    """

    def read_at(at: int, count: int) -> bytes:
        store = open_store(path)
        if file_stamp(path)[0] != stamp:
            raise OSError(f"{path} was changed")
        return store.read(at, count)

    return Store(open_store(path).size, read_at)


@dataclass(frozen=True)
class Folder:
    """Files on disk; `root` is the folder that catalog paths are relative to."""

    root: Path

    def entered(self, folder: str) -> Folder:
        """One of the folders in it."""
        return Folder(self.root / unescape(folder))

    @property
    def place(self) -> str:
        """The folder's real path."""
        return os.path.realpath(self.root)

    @property
    def name(self) -> str:
        """The folder as the user gave it."""
        return str(self.root)

    @property
    def ignored(self) -> Mapping[str, int]:
        """Nothing: files on disk are passed over when they are listed."""
        return {}

    def read(self, path: str) -> bytes | Decoded:
        """The bytes of one file."""
        return read_file(self._disk(path))

    def stamp(self, path: str) -> tuple[str, float]:
        """Size, times and number of the file, or of what a link leads to."""
        return file_stamp(self._disk(path))

    def list(self, inside: str) -> Iterator[Item]:
        """What lies in a folder, in no order."""
        with os.scandir(self._disk(inside)) as entries:
            for entry in entries:
                yield Item(escape(entry.name), _is_folder(entry), entry.is_symlink())

    def is_file(self, path: str) -> bool:
        """Whether there is a file of this path; a link counts as what it leads to."""
        return os.path.isfile(self._disk(path))

    def real(self, path: str) -> str:
        """The path on disk without links."""
        return os.path.realpath(self._disk(path))

    def open(self, path: str) -> Store:
        """One file, whatever it holds."""
        return open_store(self._disk(path))

    def _disk(self, path: str) -> str:
        return f"{self._top}/{unescape(path)}" if path else self._top

    @cached_property
    def _top(self) -> str:
        return os.fspath(self.root)


def unchanged_pixels(files: Files, path: str, digest: str, rules: DecodeRules) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, the pixels of an image that a scan has read.

    Args:
        digest: SHA-256 of the file's bytes, by the scan.
        rules: as in the scan.

    Raises:
        Refused: the file was changed since.
    """
    data = files.read(path)
    pixels = decode(data, rules=rules).pixels if isinstance(data, bytes) else None
    if pixels is None or not isinstance(data, bytes) or hashlib.sha256(data).hexdigest() != digest:
        raise Refused(
            f"{path} was changed while it was used.",
            "Leave the data alone, and run the command again.",
        )
    return pixels


def decoded_files(
    files: Files, paths: Iterable[str], rules: DecodeRules
) -> Iterator[tuple[bytes, NDArray[np.uint8]]]:
    """Files and their pixels (H, W, 3) uint8, in this order; what is no image is skipped."""
    for path in paths:
        data = files.read(path)
        if isinstance(data, Decoded):
            continue
        pixels = decode(data, rules=rules).pixels
        if pixels is not None:
            yield data, pixels


def file_stamp(path: str) -> tuple[str, float]:
    """The stamp of a file on disk."""
    try:
        info = os.stat(path)
    except (OSError, ValueError):  # gone, not permitted, or a name with a zero byte
        return "", 0.0
    text = f"{info.st_size} {info.st_mtime_ns} {info.st_ctime_ns} {info.st_dev} {info.st_ino}"
    return text, max(info.st_mtime, info.st_ctime)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
