"""Folds: stratified, whole clusters only, keyed by seed and content."""

import numpy as np

from helpers.catalogs import catalog_of_labels
from tellapart.catalog.splits import make_folds


def test_every_fold_is_stratified():
    labels = [0] * 103 + [1] * 52 + [2] * 7
    folds = make_folds(catalog_of_labels(labels), np.arange(len(labels)), 5, 0)
    sizes = np.array(
        [np.bincount(folds[np.array(labels) == label], minlength=5) for label in range(3)]
    )
    assert (sizes.max(axis=1) - sizes.min(axis=1) <= 1).all()
    assert sizes.sum(axis=0).max() - sizes.sum(axis=0).min() <= 1


def test_folds_are_of_the_rows_that_are_asked_for():
    catalog = catalog_of_labels([0, 1] * 20)
    rows = np.arange(0, 40, 4)
    assert sorted(make_folds(catalog, rows, 5, 0)) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4][: len(rows)]


def test_a_class_that_is_one_cluster_is_never_held_out():
    catalog = catalog_of_labels(
        [0] * 10 + [1] * 4 + [2], contents=[*range(10), 99, 99, 99, 99, 100]
    )
    folds = make_folds(catalog, np.arange(15), 5, 0)
    assert folds[10:].tolist() == [-1] * 5
    assert (folds[:10] >= 0).all()


def test_folds_depend_on_seed_and_content_alone():
    labels, order = np.arange(60) % 3, np.random.default_rng(0).permutation(60)
    before, after = catalog_of_labels(labels), catalog_of_labels(labels[order], contents=order)
    folds = make_folds(before, np.arange(60), 5, 0)
    assert (folds[order] == make_folds(after, np.arange(60), 5, 0)).all()
    assert (folds != make_folds(before, np.arange(60), 5, 1)).any()
