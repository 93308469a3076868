"""The data in words and tables: statuses, balance, samples, findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.findings import Finding
from tellapart.catalog.table import SPLITS, Catalog
from tellapart.decoding import NOTES, STATUSES
from tellapart.phrases import count_of
from tellapart.report.parts.gallery import Album, Shot

MOST_FILES = 50  # named under each status
MOST_FINDINGS = 50  # named under each kind
MOST_SHOWN_FINDINGS = 8  # of them with their images
MOST_SETS = 8  # of one finding with their images
MOST_IN_SET = 6
MOST_LISTED_SETS = 100  # more sets of one finding, by their paths
MOST_SAMPLES = 24

# Kind → heading and meaning, the worst kind first. A kind that is not here is shown under its own
# name.
KINDS: Mapping[str, tuple[str, str]] = {
    "leak": (
        "In more than one split",
        "The same image, or a near copy, is in more than one split. The score then overstates the"
        " model.",
    ),
    "label_conflict": (
        "In more than one class",
        "The same image has different labels. At least one of them is wrong.",
    ),
    "large_cluster": (
        "One image many times",
        "More than 1 % of the images are copies of this one. It is often a placeholder.",
    ),
    "near_duplicate": (
        "Near-duplicates",
        "The same image saved again, resized, cropped, brightened, mirrored or turned. Copies stay in one split.",
    ),
    "duplicate": (
        "Duplicates",
        "The same image more than once. Copies stay in one split.",
    ),
    "burst": (
        "Possible bursts",
        "Taken with one camera within moments. If they show one thing, make them a group, so that"
        " no split separates them.",
    ),
    "edited_name": (
        "Possible edited copies",
        "Named as if they were made from one image. If they were, make them a group, so that no"
        " split separates them.",
    ),
    "suspect_label": (
        "Labels to check",
        "The model confidently predicts a class other than the label.",
    ),
    "low_contrast": (
        "Almost without contrast",
        "Nothing can be seen in these images once they are read.",
    ),
    "rejected": ("Files that were not used", ""),
    "remark": ("Remarks", ""),
}
_WITHOUT_IMAGES = frozenset({"rejected"})  # what could not be read has no thumbnail


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
    """The usable images of one class: in each split, and in no split."""

    name: str
    counts: tuple[int, ...]  # train, val, test
    unused: int
    starts: tuple[float, ...]  # where each split's bar begins, in percent of the largest class
    widths: tuple[float, ...]  # how long it is, likewise

    @property
    def total(self) -> int:
        """Usable images of the class."""
        return sum(self.counts) + self.unused


@dataclass(frozen=True)
class ShownSet:
    """Images side by side, or only their paths. `more` counts those that are not named."""

    shots: tuple[Shot, ...] = ()
    paths: tuple[str, ...] = ()
    more: int = 0


@dataclass(frozen=True)
class ShownFinding:
    """A finding. `sets` are shown as images, `listed` as paths; `more` counts the others."""

    text: str
    sets: tuple[ShownSet, ...]
    listed: tuple[ShownSet, ...]
    more: int

    @property
    def summary(self) -> str:
        """The line that opens the paths of the sets that are not shown."""
        if not self.sets:
            return "List the files"
        return f"{len(self.listed) + self.more:,} more"


@dataclass(frozen=True)
class FindingGroup:
    """All findings of one kind. `count` is the number of sets of images."""

    kind: str
    anchor: str  # the id of its heading
    heading: str
    meaning: str
    count: int
    shown: tuple[ShownFinding, ...]
    more: int  # findings that are not shown


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
    rows = [
        StatusRow(note, NOTES.get(note, ""), len(paths), _first(paths))
        for note, paths in files.items()
    ]
    return sorted(rows, key=lambda row: (-row.count, row.name))


def balance_rows(catalog: Catalog) -> list[BalanceRow]:
    """The usable images of every class in every split, in class order."""
    table = np.stack([catalog.counts(catalog.ok & (catalog.splits == split)) for split in SPLITS])
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
        return f"Every class has {count_of(totals[0], 'image')}." if totals else ""
    least, most = min(rows, key=lambda row: row.total), max(rows, key=lambda row: row.total)
    return (
        f"The smallest class is ‘{least.name}’ with {count_of(least.total, 'image')}, the largest ‘{most.name}’"
        f" with {most.total:,}."
    )


def split_counts(catalog: Catalog) -> dict[str, int]:
    """The usable images of each split. The key "" counts those in no split, if there are any."""
    counts = {
        split: int(np.count_nonzero(catalog.ok & (catalog.splits == split))) for split in SPLITS
    }
    outside = int(np.count_nonzero(catalog.ok)) - sum(counts.values())
    return counts | ({"": outside} if outside else {})


def tiles(catalog: Catalog, counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The numbers that describe the data, each after its noun.

    Args:
        catalog: the data.
        counts: the result of `split_counts`.
    """
    of_splits = [(split or "in no split", count) for split, count in counts.items()]
    return [
        ("file" if len(catalog) == 1 else "files", len(catalog)),
        ("usable images", int(np.count_nonzero(catalog.ok))),
        ("class" if len(catalog.classes) == 1 else "classes", len(catalog.classes)),
        *of_splits,
    ]


