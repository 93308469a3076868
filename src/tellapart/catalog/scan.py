"""Every file gets its verdict: read once, hashed, fully decoded. What is remembered is not read at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.files import Files
from tellapart.catalog.prints import make_print
from tellapart.catalog.table import Catalog, text_column
from tellapart.decoding import Decoded, decode, extension_note
from tellapart.errors import UserError
from tellapart.threads import map_ahead


@dataclass(frozen=True)
class Verdict:
    """What one file is. `digest` is the SHA-256 of its bytes, "" if they could not be read."""

    status: str
    notes: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    digest: str = ""
    taken: str = ""  # capture time and camera, as `Decoded.taken`


class Visitor(Protocol):
    """Someone who needs the pixels on the one occasion that they are there. Called from several threads."""

    def known(self, digest: str) -> bool:
        """Whether there is nothing left to do with a picture of this content."""

    def visit(self, digest: str, pixels: NDArray[np.uint8]) -> None:
        """A picture that decoded well: the hash of its content, and (H, W, 3) RGB."""


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


def scan(
    catalog: Catalog,
    *,
    max_pixels: int,
    visitor: Visitor | None = None,
    memory: Memory | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Catalog:
    """The catalog with statuses, notes, sizes, content hashes and capture times. A broken file never stops it.

    Args:
        max_pixels: width x height above which a picture is `too_large`.
        visitor: shown every picture's pixels, so that nothing is decoded twice.
        memory: spares the reading of files that have not changed, and keeps what is found.
        advance: called after each file.
    """
    eyes = _Eyes(catalog.files, max_pixels, visitor, memory)
    verdicts = {}
    for path in catalog.paths:  # what is remembered, first: asking for it is too little work for threads
        if verdict := eyes.recall(path):
            verdicts[path] = verdict
            advance()
    unknown = [path for path in catalog.paths if path not in verdicts]
    with closing(map_ahead(eyes.look_at, unknown)) as looking:
        for path, verdict in zip(unknown, looking, strict=True):
            verdicts[path] = verdict
            advance()
    found = [verdicts[path] for path in catalog.paths]
    notes = [";".join(filter(None, (before, *v.notes))) for before, v in zip(catalog.notes, found, strict=True)]
    return catalog.replace(
        statuses=text_column(verdict.status for verdict in found),
        notes=text_column(notes),
        widths=np.array([verdict.width for verdict in found], np.int64),
        heights=np.array([verdict.height for verdict in found], np.int64),
        digests=text_column(verdict.digest for verdict in found),
        taken=text_column(verdict.taken for verdict in found),
    )


class _Eyes:
    """What looks at the files. Copies of one picture are decoded and shown once, whichever thread comes first."""

    def __init__(self, files: Files, max_pixels: int, visitor: Visitor | None, memory: Memory | None) -> None:
        self._files, self._max_pixels, self._visitor, self._memory = files, max_pixels, visitor, memory
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
            # The one note that depends on the name, and so is no part of the verdict on the content.
            verdict = replace(content, notes=extension_note(path.rpartition("/")[2], data) + content.notes)
        if self._memory:
            self._memory.remember(path, stamp, verdict)
        return verdict

    def _judge(self, data: bytes, digest: str) -> Verdict:
        remembered = self._memory.recall_content(digest) if self._memory else None
        if remembered and self._is_done(remembered):
            return remembered
        decoded = decode(data, max_pixels=self._max_pixels)
        verdict = Verdict(decoded.status, decoded.notes, decoded.width, decoded.height, digest, decoded.taken)
        pixels = decoded.pixels
        if self._visitor and pixels is not None and not self._visitor.known(digest):
            self._visitor.visit(digest, pixels)
        if self._memory:
            self._memory.remember_content(verdict, b"" if pixels is None else make_print(pixels))
        return verdict

    def _is_done(self, remembered: Verdict) -> bool:
        return remembered.status != "ok" or self._visitor is None or self._visitor.known(remembered.digest)


def drop_empty_classes(catalog: Catalog) -> Catalog:
    """The catalog without the classes that have no usable picture in train, each named in a remark.

    Rows of such a class that could not be used stay, with their status and label -1.

    Raises:
        UserError: fewer than two classes are left, or a class has usable pictures in test only.
    """
    trainable = catalog.counts(catalog.ok & ((catalog.given_splits == "train") | (catalog.given_splits == "")))
    usable = catalog.counts()
    remarks = list(catalog.remarks)
    for position in np.flatnonzero(trainable == 0):
        name, rows = catalog.classes[position], int((catalog.labels == position).sum())
        if usable[position]:
            raise UserError(
                f"Class {name!r} has no usable picture in train ({usable[position]} in val or test).",
                "Add training pictures of it, or take the class out.",
            )
        why = f"none of its {rows} files can be used" if rows else "its folder is empty"
        remarks.append(f"Class {name!r} is left out: {why}. Add pictures of it, or delete it.")
    kept = np.flatnonzero(trainable)
    if len(kept) < 2:
        found = f"only {catalog.classes[kept[0]]!r} has" if len(kept) else "none has"
        raise UserError(
            f"At least two classes with usable pictures are needed, and {found} any: "
            f"{int(catalog.ok.sum())} of {len(catalog)} files can be used.",
            "Add pictures of a second class." if len(kept) else _worst_status(catalog),
        )
    renumbered = np.full(len(catalog.classes) + 1, -1)  # the last place takes label -1 to itself
    renumbered[kept] = np.arange(len(kept))
    return catalog.replace(
        classes=tuple(catalog.classes[position] for position in kept),
        labels=renumbered[catalog.labels],
        remarks=tuple(remarks),
    )


def _worst_status(catalog: Catalog) -> str:
    return "Statuses: " + ", ".join(f"{count} {status}" for status, count in catalog.status_counts.items()) + "."
