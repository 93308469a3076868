"""What earlier scans found out, so that an unchanged file is not read again."""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import __version__ as pillow_version

from tellapart.cache import database
from tellapart.cache.blocks import forget_oldest
from tellapart.cache.database import Database
from tellapart.cache.records import Records
from tellapart.catalog.inspect import Verdict
from tellapart.catalog.thumbnails import THUMBNAIL_BYTES
from tellapart.decoders import rules as decode_rules
from tellapart.decoders.levels import Levels
from tellapart.decoders.opening import installed_decoders
from tellapart.decoders.rules import DecodeRules

FORMAT = 3  # the version of tables and blocks; another one gets other files
# The version of thumbnails and of their search. Raise it when the same pixels may get another
# answer.
CONTRACT = 3
# A younger file can change again without its times telling. It is read next time.
SETTLED_SECONDS = 2.0
WINDOW = 20_000  # files whose verdicts are in memory at a time


class ScanMemory(Database):
    """What is remembered of one source: verdicts by file and by content, thumbnails by content, and
    which images of a set are near-duplicates.

    Args:
        folder: the cache folder.
        place: what tells the source from others, as `Files.place`.
        rules: the settings of the decode contract, which decide verdicts.
    """

    def __init__(self, folder: Path, place: str, rules: DecodeRules) -> None:
        super().__init__(folder / f"scans-{FORMAT}.sqlite", _TABLES)
        pixels = f"{decode_rules.CONTRACT} {pillow_version} {rules.base.key} {installed_decoders()}"
        self._settings = f"{CONTRACT} {THUMBNAIL_BYTES} {pixels}"
        self._place = hashlib.sha256(
            f"{self._settings} {place}".encode(errors="surrogateescape")
        ).hexdigest()[:32]
        self._window: dict[str, tuple[Any, ...]] = {}
        self._first = self._last = ""  # the paths from which and to which the window knows all
        settings = hashlib.sha256(self._settings.encode()).hexdigest()[:32]
        self._kept_thumbnails = folder / f"thumbnails-{FORMAT}"
        self._thumbnails = Records(self._kept_thumbnails / settings)

    def recall(self, path: str, stamp: str) -> Verdict | None:
        """The verdict on a file that has not changed since it was last scanned.

        It is quick for paths that are asked for in their order.
        """
        if not self._first <= path <= self._last:
            self._move_window(path)
        found = self._window.get(path)
        if not stamp or found is None or found[0] != stamp:
            return None
        *values, check = found
        return _verdict(*values[1:]) if check == _check(self._place, path, *values) else None

    def _move_window(self, path: str) -> None:
        """Know the files from this path on. All of them at once would be a gigabyte a million, and
        asked for alone each takes ten times as long.
        """
        found = self._rows(_SELECT_FILES, (self._place, path, WINDOW))
        self._window = {row[0]: row[1:] for row in found}
        self._first = path
        self._last = found[-1][0] if len(found) == WINDOW else _BEHIND_ALL

    def recall_content(self, digest: str) -> Verdict | None:
        """The verdict on bytes that an earlier scan met, under whatever name."""
        for *values, check in self._rows(_SELECT_CONTENT, (self._settings, digest)):
            if check == _check(self._settings, *values):
                verdict = _verdict(*values)
                # Without its thumbnail an image is decoded again, and the thumbnail is kept anew.
                return verdict if verdict.status != "ok" or self.thumbnail_of(digest) else None
        return None

    def remember(self, path: str, stamp: tuple[str, float], verdict: Verdict) -> None:
        """Keep what a file is. `stamp` is of the file before it was read, as `Files.stamp`."""
        text, changed = stamp
        if text and time.time() - changed > SETTLED_SECONDS:
            row = (self._place, path, text, *_values(verdict))
            self._put("files", *row, _check(*row))

    def remember_content(self, verdict: Verdict, thumbnail: bytes) -> None:
        """Keep what bytes are, and the thumbnail of their pixels; b"" where the status is not
        ok.
        """
        row = (self._settings, *_values(verdict))
        self._put("contents", *row, _check(*row))
        if thumbnail:
            self._thumbnails.put(verdict.digest, thumbnail)

    def thumbnail_of(self, digest: str) -> bytes | None:
        """The thumbnail of an image that a scan has met, under whatever name. None means that it
        was lost.
        """
        thumbnail = self._thumbnails.get(digest)
        return None if thumbnail is None else thumbnail.tobytes()

    def recall_pairs(self, key: str) -> NDArray[np.int64] | None:
        """(P, 2) the near-duplicates of a set of images, as `remember_pairs` was given them."""
        select = "SELECT pairs, sum FROM sets WHERE key = ?"
        for data, check in self._rows(select, (self._settings + key,)):
            if check == zlib.crc32(data):
                return np.frombuffer(data, np.int64).reshape(-1, 2)
        return None

    def remember_pairs(self, key: str, pairs: NDArray[np.int64]) -> None:
        """Keep the near-duplicates of a set of images."""
        data = pairs.astype(np.int64).tobytes()
        self._put("sets", self._settings + key, data, zlib.crc32(data))

    def refresh(self) -> None:
        """Write what waits in memory, and recall it too from now on."""
        self.flush()
        self._window, self._first, self._last = {}, "", ""

    def flush(self) -> None:
        """Write what waits in memory."""
        super().flush()
        self._thumbnails.flush()

    def __exit__(self, *about: object) -> None:
        super().__exit__(*about)
        self._thumbnails.close()
        forget_oldest(self._kept_thumbnails, database.KEPT_BYTES)


