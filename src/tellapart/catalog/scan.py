"""Every file gets its verdict: read once, hashed, fully decoded. What is remembered is not read at
all.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress

import numpy as np

from tellapart.catalog.files import Folder
from tellapart.catalog.inspect import Eyes, Memory, ScanHook, Verdict
from tellapart.catalog.table import Catalog, text_column
from tellapart.catalog.workers import look_apart, start_workers
from tellapart.errors import UserError
from tellapart.threads import map_ahead

WORTH_PROCESSES = 1000  # files; for fewer, the start of processes takes longer than they save


def scan(
    catalog: Catalog,
    *,
    max_pixels: int,
    hook: ScanHook | None = None,
    memory: Memory | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Catalog:
    """The catalog with statuses, notes, sizes, content hashes and capture times. A broken file
    never stops it.

    Args:
        max_pixels: width x height above which an image is `too_large`.
        hook: shown every image's pixels, so that nothing is decoded twice.
        memory: spares the reading of files that have not changed, and keeps what is found.
        advance: called after each file.
    """
    eyes = Eyes(catalog.files, max_pixels, hook, memory)
    verdicts = {}
    for (
        path
    ) in catalog.paths:  # what is remembered, first: asking for it is too little work for threads
        if verdict := eyes.recall(path):
            verdicts[path] = verdict
            advance()
    unknown = [path for path in catalog.paths if path not in verdicts]
    with closing(_looking(catalog, unknown, eyes, max_pixels, hook, memory)) as looking:
        for path, verdict in zip(unknown, looking, strict=True):
            verdicts[path] = verdict
            advance()
    found = [verdicts[path] for path in catalog.paths]
    notes = [
        ";".join(filter(None, (before, *v.notes)))
        for before, v in zip(catalog.notes, found, strict=True)
    ]
    return catalog.replace(
        statuses=text_column(verdict.status for verdict in found),
        notes=text_column(notes),
        widths=np.array([verdict.width for verdict in found], np.int64),
        heights=np.array([verdict.height for verdict in found], np.int64),
        digests=text_column(verdict.digest for verdict in found),
        taken=text_column(verdict.taken for verdict in found),
    )


def _looking(
    catalog: Catalog,
    paths: Sequence[str],
    eyes: Eyes,
    max_pixels: int,
    hook: ScanHook | None,
    memory: Memory | None,
) -> Generator[Verdict, None, None]:
    """The verdicts on files, looked at on all cores: by processes, unless a hook wants the pixels
    in this one.
    """
    if len(paths) >= WORTH_PROCESSES and memory and not hook and isinstance(catalog.files, Folder):
        with suppress(OSError):  # where no process can be started
            return look_apart(start_workers(catalog.files.root, max_pixels), paths, memory)
    return map_ahead(eyes.look_at, paths)


def drop_empty_classes(catalog: Catalog) -> Catalog:
    """The catalog without the classes that have no usable image in train, each named in a remark.

    Rows of such a class that could not be used stay, with their status and label -1.

    Raises:
        UserError: fewer than two classes are left, or a class has usable images in test only.
    """
    trainable = catalog.counts(
        catalog.ok & ((catalog.given_splits == "train") | (catalog.given_splits == ""))
    )
    usable = catalog.counts()
    remarks = list(catalog.remarks)
    for position in np.flatnonzero(trainable == 0):
        name, rows = catalog.classes[position], int((catalog.labels == position).sum())
        if usable[position]:
            raise UserError(
                f"Class {name!r} has no usable image in train ({usable[position]} in val or test).",
                "Add training images of it, or take the class out.",
            )
        why = f"none of its {rows} files can be used" if rows else "its folder is empty"
        remarks.append(f"Class {name!r} is left out: {why}. Add images of it, or delete it.")
    kept = np.flatnonzero(trainable)
    if len(kept) < 2:
        found = f"only {catalog.classes[kept[0]]!r} has" if len(kept) else "none has"
        raise UserError(
            f"At least two classes with usable images are needed, and {found} any: "
            f"{int(catalog.ok.sum())} of {len(catalog)} files can be used.",
            "Add images of a second class." if len(kept) else _worst_status(catalog),
        )
    renumbered = np.full(len(catalog.classes) + 1, -1)  # the last place takes label -1 to itself
    renumbered[kept] = np.arange(len(kept))
    return catalog.replace(
        classes=tuple(catalog.classes[position] for position in kept),
        labels=renumbered[catalog.labels],
        remarks=tuple(remarks),
    )


def _worst_status(catalog: Catalog) -> str:
    return (
        "Statuses: "
        + ", ".join(f"{count} {status}" for status, count in catalog.status_counts.items())
        + "."
    )
