"""Splits as a file: saved with a hash, and used again.

A run that is resumed refuses them when its data is no longer what it was. A new training extends
them: no image that they hold moves, and new ones join.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.split_findings import find_leaks
from tellapart.catalog.splits import make_splits
from tellapart.catalog.table import SPLITS, Catalog, Column, splits_hash, text_column
from tellapart.errors import Refused, UserError
from tellapart.options import SplitOptions
from tellapart.runs.folder import RunFolder

HASH_KEY = "tellapart.splits"
ORIGIN_KEY = "tellapart.origin"
CLASSES_KEY = "tellapart.classes"
FIXES_KEY = "tellapart.fixes"  # only where a patch of decisions was applied

SPLIT_ANEW = "Restore the data, or leave --splits out to split anew."
ACCEPT_CHANGES = (
    "Restore the data, or add --accept-changes to go on with the images that are as they were."
)
RESTORE_CLASSES = "Restore the classes, or train anew: a label never changes its meaning."

GONE = ("is gone or cannot be read", "are gone or cannot be read")
OTHER_CONTENT = ("has other content", "have other content")
OTHER_CLASS = ("has another class", "have another class")

_COLUMNS = ["path", "sha256", "class", "split"]


def save_splits(run: RunFolder, catalog: Catalog) -> None:
    """Write splits.parquet, with the weight of each image."""
    splits = catalog.splits[catalog.ok]
    rows = [(*row, split) for row, split in zip(_used(catalog), splits, strict=True)]
    digest = splits_hash(rows)
    columns = dict(zip(_COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    # Leaks that the user's own split holds are no violation when it is used again.
    origin = "leaky" if find_leaks(catalog) else "clean"
    classes = json.dumps(catalog.classes, ensure_ascii=False)
    about = {HASH_KEY: digest, ORIGIN_KEY: origin, CLASSES_KEY: classes}
    if catalog.fixes:
        about[FIXES_KEY] = catalog.fixes.fixes.digest
    run.write_table("splits.parquet", {**columns, "weight": catalog.weights[catalog.ok]}, about)


@dataclass(frozen=True)
class SavedSplits:
    """A splits file, read and found unchanged.

    Args:
        file: where it was.
        rows: path → path, content hash, class and split.
        classes: in the order of their labels.
        leaky: whether the splits were so when they were saved, as the user had made them.
        weights: path → how often it was drawn in weighted training; empty where an earlier
            tellapart saved them.
    """

    file: Path
    rows: Mapping[str, tuple[str, str, str, str]]
    classes: tuple[str, ...]
    leaky: bool
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The hash of the splits as they were saved."""
        return splits_hash(self.rows.values())

    def of(
        self, catalog: Catalog, *, accept_changes: bool = False, hint: str = SPLIT_ANEW
    ) -> Column:
        """The splits for the rest of the run that saved them: (N,) "train", "val", "test" for the
        catalog's rows, or "" for a row that is not used.

        Args:
            accept_changes: go on without the images that are new or changed, of which `changes`
                tells.
            hint: what to do where the data has changed.

        Raises:
            Refused: they do not fit the data: images gone, new or changed, other classes, copies of
                one image on two sides. With counts and an example. Other classes are never
                accepted: no label changes its meaning.
        """
        changes, class_changes = self.changes(catalog), _class_changes(self, catalog)
        if class_changes or (changes and not accept_changes):
            told = ", ".join([*class_changes, *changes])
            raise Refused(
                f"{self.file} does not fit the data: {told}.",
                RESTORE_CLASSES if class_changes else hint,
            )
        as_they_were = (row for row in _used(catalog) if row == self.rows.get(row[0], ())[:3])
        reweighted = self._reweighted(catalog)
        same = {path: self.rows[path][3] for path, _, _ in as_they_were if path not in reweighted}
        stated = zip(catalog.paths, catalog.ok, strict=True)
        splits = text_column(same.get(path, "") if ok else "" for path, ok in stated)
        # What counts as a copy hangs on all images: without some, unchanged ones may do so.
        if not accept_changes:
            self._check_leaks(catalog.with_splits(splits))
        return splits

    def extended(self, catalog: Catalog, options: SplitOptions, seed: int) -> Catalog:
        """The catalog divided for another run. No image that the splits hold moves.

        An image is known by its content, so it may have another name, place or class. One with new
        content under a known path stays where the path was. Other images follow the known ones of
        their cluster, and the rest goes by key. A remark counts them.

        Args:
            catalog: scanned.
            options: the shares for what is cut from new images.
            seed: of the keyed numbers.

        Raises:
            Refused: copies of one image, or images of one group, that the splits hold are on two
                sides, and were not so when the splits were saved.
            UserError: a class has nothing left to train on.
        """
        kept = self._places(catalog)
        known = kept != ""
        self._check_leaks(catalog.rows(known).with_splits(kept[known]))
        divided = catalog.with_splits(make_splits(catalog, options, seed, kept=kept))
        news = [*_class_news(self, catalog), *self._news(divided, known)]
        if not news:
            return divided
        text = f"The splits of {self.file} are kept, and no image moved: {', '.join(news)}."
        return divided.replace(remarks=(*catalog.remarks, text))

    def _places(self, catalog: Catalog) -> Column:
        """(N,) the split of each usable image that the splits hold, else ""."""
        by_content: dict[str, str] = {}
        # The user's own splits may hold an image twice: train wins over val, and val over test.
        for split in ("test", "val", "train"):
            by_content |= {row[1]: split for row in self.rows.values() if row[3] == split}
        places = []
        for path, digest, ok in zip(catalog.paths, catalog.digests, catalog.ok, strict=True):
            row = self.rows.get(path, ("", "", "", ""))
            by_path = row[3]
            place = by_path if row[1] == digest else by_content.get(digest, by_path)
            places.append(place if ok else "")
        return text_column(places)

    def _news(self, divided: Catalog, known: NDArray[np.bool_]) -> list[str]:
        """What has come, gone and changed since the splits were saved, and where it went."""
        class_of = {row[1]: row[2] for row in self.rows.values()}
        here = {row[1]: row for row in _used(divided)}
        paths = set(divided.paths[divided.ok].tolist())
        new = divided.ok & ~known
        gone = [r[0] for r in self.rows.values() if r[1] not in here and r[0] not in paths]
        changed = [
            p for p, digest, _ in _used(divided) if p in self.rows and digest not in class_of
        ]
        other = [row[0] for row in here.values() if class_of.get(row[1], row[2]) != row[2]]
        return [
            *_told(divided.paths[new], "is new", "are new", f"; {_went(divided, new)}"),
            *_told(gone, *GONE),
            *_told(changed, *OTHER_CONTENT),
            *_told(other, *OTHER_CLASS),
        ]

    def changes(self, catalog: Catalog) -> list[str]:
        """What is other than it was when the splits were saved: for each kind of change a count and
        an example.
        """
        here = {row[0]: row for row in _used(catalog)}
        shared = self.rows.keys() & here.keys()
        gone, new = self.rows.keys() - here.keys(), here.keys() - self.rows.keys()
        content = {path for path in shared if self.rows[path][1] != here[path][1]}
        label = {path for path in shared if self.rows[path][2] != here[path][2]}
        return [
            *_told(gone, *GONE),
            *_told(new, "is new", "are new"),
            *_told(content, *OTHER_CONTENT),
            *_told(label, *OTHER_CLASS),
            *_told(shared & self._reweighted(catalog), "has another weight", "have another weight"),
        ]

    def _reweighted(self, catalog: Catalog) -> set[str]:
        """The train images that are drawn less or more often than they were."""
        weights = zip(catalog.paths, catalog.weights, strict=True)
        changed = (path for path, weight in weights if self.weights.get(path, weight) != weight)
        return {path for path in changed if self.rows[path][3] == "train"}

    def _check_leaks(self, catalog: Catalog) -> None:
        leaks = find_leaks(catalog)
        if leaks and not self.leaky:
            raise Refused(
                f"{self.file} would put {len(leaks)} images or groups on two sides of the split, "
                f"{catalog.paths[leaks[0].rows[0]]!r} for one.",
                "Leave --splits out to make new ones, or remove the copies from one side.",
            )


