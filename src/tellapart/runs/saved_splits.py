"""Splits as a file: saved with a hash, used again, refused when the data no longer fits them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tellapart.catalog.split_findings import find_leaks
from tellapart.catalog.table import Catalog, Column, splits_hash, text_column
from tellapart.errors import Refused, UserError
from tellapart.runs.folder import RunFolder

HASH_KEY = "tellapart.splits"
ORIGIN_KEY = "tellapart.origin"
CLASSES_KEY = "tellapart.classes"

SPLIT_ANEW = "Restore the data, or leave --splits out to split anew."
ACCEPT_CHANGES = (
    "Restore the data, or add --accept-changes to go on with the images that are as they were."
)
RESTORE_CLASSES = "Restore the classes, or train anew: a label never changes its meaning."

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
        self, catalog: Catalog, *, accept_changes: bool | None = None, hint: str = SPLIT_ANEW
    ) -> Column:
        """(N,) str: "train", "val", "test" for the catalog's rows, or "" for a row that is not
        used.

        Args:
            accept_changes: go on without the images that are new or changed, of which `changes`
                tells; None: it is another run, which may draw the images as often as it likes.
            hint: what to do where the data has changed.

        Raises:
            Refused: they do not fit the data: images gone, new or changed, other classes, copies of
                one image on two sides. With counts and an example. Other classes are never
                accepted: no label changes its meaning.
        """
        if accept_changes is None:
            return replace(self, weights={}).of(catalog, accept_changes=False, hint=hint)
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
        if (
            not accept_changes
        ):  # what counts as a copy hangs on all images: without some, unchanged ones may do so
            self._check_leaks(catalog, splits)
        return splits

    def changes(self, catalog: Catalog) -> list[str]:
        """What is other than it was when the splits were saved: for each kind of change a count and
        an example.
        """
        here = {row[0]: row for row in _used(catalog)}
        shared = self.rows.keys() & here.keys()
        kinds = {
            ("is gone or cannot be read", "are gone or cannot be read"): (
                self.rows.keys() - here.keys()
            ),
            ("is new", "are new"): here.keys() - self.rows.keys(),
            ("has other content", "have other content"): {
                p for p in shared if self.rows[p][1] != here[p][1]
            },
            ("has another class", "have another class"): {
                p for p in shared if self.rows[p][2] != here[p][2]
            },
            ("has another weight", "have another weight"): shared & self._reweighted(catalog),
        }
        return [
            f"{_counted(len(paths))} {one if len(paths) == 1 else many} ({min(paths)!r})"
            for (one, many), paths in kinds.items()
            if paths
        ]

    def _reweighted(self, catalog: Catalog) -> set[str]:
        """The train images that are drawn less or more often than they were."""
        weights = zip(catalog.paths, catalog.weights, strict=True)
        changed = (path for path, weight in weights if self.weights.get(path, weight) != weight)
        return {path for path in changed if self.rows[path][3] == "train"}

    def _check_leaks(self, catalog: Catalog, splits: Column) -> None:
        leaks = find_leaks(catalog.with_splits(splits))
        if leaks and not self.leaky:
            raise Refused(
                f"{self.file} would put {len(leaks)} images or groups on two sides of the split, "
                f"{catalog.paths[leaks[0].rows[0]]!r} for one.",
                "Leave --splits out to make new ones.",
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
