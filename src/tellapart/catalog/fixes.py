"""The patch of decisions on images: read, applied to a catalog, and merged. No image file is touched.

A patch is JSON Lines. Each line says what one person decided on one image, which it names by its
content. A line is never changed, so that two patches merge as the union of their lines.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.catalog.decisions import DROPPED, Fix, Verdict, judge, parse_fix, time_and_text
from tellapart.errors import UserError, one_line, reason_of
from tellapart.home import user_path
from tellapart.phrases import count_of, listed

if TYPE_CHECKING:
    from tellapart.catalog.table import Catalog

_REPAIR = (
    "Correct the line, or delete it. Each line is one JSON object, as tellapart review writes it."
)


@dataclass(frozen=True)
class Applied:
    """What a patch did to a catalog.

    Args:
        fixes: the patch.
        relabelled: paths whose label changed.
        dropped: paths that were left out.
        stale: lines that do not fit: their image is not there, or its label is another than `was`.
        disputed: paths on which people disagree. Their labels stay as they were.
    """

    fixes: Fixes
    relabelled: tuple[str, ...]
    dropped: tuple[str, ...]
    stale: tuple[Fix, ...]
    disputed: tuple[str, ...]

    @property
    def text(self) -> str:
        """What was done and what was not, in one or more sentences."""
        done = [
            f"{count_of(len(self.relabelled), 'label')} changed",
            f"{count_of(len(self.dropped), 'image')} left out",
        ]
        text = f"{self.fixes.name}: {' and '.join(done)}."
        if self.stale:
            images = listed([fix.path for fix in self.stale], 3)
            lines = count_of(len(self.stale), "line is", "lines are")
            text += (
                f" {lines} stale and not applied, because the image is not there or has another"
                f" label than it had ({images})."
            )
        if self.disputed:
            images = count_of(len(self.disputed), "image")
            text += (
                f" People disagree on {images}, whose labels stay ({listed(self.disputed, 3)})."
                " tellapart review shows them first."
            )
        return text

    def as_json(self) -> dict[str, Any]:
        """The facts that a run keeps."""
        return {
            "digest": self.fixes.digest,
            "lines": len(self.fixes.lines),
            "relabelled": len(self.relabelled),
            "dropped": len(self.dropped),
            "stale": [fix.path for fix in self.stale],
            "disputed": list(self.disputed),
        }


@dataclass(frozen=True)
class Fixes:
    """A patch.

    Args:
        lines: in the order of time.
        name: what messages call the patch.
    """

    lines: tuple[Fix, ...]
    name: str = "fixes"

    @property
    def text(self) -> str:
        """The patch as a file holds it, each line once."""
        return "".join(f"{line}\n" for line in dict.fromkeys(fix.text for fix in self.lines))

    @property
    def digest(self) -> str:
        """SHA-256 of the patch. The order of its lines in the file does not matter."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def people(self) -> list[str]:
        """Who decided, sorted."""
        return sorted({fix.who for fix in self.lines})

    def by_image(self) -> dict[str, list[Fix]]:
        """Content digest → the lines on that image, in the order of time.

        Where a line settles a disagreement, older lines are left out.
        """
        found: defaultdict[str, list[Fix]] = defaultdict(list)
        for fix in self.lines:
            if fix.settles:
                found[fix.digest].clear()
            found[fix.digest].append(fix)
        return dict(found)

    def apply(self, catalog: Catalog) -> tuple[Catalog, Applied]:
        """The catalog with the labels of the patch, and without the images that it drops.

        Args:
            catalog: scanned, so that each image has its digest.

        Returns:
            The new catalog, which remembers the patch and has a remark on it; and what was done.

        Raises:
            UserError: a label is no class of the data, and no line makes it one on purpose.
        """
        by_image = self.by_image()
        rows = _rows_of(catalog, by_image)
        kept = np.ones(len(catalog), bool)
        classes = _classes_with(self, catalog, rows, by_image)
        places = {name: place for place, name in enumerate(classes)}
        relabelled, dropped, disputed = list[str](), list[str](), list[str]()
        stale = dict[Fix, None]()
        renumbered = np.array([*(places[name] for name in catalog.classes), -1], np.int64)
        labels = renumbered[catalog.labels]
        for row, digest in rows:
            path, before = str(catalog.paths[row]), _name(catalog, row)
            verdict = judge(by_image[digest], before)
            stale |= dict.fromkeys(verdict.stale)
            if len(verdict.labels) > 1:
                disputed.append(path)
            elif verdict.label == DROPPED:
                kept[row] = False
                dropped.append(path)
            elif verdict.label is not None and verdict.label != before:
                labels[row] = places[verdict.label]
                relabelled.append(path)
        here = {digest for _, digest in rows}
        gone = [lines[-1] for digest, lines in by_image.items() if digest not in here]
        stale |= dict.fromkeys(fix for fix in gone if fix.action not in ("later", "undo"))
        told = Applied(
            fixes=self,
            relabelled=tuple(relabelled),
            dropped=tuple(dropped),
            stale=tuple(sorted(stale)),
            disputed=tuple(disputed),
        )
        fixed = catalog.replace(classes=classes, labels=labels).rows(kept)
        remarks = (*catalog.remarks, told.text)
        return fixed.replace(fixes=told, remarks=remarks), told


