"""Archives as folders: zip, and tar as it is or packed by gzip, bzip2 or xz. Members are read in memory, on demand.

    photos.zip ── open_archive ──▶ ArchiveFiles ── list, read, open ──▶ as a folder would

Nothing is ever written under a name from an archive. A packed tar is unpacked once into memory, or, when it is large,
into a file without a name. All that an archive claims (sizes, counts, offsets, names) is checked against a bound before
memory or time is spent on it. Hence readers of its directories here: those of `zipfile` and `tarfile` keep an object of
about a kilobyte for each entry, and take an entry's word for how much to read.
"""

from __future__ import annotations

import copy
import io
import os
import re
import stat
import struct
import zlib
from array import array
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
from tellapart.errors import UserError

MAX_ENTRIES = 1_000_000
_SMALL_BYTES = 2**26  # below this much, any ratio is harmless
_PIECE = 2**20
_MAX_FOLDERS = 250_000
_MAX_NAME_BYTES, _MAX_DEPTH, _MAX_NAMES = 4096, 128, 2**28  # the last: characters of all names together
_MAX_TAR_HEADER_BYTES = 2**20  # of a long name, or of the attributes of one member


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


class _Index:
    """What an archive holds, as folders; what can be no file is counted."""

    def __init__(self, name: str) -> None:
        self.folders: dict[str, dict[str, Member | None]] = {"": {}}  # folder → name → file, or None for a folder
        self.ignored: Counter[str] = Counter()
        self._name = name
        self._entries = self._characters = 0

    def add(self, raw: bytes, mode: int, member: Member | None) -> None:
        """One entry; `member` is None for a folder. `mode` has the kind and the rights of the file, or is 0."""
        self._entries += 1
        # Undecodable bytes become surrogates, as they do in names on disk.
        name = raw.decode("utf-8", "surrogateescape")
        why = _unsafe(name, len(raw)) or _unusual(mode, is_file=member is not None)
        if why:
            self.ignored[why] += 1
            self._check_limits()
            return
        *above, last = [escape(part) for part in name.split("/") if part not in ("", ".")] or [""]
        if not last:  # "./", the top folder
            return
        inside = self._folder(above)
        if member is None:
            self._folder([*above, last])
            return
        known = self.folders[inside]
        if last in known:
            self.ignored["archive entries of the same name, all but the last"] += 1
            if known[last] is None:
                return
        else:
            self._characters += len(last)
        known[last] = member
        self._check_limits()

    def _folder(self, parts: list[str]) -> str:
        inside = ""
        for part in parts:
            known = self.folders[inside]
            path = f"{inside}/{part}" if inside else part
            if path not in self.folders:
                if part in known:  # a file before
                    self.ignored["archive entries of the same name, all but the last"] += 1
                self._characters += len(path)
                self._check_limits()
                known[part] = None
                self.folders[path] = {}
            inside = path
        return inside

    def _check_limits(self) -> None:
        if self._entries > MAX_ENTRIES or len(self.folders) > _MAX_FOLDERS or self._characters > _MAX_NAMES:
            raise UserError(
                f"{self._name} holds more than {MAX_ENTRIES:,} files or {_MAX_FOLDERS:,} folders, "
                "or names too long to keep.",
                "Unpack it and give the folder, or pack it as several.",
            )


def _unsafe(name: str, length: int) -> str:
    """Why a name may be meant for harm, or ""."""
    if "\0" in name or "\\" in name or name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/"):
        return "archive entries whose names lead out of the archive"
    if length > _MAX_NAME_BYTES or name.count("/") > _MAX_DEPTH:
        return "archive entries whose names are too long"
    return ""


def _unusual(mode: int, *, is_file: bool) -> str:
    """Why an entry of this mode is no ordinary file or folder, or ""."""
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        return "links in the archive"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "devices, pipes and other special files in the archive"
    if is_file and mode & (stat.S_ISUID | stat.S_ISGID):
        return "archive entries that ask for the rights of their owner"
    return ""


