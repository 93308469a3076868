"""Archives as folders: zip, and tar as it is or packed by gzip, bzip2 or xz. Members are read in
memory, on demand.

    photos.zip ── open_archive ──▶ ArchiveFiles ── list, read, open ──▶ as a folder would

Nothing is ever written under a name from an archive. A packed tar is unpacked once into memory, or,
when it is large, into a file without a name.
"""

from __future__ import annotations

import copy
import io
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from tellapart.catalog.files import AGAIN, Damage, Item, Store, file_stamp, open_store
from tellapart.decoding import MAX_FILE_BYTES, Decoded, decode
from tellapart.errors import UserError, reason_of
from tellapart.image_kinds import HEAD_BYTES, recognise
from tellapart.sources.containers.archive_index import (
    BAD_BYTES,
    DEFLATED,
    PLAIN,
    STORED,
    Index,
    Member,
    starts_tar,
    tar_entries,
    zip_entries,
)
from tellapart.sources.containers.packed import (
    BOMB_RATIO,
    broken,
    keep,
    packed_head,
    packing,
    unpack,
    unpacked,
)

_SMALL_BYTES = 2**26  # below this, any ratio is harmless
PIECE_BYTES = 2**20
_OPENED_BYTES = 2**24  # of one opened member, in memory: archives in an archive may be many


def open_archive(path: Path) -> ArchiveFiles | None:
    """A file as an archive, told by its content. None means that it is none.

    Raises:
        UserError: it cannot be read, is cut or damaged, or holds more than the limits.
    """
    name, stamp = str(path), file_stamp(str(path))
    try:
        store = open_store(path)
    except OSError as error:
        raise UserError(f"{name} cannot be read ({reason_of(error)}).", AGAIN) from None
    return archive_in(store, name, os.path.realpath(path), stamp)


def archive_in(
    store: Store, name: str, place: str, stamp: tuple[str, float]
) -> ArchiveFiles | None:
    """Bytes as an archive, told by their content. None means that they are none.

    Args:
        store: the whole archive.
        name: what messages call it.
        place: as `Files.place`.
        stamp: its stamp, from before it was opened.

    Raises:
        UserError: as in `open_archive`.
    """
    try:
        if kind := packing(store):
            if not starts_tar(packed_head(store, kind)):
                return None
            store, kind = unpack(store, kind, name), f"tar.{kind}"
        elif store.read(0, 4) in (b"PK\x03\x04", b"PK\x05\x06"):
            kind = "zip"
        elif starts_tar(store.read(0, 512)):
            kind = "tar"
        else:
            return None
        index = Index(name)
        for entry in zip_entries(store, name) if kind == "zip" else tar_entries(store):
            index.add(*entry)
    except Damage as damage:
        raise broken(name, damage) from None
    except BAD_BYTES:
        raise broken(name, Damage("corrupt", "Its directory is damaged.")) from None
    except OSError as error:
        raise UserError(f"{name} cannot be read ({reason_of(error)}).", AGAIN) from None
    return ArchiveFiles(name, place, kind, store, stamp, index)