def disagreements(fixes: Fixes) -> dict[str, Verdict]:
    """Content digest → what people say, for each image on which they disagree."""
    judged = {
        digest: judge(lines, lines[0].was) for digest, lines in fixes.by_image().items() if lines
    }
    return {digest: verdict for digest, verdict in judged.items() if len(verdict.labels) > 1}


def merge(patches: Iterable[Fixes], name: str = "fixes") -> Fixes:
    """The union of several patches."""
    lines = {fix: None for patch in patches for fix in patch.lines}
    return Fixes(tuple(sorted(lines, key=time_and_text)), name)


def read_fixes(path: str | PathLike[str]) -> Fixes:
    """The patch in a file.

    Raises:
        UserError: the file cannot be read, or a line is no decision; with the line's number.
    """
    file = user_path(path)
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UserError(
            f"The fixes in {file} cannot be read ({reason}).",
            "Give the fixes.jsonl that tellapart review wrote.",
        ) from None
    # Only "\n" ends a line: JSON text may hold other line breaks of Unicode.
    numbered = enumerate(text.split("\n"), start=1)
    lines = [_read_line(file, number, line) for number, line in numbered if line.strip()]
    return Fixes(tuple(sorted(lines, key=time_and_text)), file.name)


def _read_line(file: Path, number: int, line: str) -> Fix:
    try:
        return parse_fix(line, number)
    except ValueError as error:
        raise UserError(f"{file}, line {number}: {one_line(error, 200)}.", _REPAIR) from None


def _name(catalog: Catalog, row: int) -> str | None:
    label = int(catalog.labels[row])
    return catalog.classes[label] if label >= 0 else None


def _rows_of(catalog: Catalog, by_image: Mapping[str, object]) -> list[tuple[int, str]]:
    """The rows whose image is in the patch, with its digest."""
    digests = enumerate(catalog.digests.tolist())
    return [(row, digest) for row, digest in digests if digest in by_image]


def _classes_with(
    fixes: Fixes,
    catalog: Catalog,
    rows: Sequence[tuple[int, str]],
    by_image: Mapping[str, Sequence[Fix]],
) -> tuple[str, ...]:
    """The classes of the catalog, and those that the patch makes on purpose, sorted among them."""
    added = set[str]()
    for row, digest in rows:
        name = judge(by_image[digest], _name(catalog, row)).label
        if name is None or name == DROPPED or name in catalog.classes:
            continue
        lines = [fix for fix in by_image[digest] if fix.now == name]
        if not any(fix.new for fix in lines):
            number = lines[-1].number
            where = f"{fixes.name}, line {number}" if number else fixes.name
            raise UserError(
                f"{where}: {name!r} is no class of the data ({listed(catalog.classes, 5)}).",
                'Correct the name. To make a new class, add "new": true to the line.',
            )
        added.add(name)
    if not added:
        return catalog.classes
    is_sorted = list(catalog.classes) == sorted(catalog.classes)
    names = (*catalog.classes, *sorted(added))
    return tuple(sorted(names)) if is_sorted else names