class ArchiveFiles:
    """The members of an archive as files in folders: a `Tree`. Any thread may read."""

    def __init__(self, path: Path, kind: str, store: Store, stamp: tuple[str, float], index: _Index) -> None:
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
            return Decoded("not_a_file", detail="It is a folder.") if is_folder else Decoded("missing")
        if member.size > MAX_FILE_BYTES:
            return Decoded("too_large", detail=f"The file is larger than {MAX_FILE_BYTES:,} bytes.")
        if not member.size:
            return Decoded("empty", detail="The file has no content.")
        if member.size > _SMALL_BYTES and member.size > BOMB_RATIO * member.packed_bytes:
            return Decoded("too_large", detail=f"It unpacks to more than {BOMB_RATIO} times its size.")
        try:
            return self._whole(member)
        except Damage as damage:
            return Decoded(damage.status, detail=damage.detail)
        except MemoryError:
            return Decoded("too_large", detail="It does not fit into memory.")
        except OSError:
            return Decoded("unreadable", detail="Reading the archive failed in the operating system.")

    def stamp(self, path: str) -> tuple[str, float]:
        """That of the archive when it was opened, for it is read as it was then, whatever takes its name since."""
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
        return keep(_pieces(self._store, member), max(member.packed_bytes, 1), f"{path} in {self._path}")

    def _find(self, path: str) -> Member | None:
        inside, _, name = self._full(path).rpartition("/")
        return self._index.folders.get(inside, {}).get(name)

    def _full(self, path: str) -> str:
        return f"{self.top}/{path}" if self.top and path else self.top or path

    def _whole(self, member: Member) -> bytes | Decoded:
        found, checked = io.BytesIO(), member.size <= _PIECE
        for piece in _pieces(self._store, member):
            found.write(piece)
            if not checked:  # a large file that is no picture need not be unpacked to its end
                verdict, checked = decode(piece[:HEAD_BYTES]), True
                if verdict.status in ("not_an_image", "unsupported"):
                    return verdict
        return found.getvalue()


def _pieces(store: Store, member: Member) -> Iterator[bytes]:
    """The bytes of one member, checked against the length and the sum that the archive states."""
    if member.encrypted:
        raise Damage("unreadable", "It is encrypted. Unpack the archive with its password, and give the folder.")
    if member.method not in (_PLAIN, _STORED, _DEFLATED):
        raise Damage("unreadable", "It is packed in a way that is not read here. Pack it anew as an ordinary zip.")
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
        for entry in _zip_entries(store) if kind == "zip" else _tar_entries(store):
            index.add(*entry)
    except Damage as damage:
        raise broken(name, damage) from None
    except OSError as error:
        raise UserError(f"{name} cannot be read ({(error.strerror or 'it is no file').lower()}).", AGAIN) from None
    return ArchiveFiles(path, kind, store, stamp, index)


_Entry = tuple[bytes, int, Member | None]  # name, mode, where its bytes are

# ── zip: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT ──

_END = struct.Struct("<4s4H2IH")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_CENTRAL = struct.Struct("<4s2B5H3I5H2I")
_MOST_CENTRAL_BYTES = _CENTRAL.size + 3 * 0xFFFF


def _zip_entries(store: Store) -> Iterator[_Entry]:
    """What the directory at a zip's end lists.

    Raises:
        Damage: it is not there, or entries share bytes, as in a bomb.
    """
    begin, end = _central_directory(store)
    at, window, base = begin, b"", begin
    begins, ends = array("q"), array("q")
    while at < end:
        if base + len(window) < min(end, at + _MOST_CENTRAL_BYTES):
            window, base = store.read(at, min(_PIECE, end - at)), at
        try:
            entry, length = _central_entry(window, at - base)
        except struct.error:
            raise Damage("corrupt", "An entry of the directory is cut.") from None
        name, _, member, stated = entry
        begins.append(stated.at)
        ends.append(stated.at + 30 + len(name) + stated.packed_bytes)
        yield name, entry[1], member
        at += length
    order = np.argsort(np.asarray(begins))
    last = np.append(np.asarray(begins)[order][1:], begin)
    if (np.asarray(ends)[order] > last).any():
        raise Damage("corrupt", "Its entries overlap.")


def _central_directory(store: Store) -> tuple[int, int]:
    """Where the directory begins and ends."""
    tail_at = max(0, store.size - _END.size - 0xFFFF)
    tail = store.read(tail_at, store.size)
    at = tail.rfind(b"PK\x05\x06", 0, len(tail) - _END.size + 4)
    if at < 0:
        raise Damage("truncated", "It has no directory.")
    end_at = tail_at + at
    *_, length, begin, _ = _END.unpack_from(tail, at)
    locator = store.read(end_at - 20, 20) if end_at >= 20 else b""
    if locator.startswith(b"PK\x06\x07"):
        (end_at,) = struct.unpack_from("<Q", locator, 8)
        record = store.read(end_at, _END_64.size) if end_at < store.size else b""
        if len(record) < _END_64.size or not record.startswith(b"PK\x06\x06"):
            raise Damage("corrupt", "Its large directory is not where it says.")
        *_, length, begin = _END_64.unpack(record)
    if begin + length > end_at:
        raise Damage("corrupt", "Its directory is not where it says.")
    return begin, begin + length