def size_line(catalog: Catalog) -> str:
    """The sizes of the usable images, in one sentence. "" where they are not known."""
    known = catalog.ok & (catalog.widths > 0)
    if not known.any():
        return ""
    widths, heights = catalog.widths[known], catalog.heights[known]
    areas = widths * heights
    least, most = int(areas.argmin()), int(areas.argmax())
    middle = f"{int(np.median(widths)):,} × {int(np.median(heights)):,}"
    if (widths == widths[0]).all() and (heights == heights[0]).all():
        return f"All images are {middle} pixels."
    return (
        f"The median size is {middle} pixels; the smallest image is {widths[least]:,} ×"
        f" {heights[least]:,}, the largest {widths[most]:,} × {heights[most]:,}."
    )


def samples(catalog: Catalog, album: Album) -> list[Shot]:
    """Training images, the same number of each class, spread over its files. With many classes,
    some classes only.
    """
    rows = catalog.ok & (catalog.splits == "train")
    if not rows.any():
        rows = catalog.ok
    chosen = spread(np.flatnonzero(catalog.counts(rows)), MOST_SAMPLES)
    each = min(6, MOST_SAMPLES // max(len(chosen), 1))
    return [
        album.hang(str(catalog.paths[row]), catalog.classes[label])
        for label in chosen
        for row in spread(np.flatnonzero(rows & (catalog.labels == label)), each)
    ]


def captions(catalog: Catalog) -> Callable[[str], tuple[str, ...]]:
    """A function from a path to the caption of its image: the class, then the split or status."""
    row_of = {str(path): row for row, path in enumerate(catalog.paths)}

    def caption(path: str) -> tuple[str, ...]:
        row = row_of.get(path)
        if row is None:
            return ()
        label, status = int(catalog.labels[row]), str(catalog.statuses[row])
        name = catalog.classes[label] if label >= 0 else "no label"
        return tuple(filter(None, (name, str(catalog.splits[row]) if status == "ok" else status)))

    return caption


def finding_counts(findings: Sequence[Finding]) -> dict[str, int]:
    """The number of findings of each kind, the worst kind first. A set of images counts as one."""
    counts = dict.fromkeys([*KINDS, *(finding.kind for finding in findings)], 0)
    for finding in findings:
        counts[finding.kind] += max(len(finding.sets), 1)
    return {kind: count for kind, count in counts.items() if count}


def finding_groups(
    findings: Sequence[Finding], album: Album, caption: Callable[[str], tuple[str, ...]]
) -> list[FindingGroup]:
    """The findings by kind, the known kinds first. The first ones of each kind show their images
    side by side.
    """
    groups: list[FindingGroup] = []
    for kind, count in finding_counts(findings).items():
        same = [finding for finding in findings if finding.kind == kind]
        heading, meaning = KINDS.get(kind, (kind, ""))
        shown = tuple(
            _shown(
                finding,
                album,
                caption,
                position < MOST_SHOWN_FINDINGS and kind not in _WITHOUT_IMAGES,
            )
            for position, finding in enumerate(same[:MOST_FINDINGS])
        )
        groups.append(
            FindingGroup(
                kind,
                f"finding-{len(groups) + 1}",
                heading,
                meaning,
                count,
                shown,
                len(same) - len(shown),
            )
        )
    return groups


def _shown(
    finding: Finding, album: Album, caption: Callable[[str], tuple[str, ...]], with_images: bool
) -> ShownFinding:
    sets, most_sets, most_in_set = list(finding.sets), MOST_SETS, MOST_IN_SET
    if all(len(paths) == 1 for paths in sets):  # nothing to compare: one row of images, not many
        sets, most_sets, most_in_set = [finding.paths] if sets else [], 1, MOST_SAMPLES
    shown = sets[:most_sets] if with_images else []
    album.prepare(path for paths in shown for path in paths[:most_in_set])
    beyond = sets[len(shown) :]
    if len(sets) == 1:  # the images of a single set that are not shown can be named one by one
        beyond = [(path,) for path in sets[0][most_in_set if shown else 0 :]]
    return ShownFinding(
        finding.text,
        tuple(
            ShownSet(
                shots=tuple(album.hang(path, *caption(path)) for path in paths[:most_in_set]),
                more=len(paths[most_in_set:]) if len(sets) > 1 else 0,
            )
            for paths in shown
        ),
        tuple(
            ShownSet(paths=paths[:MOST_IN_SET], more=len(paths[MOST_IN_SET:]))
            for paths in beyond[:MOST_LISTED_SETS]
        ),
        len(beyond[MOST_LISTED_SETS:]),
    )


def _first(paths: Sequence[str] | NDArray[np.str_]) -> tuple[str, ...]:
    return tuple(map(str, paths[:MOST_FILES]))


def spread(rows: NDArray[np.int64], most: int) -> list[int]:
    """At most `most` of the rows, evenly spaced."""
    if len(rows) <= most:
        return [int(row) for row in rows]
    return [int(rows[int(place)]) for place in np.linspace(0, len(rows) - 1, most)]
