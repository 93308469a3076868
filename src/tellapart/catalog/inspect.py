"""What one file is: read once, hashed, fully decoded."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, replace
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.files import Files
from tellapart.catalog.thumbnails import make_thumbnail
from tellapart.decoders.levels import Levels
from tellapart.decoders.modes import range_text
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import Decoded, decode, extension_note

# Verdicts that are held for copies to come. A later copy is looked up in the memory, or decoded again.
HELD_CONTENTS = 50_000
# Why bytes are not read to their end. An unchanged file stays so, and a store bills each reading.
_OF_THE_HEAD = ("empty", "not_an_image", "unsupported")


@dataclass(frozen=True)
class Verdict:
    """What one file is.

    Args:
        status: "ok", or why the file is not used.
        notes: names of remarks that do not stop it.
        width: pixels after orientation; 0 where the status is not ok.
        height: likewise.
        digest: SHA-256 of the file's bytes; "" if they could not be read.
        taken: capture time and camera, as `Decoded.taken`.
        detail: why the status is not ok, in a sentence or two.
        levels: the values of an image of more than 8 bits.
        decoded_by: as `Decoded.decoded_by`.
    """

    status: str
    notes: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    digest: str = ""
    taken: str = ""
    detail: str = ""
    levels: Levels | None = None
    decoded_by: str = ""

    def waits_for(self, rules: DecodeRules) -> bool:
        """Whether its pixels hang on a range that these rules have, and were made by another."""
        if self.levels is None:
            return False
        return range_text(self.levels.kind, rules) not in self.decoded_by.split(";")


class ScanHook(Protocol):
    """What needs the pixels on the one occasion that they are there. Several threads call it."""

    def known(self, digest: str, decoded_by: str) -> bool:
        """Whether there is nothing left to do with an image of this content, decoded so."""

    def visit(self, digest: str, pixels: NDArray[np.uint8], decoded_by: str) -> None:
        """Take an image that decoded well: the hash of its content, (H, W, 3) RGB, and what of the
        rules its pixels depend on, as `Decoded.decoded_by`.
        """


class Memory(Protocol):
    """What earlier scans found out; `cache.ScanMemory` is one. Several threads call it."""

    def recall(self, path: str, stamp: str) -> Verdict | None:
        """The verdict on a file that has not changed since."""

    def recall_content(self, digest: str) -> Verdict | None:
        """The verdict on bytes that an earlier scan met, under whatever name."""

    def remember(self, path: str, stamp: tuple[str, float], verdict: Verdict) -> None:
        """Keep the verdict on a file; its stamp was taken before it was read."""

    def remember_content(self, verdict: Verdict, thumbnail: bytes) -> None:
        """Keep the verdict on bytes, and the thumbnail of their pixels; b"" without pixels."""


class Inspector:
    """Inspects files, from any thread. It decodes copies of one image once, and shows them once.

    Args:
        files: where the bytes come from.
        rules: the settings of the decode contract.
        hook: shown the pixels of every image that it does not know.
        memory: spares the reading of files that have not changed, and keeps what is found.
    """

    def __init__(
        self, files: Files, rules: DecodeRules, hook: ScanHook | None, memory: Memory | None
    ) -> None:
        self._files, self._rules, self._hook, self._memory = files, rules, hook, memory
        self._contents: dict[str, Verdict] = {}
        self._latest: deque[str] = deque()  # the digests in `_contents`, the oldest first
        self._locks: dict[str, Lock] = {}  # of the contents at work

    def recall(self, path: str) -> Verdict | None:
        """The verdict on a file that has not changed, if nobody needs its pixels."""
        remembered = self._memory.recall(path, self._files.stamp(path)[0]) if self._memory else None
        return remembered if remembered and self._is_done(remembered) else None

    def inspect(self, path: str) -> Verdict:
        """The verdict on one file."""
        # Before the reading: a file that changes meanwhile then has another stamp next time.
        stamp = self._files.stamp(path) if self._memory else ("", 0.0)
        data = self._files.read(path)
        if isinstance(data, Decoded):
            verdict = Verdict(data.status, detail=data.detail)
            if self._memory and data.status in _OF_THE_HEAD:
                self._memory.remember(path, stamp, verdict)
            return verdict
        digest = hashlib.sha256(data).hexdigest()
        # A lock for each content, so that of two copies met at once the second one waits.
        with self._locks.setdefault(digest, Lock()):
            content = verdict = self._contents.get(digest) or self._inspect_content(data, digest)
            self._hold(content)
        self._locks.pop(digest, None)
        # This one note depends on the name, so it is no part of the verdict on the content.
        note = extension_note(path.rpartition("/")[2], data)
        if note and content.status == "ok":
            verdict = replace(content, notes=note + content.notes)
        if self._memory and not self._is_preliminary(verdict):
            self._memory.remember(path, stamp, verdict)
        return verdict

    def _hold(self, content: Verdict) -> None:
        """Know the verdict for the next copies. Those of all contents would need a gigabyte for a
        few million.
        """
        if content.digest not in self._contents:
            self._contents[content.digest] = content
            self._latest.append(content.digest)
            if len(self._latest) > HELD_CONTENTS:
                self._contents.pop(self._latest.popleft(), None)

    def _inspect_content(self, data: bytes, digest: str) -> Verdict:
        remembered = self._memory.recall_content(digest) if self._memory else None
        if remembered and self._is_done(remembered):
            return remembered
        decoded = decode(data, rules=self._rules)
        verdict = Verdict(
            decoded.status,
            decoded.notes,
            decoded.width,
            decoded.height,
            digest,
            decoded.taken,
            decoded.detail,
            decoded.levels,
            decoded.decoded_by,
        )
        if self._is_preliminary(verdict):
            return verdict
        pixels = decoded.pixels
        if self._hook and pixels is not None and not self._hook.known(digest, decoded.decoded_by):
            self._hook.visit(digest, pixels, decoded.decoded_by)
        if self._memory:
            thumbnail = b"" if pixels is None else make_thumbnail(pixels)
            self._memory.remember_content(verdict, thumbnail)
        return verdict

    def _is_preliminary(self, verdict: Verdict) -> bool:
        """Whether the pixels of an image are still to be made, by a range that the scan takes from
        all images.
        """
        return verdict.levels is not None and self._rules.ranges is None

    def _is_done(self, remembered: Verdict) -> bool:
        if remembered.status != "ok" or self._is_preliminary(remembered):
            return True
        if remembered.waits_for(self._rules):
            return False
        return self._hook is None or self._hook.known(remembered.digest, remembered.decoded_by)