def read_splits(path: Path) -> SavedSplits:
    """The splits file of a run; `path` is the file or the run's folder.

    Raises:
        UserError: no such file, or not a splits file.
        Refused: it was changed after it was written, or an earlier tellapart wrote it.
    """
    import polars

    file = path / "splits.parquet" if path.is_dir() else path
    try:
        table = polars.read_parquet(file)
        rows = table.select(_COLUMNS).rows()
        about = polars.read_parquet_metadata(file)
    except FileNotFoundError:
        raise UserError(
            f"{file} does not exist.", "Give the splits.parquet of a run folder."
        ) from None
    except (OSError, polars.exceptions.PolarsError):
        raise UserError(
            f"{file} is not a splits file.", "Give the splits.parquet of a run folder."
        ) from None
    if splits_hash(rows) != about.get(HASH_KEY):
        raise Refused(
            f"{file} was changed after it was written.", "Use the file of the run as it was saved."
        )
    if CLASSES_KEY not in about:
        raise Refused(
            f"{file} was written by an earlier tellapart, without the order of the classes.",
            SPLIT_ANEW,
        )
    classes = tuple(json.loads(about[CLASSES_KEY]))
    weights = dict(table.select("path", "weight").rows()) if "weight" in table.columns else {}
    return SavedSplits(
        file, {row[0]: row for row in rows}, classes, about.get(ORIGIN_KEY) == "leaky", weights
    )


def _used(catalog: Catalog) -> list[tuple[str, str, str]]:
    """Path, content hash and class of each image that can be used."""
    return [
        (catalog.paths[row], catalog.digests[row], catalog.classes[catalog.labels[row]])
        for row in np.flatnonzero(catalog.ok)
    ]


def _went(divided: Catalog, new: NDArray[np.bool_]) -> str:
    """How many of the new images went to each split."""
    counts = Counter(divided.splits[new].tolist())
    sizes = [f"{counts[split]:,} in {split}" for split in SPLITS if counts[split]]
    return ", ".join(sizes)


def _told(paths: Iterable[str], singular: str, plural: str, where: str = "") -> list[str]:
    """A count of some paths with the first of them and where they are, if there are any."""
    names = sorted(paths)
    if not names:
        return []
    verb = singular if len(names) == 1 else plural
    return [f"{_counted(len(names))} {verb} ({names[0]!r}{where})"]


def _class_news(saved: SavedSplits, catalog: Catalog) -> list[str]:
    """Which classes came and went. Their order does not matter to another run."""
    return _class_changes(saved, catalog) if set(saved.classes) != set(catalog.classes) else []


def _class_changes(saved: SavedSplits, catalog: Catalog) -> list[str]:
    """Which classes came and went, with their images; or that they stand in another order."""
    before = Counter(row[2] for row in saved.rows.values())
    now = dict(zip(catalog.classes, catalog.counts().tolist(), strict=True))
    told = [
        f"class {name!r} is gone ({_counted(before[name])})"
        for name in saved.classes
        if name not in now
    ]
    told += [
        f"class {name!r} is new ({_counted(now[name])})"
        for name in now
        if name not in saved.classes
    ]
    return told or ["the classes are in another order"] * (saved.classes != catalog.classes)


def _counted(number: int) -> str:
    return f"{number:,} image{'' if number == 1 else 's'}"
