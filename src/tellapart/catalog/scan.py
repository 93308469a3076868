"""Every file gets its verdict: read once, hashed, fully decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np

from tellapart.catalog.names import unescape
from tellapart.catalog.table import Catalog, text_column
from tellapart.decoding import Decoded, decode, extension_note, read_file
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


class Visitor(Protocol):
    """Someone who needs the pixels on the one occasion that they are there. Called from several threads."""

    def known(self, digest: str) -> Verdict | None:
        """The verdict on a file of this content, if there is nothing left to do with it."""

    def visit(self, verdict: Verdict, decoded: Decoded) -> None:
        """A picture that decoded well, and the verdict on its content."""


def scan(
    catalog: Catalog,
    *,
    max_pixels: int,
    visitor: Visitor | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Catalog:
    """The catalog with statuses, notes, sizes and content hashes. A broken file never stops it.

    Args:
        max_pixels: width x height above which a picture is `too_large`.
        visitor: shown every picture's pixels, so that nothing is decoded twice.
        advance: called after each file.
    """
    contents = _Contents(max_pixels, visitor)
    verdicts = []
    with closing(map_ahead(lambda path: contents.look_at(catalog.root / unescape(path)), catalog.paths)) as looking:
        for verdict in looking:
            verdicts.append(verdict)
            advance()
    notes = [";".join(filter(None, (before, *v.notes))) for before, v in zip(catalog.notes, verdicts, strict=True)]
    return catalog.replace(
        statuses=text_column(verdict.status for verdict in verdicts),
        notes=text_column(notes),
        widths=np.array([verdict.width for verdict in verdicts], np.int64),
        heights=np.array([verdict.height for verdict in verdicts], np.int64),
        digests=text_column(verdict.digest for verdict in verdicts),
    )


def look_at(path: Path, *, max_pixels: int, visitor: Visitor | None = None) -> Verdict:
    """The verdict on one file."""
    return _Contents(max_pixels, visitor).look_at(path)


class _Contents:
    """What was seen, by content: copies of one picture are decoded and shown once, whichever thread comes first."""

    def __init__(self, max_pixels: int, visitor: Visitor | None) -> None:
        self._max_pixels, self._visitor = max_pixels, visitor
        self._verdicts: dict[str, Verdict] = {}
        self._locks: dict[str, Lock] = {}

    def look_at(self, path: Path) -> Verdict:
        data = read_file(path)
        if isinstance(data, Decoded):
            return Verdict(data.status)
        digest = hashlib.sha256(data).hexdigest()
        with self._locks.setdefault(digest, Lock()):
            if digest not in self._verdicts:
                self._verdicts[digest] = self._judge(data, digest)
        verdict = self._verdicts[digest]
        if verdict.status != "ok":
            return verdict
        # The one note that depends on the name, and so is no part of the verdict on the content.
        return replace(verdict, notes=extension_note(path.name, data) + verdict.notes)

    def _judge(self, data: bytes, digest: str) -> Verdict:
        known = self._visitor.known(digest) if self._visitor else None
        if known is not None and known.width * known.height <= self._max_pixels:
            return known
        decoded = decode(data, max_pixels=self._max_pixels)
        verdict = Verdict(decoded.status, decoded.notes, decoded.width, decoded.height, digest)
        if self._visitor and decoded.status == "ok":
            self._visitor.visit(verdict, decoded)
        return verdict


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
