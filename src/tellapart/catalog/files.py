"""Where the bytes of a catalog's images come from: a folder here, archives and arrays in their own
modules.

Also what all of them read through: a `Store` of bytes, and the unpacking of one file into a store.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import os
import shutil
import stat
import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import IO, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.names import escape, unescape
from tellapart.decoding import DEFAULT_MAX_PIXELS, Decoded, decode, read_file
from tellapart.errors import Refused, UserError, reason_of

MAX_UNPACKED_BYTES = 64 * 2**30  # of one packed file, on disk
IN_MEMORY_BYTES = 2**28  # of one packed file, in memory
BOMB_RATIO = (
    200  # bytes out for a byte in: images stay near 1, and nothing but deceit comes near 1000
)
AGAIN = "Copy or download it again."
READ_IT = "Give yourself the right to read it."
_PIECE = 2**20
_PACKINGS = [(b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"\xfd7zXZ\0", "xz")]


class Files(Protocol):
    """The files of one source, by their catalog path. Called from several threads."""

    @property
    def place(self) -> str:
        """What tells this source from every other on this machine, for what is remembered of it."""

    def read(self, path: str) -> bytes | Decoded:
        """The bytes of one image file, or the verdict that says why there are none."""

    def stamp(self, path: str) -> tuple[str, float]:
        """What is another text whenever the content may be another, and when it last changed, in
        seconds since 1970.

        The text is "" where nothing can be said.
        """


class Item(NamedTuple):
    """What lies in a folder. A link is what it leads to; one that leads nowhere is a file."""

    name: str  # escaped
    folder: bool
    link: bool = False


class Tree(Files, Protocol):
    """Files that lie in folders, on disk or in an archive. Paths are catalog paths; "" is the top
    folder.
    """

    @property
    def name(self) -> str:
        """What the user calls it, for messages."""

    @property
    def ignored(self) -> Mapping[str, int]:
        """What was passed over already, before any folder was listed: reason → count."""

    def list(self, inside: str) -> Iterable[Item]:
        """What lies in a folder; an OSError says why that cannot be known."""

    def is_file(self, path: str) -> bool:
        """Whether there is a file of this path."""

    def real(self, path: str) -> str:
        """The path without links, "/" or the system's separator between folders; starts with that
        of "".
        """

    def open(self, path: str) -> Store:
        """One file, whatever it holds; an OSError says why that cannot be read."""


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
    """A store of an open file, which nobody else may use from now on; closed with the last that
    reads it.
    """
    lock = Lock()

    def read_at(at: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(file.fileno(), count, at)
        with lock:  # Windows
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


@dataclass(frozen=True)
class Folder:
    """Files on disk; `root` is the folder that catalog paths are relative to."""

    root: Path

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
        """Nothing: what is on disk is passed over when it is listed."""
        return {}

    def read(self, path: str) -> bytes | Decoded:
        """The bytes of one file."""
        return read_file(self._disk(path))

    def stamp(self, path: str) -> tuple[str, float]:
        """Size, times and number of the file; of what a link leads to."""
        return file_stamp(self._disk(path))

    def list(self, inside: str) -> list[Item]:
        """What lies in a folder, in no order."""
        with os.scandir(self._disk(inside)) as entries:
            return [
                Item(escape(entry.name), _is_folder(entry), entry.is_symlink()) for entry in entries
            ]

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


def unchanged_pixels(
    files: Files, path: str, digest: str, max_pixels: int = DEFAULT_MAX_PIXELS
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, the pixels of an image that a scan has seen.

    Args:
        digest: SHA-256 of the file's bytes, by the scan.
        max_pixels: as in the scan.

    Raises:
        Refused: the file was changed since.
    """
    data = files.read(path)
    pixels = decode(data, max_pixels=max_pixels).pixels if isinstance(data, bytes) else None
    if pixels is None or not isinstance(data, bytes) or hashlib.sha256(data).hexdigest() != digest:
        raise Refused(
            f"{path} was changed while it was used.",
            "Leave the data alone, and run the command again.",
        )
    return pixels


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


# ── files packed by gzip, bzip2 or xz ──


def packing(store: Store) -> str:
    """ "gz", "bz2" or "xz" by the first bytes, "" for what is not packed."""
    head = store.read(0, 6)
    return next((kind for magic, kind in _PACKINGS if head.startswith(magic)), "")


