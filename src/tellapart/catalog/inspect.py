"""What one file is: read once, hashed, fully decoded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.files import Files
from tellapart.catalog.thumbnails import make_print
from tellapart.decoding import Decoded, decode, extension_note


@dataclass(frozen=True)
class Verdict:
    """What one file is. `digest` is the SHA-256 of its bytes, "" if they could not be read."""

    status: str
    notes: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    digest: str = ""
    taken: str = ""  # capture time and camera, as `Decoded.taken`


class ScanHook(Protocol):
    """Someone who needs the pixels on the one occasion that they are there. Called from several
    threads.
    """

    def known(self, digest: str) -> bool:
        """Whether there is nothing left to do with an image of this content."""

    def visit(self, digest: str, pixels: NDArray[np.uint8]) -> None:
        """An image that decoded well: the hash of its content, and (H, W, 3) RGB."""


class Memory(Protocol):
    """What earlier scans found out. Called from several threads; `cache.ScanMemory` is one."""

    def recall(self, path: str, stamp: str) -> Verdict | None:
        """The verdict on a file that has not changed since."""

    def recall_content(self, digest: str) -> Verdict | None:
        """The verdict on bytes that were seen before, under whatever name."""

    def remember(self, path: str, stamp: tuple[str, float], verdict: Verdict) -> None:
        """Keep the verdict on a file; its stamp was taken before it was read."""

    def remember_content(self, verdict: Verdict, print_: bytes) -> None:
        """Keep the verdict on bytes, and the print of their pixels; b"" where there are none."""


class Eyes:
    """What looks at the files. Copies of one image are decoded and shown once, whichever thread
    comes first.
    """

    def __init__(
        self, files: Files, max_pixels: int, hook: ScanHook | None, memory: Memory | None
    ) -> None:
        self._files, self._max_pixels, self._visitor, self._memory = files, max_pixels, hook, memory
        self._contents: dict[str, Verdict] = {}
        self._locks: dict[str, Lock] = {}

    def recall(self, path: str) -> Verdict | None:
        """The verdict on a file that has not changed, if nobody needs its pixels."""
        remembered = self._memory.recall(path, self._files.stamp(path)[0]) if self._memory else None
        return remembered if remembered and self._is_done(remembered) else None

    def look_at(self, path: str) -> Verdict:
        """The verdict on one file."""
        stamp = self._files.stamp(path) if self._memory else ("", 0.0)
        data = self._files.read(path)
        if isinstance(data, Decoded):
            return Verdict(data.status)
        digest = hashlib.sha256(data).hexdigest()
        with self._locks.setdefault(digest, Lock()):
            if digest not in self._contents:
                self._contents[digest] = self._judge(data, digest)
        content = verdict = self._contents[digest]
        if content.status == "ok":
            # The one note that depends on the name, and so is no part of the verdict on the
            # content.
            verdict = replace(
                content, notes=extension_note(path.rpartition("/")[2], data) + content.notes
            )
        if self._memory:
            self._memory.remember(path, stamp, verdict)
        return verdict

    def _judge(self, data: bytes, digest: str) -> Verdict:
        remembered = self._memory.recall_content(digest) if self._memory else None
        if remembered and self._is_done(remembered):
            return remembered
        decoded = decode(data, max_pixels=self._max_pixels)
        verdict = Verdict(
            decoded.status, decoded.notes, decoded.width, decoded.height, digest, decoded.taken
        )
        pixels = decoded.pixels
        if self._visitor and pixels is not None and not self._visitor.known(digest):
            self._visitor.visit(digest, pixels)
        if self._memory:
            self._memory.remember_content(verdict, b"" if pixels is None else make_print(pixels))
        return verdict

    def _is_done(self, remembered: Verdict) -> bool:
        return (
            remembered.status != "ok"
            or self._visitor is None
            or self._visitor.known(remembered.digest)
        )