def _values(verdict: Verdict) -> tuple[str | int, ...]:
    return (
        verdict.digest,
        verdict.status,
        ";".join(verdict.notes),
        verdict.width,
        verdict.height,
        verdict.taken,
        verdict.detail,
        json.dumps(astuple(verdict.levels)) if verdict.levels else "",
        verdict.decoded_by,
    )


def _verdict(
    digest: str,
    status: str,
    notes: str,
    width: int,
    height: int,
    taken: str,
    detail: str,
    levels: str,
    decoded_by: str,
) -> Verdict:
    return Verdict(
        status,
        tuple(notes.split(";")) if notes else (),
        width,
        height,
        digest,
        taken,
        detail,
        Levels(*json.loads(levels)) if levels else None,
        decoded_by,
    )


def _check(*row: Any) -> int:
    """A checksum over a whole row: a damaged index can lead to the row of another file."""
    return zlib.crc32(repr(row).encode())


_TABLES = {
    "files": (
        "place TEXT, path TEXT, stamp TEXT, digest TEXT, status TEXT, notes TEXT, width INTEGER,"
        " height INTEGER, taken TEXT, detail TEXT, levels TEXT, decoded_by TEXT, sum INTEGER, kept"
        " INTEGER, PRIMARY KEY (place, path)"
    ),
    "contents": (
        "settings TEXT, digest TEXT, status TEXT, notes TEXT, width INTEGER, height INTEGER, taken"
        " TEXT, detail TEXT, levels TEXT, decoded_by TEXT, sum INTEGER, kept INTEGER,"
        " PRIMARY KEY (settings, digest)"
    ),
    "sets": "key TEXT PRIMARY KEY, pairs BLOB, sum INTEGER, kept INTEGER",
}
_SELECT_FILES = (
    "SELECT path, stamp, digest, status, notes, width, height, taken, detail, levels, decoded_by, sum"
    " FROM files WHERE place = ? AND path >= ? ORDER BY path LIMIT ?"
)
_SELECT_CONTENT = (
    "SELECT digest, status, notes, width, height, taken, detail, levels, decoded_by, sum"
    " FROM contents WHERE settings = ? AND digest = ?"
)
_BEHIND_ALL = "\U0010ffff"
