"""The file of decisions while it grows: a line is on the disk before anybody hears that it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock

from tellapart.catalog.decisions import Fix, parse_fix, time_of
from tellapart.catalog.fixes import disagreements, read_fixes
from tellapart.writing import disk_error, sync_folder


class Journal:
    """A patch that is open for more decisions. Many threads may use it.

    Its `images` hold the lines on each image by content digest, and `disputed` what people say of
    images on which they disagree.

    A last line that a crash has cut is removed when the file is opened: nobody was told that it is
    saved.

    Args:
        path: the file, which is made if it is not there.
        who: the person who decides.

    Raises:
        UserError: the file cannot be written, or a line in it is no decision.
    """

    def __init__(self, path: Path, who: str) -> None:
        self.path, self.who = path, who
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            self.repaired = _repair(path, self._handle)
            os.fsync(self._handle)
            sync_folder(path.parent)
        except OSError as error:
            raise disk_error(error, path, 0) from error
        read = read_fixes(path)
        self.disputed = disagreements(read)
        self.images = read.by_image()
        self.count = len(read.lines)
        self._last = time_of(read.lines[-1]) if read.lines else datetime.min.replace(tzinfo=UTC)
        self._lock = Lock()

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)

    def write(self, fixes: Sequence[Fix]) -> None:
        """Append decisions, and return when the disk has them.

        Raises:
            UserError: they could not be written. The file is as it was before.
        """
        data = "".join(f"{fix.text}\n" for fix in fixes).encode()
        with self._lock:
            size = os.fstat(self._handle).st_size
            try:
                _write_all(self._handle, data)
                os.fsync(self._handle)
            except OSError as error:
                os.ftruncate(self._handle, size)
                raise disk_error(error, self.path, len(data)) from error
            for fix in fixes:
                lines = self.images.setdefault(fix.digest, [])
                if fix.settles:
                    lines.clear()
                    self.disputed.pop(fix.digest, None)
                lines.append(fix)
            self.count += len(fixes)

    def now(self) -> str:
        """The time of a decision that is made now. It is later than that of every line before, even
        where the clock was set back.
        """
        self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
        return self._last.isoformat(timespec="microseconds").replace("+00:00", "Z")


def newest(lines: Sequence[Fix]) -> Fix | None:
    """The decision that the lines on one image come to, where people agree.

    It is the newest line of anybody that its person has not taken back.
    """
    standing: dict[str, Fix] = {}
    for fix in lines:
        standing.pop(fix.who, None)
        if fix.action != "undo":
            standing[fix.who] = fix
    return list(standing.values())[-1] if standing else None


def _write_all(handle: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


def _repair(path: Path, handle: int) -> str:
    """Make the file end in a whole line; returns what was removed."""
    content = path.read_bytes()
    last = content.rpartition(b"\n")[2]
    if not last:
        return ""
    try:
        parse_fix(last.decode())
    except ValueError:
        os.ftruncate(handle, len(content) - len(last))
        return last.decode(errors="replace")
    _write_all(handle, b"\n")
    return ""
