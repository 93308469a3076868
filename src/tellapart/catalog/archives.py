"""Archives as folders: zip, and tar as it is or packed by gzip, bzip2 or xz. Members are read in
memory, on demand.

    photos.zip ── open_archive ──▶ ArchiveFiles ── list, read, open ──▶ as a folder would

`zipfile` and `tarfile` read the directories. So names are those that `python -m zipfile -l` shows,
by code page 437 where a zip does not say UTF-8. Nothing is ever written under a name from an
archive: a packed tar is unpacked once into memory, or, when it is large, into a file without a
name. All that an archive claims (sizes, counts, offsets, names) is checked against a bound before
memory or time is spent on it.
"""

from __future__ import annotations

import copy
import io
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tellapart.catalog.files import (
    AGAIN,
    BOMB_RATIO,
    Damage,
    Item,
    Store,
    broken,
    file_stamp,
    keep,
    open_store,
    packed_head,
    packing,
    unpack,
    unpacked,
)
from tellapart.catalog.names import escape
from tellapart.decoding import HEAD_BYTES, MAX_FILE_BYTES, Decoded, decode
from tellapart.errors import UserError, reason_of

MAX_ENTRIES = 1_000_000
_MAX_ZIP_DIRECTORY = 2**27  # bytes; zipfile keeps them all
_SMALL_BYTES = 2**26  # below this much, any ratio is invariant
_PIECE = 2**20
_MAX_FOLDERS = 250_000
_MAX_NAME, _MAX_DEPTH, _MAX_NAMES = (
    4096,
    128,
    2**28,
)  # characters, folders, characters of all names together
_MAX_TAR_HEADER = 2**20  # bytes of all headers before one member


# ── members ──

_PLAIN = -1  # the method of a member of a tar: its bytes as they are, without a header of their own
_STORED, _DEFLATED = 0, 8


class Member(NamedTuple):
    """Where the bytes of one file are in its archive."""

    at: int  # where they begin; in a zip, where the header before them does
    packed_bytes: int
    size: int
    method: int = _PLAIN
    encrypted: bool = False
    crc: int = 0


_SAME_NAME = "archive entries of the same name, all but the last"
_SPECIAL = "devices, pipes and other special files in the archive"
_UNUSUAL = {stat.S_IFLNK: "links in the archive"}
_UNUSUAL |= dict.fromkeys((stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK), _SPECIAL)


class _Index:
    """What an archive holds, as folders; what can be no file is counted."""

    def __init__(self, name: str) -> None:
        self.folders: dict[str, dict[str, Member | None]] = {
            "": {}
        }  # folder → name → file, or None for a folder
        self.ignored: Counter[str] = Counter()
        self._name = name
        self._entries = self._characters = 0

    def add(self, name: str, kind: int, member: Member | None) -> None:
        """One entry: `kind` is that of a file's mode, or 0; `member` is None for a folder."""
        self._entries += 1
        self._check_limits(name)
        if why := _unsafe(name) or _UNUSUAL.get(kind, ""):
            self.ignored[why] += 1
            return
        path = "/".join(part for part in escape(name).split("/") if part not in ("", "."))
        if member is None or not path:
            self._folder(path)
            return
        inside, _, last = path.rpartition("/")
        known = self._folder(inside)
        if last in known:
            self.ignored[_SAME_NAME] += 1
        if known.get(last, member) is not None:  # no folder
            known[last] = member

    def _folder(self, path: str) -> dict[str, Member | None]:
        """What is known to be in a folder; it and those above it are made."""
        if path not in self.folders:
            self._check_limits(path)
            inside, _, last = path.rpartition("/")
            known = self._folder(inside)
            if last in known:  # a file before
                self.ignored[_SAME_NAME] += 1
            known[last] = None
            self.folders[path] = {}
        return self.folders[path]

    def _check_limits(self, name: str) -> None:
        self._characters += len(name)
        if (
            self._entries > MAX_ENTRIES
            or len(self.folders) > _MAX_FOLDERS
            or self._characters > _MAX_NAMES
        ):
            raise _too_many(self._name)


def _too_many(name: str) -> UserError:
    return UserError(
        f"{name} holds more than {MAX_ENTRIES:,} files or {_MAX_FOLDERS:,} folders, or names too"
        " long to keep.",
        "Unpack it and give the folder.",
    )


def _unsafe(name: str) -> str:
    """Why a name may be meant for harm, or ""."""
    has_drive = name[1:2] == ":" and name[0].isalpha()
    if "\0" in name or "\\" in name or name.startswith("/") or has_drive or ".." in name.split("/"):
        return "archive entries whose names lead out of the archive"
    if len(name) > _MAX_NAME or name.count("/") > _MAX_DEPTH:
        return "archive entries whose names are too long"
    return ""