def _central_entry(window: bytes, at: int) -> tuple[tuple[bytes, int, Member | None, Member], int]:
    """One entry, and how long it is."""
    (
        magic,
        _,
        _,
        _,
        flags,
        method,
        _,
        _,
        crc,
        packed,
        size,
        name_bytes,
        extra_bytes,
        comment_bytes,
        *_,
        mode,
        begin,
    ) = _CENTRAL.unpack_from(window, at)
    if magic != b"PK\x01\x02":
        raise Damage("corrupt", "Its directory is damaged.")
    name_at = at + _CENTRAL.size
    name = window[name_at : name_at + name_bytes]
    extra = window[name_at + name_bytes : name_at + name_bytes + extra_bytes]
    length = _CENTRAL.size + name_bytes + extra_bytes + comment_bytes
    if at + length > len(window):
        raise struct.error
    if 0xFFFFFFFF in (size, packed, begin):
        size, packed, begin = _large_numbers(extra, size, packed, begin)
    if max(size, packed, begin) >= 2**62:
        raise Damage("corrupt", "Its directory is damaged.")
    member = Member(begin, packed, size, method, bool(flags & 1), crc)
    return (name, mode >> 16, None if name.endswith(b"/") else member, member), length


def _large_numbers(extra: bytes, *numbers: int) -> list[int]:
    """Numbers of which those that are too large for 32 bits stand in the entry's extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            large = iter(extra[at + 4 + i : at + 12 + i] for i in range(0, length - 7, 8))
            return [int.from_bytes(next(large, b""), "little") if n == 0xFFFFFFFF else n for n in numbers]
        at += 4 + length
    raise Damage("corrupt", "Its directory is damaged.")


# ── tar: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html ──

_TAR_KINDS = {
    b"1": stat.S_IFLNK,  # a hard link is a link too
    b"2": stat.S_IFLNK,
    b"3": stat.S_IFCHR,
    b"4": stat.S_IFBLK,
    b"6": stat.S_IFIFO,
    b"S": stat.S_IFCHR,  # a file with holes, as GNU tar writes it: rare enough to be special
}


def _starts_tar(head: bytes) -> bool:
    return len(head) == 512 and any(head) and _sum_fits(head)


def _sum_fits(header: bytes) -> bool:
    # The sum counts itself as eight spaces.
    return _number(header[148:156]) == sum(header) - sum(header[148:156]) + 8 * 32


def _number(field: bytes) -> int:
    """An octal number, or GNU's binary one; -1 for neither."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    return int(digits, 8) if re.fullmatch(b"[0-7]*", digits) and digits else -1 if digits else 0


def _tar_entries(store: Store) -> Iterator[_Entry]:
    """What the headers between a tar's files say.

    Raises:
        Damage: the end mark is missing, or a header or a file is not whole.
    """
    at, long_name, attributes = 0, b"", dict[bytes, bytes]()
    while any(header := store.read(at, 512)):
        if len(header) < 512:
            break
        size, mode, kind = _number(header[124:136]), _number(header[100:108]), header[156:157]
        if not _sum_fits(header) or size < 0:
            raise Damage("corrupt", "A header is damaged.")
        if kind in b"xL" and size > _MAX_TAR_HEADER_BYTES:
            raise Damage("corrupt", "A header is longer than any in use.")
        if kind not in b"xLKg" and b"size" in attributes:
            size = int(attributes[b"size"]) if re.fullmatch(b"[0-9]{1,18}", attributes[b"size"]) else 2**62
        data = at + 512
        at = data + (0 if kind in b"123456" else -(-size // 512) * 512)
        if at > store.size and data + size > store.size:
            raise Damage("truncated", "It ends within a file.")
        if kind == b"L":
            long_name = store.read(data, size).rstrip(b"\0")
        elif kind == b"x":
            attributes = dict(_attributes(store.read(data, size)))
        elif kind not in b"Kg":
            name = attributes.get(b"path") or long_name or _short_name(header)
            sparse = any(key.startswith(b"GNU.sparse") for key in attributes)
            special = _TAR_KINDS.get(kind, 0 if kind in b"057\0" else stat.S_IFCHR)
            folder = kind == b"5" or name.endswith(b"/")
            permissions = stat.S_IMODE(max(mode, 0))
            yield (
                name,
                permissions | (stat.S_IFCHR if sparse else special),
                None if folder else Member(data, size, size),
            )
            long_name, attributes = b"", {}
    if len(header) < 512:
        raise Damage("truncated", "It has no end mark.")


def _short_name(header: bytes) -> bytes:
    name, prefix = header[:100].split(b"\0")[0], header[345:500].split(b"\0")[0]
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


_ATTRIBUTE = re.compile(b"([0-9]{1,7}) ([^=]+)=")


def _attributes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Records of "length key=value\\n"."""
    at = 0
    while match := _ATTRIBUTE.match(data, at):
        end = at + int(match[1])
        if end <= match.end() or end > len(data):
            return
        yield match[2], data[match.end() : end - 1]
        at = end
