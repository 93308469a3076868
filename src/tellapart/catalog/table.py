"""The catalog: which images there are. One row a file, no pixels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.files import Files
from tellapart.decoders.rules import DEFAULT_RULES, DecodeRules

if TYPE_CHECKING:
    from tellapart.catalog.fixes import Applied

SPLITS = ("train", "val", "test")

Column = NDArray[Any]


@dataclass(frozen=True)
class Catalog:
    """The table of images, in the order of their paths. All columns have N rows.

    Args:
        files: where the images are read from, by `paths`.
        source: how the source was recognised, in one sentence for the user.
        classes: C class names; the position is the label.
        paths: (N,) str, unique within the source, "/" between folders, escaped by `names.escape`.
        labels: (N,) int64 in [0, C), or -1 where the source gives no label.
        given_splits: (N,) str, "train", "val", "test", or "" where the source does not say.
        groups: (N,) str, images of one group never cross a split; "" for an image without one.
        weights: (N,) float64 from 0, how often each is drawn in weighted training. It is 1 where
            the source does not say.
        statuses: (N,) str, "ok" or why the file is not used; "" before the scan.
        details: (N,) str, why the status is not ok, in a sentence or two; "" where it is.
        notes: (N,) str, names of remarks that do not stop an image, joined by ";".
        widths, heights: (N,) int64, pixels after orientation; 0 where the status is not ok.
        digests: (N,) str, SHA-256 of the file's bytes; "" where it could not be read.
        taken: (N,) str, capture time and camera, as `Decoded.taken`; "" where the file does not
            say.
        copies: (N,) int64, the first row of the image's near-duplicates, which is its own for an
            image without any.
        splits: (N,) str, "train", "val", "test", or "" for a row that is not used. All are ""
            until the images are divided.
        ignored: what was passed over without becoming a row: reason → count.
        remarks: what the user should know of the source, a sentence each.
        identical_apart: whether files with the same bytes may lie in different splits. A user who
            looks for no copies wants that.
        prints: (N, 16) uint8, as `prints_of` gives them, and 0 where the status is not ok. None
            until a training takes them.
        light: (N, 3) float32, as `measure_appearance` gives them, and 0 where the status is not ok.
            None until a training measures them.
        rules: the settings of the decode contract by which the images were scanned.
        extras: name → (N,) str, the other columns of the user's table, by which answers can be
            sliced; "" for a cell that is missing.
        fixes: the patch of decisions that was applied, and what it did. None without one.

    >>> from tellapart.sources.source import read_source
    >>> catalog = read_source([("1.jpg", "cat"), ("2.jpg", "dog"), ("3.jpg", "cat")])
    >>> len(catalog), catalog.classes, catalog.labels.tolist()
    (3, ('cat', 'dog'), [0, 1, 0])
    """

    files: Files
    source: str
    classes: tuple[str, ...]
    paths: Column
    labels: Column
    given_splits: Column
    groups: Column
    weights: Column
    statuses: Column
    details: Column
    notes: Column
    widths: Column
    heights: Column
    digests: Column
    taken: Column
    copies: Column
    splits: Column
    ignored: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    identical_apart: bool = False
    prints: NDArray[np.uint8] | None = None
    light: NDArray[np.float32] | None = None
    rules: DecodeRules = DEFAULT_RULES
    extras: Mapping[str, Column] = field(default_factory=dict)
    fixes: Applied | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def ok(self) -> NDArray[np.bool_]:
        """(N,) which rows can be used."""
        return np.asarray(self.statuses == "ok")

    def counts(self, rows: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """(C,) images of each class among the chosen rows. Default: the usable ones."""
        chosen = self.ok if rows is None else rows
        return np.bincount(self.labels[chosen & (self.labels >= 0)], minlength=len(self.classes))

    @property
    def status_counts(self) -> dict[str, int]:
        """Status → number of files, sorted by name."""
        return dict(sorted(Counter(self.statuses.tolist()).items()))

    def split(self, name: str) -> NDArray[np.int64]:
        """The rows of one split, in their order."""
        return np.flatnonzero(self.splits == name)

    def with_splits(self, splits: Column) -> Catalog:
        """The same catalog with another column `splits`."""
        return self.replace(splits=splits)

    def rows(self, chosen: NDArray[np.bool_]) -> Catalog:
        """The catalog of some rows, with the same classes."""
        columns = {name: getattr(self, name)[chosen] for name in _COLUMNS}
        # The first of an image's copies may be left out, and all rows have new numbers.
        _, first, place = np.unique(columns["copies"], return_index=True, return_inverse=True)
        prints = None if self.prints is None else self.prints[chosen]
        light = None if self.light is None else self.light[chosen]
        extras = {name: column[chosen] for name, column in self.extras.items()}
        columns = {**columns, "copies": first[place], "prints": prints, "light": light}
        return replace(self, **columns, extras=extras)

    def replace(self, **columns: Any) -> Catalog:
        """The same catalog with some columns changed."""
        return replace(self, **columns)

    @property
    def digest(self) -> str:
        """SHA-256 over classes, paths, labels and contents. It is equal exactly when the data is."""
        total = hashlib.sha256("\0".join(self.classes).encode())
        for row in zip(self.paths, self.labels, self.statuses, self.digests, strict=True):
            total.update("\0".join(map(str, row)).encode() + b"\n")
        return total.hexdigest()

    @property
    def splits_digest(self) -> str:
        """The hash of the splits of all usable images, as `splits_hash` gives it."""
        used = np.flatnonzero(self.ok)
        names = (self.classes[label] for label in self.labels[used])
        columns = (self.paths[used], self.digests[used], names, self.splits[used])
        return splits_hash(zip(*columns, strict=True))


def splits_hash(rows: Iterable[tuple[str, str, str, str]]) -> str:
    """SHA-256 over path, content hash, class and split of each used image, in any order."""
    total = hashlib.sha256()
    for row in sorted(rows):
        total.update("\0".join(row).encode() + b"\n")
    return total.hexdigest()


_COLUMNS = (
    "paths",
    "labels",
    "given_splits",
    "groups",
    "weights",
    "statuses",
    "details",
    "notes",
    "widths",
    "heights",
    "digests",
    "taken",
    "copies",
    "splits",
)


def text_column(values: Iterable[str]) -> Column:
    """Strings as a column of objects. numpy's own text would cut off a trailing NUL, and pad all to
    the longest.
    """
    texts = list(values)
    column = np.empty(len(texts), object)
    column[:] = texts
    return column
