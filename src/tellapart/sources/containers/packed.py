"""Files packed by gzip, bzip2 or xz, unpacked into memory or into a file without a name."""

from __future__ import annotations

import bz2
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping

from tellapart.catalog.files import AGAIN, Damage, Store, store_of
from tellapart.errors import UserError, reason_of

MAX_UNPACKED_BYTES = 64 * 2**30  # of one packed file, on disk
IN_MEMORY_BYTES = 2**28  # of one packed file, in memory
# Bytes out for a byte in: images stay near 1, and nothing but deceit comes near 1000.
BOMB_RATIO = 200
_PIECE = 2**20
_PACKINGS = [(b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"\xfd7zXZ\0", "xz")]


def packing(store: Store) -> str:
    """How a file is packed, by its first bytes: "gz", "bz2" or "xz", or "" if it is not."""
    head = store.read(0, 6)
    return next((kind for magic, kind in _PACKINGS if head.startswith(magic)), "")


def packed_head(store: Store, kind: str) -> bytes:
    """The first 512 bytes of what a packed file holds, or all of it if it is shorter.

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
    """zlib's engine with the interface of those of bz2 and lzma."""

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
    # A limit, because a header may ask for 4 GiB.
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2**28),
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
            # Relative to what was read so far, not to the whole: a bomb can be a large file too.
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


def keep(pieces: Iterable[bytes], name: str, in_memory: int | None = None) -> Store:
    """Pieces put together, in memory or in a file without a name.

    Args:
        pieces: the bytes, one after another.
        name: what messages call the whole.
        in_memory: the most bytes that stay in memory. None means IN_MEMORY_BYTES.

    Raises:
        UserError: there is not enough room for them, or they are cut or damaged.
    """
    try:
        room = shutil.disk_usage(tempfile.gettempdir()).free * 9 // 10
    except OSError:
        room = 0
    limit = min(MAX_UNPACKED_BYTES, max(IN_MEMORY_BYTES, room))
    in_memory = IN_MEMORY_BYTES if in_memory is None else in_memory
    file = tempfile.SpooledTemporaryFile(in_memory)  # noqa: SIM115 (closed with its store)
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
    if store.size > in_memory:
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
    state = "cut short" if damage.status == "truncated" else "damaged"
    return UserError(f"{name} is {state}.", AGAIN)
