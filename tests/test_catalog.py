"""The catalog: its digest, its rows and its counts."""

import dataclasses

import numpy as np

from helpers.catalogs import catalog_of_labels
from helpers.images import write_image
from tellapart.catalog.scan import scan
from tellapart.catalog.splits import make_splits
from tellapart.decoders.rules import DecodeRules
from tellapart.options import SplitOptions
from tellapart.sources.source import read_source

DEFAULT = SplitOptions()


def test_the_digest_of_a_catalog_is_equal_exactly_when_its_data_is():
    catalog = catalog_of_labels([0, 1])
    assert catalog.digest == catalog_of_labels([0, 1]).digest
    others = [
        catalog_of_labels([0, 1], contents="xy"),
        catalog_of_labels([1, 0]),
        catalog_of_labels([0, 1], paths=["a", "b"]),
    ]
    others += [
        dataclasses.replace(catalog, classes=("cat", "dog")),
        catalog_of_labels([0, 1], statuses=["ok", "empty"]),
    ]
    assert len({catalog.digest, *(other.digest for other in others)}) == 6


def test_some_rows_of_a_catalog_keep_its_classes():
    catalog = catalog_of_labels([0, 1, 2])
    some = catalog.rows(catalog.labels > 0)
    assert (len(some), some.classes, some.labels.tolist()) == (2, catalog.classes, [1, 2])


def test_counts_leave_out_rows_without_a_label():
    catalog = catalog_of_labels([0, 1, 1]).replace(labels=np.array([0, 1, -1]))
    assert catalog.counts().tolist() == [1, 1]


def test_a_split_of_real_files_never_divides_a_copied_image(photos):
    for number in range(3):
        write_image(photos / "leaf" / f"copy {number}.jpg", 77)
    catalog = scan(read_source(photos), rules=DecodeRules(max_pixels=10**8))
    splits = make_splits(catalog, DEFAULT, 0)
    assert len(set(splits[np.char.startswith(catalog.paths.astype(str), "leaf/copy")])) == 1
