"""Catalogs: of a folder that is scanned, and of labels alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from tellapart.catalog.files import Folder
from tellapart.catalog.scan import scan
from tellapart.catalog.table import Catalog, text_column
from tellapart.decoders.rules import DecodeRules
from tellapart.sources.source import read_source

MAX_PIXELS = 10**8


def scan_folder(folder: Path) -> Catalog:
    """A folder's catalog, scanned."""
    return scan(read_source(folder), rules=DecodeRules(max_pixels=MAX_PIXELS))


def catalog_of_labels(
    labels, *, contents=None, groups=None, given=None, statuses=None, paths=None, copies=None
):
    """A scanned catalog without files. `contents`: equal ones are copies; each image its own by
    default.
    """
    count = len(labels)
    names = [f"{number}" for number in range(count)] if contents is None else contents
    zeros = np.zeros(count, np.int64)
    return Catalog(
        files=Folder(Path("/photos")),
        source="made up",
        classes=tuple(f"c{number:04}" for number in range(max(labels, default=-1) + 1)),
        paths=text_column(paths or [f"{number:06}.jpg" for number in range(count)]),
        labels=np.array(labels, np.int64),
        given_splits=text_column(given or [""] * count),
        groups=text_column(groups or [""] * count),
        statuses=text_column(statuses or ["ok"] * count),
        details=np.full(count, "", object),
        notes=text_column([""] * count),
        widths=zeros,
        heights=zeros,
        digests=text_column(hashlib.sha256(str(name).encode()).hexdigest() for name in names),
        taken=text_column([""] * count),
        copies=np.arange(count) if copies is None else np.array(copies),
        splits=text_column([""] * count),
        weights=np.ones(count),
    )


def counts(catalog, splits):
    """(C, 3) images of each class in train, val and test."""
    return np.stack([catalog.counts(splits == split) for split in ("train", "val", "test")], axis=1)


def homes(values, cluster_of):
    """The most values that any one cluster has: 1 where no cluster is divided."""
    pairs = {(cluster, value) for cluster, value in zip(cluster_of, values, strict=True)}
    return max(np.unique([cluster for cluster, _ in pairs], return_counts=True)[1])