class ArchiveFiles:
    """The members of an archive as files in folders: a `Tree`. Any thread may read."""

    def __init__(
        self, path: Path, kind: str, store: Store, stamp: tuple[str, float], index: _Index
    ) -> None:
        self.kind = kind  # "zip", "tar", "tar.gz", ...
        self.top = ""  # the folder in the archive that paths are relative to
        self._path, self._store, self._stamp, self._index = path, store, stamp, index

    def entered(self, folder: str) -> ArchiveFiles:
        """The same archive, seen from one of its folders."""
        inner = copy.copy(self)
        inner.top = self._full(folder)
        return inner

    @property
    def place(self) -> str:
        """The archive's real path."""
        return os.path.realpath(self._path)

    @property
    def name(self) -> str:
        """The archive as the user gave it, and where in it."""
        return f"{self._path} (in {self.top}/)" if self.top else str(self._path)

    @property
    def ignored(self) -> Mapping[str, int]:
        """What is no file to be used."""
        return self._index.ignored

    def read(self, path: str) -> bytes | Decoded:
        """The bytes of one member."""
        member = self._find(path)
        if member is None:
            is_folder = self._full(path) in self._index.folders
            return (
                Decoded("not_a_file", detail="It is a folder.") if is_folder else Decoded("missing")
            )
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
        """That of the archive when it was opened, for it is read as it was then, whatever takes its
        name since.
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
        if member.method == _PLAIN:
            return self._store.part(member.at, member.size)
        return keep(_pieces(self._store, member), f"{path} in {self._path}")

    def _find(self, path: str) -> Member | None:
        inside, _, name = self._full(path).rpartition("/")
        return self._index.folders.get(inside, {}).get(name)

    def _full(self, path: str) -> str:
        return f"{self.top}/{path}" if self.top and path else self.top or path

    def _whole(self, member: Member) -> bytes | Decoded:
        found, checked = io.BytesIO(), member.size <= _PIECE
        for piece in _pieces(self._store, member):
            found.write(piece)
            if not checked:  # a large file that is no image need not be unpacked to its end
                verdict, checked = decode(piece[:HEAD_BYTES]), True
                if verdict.status in ("not_an_image", "unsupported"):
                    return verdict
        return found.getvalue()


def _pieces(store: Store, member: Member) -> Iterator[bytes]:
    """The bytes of one member, checked against the length and the sum that the archive states."""
    if member.encrypted:
        raise Damage(
            "unreadable",
            "It is encrypted. Unpack the archive with its password, and give the folder.",
        )
    if member.method not in (_PLAIN, _STORED, _DEFLATED):
        raise Damage(
            "unreadable",
            "It is packed in a way that is not read here. Pack it anew as an ordinary zip.",
        )
    data = store.part(_data_begins(store, member), member.packed_bytes)
    pieces = unpacked(data, "deflate") if member.method == _DEFLATED else _as_it_is(data)
    size = crc = 0
    for piece in pieces:
        size += len(piece)
        if size > member.size:
            raise Damage("corrupt", "It unpacks to more than the archive states.")
        crc = zlib.crc32(piece, crc)
        yield piece
    if size < member.size:
        raise Damage("truncated", "It ends before the length that the archive states.")
    if member.method != _PLAIN and crc != member.crc:
        raise Damage("corrupt", "Its bytes are not those that were packed: the check sum differs.")


def _as_it_is(store: Store) -> Iterator[bytes]:
    at = 0
    while piece := store.read(at, max(_PIECE, min(store.size, _SMALL_BYTES))):
        yield piece
        at += len(piece)


def _data_begins(store: Store, member: Member) -> int:
    if member.method == _PLAIN:
        return member.at
    header = store.read(member.at, 30)
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        raise Damage("corrupt", "The archive has no file where its directory says.")
    name_bytes, extra_bytes = struct.unpack_from("<2H", header, 26)
    return member.at + 30 + int(name_bytes) + int(extra_bytes)


# ── which archive ──

# All that zipfile and tarfile raise for bytes that are no archive; of OSError only our own, which
# is a ValueError too.
_BAD_BYTES = (
    tarfile.TarError,
    zipfile.BadZipFile,
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    ValueError,
    struct.error,
)


def open_archive(path: Path) -> ArchiveFiles | None:
    """The archive that a file is, by its content; None if it is none.

    Raises:
        UserError: it cannot be read, is cut or damaged, or holds more than the limits.
    """
    name, stamp = str(path), file_stamp(str(path))
    try:
        store = open_store(path)
        if kind := packing(store):
            if not _starts_tar(packed_head(store, kind)):
                return None
            store, kind = unpack(store, kind, name), f"tar.{kind}"
        elif store.read(0, 4) in (b"PK\x03\x04", b"PK\x05\x06"):
            kind = "zip"
        elif _starts_tar(store.read(0, 512)):
            kind = "tar"
        else:
            return None
        index = _Index(name)
        for entry in _zip_entries(store, name) if kind == "zip" else _tar_entries(store):
            index.add(*entry)
    except Damage as damage:
        raise broken(name, damage) from None
    except _BAD_BYTES:
        raise broken(name, Damage("corrupt", "Its directory is damaged.")) from None
    except OSError as error:
        raise UserError(f"{name} cannot be read ({reason_of(error)}).", AGAIN) from None
    return ArchiveFiles(path, kind, store, stamp, index)


def _starts_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except _BAD_BYTES:
        return False
    return True


class _Reading(io.RawIOBase):
    """A store as the file that zipfile and tarfile want. It ends where `left` bytes were read."""

    def __init__(self, store: Store, left: int) -> None:
        self._store, self._at = store, 0
        self.left = left

    def read(self, count: int = -1) -> bytes:
        data = self._store.read(self._at, self.left if count < 0 else min(count, self.left))
        self._at += len(data)
        self.left -= len(data)
        return data

    def seek(self, to: int, whence: int = os.SEEK_SET) -> int:
        at = to + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._store.size}[whence]
        if at < 0:
            raise io.UnsupportedOperation("before the beginning")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at


_Entry = tuple[str, int, Member | None]  # name, kind, where its bytes are; see `_Index.add`


class _ZipDirectory(_Reading):
    """Refuses a directory that is too long before zipfile makes objects of it."""

    def __init__(self, store: Store, name: str) -> None:
        super().__init__(store, _MAX_ZIP_DIRECTORY)
        self._name = name

    def read(self, count: int = -1) -> bytes:
        data = super().read(count)
        if not self.left or data.count(b"PK\x01\x02") > MAX_ENTRIES:
            raise _too_many(self._name)
        return data


def _zip_entries(store: Store, name: str) -> Iterator[_Entry]:
    """What the directory at a zip's end lists.

    Raises:
        Damage: entries lie outside of the file or share bytes, as in a bomb.
    """
    infos = zipfile.ZipFile(_ZipDirectory(store, name)).infolist()
    begins = np.array([info.header_offset for info in infos], np.int64)
    ends = begins + np.array([30 + info.compress_size for info in infos], np.int64)
    order = np.argsort(begins)
    if (
        (begins < 0).any()
        or (ends < begins).any()
        or (ends[order] > np.append(begins[order][1:], store.size)).any()
    ):
        raise Damage("corrupt", "Its entries overlap.")
    for info in infos:
        # A name is cut at a zero byte and has its backslashes turned on Windows; neither is to pass
        # for safe.
        full = info.orig_filename if re.search(r"[\0\\]", info.orig_filename) else info.filename
        encrypted = bool(info.flag_bits & 1)
        member = Member(
            info.header_offset,
            info.compress_size,
            info.file_size,
            info.compress_type,
            encrypted,
            info.CRC,
        )
        yield full, stat.S_IFMT(info.external_attr >> 16), None if full.endswith("/") else member


class _TarHeaders(_Reading):
    """Refuses headers that are too long, or take older versions of tarfile quadratic time and
    memory.
    """

    last = b""  # what was read last

    def read(self, count: int = -1) -> bytes:
        self.last = super().read(count)
        is_name = len(self.last) <= 2 * _MAX_NAME  # or anything else that is invariant
        is_usual = is_name or _are_attributes(self.last)
        if not self.left or not is_usual or re.search(rb"(?<![0-9])[0-9]{100}", self.last):
            raise Damage("corrupt", "A header is damaged, or longer than any in use.")
        return self.last


_ATTRIBUTE = re.compile(b"([0-9]{1,7}) [^=]{1,255}=")


def _are_attributes(data: bytes) -> bool:
    """Whether these are records of "length key=value\\n"."""
    at = 0
    while match := _ATTRIBUTE.match(data, at):
        at += int(match[1])
        if not match.end() < at <= len(data):
            return False
    return not any(data[at:])


def _tar_entries(store: Store) -> Iterator[_Entry]:
    """What the headers between a tar's files say. Its end mark may be missing.

    Raises:
        Damage: a header or a file is not whole.
    """
    headers = _TarHeaders(store, _MAX_TAR_HEADER)
    tar = tarfile.TarFile(fileobj=headers, encoding="utf-8", errors="surrogateescape")
    tar.offset = 0
    while True:
        at = headers.seek(tar.offset)
        headers.left = _MAX_TAR_HEADER
        tar.pax_headers = {}  # what is meant for all members, and would be copied to each
        try:
            # Not `tar.next`, which takes a damaged header for the end, and keeps every member.
            info = tarfile.TarInfo.fromtarfile(tar)
        except tarfile.HeaderError:
            if any(headers.last) or headers.tell() > at + 512:
                raise
            return
        is_file = info.isreg() and not info.issparse()
        end = info.offset_data + info.size if is_file else 0
        if info.size < 0 or not max(end, headers.tell()) <= tar.offset <= store.size:
            raise Damage("truncated", "It ends within a file.")
        is_link = info.issym() or info.islnk()
        kind = stat.S_IFLNK if is_link else 0 if is_file or info.isdir() else stat.S_IFCHR
        yield (
            info.name,
            kind,
            None if info.isdir() else Member(info.offset_data, info.size, info.size),
        )
