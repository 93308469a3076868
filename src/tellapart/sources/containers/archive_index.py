"""What an archive lists, as folders of members. Each claim is checked against a bound before memory
or time is spent on it.

`zipfile` and `tarfile` read the directories. So names are those that `python -m zipfile -l` shows,
by code page 437 where a zip does not say UTF-8.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tellapart.catalog.files import Damage, Store
from tellapart.catalog.names import escape
from tellapart.errors import UserError

MAX_ENTRIES = 1_000_000
MAX_FOLDERS = 250_000
MAX_NAME = 4096  # characters of one name
MAX_DEPTH = 128  # folders above one file
MAX_NAMES = 2**28  # characters of all names together
MAX_ZIP_DIRECTORY = 2**27  # bytes; zipfile keeps them all
MAX_TAR_HEADER = 2**20  # bytes of all headers before one member

# How the bytes of a member are packed.
PLAIN = -1  # a member of a tar: its bytes as they are, without a header of their own
STORED, DEFLATED = 0, 8  # members of a zip

# Systems whose programs may separate folders by backslashes, as older .NET and PowerShell do. The
# format forbids it, but unzip reads such names too, by the same rule: no "/" in the name.
_BACKSLASH_SYSTEMS = (0, 10, 14)  # MS-DOS and FAT, NTFS, VFAT

# All that zipfile and tarfile raise for bytes that are no archive. Of OSError that is only
# io.UnsupportedOperation, which is a ValueError too.
BAD_BYTES = (
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


class Member(NamedTuple):
    """Where the bytes of one file are in its archive."""

    at: int  # where they begin; in a zip, where the header before them begins
    packed_bytes: int
    size: int
    method: int = PLAIN
    encrypted: bool = False
    crc: int = 0


_SAME_NAME = "archive entries of the same name, all but the last"
_SPECIAL = "devices, pipes and other special files in the archive"
_UNUSUAL = {stat.S_IFLNK: "links in the archive"}
_UNUSUAL |= dict.fromkeys((stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK), _SPECIAL)


class Index:
    """What an archive holds, as folders. Entries that can be no file are counted.

    Args:
        name: what messages call the archive.
    """

    def __init__(self, name: str) -> None:
        # Folder → name → file, or None for a folder.
        self.folders: dict[str, dict[str, Member | None]] = {"": {}}
        self.ignored: Counter[str] = Counter()
        self._name = name
        self._entries = self._characters = 0

    def add(self, name: str, kind: int, member: Member | None) -> None:
        """Add one entry.

        Args:
            name: as the archive has it.
            kind: the kind of file that its mode states, or 0.
            member: where its bytes are. None means a folder.

        Raises:
            UserError: there are more of them than the limits.
        """
        self._entries += 1
        self._check_limits(name)
        if reason := _unsafe(name) or _UNUSUAL.get(kind, ""):
            self.ignored[reason] += 1
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
        """What is known to be in a folder. It and those above it are added."""
        if path not in self.folders:
            self._check_limits(path)
            inside, _, last = path.rpartition("/")
            known = self._folder(inside)
            if last in known:  # an earlier entry says that it is a file
                self.ignored[_SAME_NAME] += 1
            known[last] = None
            self.folders[path] = {}
        return self.folders[path]

    def _check_limits(self, name: str) -> None:
        self._characters += len(name)
        too_many = self._entries > MAX_ENTRIES or len(self.folders) > MAX_FOLDERS
        if too_many or self._characters > MAX_NAMES:
            raise _too_many(self._name)


def _too_many(name: str) -> UserError:
    return UserError(
        f"{name} holds more than {MAX_ENTRIES:,} files or {MAX_FOLDERS:,} folders, or names too"
        " long to keep.",
        "Unpack it and give the folder.",
    )


def _unsafe(name: str) -> str:
    """Why a name may be meant to do harm, or ""."""
    has_drive = name[1:2] == ":" and name[0].isalpha()
    if "\0" in name or "\\" in name or name.startswith("/") or has_drive or ".." in name.split("/"):
        return "archive entries whose names lead out of the archive"
    if len(name) > MAX_NAME or name.count("/") > MAX_DEPTH:
        return "archive entries whose names are too long"
    return ""


def starts_tar(head: bytes) -> bool:
    """Whether a file with these first 512 bytes is a tar archive."""
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except BAD_BYTES:
        return False
    return True


class _Reading(io.RawIOBase):
    """A store as the file that zipfile and tarfile want. It ends after `left` bytes."""

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


Entry = tuple[str, int, Member | None]  # the arguments of `Index.add`


class _ZipDirectory(_Reading):
    """Refuses a directory that is too long before zipfile makes objects of it."""

    def __init__(self, store: Store, name: str) -> None:
        super().__init__(store, MAX_ZIP_DIRECTORY)
        self._name = name

    def read(self, count: int = -1) -> bytes:
        data = super().read(count)
        if not self.left or data.count(b"PK\x01\x02") > MAX_ENTRIES:
            raise _too_many(self._name)
        return data


def zip_entries(store: Store, name: str) -> Iterator[Entry]:
    """The entries that the directory at a zip's end lists.

    Args:
        store: the whole archive.
        name: what messages call it.

    Raises:
        Damage: entries lie outside of the file or share bytes, as in a bomb.
    """
    infos = zipfile.ZipFile(_ZipDirectory(store, name)).infolist()
    begins = np.array([info.header_offset for info in infos], np.int64)
    ends = begins + np.array([30 + info.compress_size for info in infos], np.int64)
    order = np.argsort(begins)
    overlapping = ends[order] > np.append(begins[order][1:], store.size)
    if (begins < 0).any() or (ends < begins).any() or overlapping.any():
        raise Damage("corrupt", "Its entries overlap.")
    for info in infos:
        # zipfile cuts a name at a zero byte, and turns its backslashes round on Windows. Neither
        # must make it look safe.
        full = info.orig_filename if re.search(r"[\0\\]", info.orig_filename) else info.filename
        if not info.flag_bits & _UTF8_NAME:
            full = _as_utf8(full)
        if info.create_system in _BACKSLASH_SYSTEMS and "/" not in full:
            full = full.replace("\\", "/")  # `Index.add` still refuses ".." and drives
        member = Member(
            info.header_offset,
            info.compress_size,
            info.file_size,
            method=info.compress_type,
            encrypted=bool(info.flag_bits & 1),
            crc=info.CRC,
        )
        yield full, stat.S_IFMT(info.external_attr >> 16), None if full.endswith("/") else member


_UTF8_NAME = 0x800  # the flag of an entry that says so


def _as_utf8(name: str) -> str:
    """A name that zipfile took for the code page 437, for which the format stands. Most programs,
    of macOS and Linux too, write UTF-8 there without saying so.

    >>> _as_utf8("K├ñse"), _as_utf8("cat")
    ('Käse', 'cat')
    """
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


class _TarHeaders(_Reading):
    """Refuses headers that are too long, or that cost older versions of tarfile quadratic time and
    memory.
    """

    last = b""  # the bytes that were read last

    def read(self, count: int = -1) -> bytes:
        self.last = super().read(count)
        is_name = len(self.last) <= 2 * MAX_NAME  # or anything else that is harmless
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


def tar_entries(store: Store) -> Iterator[Entry]:
    """The entries that the headers between a tar's files list. Its end mark may be missing.

    Raises:
        Damage: a header or a file is not whole.
    """
    headers = _TarHeaders(store, MAX_TAR_HEADER)
    tar = tarfile.TarFile(fileobj=headers, encoding="utf-8", errors="surrogateescape")
    tar.offset = 0
    while True:
        at = headers.seek(tar.offset)
        headers.left = MAX_TAR_HEADER
        tar.pax_headers = {}  # they are meant for all members, and would be copied to each
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
        member = None if info.isdir() else Member(info.offset_data, info.size, info.size)
        yield info.name, _kind_of(info, is_file), member


def _kind_of(info: tarfile.TarInfo, is_file: bool) -> int:
    """The kind of file, as `Index.add` wants it. All special files count as one kind."""
    if info.issym() or info.islnk():
        return stat.S_IFLNK
    return 0 if is_file or info.isdir() else stat.S_IFCHR
