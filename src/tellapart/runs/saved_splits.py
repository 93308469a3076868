"""Splits as a file: saved with a hash, used again, refused when the data no longer fits them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tellapart.catalog.splits import find_leaks
from tellapart.catalog.table import SPLITS, Catalog, Column, text_column
from tellapart.errors import Refused, UserError
from tellapart.runs.folder import RunFolder

HASH_KEY = "tellapart.splits"
ORIGIN_KEY = "tellapart.origin"


def splits_hash(rows: Iterable[tuple[str, str, str, str]]) -> str:
    """SHA-256 over path, content hash, class and split of each used picture, whatever their order."""
    total = hashlib.sha256()
    for row in sorted(rows):
        total.update("\0".join(row).encode() + b"\n")
    return total.hexdigest()


def save_splits(run: RunFolder, catalog: Catalog, splits: Column) -> str:
    """Write splits.parquet; returns its hash."""
    rows = _rows(catalog, splits)
    digest = splits_hash(rows)
    columns = dict(zip(("path", "sha256", "class", "split"), map(list, zip(*rows, strict=True)), strict=True))
    # Leaks that the user's own split holds are no violation when it is used again.
    origin = "leaky" if find_leaks(catalog, splits) else "clean"
    run.write_table("splits.parquet", columns, {HASH_KEY: digest, ORIGIN_KEY: origin})
    return digest


@dataclass(frozen=True)
class SavedSplits:
    """A splits file, read and found unchanged.

    Args:
        file: where it was. rows: path → path, content hash, class and split.
        leaky: whether the splits were so when they were saved, as the user had made them.
    """

    file: Path
    rows: Mapping[str, tuple[str, str, str, str]]
    leaky: bool

    def of(self, catalog: Catalog) -> Column:
        """(N,) str: "train", "val", "test" for the catalog's rows, or "" for a row whose status is not ok.

        Raises:
            Refused: they do not fit the data: pictures gone, new or changed, other classes, copies of one picture on
                two sides. With counts and an example.
        """
        _check_fit(self.file, catalog, self.rows)
        stated = zip(catalog.paths, catalog.ok, strict=True)
        splits = text_column(self.rows[path][3] if ok else "" for path, ok in stated)
        leaks = find_leaks(catalog, splits)
        if leaks and not self.leaky:
            raise Refused(
                f"{self.file} would put {len(leaks)} pictures or groups on two sides of the split, "
                f"{catalog.paths[leaks[0].rows[0]]!r} for one.",
                "Leave --splits out to make new ones.",
            )
        return splits


def read_splits(path: Path) -> SavedSplits:
    """The splits file of a run; `path` is the file or the run's folder.

    Raises:
        UserError: no such file, or not a splits file.
        Refused: it was changed after it was written.
    """
    import polars

    file = path / "splits.parquet" if path.is_dir() else path
    try:
        rows = polars.read_parquet(file, columns=["path", "sha256", "class", "split"]).rows()
        about = polars.read_parquet_metadata(file)
    except FileNotFoundError:
        raise UserError(f"{file} does not exist.", "Give the splits.parquet of a run folder.") from None
    except (OSError, polars.exceptions.PolarsError):
        raise UserError(f"{file} is not a splits file.", "Give the splits.parquet of a run folder.") from None
    if splits_hash(rows) != about.get(HASH_KEY):
        raise Refused(f"{file} was changed after it was written.", "Use the file of the run as it was saved.")
    return SavedSplits(file, {row[0]: row for row in rows}, about.get(ORIGIN_KEY) == "leaky")


def _rows(catalog: Catalog, splits: Column) -> list[tuple[str, str, str, str]]:
    return [
        (catalog.paths[row], catalog.digests[row], catalog.classes[catalog.labels[row]], splits[row])
        for row in np.flatnonzero(catalog.ok)
    ]


def _check_fit(file: Path, catalog: Catalog, stated: Mapping[str, tuple[str, str, str, str]]) -> None:
    here = {row[0]: row for row in _rows(catalog, text_column([""] * len(catalog)))}
    shared = stated.keys() & here.keys()
    faults = {
        "are gone or cannot be read": stated.keys() - here.keys(),
        "are new": here.keys() - stated.keys(),
        "have other content": {path for path in shared if stated[path][1] != here[path][1]},
        "have another class": {path for path in shared if stated[path][2] != here[path][2]},
        "have an unknown split": {path for path in shared if stated[path][3] not in SPLITS},
    }
    told = [f"{len(paths)} pictures {what} ({min(paths)!r})" for what, paths in faults.items() if paths]
    if told:
        raise Refused(
            f"{file} does not fit the data: {', '.join(told)}.",
            "Restore the data, or leave --splits out to split anew.",
        )