def packed_head(store: Store, kind: str) -> bytes:
    """The first 512 bytes of what a packed file holds, or all of it.

    Raises:
        Damage: it is cut or damaged before that.
    """
    head = b""
    for piece in unpacked(store, kind):
        head += piece[:512]
        if len(head) >= 512:
            break
    return head[:512]


def unpack(store: Store, kind: str, name: str) -> Store:
    """What a packed file holds, in memory or in a file without a name.

    Raises:
        UserError: it is cut, damaged, or larger than there is room for.
    """
    return keep(unpacked(store, kind), name)


class _Inflate:
    """zlib's engine with the manners of those of bz2 and lzma."""

    def __init__(self, window_bits: int) -> None:
        self._engine = zlib.decompressobj(window_bits)

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def needs_input(self) -> bool:
        return not self._engine.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._engine.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._engine.decompress(self._engine.unconsumed_tail + data, max_length)


_ENGINES: Mapping[str, Callable[[], _Inflate | bz2.BZ2Decompressor | lzma.LZMADecompressor]] = {
    "deflate": lambda: _Inflate(-15),
    "gz": lambda: _Inflate(31),
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(
        lzma.FORMAT_XZ, memlimit=2**28
    ),  # a header may ask for 4 GiB
}


def unpacked(store: Store, kind: str) -> Iterator[bytes]:
    """What a packed file holds, in pieces of bounded size.

    Streams of gzip, bzip2 and xz may follow one another; the "deflate" of a zip is one stream.

    Raises:
        Damage: it is cut or damaged.
    """
    at = size = 0
    data = b""
    while True:
        engine = _ENGINES[kind]()
        while not engine.eof:
            if not data and engine.needs_input:
                data = store.read(at, _PIECE)
                at += len(data)
                if not data:
                    raise Damage("truncated", "The packed data stops before its end.")
            try:
                piece = engine.decompress(data, _PIECE)
            except (OSError, EOFError, ValueError, MemoryError, zlib.error, lzma.LZMAError):
                raise Damage("corrupt", "The packed data is damaged.") from None
            data = b""
            size += len(piece)
            # By what was read so far, not by the whole: a bomb can be a large file too.
            if size > max(IN_MEMORY_BYTES, BOMB_RATIO * at):
                raise Damage(
                    "too_large",
                    f"It unpacks to more than {BOMB_RATIO} times its size, as no images do.",
                )
            if piece:
                yield piece
        data = engine.unused_data.lstrip(b"\0")
        while not data and at < store.size:
            data = store.read(at, _PIECE).lstrip(b"\0")
            at += _PIECE
        if not data or kind == "deflate":
            return


def keep(pieces: Iterable[bytes], name: str) -> Store:
    """Pieces put together, in memory or in a file without a name, as long as there is room and
    sense in it.

    Raises:
        UserError: there is too much of it, or it is cut or damaged.
    """
    try:
        room = shutil.disk_usage(tempfile.gettempdir()).free * 9 // 10
    except OSError:
        room = 0
    limit = min(MAX_UNPACKED_BYTES, max(IN_MEMORY_BYTES, room))
    file = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 (closed with its store)
    store = store_of(file, 0)
    try:
        for piece in pieces:
            store.size += len(piece)
            if store.size > limit:
                raise UserError(
                    f"{name} unpacks to more than {limit / 2**30:.1f} GiB, the limit or all the"
                    " room there is.",
                    "Make room, set TMPDIR to a larger disk, or unpack it and give the folder.",
                )
            file.write(piece)
        file.flush()
    except Damage as damage:
        raise broken(name, damage) from None
    except OSError as error:
        raise UserError(
            f"{name} could not be unpacked ({reason_of(error)}).",
            "Make room in the temporary folder, or set TMPDIR to another.",
        ) from None
    if store.size > IN_MEMORY_BYTES:
        return store
    file.seek(0)
    data = file.read()
    return Store(len(data), lambda at, count: data[at : at + count])


def broken(name: str, damage: Damage) -> UserError:
    """The error for a file of which nothing can be used."""
    if damage.status == "too_large":
        return UserError(
            f"{name} unpacks to more than {BOMB_RATIO} times its size, as no images do.",
            "If you trust it, unpack it and give the folder.",
        )
    return UserError(
        f"{name} is {'cut short' if damage.status == 'truncated' else 'damaged'}.", AGAIN
    )
