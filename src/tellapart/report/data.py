"""What the report says about the data: statuses, balance, samples, findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.table import SPLITS, Catalog
from tellapart.decoding import NOTES, STATUSES
from tellapart.report.thumbnails import Album, Shot

MOST_FILES = 50  # named under each status
MOST_FINDINGS = 50  # named under each kind
MOST_SHOWN_FINDINGS = 8  # of them with their pictures
MOST_PATHS = 4  # of one finding
MOST_SAMPLES = 24

# kind → heading, and what to make of it. A kind that is not here stands under its own name.
KINDS: Mapping[str, tuple[str, str]] = {
    "leak": ("On both sides of a split", "The same picture, or a near copy, was trained on and tested with."),
    "label_conflict": ("Under more than one class", "The same picture carries different labels."),
    "suspect_label": ("Labels to look at", "The model is sure of another class than the label says."),
    "duplicate": (
        "Duplicates",
        "The same picture more than once. Copies stay on one side of a split.",
    ),
    "remark": ("Remarks", ""),
}


@dataclass(frozen=True)
class Finding:
    """Something worth knowing about the data.

    Args:
        kind: one of `KINDS`, or a heading of the caller's own.
        text: one sentence.
        paths: the pictures it is about, relative to the catalog's root; may be empty.
    """

    kind: str
    text: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class StatusRow:
    """One status or note: how many files have it, and which."""

    name: str
    meaning: str
    count: int
    paths: tuple[str, ...] = ()

    @property
    def more(self) -> int:
        """Files that are counted but not named."""
        return self.count - len(self.paths)


@dataclass(frozen=True)
class BalanceRow:
    """Usable pictures of one class: in each split, in no split, and as shares of the largest class."""

    name: str
    counts: tuple[int, ...]  # train, val, test
    unused: int
    starts: tuple[float, ...]  # percent of the largest class, where each split's bar begins
    widths: tuple[float, ...]

    @property
    def total(self) -> int:
        """Usable pictures of the class."""
        return sum(self.counts) + self.unused


@dataclass(frozen=True)
class ShownFinding:
    """A finding with its pictures, or only with their paths."""

    text: str
    shots: tuple[Shot, ...]
    paths: tuple[str, ...]
    more: int


@dataclass(frozen=True)
class FindingGroup:
    """All findings of one kind."""

    kind: str
    heading: str
    meaning: str
    count: int
    shown: tuple[ShownFinding, ...]

    @property
    def more(self) -> int:
        """Findings that are counted but not listed."""
        return self.count - len(self.shown)


def status_rows(catalog: Catalog) -> list[StatusRow]:
    """Every status of the catalog with its files, `ok` first, then the most frequent."""
    counts = Counter(map(str, catalog.statuses))
    order = sorted(counts, key=lambda status: (status != "ok", -counts[status], status))
    return [
        StatusRow(
            name=status or "not scanned",
            meaning=STATUSES.get(status, ""),
            count=counts[status],
            paths=() if status == "ok" else _first(catalog.paths[catalog.statuses == status]),
        )
        for status in order
    ]


def note_rows(catalog: Catalog) -> list[StatusRow]:
    """Every note of the catalog with its files, the most frequent first."""
    files: dict[str, list[str]] = {}
    for path, notes in zip(catalog.paths, catalog.notes, strict=True):
        for note in filter(None, map(str.strip, str(notes).split(";"))):
            files.setdefault(note, []).append(str(path))
    rows = [StatusRow(note, NOTES.get(note, ""), len(paths), _first(paths)) for note, paths in files.items()]
    return sorted(rows, key=lambda row: (-row.count, row.name))


def balance_rows(catalog: Catalog, splits: NDArray[np.str_]) -> list[BalanceRow]:
    """The usable pictures of every class in every split, in class order."""
    table = np.stack([catalog.counts(catalog.ok & (splits == split)) for split in SPLITS])
    totals = catalog.counts()
    widths = 100 * table / max(totals.max(initial=0), 1)
    starts = widths.cumsum(axis=0) - widths
    return [
        BalanceRow(
            name=name,
            counts=tuple(table[:, row].tolist()),
            unused=int(totals[row] - table[:, row].sum()),
            starts=tuple(starts[:, row].round(2).tolist()),
            widths=tuple(widths[:, row].round(2).tolist()),
        )
        for row, name in enumerate(catalog.classes)
    ]


def balance_line(rows: Sequence[BalanceRow]) -> str:
    """How even the classes are, in one sentence."""
    totals = [row.total for row in rows]
    if not totals or max(totals) == min(totals):
        return f"Every class has {totals[0]:,}." if totals else ""
    least, most = min(rows, key=lambda row: row.total), max(rows, key=lambda row: row.total)
    return f"The smallest is ‘{least.name}’ with {least.total:,}, the largest ‘{most.name}’ with {most.total:,}."


def split_counts(catalog: Catalog, splits: NDArray[np.str_]) -> dict[str, int]:
    """Usable pictures of each split; "" for those in none, if there are any."""
    counts = {split: int(np.count_nonzero(catalog.ok & (splits == split))) for split in SPLITS}
    outside = int(np.count_nonzero(catalog.ok)) - sum(counts.values())
    return counts | ({"": outside} if outside else {})


def size_line(catalog: Catalog) -> str:
    """How large the usable pictures are, in one line; "" where that is not known."""
    known = catalog.ok & (catalog.widths > 0)
    if not known.any():
        return ""
    widths, heights = catalog.widths[known], catalog.heights[known]
    sides = np.minimum(widths, heights)
    least, most = int(sides.argmin()), int((widths * heights).argmax())
    middle = f"{int(np.median(widths)):,} × {int(np.median(heights)):,}"
    if (widths == widths[0]).all() and (heights == heights[0]).all():
        return f"All are {middle} pixels."
    return (
        f"Typically {middle} pixels; the narrowest is {widths[least]:,} × {heights[least]:,}, "
        f"the largest {widths[most]:,} × {heights[most]:,}."
    )


def samples(catalog: Catalog, splits: NDArray[np.str_], album: Album) -> list[Shot]:
    """Training pictures, the same number of each class, spread over its files. With many classes, of some."""
    rows = catalog.ok & (splits == "train")
    if not rows.any():
        rows = catalog.ok
    with_pictures = np.flatnonzero(catalog.counts(rows))
    chosen = _spread(with_pictures, MOST_SAMPLES)
    each = min(6, MOST_SAMPLES // max(len(chosen), 1))
    return [
        album.hang(str(catalog.paths[row]), catalog.classes[label])
        for label in chosen
        for row in _spread(np.flatnonzero(rows & (catalog.labels == label)), each)
    ]


def finding_groups(findings: Sequence[Finding], album: Album) -> list[FindingGroup]:
    """The findings by kind, the known kinds first; the first of each kind with their pictures."""
    kinds = dict.fromkeys([*KINDS, *(finding.kind for finding in findings)])
    groups = []
    for kind in kinds:
        same = [finding for finding in findings if finding.kind == kind]
        if same:
            heading, meaning = KINDS.get(kind, (kind, ""))
            groups.append(FindingGroup(kind, heading, meaning, len(same), tuple(_shown(same, album))))
    return groups


def _shown(findings: Sequence[Finding], album: Album) -> Iterator[ShownFinding]:
    for position, finding in enumerate(findings[:MOST_FINDINGS]):
        paths = finding.paths[:MOST_PATHS]
        shots = tuple(album.hang(path) for path in paths) if position < MOST_SHOWN_FINDINGS else ()
        yield ShownFinding(finding.text, shots, () if shots else paths, len(finding.paths) - len(paths))


def _first(paths: Sequence[str] | NDArray[np.str_]) -> tuple[str, ...]:
    return tuple(map(str, paths[:MOST_FILES]))


def _spread(rows: NDArray[np.int64], most: int) -> list[int]:
    """At most `most` of the rows, evenly spaced."""
    if len(rows) <= most:
        return [int(row) for row in rows]
    return [int(rows[int(place)]) for place in np.linspace(0, len(rows) - 1, most)]
