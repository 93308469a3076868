"""Every file gets its verdict: it is read once, hashed, and fully decoded. What is remembered is
not read at all.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from tellapart.catalog.files import Folder, threads_for
from tellapart.catalog.inspect import Inspector, Memory, ScanHook, Verdict
from tellapart.catalog.table import Catalog, Column
from tellapart.catalog.workers import inspect_in_processes, start_workers
from tellapart.decoders.opening import is_decoder
from tellapart.decoders.rules import DEFAULT_RULES, DecodeRules
from tellapart.errors import UserError
from tellapart.phrases import count_of, listed
from tellapart.threads import map_ahead

WORTH_PROCESSES = 1000  # files; for fewer, the start of processes takes longer than they save


def scan(
    catalog: Catalog,
    *,
    rules: DecodeRules = DEFAULT_RULES,
    hook: ScanHook | None = None,
    memory: Memory | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Catalog:
    """The catalog with statuses, notes, sizes, content hashes and capture times. A broken file
    never stops it.

    Args:
        catalog: what is to be scanned.
        rules: the settings of the decode contract. The catalog that comes back holds them.
        hook: shown every image's pixels, so that nothing is decoded twice.
        memory: spares the reading of files that have not changed, and keeps what is found.
        advance: called after each file.
    """
    found, deep, all_levels = _Columns(catalog), [], []
    rows = range(len(catalog))
    with closing(_inspected(catalog, rows, rules, hook, memory)) as inspected:
        for row, verdict in inspected:
            found.put(row, verdict)
            if verdict.levels:
                all_levels.append(verdict.levels)
            if verdict.levels and rules.ranges is None:
                deep.append(row)
            else:
                advance()
    # Only all images together show which range those of more than 8 bits use.
    settled = rules.settled(all_levels, found.decoders)
    with closing(_inspected(catalog, deep, settled, hook, memory)) as inspected:
        for row, verdict in inspected:
            found.put(row, verdict)
            advance()
    return catalog.replace(
        **found.columns(),
        rules=settled,
        remarks=(*catalog.remarks, *_range_remarks(settled, len(deep))),
    )


def _inspected(
    catalog: Catalog,
    rows: Iterable[int],
    rules: DecodeRules,
    hook: ScanHook | None,
    memory: Memory | None,
) -> Generator[tuple[int, Verdict], None, None]:
    """Rows and the verdicts on their files."""
    files, inspector = catalog.files, Inspector(catalog.files, rules, hook, memory)
    unknown = []
    # What is remembered goes first: asking for it is too little work for threads.
    for row in rows:
        if verdict := inspector.recall(catalog.paths[row]):
            yield row, verdict
        else:
            unknown.append(row)
    paths = catalog.paths[unknown].tolist()
    # A hook wants the pixels in this process, and only a folder is open to another one.
    root = files.root if isinstance(files, Folder) and not hook else None
    if root and memory and len(unknown) >= WORTH_PROCESSES:
        inspected = _in_processes(root, paths, inspector, rules, memory)
    else:
        inspected = map_ahead(inspector.inspect, paths, workers=threads_for(files))
    with closing(inspected):
        yield from zip(unknown, inspected, strict=True)


def _in_processes(
    root: Path, paths: Sequence[str], inspector: Inspector, rules: DecodeRules, memory: Memory
) -> Generator[Verdict, None, None]:
    """The verdicts by processes; by threads where no process can be started."""
    with suppress(OSError):
        return inspect_in_processes(start_workers(root, rules), paths, memory)
    return map_ahead(inspector.inspect, paths)


def _range_remarks(rules: DecodeRules, count: int) -> list[str]:
    """One remark that says by which ranges images of more than 8 bits were scaled."""
    ranges = [
        f"{kind} values from {low:,g} to {high:,g}"
        for kind, low, high in rules.ranges or ()
        if (kind, low, high) != ("16-bit", 0, 65535)
    ]
    if not ranges or not count:
        return []
    return [
        f"{count_of(count, 'image has', 'images have')} more than 8 bits. Black to white are"
        f" {listed(ranges)}, as all of them together use. --set decoding.value_range=0,65535 sets"
        " another range."
    ]


class _Columns:
    """What a scan adds to a catalog, filled in row by row: the verdicts themselves would need three
    times the memory.
    """

    def __init__(self, catalog: Catalog) -> None:
        count = len(catalog)
        self._before = catalog.notes
        self._texts = {name: np.full(count, "", object) for name in _TEXTS}
        self._sizes = {name: np.zeros(count, np.int64) for name in ("widths", "heights")}
        self.decoders: set[str] = set()  # extra decoders that images needed, with their versions

    def put(self, row: int, verdict: Verdict) -> None:
        """Fill in a row."""
        notes = ";".join(filter(None, (self._before[row], *verdict.notes)))
        values = (verdict.status, verdict.detail, notes, verdict.digest, verdict.taken)
        for column, value in zip(self._texts.values(), values, strict=True):
            column[row] = value
        # Processes and the memory give equal texts as many objects.
        self._texts["statuses"][row] = sys.intern(verdict.status)
        self._sizes["widths"][row], self._sizes["heights"][row] = verdict.width, verdict.height
        if verdict.decoded_by:
            self.decoders.update(filter(is_decoder, verdict.decoded_by.split(";")))

    def columns(self) -> dict[str, Column]:
        """Name → column."""
        return {**self._texts, **self._sizes}


_TEXTS = ("statuses", "details", "notes", "digests", "taken")


def drop_empty_classes(catalog: Catalog) -> Catalog:
    """The catalog without the classes that have no usable image in train, each named in a remark.

    Rows of such a class that could not be used stay, with their status and label -1.

    Raises:
        UserError: fewer than two classes are left, or a class has usable images in test only.
    """
    may_train = (catalog.given_splits == "train") | (catalog.given_splits == "")
    trainable = catalog.counts(catalog.ok & may_train)
    usable = catalog.counts()
    remarks = list(catalog.remarks)
    for position in np.flatnonzero(trainable == 0):
        name, rows = catalog.classes[position], int((catalog.labels == position).sum())
        if usable[position]:
            raise UserError(
                f"Class {name!r} has no usable image in train ({usable[position]} in val or test).",
                "Add training images of it, or take the class out.",
            )
        why = f"none of its {count_of(rows, 'file')} can be used" if rows else "its folder is empty"
        remarks.append(f"Class {name!r} is left out: {why}. Add images of it, or delete it.")
    kept = np.flatnonzero(trainable)
    if len(kept) < 2:
        found = f"only {catalog.classes[kept[0]]!r} has" if len(kept) else "none has"
        raise UserError(
            f"At least two classes with usable images are needed, and {found} any: "
            f"{int(catalog.ok.sum())} of {count_of(len(catalog), 'file')} can be used.",
            "Add images of a second class." if len(kept) else _statuses(catalog),
        )
    renumbered = np.full(len(catalog.classes) + 1, -1)  # the last place takes label -1 to itself
    renumbered[kept] = np.arange(len(kept))
    return catalog.replace(
        classes=tuple(catalog.classes[position] for position in kept),
        labels=renumbered[catalog.labels],
        remarks=tuple(remarks),
    )


def _statuses(catalog: Catalog) -> str:
    counts = (f"{count} {status}" for status, count in catalog.status_counts.items())
    details = Counter(detail for detail in catalog.details.tolist() if detail)
    commonest = f" {details.most_common(1)[0][0]}" if details else ""
    return f"Statuses: {', '.join(counts)}.{commonest}"