class ArchiveFiles:
    """The members of an archive as files in folders: a `Tree`. Any thread may read."""

    def __init__(
        self,
        name: str,
        place: str,
        kind: str,
        store: Store,
        stamp: tuple[str, float],
        index: Index,
    ) -> None:
        self.kind = kind  # "zip", "tar", "tar.gz", ...
        self.top = ""  # the folder in the archive that paths start from
        self._name, self._place, self._store = name, place, store
        self._stamp, self._index = stamp, index

    def entered(self, folder: str) -> ArchiveFiles:
        """The same archive, seen from one of its folders."""
        inner = copy.copy(self)
        inner.top = self._full(folder)
        return inner

    @property
    def place(self) -> str:
        """The archive's real path."""
        return self._place

    @property
    def name(self) -> str:
        """The archive as the user gave it, and where in it."""
        return f"{self._name} (in {self.top}/)" if self.top else self._name

    @property
    def ignored(self) -> Mapping[str, int]:
        """The entries that are no file to be used: reason → count."""
        return self._index.ignored

    def read(self, path: str) -> bytes | Decoded:
        """The bytes of one member."""
        member = self._find(path)
        if member is None:
            if self._full(path) in self._index.folders:
                return Decoded("not_a_file", detail="It is a folder.")
            return Decoded("missing")
        if member.size > MAX_FILE_BYTES:
            return Decoded("too_large", detail=f"The file is larger than {MAX_FILE_BYTES:,} bytes.")
        if not member.size:
            return Decoded("empty", detail="The file has no content.")
        if member.size > _SMALL_BYTES and member.size > BOMB_RATIO * member.packed_bytes:
            return Decoded(
                "too_large", detail=f"It unpacks to more than {BOMB_RATIO} times its size."
            )
        try:
            return self._whole(member)
        except Damage as damage:
            return Decoded(damage.status, detail=damage.detail)
        except MemoryError:
            return Decoded("too_large", detail="It does not fit into memory.")
        except OSError:
            return Decoded(
                "unreadable", detail="Reading the archive failed in the operating system."
            )

    def stamp(self, path: str) -> tuple[str, float]:
        """The archive's stamp when it was opened. It is read as it was then, whatever takes its
        name later.
        """
        return self._stamp

    def list(self, inside: str) -> list[Item]:
        """What lies in a folder."""
        found = self._index.folders.get(self._full(inside), {})
        return [Item(name, member is None) for name, member in found.items()]

    def is_file(self, path: str) -> bool:
        """Whether there is a file of this path."""
        return self._find(path) is not None

    def real(self, path: str) -> str:
        """The path itself: links are passed over."""
        return os.path.join(os.sep, *path.split("/"))

    def open(self, path: str) -> Store:
        """One member, whatever it holds."""
        member = self._find(path)
        if member is None:
            raise FileNotFoundError(f"{path} is not in the archive")
        if member.method == PLAIN:
            return self._store.part(member.at, member.size)
        return keep(_pieces(self._store, member), f"{path} in {self._name}", _OPENED_BYTES)

    def _find(self, path: str) -> Member | None:
        inside, _, name = self._full(path).rpartition("/")
        return self._index.folders.get(inside, {}).get(name)

    def _full(self, path: str) -> str:
        return f"{self.top}/{path}" if self.top and path else self.top or path

    def _whole(self, member: Member) -> bytes | Decoded:
        found, checked = io.BytesIO(), member.size <= PIECE_BYTES
        for piece in _pieces(self._store, member):
            found.write(piece)
            if not checked:  # so that a large file that is no image is not unpacked to its end
                checked = True
                if recognise(piece[:HEAD_BYTES])[0] != "ok":
                    return decode(piece[:HEAD_BYTES])
        return found.getvalue()


def _pieces(store: Store, member: Member) -> Iterator[bytes]:
    """The bytes of one member, checked against the length and the sum that the archive states."""
    if member.encrypted:
        raise Damage(
            "unreadable",
            "It is encrypted. Unpack the archive with its password, and give the folder.",
        )
    if member.method not in (PLAIN, STORED, DEFLATED):
        raise Damage(
            "unreadable",
            "It is packed in a way that is not read here. Pack it again as an ordinary zip.",
        )
    data = store.part(_data_begins(store, member), member.packed_bytes)
    pieces = unpacked(data, "deflate") if member.method == DEFLATED else _as_it_is(data)
    size = crc = 0
    for piece in pieces:
        size += len(piece)
        if size > member.size:
            raise Damage("corrupt", "It unpacks to more than the archive states.")
        crc = zlib.crc32(piece, crc)
        yield piece
    if size < member.size:
        raise Damage("truncated", "It ends before the length that the archive states.")
    if member.method != PLAIN and crc != member.crc:
        raise Damage("corrupt", "Its bytes are not those that were packed: the check sum differs.")


def _as_it_is(store: Store) -> Iterator[bytes]:
    at = 0
    while piece := store.read(at, max(PIECE_BYTES, min(store.size, _SMALL_BYTES))):
        yield piece
        at += len(piece)


def _data_begins(store: Store, member: Member) -> int:
    if member.method == PLAIN:
        return member.at
    header = store.read(member.at, 30)
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        raise Damage("corrupt", "The archive has no file where its directory says.")
    name_bytes, extra_bytes = struct.unpack_from("<2H", header, 26)
    return member.at + 30 + int(name_bytes) + int(extra_bytes)
