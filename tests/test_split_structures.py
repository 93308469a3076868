"""Splits and folds, whatever the labels, groups and copies."""

import time

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from helpers.catalogs import catalog_of_labels, counts, homes
from tellapart.catalog.duplicates import clusters
from tellapart.catalog.held_out import cluster_keys
from tellapart.catalog.split_findings import find_leaks, missed_shares, small_classes
from tellapart.catalog.splits import make_folds, make_splits
from tellapart.catalog.table import text_column
from tellapart.keyed import keyed_numbers
from tellapart.options import SplitOptions

DEFAULT = SplitOptions(val=0.15)
STRUCTURES = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 25),
        st.sampled_from(["", "", "", "g", "h", "i"]),
        st.sampled_from([0, 0, 0, 1, 5]),
    ),
    max_size=40,
)


def structure(rows):
    """A catalog from (label, content, group, how many rows before its near-duplicate is), every
    class present.
    """
    rows = [*rows, *((label, 100 + label, "", 0) for label in range(4))]
    labels, contents, groups, before = zip(*rows, strict=True)
    copies = list(range(len(rows)))
    for row, back in enumerate(before):
        copies[row] = copies[max(row - back, 0)]
    return catalog_of_labels(labels, contents=contents, groups=groups, copies=copies)


# ── whatever the structure ──


@settings(max_examples=200)
@given(STRUCTURES, st.integers(0, 3), st.sampled_from([0, 0.15, 0.4]))
def test_no_cluster_crosses_and_every_class_is_trained_whatever_the_structure(rows, seed, val):
    catalog = structure(rows)
    splits = make_splits(catalog, SplitOptions(val=val), seed)
    assert homes(splits, clusters(catalog)) == 1
    named = catalog.groups != ""
    for together in (
        catalog.digests,
        catalog.copies,
        np.where(named, catalog.groups, np.arange(len(catalog))),
    ):
        assert homes(splits, together) == 1
    assert find_leaks(catalog.with_splits(splits)) == []
    assert counts(catalog, splits)[:, 0].all()
    assert (splits == make_splits(catalog, SplitOptions(val=val), seed)).all()


@settings(max_examples=200)
@given(
    STRUCTURES, st.lists(st.sampled_from(["", "train", "val", "test"]), min_size=44, max_size=44)
)
def test_leaks_are_the_clusters_with_rows_in_two_splits_whatever_the_structure(rows, homes_of):
    catalog = structure(rows)
    splits, cluster_of = text_column(homes_of[: len(catalog)]), clusters(catalog)
    lie_in = {cluster: set(splits[cluster_of == cluster]) - {""} for cluster in cluster_of.tolist()}
    leaky = {cluster for cluster, where in lie_in.items() if len(where) > 1}
    assert {cluster_of[leak.rows[0]] for leak in find_leaks(catalog.with_splits(splits))} == leaky


@settings(max_examples=100)
@given(STRUCTURES, st.sampled_from([0, 0.15, 0.4]))
def test_there_is_something_to_say_of_every_structure_in_few_sentences(rows, val):
    catalog, options = structure(rows), SplitOptions(val=val)
    splits = make_splits(catalog, options, 0)
    assert len(small_classes(catalog.with_splits(splits))) <= 2
    assert len(missed_shares(catalog.with_splits(splits), options)) <= 1


@settings(max_examples=100)
@given(
    STRUCTURES, st.lists(st.sampled_from(["", "train", "val", "test"]), min_size=40, max_size=40)
)
def test_what_the_user_stated_is_kept_whatever_the_structure(rows, stated):
    catalog = structure(rows)
    given = [*stated[: len(catalog) - 4], *["train"] * 4]
    splits = make_splits(catalog.replace(given_splits=text_column(given)), DEFAULT, 0)
    fixed = np.isin(given, ["val", "test"])
    assert (splits[fixed] == np.array(given)[fixed]).all()
    assert counts(catalog, splits)[:, 0].all()


@settings(max_examples=200)
@given(STRUCTURES, st.integers(2, 6))
def test_no_cluster_is_in_two_folds_and_no_class_is_held_out_whole_whatever_the_structure(
    rows, folds
):
    catalog = structure(rows)
    fold_of = make_folds(catalog, np.arange(len(catalog)), folds, 0)
    left = [catalog.counts(fold_of != fold) for fold in range(folds)]
    assert homes(fold_of, clusters(catalog)) == 1
    assert np.all(left)
    assert fold_of.max() < folds


# ── what new clusters move ──


OWN = [(label, 1000 + 20 * label + number, "", 0) for label in range(4) for number in range(20)]


def apart(rows):
    """The same rows with other contents and groups, and copies among themselves alone."""
    return [
        (label, content + 5000, group and f"new {group}", min(back, place))
        for place, (label, content, group, back) in enumerate(rows)
    ]


def keys_suffice(catalog, seed):
    """Whether each class has test images by the keys of its clusters, of which no more than half go
    there, and none is more than half of a class.
    """
    numbers = clusters(catalog)
    rows_of = [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
    places = keyed_numbers(seed, "split", cluster_keys(catalog, rows_of)) / 2.0**64
    images = np.array([np.bincount(catalog.labels[rows], minlength=4) for rows in rows_of])
    in_test = (images[places < DEFAULT.test] > 0).sum(axis=0)
    enough = (in_test > 0) & (in_test <= (images > 0).sum(axis=0) // 2)
    return bool(enough.all() and (images <= images.sum(axis=0) / 2).all())


@settings(max_examples=200, suppress_health_check=[HealthCheck.filter_too_much])
@given(STRUCTURES, STRUCTURES, st.integers(0, 9))
def test_new_clusters_move_no_old_one_between_test_and_the_rest(rows, new_rows, seed):
    before, after = structure([*OWN, *rows]), structure([*OWN, *rows, *apart(new_rows)])
    old = slice(len(OWN) + len(rows))
    assume(keys_suffice(before, seed) and keys_suffice(after, seed))
    was, is_test = (
        make_splits(catalog, DEFAULT, seed)[old] == "test" for catalog in (before, after)
    )
    assert (was == is_test).all()


@settings(max_examples=200)
@given(STRUCTURES, STRUCTURES, st.integers(0, 9))
def test_kept_splits_move_nothing_and_the_rest_follows_or_goes_by_key(rows, new_rows, seed):
    before = structure(rows)
    old = make_splits(before, DEFAULT, seed)
    after = structure([*rows, *new_rows])
    kept = text_column([*old[: len(rows)], *[""] * (len(after) - len(rows))])
    splits = make_splits(after, DEFAULT, seed + 1, kept=kept)
    assert (splits[: len(rows)] == old[: len(rows)]).all()
    assert set(splits) <= {"train", "val", "test"}


# ── size ──


def test_a_hundred_thousand_images_of_a_thousand_classes_are_divided_in_seconds():
    catalog = catalog_of_labels(np.arange(100_000) % 1000, contents=np.arange(100_000) // 1.01 // 1)
    start = time.process_time()
    splits = make_splits(catalog, DEFAULT, 0)
    assert find_leaks(catalog.with_splits(splits)) == []
    make_folds(catalog, np.flatnonzero(splits == "train"), 5, 0)
    assert time.process_time() - start < 20
