"""What earlier scans found out, so that an unchanged file is not read again."""

from __future__ import annotations

import hashlib
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import __version__ as pillow_version

from tellapart.cache.database import Database
from tellapart.catalog.prints import PRINT_BYTES
from tellapart.catalog.scan import Verdict

FORMAT = 1  # of the tables; another one gets another file
CONTRACT = 1  # of decoding and of the prints; raise it when the same bytes may get another verdict or print
OF_THE_NAME = ("wrong_extension",)  # notes that the content alone does not decide
SETTLED_SECONDS = 2.0  # a file younger than this can change again without its times telling; it is read next time


class ScanMemory(Database):
    """Verdicts by file and by content, prints by content, and which pictures of a set are near-duplicates.

    Args:
        folder: the cache folder.
        place: the source that is scanned, as `Files.place`.
        max_pixels: of the scan, which decides verdicts.
    """

    def __init__(self, folder: Path, place: str, max_pixels: int) -> None:
        super().__init__(folder / f"scans-{FORMAT}.sqlite", _TABLES)
        self._place = hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()[:32]
        self._settings = f"{CONTRACT} {PRINT_BYTES} {pillow_version} {max_pixels}"
        self._prints: dict[str, bytes] = {}
        self._files = {row[0]: row[1:] for row in self._rows(_SELECT_FILES, (self._settings, self._place))}

    def recall(self, path: str, stamp: str) -> Verdict | None:
        """The verdict on a file that has not changed since it was last scanned."""
        found = self._files.get(path)
        if not stamp or found is None or found[0] != stamp:
            return None
        verdict = self._checked(found[2:])
        return replace(verdict, notes=(*_names(found[1]), *verdict.notes)) if verdict else None

    def recall_content(self, digest: str) -> Verdict | None:
        """The verdict on bytes that were seen before, under whatever name."""
        for row in self._rows(_SELECT_CONTENT, (self._settings, digest)):
            return self._checked(row)
        return None

    def remember(self, path: str, stamp: tuple[str, float], verdict: Verdict) -> None:
        """Keep what a file is; `stamp` is of the file before it was read, as `Files.stamp`."""
        text, changed = stamp
        if text and time.time() - changed > SETTLED_SECONDS:
            notes = ";".join(note for note in verdict.notes if note in OF_THE_NAME)
            self._put("files", self._place, path, text, notes, verdict.digest)

    def remember_content(self, verdict: Verdict, print_: bytes) -> None:
        """Keep what bytes are, and the print of their pixels, by `make_print`; b"" where the status is not ok."""
        notes = ";".join(verdict.notes)
        row = (verdict.digest, verdict.status, notes, verdict.width, verdict.height, verdict.taken, print_)
        self._put("contents", self._settings, *row, _check(self._settings, *row))
        self._prints[verdict.digest] = print_

    def print_of(self, digest: str) -> bytes:
        """The print of a picture that this scan has met, under whatever name."""
        return self._prints[digest]

    def recall_pairs(self, key: str) -> NDArray[np.int64] | None:
        """(P, 2) the near-duplicates of a set of pictures, as `remember_pairs` was given them."""
        for data, check in self._rows("SELECT pairs, sum FROM sets WHERE key = ?", (self._settings + key,)):
            if check == zlib.crc32(data):
                return np.frombuffer(data, np.int64).reshape(-1, 2)
        return None

    def remember_pairs(self, key: str, pairs: NDArray[np.int64]) -> None:
        """Keep the near-duplicates of a set of pictures."""
        data = pairs.astype(np.int64).tobytes()
        self._put("sets", self._settings + key, data, zlib.crc32(data))

    def _checked(self, row: tuple[Any, ...]) -> Verdict | None:
        """The verdict of a row of contents, unless the row is damaged; its print is at hand from now on."""
        *values, check = row
        if check != _check(self._settings, *values):
            return None
        digest, status, notes, width, height, taken, self._prints[digest] = values
        return Verdict(status, _names(notes), width, height, digest, taken)


def _names(notes: str) -> tuple[str, ...]:
    return tuple(filter(None, notes.split(";")))


def _check(*row: Any) -> int:
    """A checksum over a whole row, of which the last value is bytes."""
    return zlib.crc32(row[-1], zlib.crc32(repr(row[:-1]).encode()))


_TABLES = {
    "files": "place TEXT, path TEXT, stamp TEXT, notes TEXT, digest TEXT, kept INTEGER, PRIMARY KEY (place, path)",
    "contents": "settings TEXT, digest TEXT, status TEXT, notes TEXT, width INTEGER, height INTEGER, taken TEXT, "
    "print BLOB, sum INTEGER, kept INTEGER, PRIMARY KEY (settings, digest)",
    "sets": "key TEXT PRIMARY KEY, pairs BLOB, sum INTEGER, kept INTEGER",
}
_CONTENT = "contents.digest, status, contents.notes, width, height, taken, print, sum"
_SELECT_FILES = f"""SELECT path, stamp, files.notes, {_CONTENT}
    FROM files JOIN contents ON contents.settings = ? AND contents.digest = files.digest WHERE files.place = ?"""  # noqa: S608 - names of our own
_SELECT_CONTENT = f"SELECT {_CONTENT} FROM contents WHERE settings = ? AND digest = ?"  # noqa: S608
