"""Train, val and test: stratified, whole clusters only, keyed by seed and content. And folds
likewise.
"""

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.catalogs import catalog_of_labels
from helpers.images import write_image
from tellapart.catalog.duplicates import Copies, clusters, find_copies
from tellapart.catalog.scan import scan
from tellapart.catalog.sources import read_source
from tellapart.catalog.splits import (
    find_leaks,
    make_folds,
    make_splits,
    missed_shares,
    small_classes,
)
from tellapart.catalog.table import text_column
from tellapart.errors import UserError
from tellapart.keyed import keyed_numbers
from tellapart.options import SplitOptions

DEFAULT = SplitOptions()


def counts(catalog, splits):
    """(C, 3) images of each class in train, val and test."""
    return np.stack([catalog.counts(splits == split) for split in ("train", "val", "test")], axis=1)


def homes(values, cluster_of):
    """The most values that any one cluster has: 1 where no cluster is divided."""
    pairs = {(cluster, value) for cluster, value in zip(cluster_of, values, strict=True)}
    return max(np.unique([cluster for cluster, _ in pairs], return_counts=True)[1])


def moved(before, after):
    """How many of the images in both have another split; both are content → split."""
    return sum(before[name] != after[name] for name in before.keys() & after.keys())


def by_content(catalog, splits):
    return dict(zip(catalog.digests, splits, strict=True))


# ── shares ──


def test_every_class_is_divided_70_15_15():
    catalog = catalog_of_labels([0] * 100 + [1] * 40 + [2] * 20)
    assert counts(catalog, make_splits(catalog, DEFAULT, 0)).tolist() == [
        [70, 15, 15],
        [28, 6, 6],
        [14, 3, 3],
    ]


def test_other_shares_are_kept_too():
    catalog = catalog_of_labels([0] * 100 + [1] * 10)
    splits = make_splits(catalog, SplitOptions(val=0.1, test=0.3), 0)
    assert counts(catalog, splits).tolist() == [[60, 10, 30], [6, 1, 3]]


def test_without_a_val_share_there_is_no_val():
    catalog = catalog_of_labels([0] * 20 + [1] * 20)
    splits = make_splits(catalog, SplitOptions(val=0), 0)
    assert counts(catalog, splits).tolist() == [[17, 0, 3], [17, 0, 3]]


@pytest.mark.parametrize(
    ("each", "expected"),
    [(1, [1, 0, 0]), (2, [1, 0, 1]), (3, [1, 1, 1]), (4, [2, 1, 1]), (10, [6, 2, 2])],
)
def test_small_classes_go_to_train_first_then_test_then_val(each, expected):
    catalog = catalog_of_labels([0] * each + [1] * each)
    assert counts(catalog, make_splits(catalog, DEFAULT, 0)).tolist() == [expected, expected]


def test_an_imbalance_of_one_to_a_hundred_is_kept_in_every_split():
    catalog = catalog_of_labels([0] * 2000 + [1] * 20)
    assert counts(catalog, make_splits(catalog, DEFAULT, 0)).tolist() == [
        [1400, 300, 300],
        [14, 3, 3],
    ]


def test_a_thousand_classes_of_two_have_one_image_in_train_and_one_in_test():
    catalog = catalog_of_labels([label for label in range(1000) for _ in range(2)])
    splits = make_splits(catalog, DEFAULT, 0)
    assert (counts(catalog, splits) == [1, 0, 1]).all()


def test_rows_that_are_not_ok_have_no_split():
    catalog = catalog_of_labels(
        [0] * 10 + [1] * 10, statuses=["ok", "truncated"] * 10, given=["train"] * 20
    )
    splits = make_splits(catalog, DEFAULT, 0)
    assert ((splits == "") == ~catalog.ok).all()


# ── keyed by seed and content ──


def test_the_same_seed_gives_the_same_split_and_another_seed_another_one():
    catalog = catalog_of_labels([0] * 50 + [1] * 50)
    first = make_splits(catalog, DEFAULT, 3)
    assert (first == make_splits(catalog, DEFAULT, 3)).all()
    assert (first != make_splits(catalog, DEFAULT, 4)).any()


def test_renaming_and_reordering_the_files_moves_nobody():
    order = np.random.default_rng(0).permutation(90)
    labels, contents, groups = (
        np.repeat([0, 1, 2], 30),
        np.arange(90) % 80,
        [f"g{number // 3}" for number in range(90)],
    )
    before = catalog_of_labels(labels, contents=contents, groups=groups)
    after = catalog_of_labels(
        labels[order], contents=contents[order], groups=[f"new {groups[place]}" for place in order]
    )
    assert (make_splits(before, DEFAULT, 0)[order] == make_splits(after, DEFAULT, 0)).all()


def test_a_image_more_in_one_class_moves_nobody_in_the_others():
    before = catalog_of_labels([0] * 60 + [1] * 60)
    after = catalog_of_labels([0] * 60 + [1] * 60 + [0])
    of_others = slice(60, 120)
    assert (
        make_splits(before, DEFAULT, 0)[of_others] == make_splits(after, DEFAULT, 0)[of_others]
    ).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_image_more_moves_at_most_four_of_its_own_class(seed):
    before, after = (
        catalog_of_labels([0] * 100 + [1] * 9),
        catalog_of_labels([0] * 100 + [1] * 9 + [0]),
    )
    splits = (
        by_content(before, make_splits(before, DEFAULT, seed)),
        by_content(after, make_splits(after, DEFAULT, seed)),
    )
    assert moved(*splits) <= 4


def test_the_number_of_threads_that_scan_moves_nobody(photos, monkeypatch):
    monkeypatch.setattr("tellapart.threads.usable_cores", lambda: 1)
    one = scan(read_source(photos), max_pixels=10**8)
    monkeypatch.setattr("tellapart.threads.usable_cores", lambda: 7)
    seven = scan(read_source(photos), max_pixels=10**8)
    assert one.digest == seven.digest
    assert (make_splits(one, DEFAULT, 0) == make_splits(seven, DEFAULT, 0)).all()


def test_a_keyed_number_depends_on_seed_purpose_and_key_alone():
    keys = ["a", "b", "c"]
    numbers = keyed_numbers(0, "split", keys)
    assert keyed_numbers(0, "split", keys[::-1]).tolist() == numbers.tolist()[::-1]
    assert (
        len(
            {
                *numbers.tolist(),
                *keyed_numbers(1, "split", keys).tolist(),
                *keyed_numbers(0, "gate", keys),
            }
        )
        == 9
    )
    assert numbers.dtype == np.uint64


# ── copies and groups ──


def test_copies_of_one_image_go_to_one_split_and_one_fold():
    catalog = catalog_of_labels([0] * 60 + [1] * 60, contents=np.arange(120) // 3)
    splits = make_splits(catalog, DEFAULT, 0)
    folds = make_folds(catalog, np.arange(120), 5, 0)
    assert homes(splits, catalog.digests) == 1
    assert homes(folds, catalog.digests) == 1
    assert find_leaks(catalog, splits) == []


def test_a_group_never_crosses():
    groups = [f"g{number // 4}" for number in range(80)]
    catalog = catalog_of_labels([0, 1] * 40, groups=groups)
    assert homes(make_splits(catalog, DEFAULT, 0), groups) == 1
    assert homes(make_folds(catalog, np.arange(80), 4, 0), groups) == 1


def test_a_chain_of_groups_and_copies_is_one_cluster():
    #   row      0    1    2    3    4    5
    catalog = catalog_of_labels([0] * 6, contents="aabbcd", groups=["", "g", "g", "h", "h", ""])
    found = clusters(catalog).tolist()
    assert len(set(found[:5])) == 1
    assert found[5] not in found[:5]


def test_an_empty_group_and_an_unreadable_file_tie_nothing_together():
    catalog = catalog_of_labels(
        [0] * 4, statuses=["ok", "ok", "missing", "missing"], groups=["", "", "g", "g"]
    )
    catalog = catalog.replace(digests=text_column(["a", "b", "", ""]))
    assert len(set(clusters(catalog))) == 4


def test_groups_are_stratified_as_well_as_they_allow():
    catalog = catalog_of_labels(
        [0] * 200 + [1] * 200, groups=[f"g{number // 5}" for number in range(400)]
    )
    assert np.abs(counts(catalog, make_splits(catalog, DEFAULT, 0)) - [140, 30, 30]).max() <= 5


@pytest.mark.parametrize(
    ("num_groups", "expected"), [(1, [30, 0, 0]), (2, [15, 0, 15]), (3, [10, 10, 10])]
)
def test_a_class_of_few_groups_has_one_in_train_then_one_in_test_then_one_in_val(
    num_groups, expected
):
    groups = [f"g{number % num_groups}" for number in range(30)] + [""] * 30
    catalog = catalog_of_labels([0] * 30 + [1] * 30, groups=groups)
    assert counts(catalog, make_splits(catalog, DEFAULT, 0))[0].tolist() == expected


def test_many_copies_of_one_image_do_not_fill_the_test_set():
    catalog = catalog_of_labels([0] * 100, contents=[0] * 14 + list(range(86)))
    assert set(make_splits(catalog, DEFAULT, 0)[:15]) == {"train"}


def test_copies_under_one_label_are_reported_as_copies_and_under_two_as_conflict():
    same, conflict = find_copies(catalog_of_labels([0, 0, 0, 1, 1, 1], contents="aabbcd"))
    assert (same.rows, same.exact, same.conflict) == ((0, 1), True, False)
    assert (conflict.rows, conflict.exact, conflict.conflict) == ((2, 3), True, True)


def test_near_duplicates_and_identical_files_make_one_image_together():
    catalog = catalog_of_labels([0, 0, 0, 1], contents="aabc").replace(
        copies=np.array([0, 1, 1, 3])
    )
    assert find_copies(catalog) == [Copies((0, 1, 2), exact=False, conflict=False)]


def test_files_that_cannot_be_used_are_no_duplicates():
    assert find_copies(catalog_of_labels([0, 1], contents="aa", statuses=["empty", "empty"])) == []


# ── what the source says ──


def test_a_split_that_the_user_made_whole_is_kept():
    given = ["train"] * 4 + ["val"] * 3 + ["test"] * 3
    assert list(make_splits(catalog_of_labels([0, 1] * 5, given=given), DEFAULT, 0)) == given


def test_with_a_stated_test_only_val_is_cut_from_train():
    catalog = catalog_of_labels([0, 1] * 50, given=["train"] * 80 + ["test"] * 20)
    assert counts(catalog, make_splits(catalog, DEFAULT, 0)).tolist() == [[34, 6, 10], [34, 6, 10]]


def test_with_a_stated_val_only_test_is_cut_from_what_is_free():
    catalog = catalog_of_labels([0, 1] * 50, given=[""] * 80 + ["val"] * 20)
    assert counts(catalog, make_splits(catalog, DEFAULT, 0)).tolist() == [[34, 10, 6], [34, 10, 6]]


def test_with_only_train_stated_both_are_cut_from_it():
    catalog = catalog_of_labels([0, 1] * 50, given=["train"] * 100)
    assert counts(catalog, make_splits(catalog, DEFAULT, 0)).tolist() == [[34, 8, 8], [34, 8, 8]]


@pytest.mark.parametrize("home", ["train", "val", "test"])
def test_a_row_without_a_split_follows_its_copy(home):
    catalog = catalog_of_labels(
        [0, 1] * 10, contents=[0, *range(19)], given=[home, *[""] * 9, *["train"] * 10]
    )
    assert list(make_splits(catalog, DEFAULT, 0)[:2]) == [home, home]


def test_a_row_whose_copies_lie_in_train_and_test_follows_the_one_in_train():
    catalog = catalog_of_labels(
        [0, 1] * 5, contents=[0, 0, 0, *range(1, 8)], given=["train", "test", *[""] * 8]
    )
    assert make_splits(catalog, DEFAULT, 0)[2] == "train"


def test_a_leaky_split_of_the_users_is_kept_and_reported():
    given = ["train", "test", "val", "train", "train", "test"]
    catalog = catalog_of_labels(
        [0, 0, 0, 1, 1, 1], contents="aaabcd", groups=["", "", "", "", "g", "g"], given=given
    )
    splits = make_splits(catalog, DEFAULT, 0)
    assert list(splits) == given
    leaks = [(leak.splits, leak.rows) for leak in find_leaks(catalog, splits)]
    assert leaks == [(("train", "val", "test"), (0, 1, 2)), (("train", "test"), (4, 5))]


def test_a_class_whose_images_all_follow_copies_in_test_is_refused():
    catalog = catalog_of_labels([0, 0, 1, 1], contents="abcb", given=["train", "test", "test", ""])
    words = (
        r"'c0001' has no image left to train on: of its 2, 1 are in val or test .*, and 1 are"
        r" copies.*Add training"
    )
    with pytest.raises(UserError, match=words):
        make_splits(catalog, DEFAULT, 0)


# ── classes that a split lacks ──


def test_a_class_that_is_not_in_test_is_named_with_what_to_do():
    catalog = catalog_of_labels([0] * 10 + [1])
    texts = small_classes(catalog, make_splits(catalog, DEFAULT, 0))
    assert [text.partition(": ")[0] for text in texts] == [
        f"1 of 2 classes have no image in {s}" for s in ("val", "test")
    ]
    assert "'c0001' (1 image). Add images of them: three a class is the least" in texts[1]


def test_of_many_classes_that_lack_images_five_are_named():
    catalog = catalog_of_labels(range(30), given=["train"] * 29 + ["test"])
    assert "and 24 more" in small_classes(catalog, catalog.given_splits)[0]


def test_where_no_class_lacks_a_image_nothing_is_said():
    catalog = catalog_of_labels([0, 1] * 10)
    assert small_classes(catalog, make_splits(catalog, DEFAULT, 0)) == []


def test_a_split_that_is_not_there_at_all_is_no_matter_of_small_classes():
    assert small_classes(catalog_of_labels([0, 1]), text_column(["train", "train"])) == []


# ── what groups keep from being divided ──


def told(catalog, options=DEFAULT):
    """What is said of the splits that are made, in one text."""
    splits = make_splits(catalog, options, 0)
    return " ".join([*small_classes(catalog, splits), *missed_shares(catalog, splits, options)])


def test_a_class_in_two_groups_is_explained_with_their_sizes():
    catalog = catalog_of_labels(
        [0] * 40 + [1] * 100, groups=["p017"] * 38 + ["p3"] * 2 + [""] * 100
    )
    (text,) = small_classes(catalog, make_splits(catalog, DEFAULT, 0))
    assert (
        text
        == "1 of 2 classes have no image in val: 'c0000' (40 images in 2 groups; 38 are of group"
        " 'p017'). Groups and copies stay whole, so a class needs three of its own: add images"
        " of other groups, or group more finely."
    )


def test_a_class_in_one_group_lacks_both():
    catalog = catalog_of_labels([0] * 40 + [1] * 100, groups=["p017"] * 40 + [""] * 100)
    texts = small_classes(catalog, make_splits(catalog, DEFAULT, 0))
    assert len(texts) == 2
    assert "'c0000' (40 images, all of group 'p017')" in texts[1]


def test_where_no_val_is_cut_two_groups_are_enough():
    catalog = catalog_of_labels([0] * 40 + [1] * 100, groups=["p"] * 40 + [""] * 100)
    assert "a class needs two of its own" in told(catalog, SplitOptions(val=0))


def test_a_class_that_is_one_copied_image_is_explained_as_such():
    catalog = catalog_of_labels([0] * 4 + [1] * 100, contents=[0] * 4 + list(range(1, 101)))
    assert "'c0000' (4 images, all copies of '000000.jpg')" in told(catalog)
    assert "add images that differ." in told(catalog)


def test_a_class_of_two_images_many_times_over_is_explained_as_such():
    catalog = catalog_of_labels([0] * 5 + [1] * 100, contents=[0] * 4 + list(range(1, 102)))
    assert "'c0000' (5 images, 2 of them different; 4 are copies of '000000.jpg')" in told(catalog)


def test_near_duplicates_that_tie_groups_together_are_named_as_the_reason():
    groups = ["a"] * 10 + ["b"] * 10 + ["c"] * 2 + [""] * 100
    catalog = catalog_of_labels(
        [0] * 22 + [1] * 100, groups=groups, copies=[*range(10), 0, *range(11, 122)]
    )
    assert (
        "(22 images in 2 groups; 20 are of group 'a' and 1 more that share copies with it)"
        in told(catalog)
    )


def test_groups_that_a_class_shares_with_another_are_counted():
    catalog = catalog_of_labels(
        [0] * 90 + [1] * 3, groups=[f"g{number % 3}" for number in range(93)]
    )
    text, _ = small_classes(catalog, text_column(["test", "val", *["train"] * 91]))
    assert "'c0001' (3 images in 3 groups; 3 groups shared with other classes)" in text


def test_of_a_split_that_the_user_made_no_groups_are_blamed():
    catalog = catalog_of_labels(
        [0] * 10 + [1] * 10, groups=["g"] * 20, given=["train"] * 19 + ["test"]
    )
    (text,) = small_classes(catalog, catalog.given_splits)
    assert "'c0000' (10 images). Add images of them" in text


def test_only_what_is_divided_counts_where_the_user_made_a_test_set():
    given, groups = ["train"] * 40 + ["test"] * 20, ["a"] * 20 + ["b"] * 20 + ["c", "d"] * 10
    catalog = catalog_of_labels([0] * 20 + [1] * 20 + [0, 1] * 10, given=given, groups=groups)
    assert (
        told(catalog)
        == "Groups and copies stay whole, so the splits are not of the sizes asked for: "
        "val has 0 images instead of 6. 2 of 2 classes cannot be in each of them: "
        "'c0000' (20 images, all of group 'a'), 'c0001' (20 images, all of group 'b'); "
        "add images of other groups, or group more finely."
    )


def test_the_classes_with_most_images_are_named_first_and_both_reasons_given():
    labels = [0] + [1] * 9 + [2] * 40
    texts = small_classes(
        catalog := catalog_of_labels(labels, groups=[""] + ["g"] * 9 + [""] * 40),
        make_splits(catalog, DEFAULT, 0),
    )
    assert "'c0001' (9 images, all of group 'g'), 'c0000' (1 image). Add images" in texts[0]
    assert "a class needs three of its own" in texts[0]


def test_a_group_too_large_for_the_shares_is_told_with_what_was_reached():
    catalog = catalog_of_labels(
        [0, 1] * 100, groups=["big"] * 190 + [f"{number}" for number in range(10)]
    )
    splits = make_splits(catalog, DEFAULT, 0)
    got = {split: int((splits == split).sum()) for split in ("val", "test")}
    assert missed_shares(catalog, splits, DEFAULT) == [
        "Groups and copies stay whole, so the splits are not of the sizes asked for: "
        f"val has {got['val']} images instead of 30, test has {got['test']} images instead of 30. "
        "190 of 200 images are of group 'big'."
    ]


def test_a_split_that_groups_leave_empty_is_told_however_small_the_data():
    catalog = catalog_of_labels([0] * 3 + [1] * 3, groups=["a"] * 3 + ["b"] * 3)
    assert (
        told(catalog)
        == "Groups and copies stay whole, so the splits are not of the sizes asked for: val has 0"
        " images instead of 2, test has 0 images instead of 2. 2 of 2 classes cannot be in each"
        " of them: 'c0000' (3 images, all of group 'a'), 'c0001' (3 images, all of group 'b');"
        " add images of other groups, or group more finely."
    )


def test_where_all_is_near_the_shares_nothing_is_told():
    catalog = catalog_of_labels([0, 1] * 200, groups=[f"g{number // 5}" for number in range(400)])
    assert told(catalog) == ""
    assert told(catalog_of_labels(np.arange(20) // 2)).count("sizes asked for") == 0


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"groups": ["site A"] * 9}, "All 9 images are of group 'site A', and stay on one side"),
        ({"contents": "aaaaaaaaa"}, "All 9 images are copies of '000000.jpg', and stay"),
        (
            {"groups": ["a"] * 5 + ["b"] * 4, "copies": [*range(5), 0, *range(6, 9)]},
            "of group 'a' and 1 more that share",
        ),
    ],
)
def test_images_that_all_belong_together_are_refused(columns, words):
    with pytest.raises(UserError, match=words) as refused:
        make_splits(catalog_of_labels([0, 1, 0] * 3, **columns), DEFAULT, 0)
    assert refused.value.hint


def test_one_group_is_no_trouble_where_the_user_made_the_split():
    given = ["train"] * 6 + ["test"] * 3
    catalog = catalog_of_labels([0, 1, 0] * 3, groups=["g"] * 9, given=given)
    assert list(make_splits(catalog, SplitOptions(val=0), 0)) == given


# ── folds ──


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


# ── whatever the structure ──

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
    assert find_leaks(catalog, splits) == []
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
    assert {cluster_of[leak.rows[0]] for leak in find_leaks(catalog, splits)} == leaky


@settings(max_examples=100)
@given(STRUCTURES, st.sampled_from([0, 0.15, 0.4]))
def test_there_is_something_to_say_of_every_structure_in_few_sentences(rows, val):
    catalog, options = structure(rows), SplitOptions(val=val)
    splits = make_splits(catalog, options, 0)
    assert len(small_classes(catalog, splits)) <= 2
    assert len(missed_shares(catalog, splits, options)) <= 1


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


# ── size ──


def test_a_hundred_thousand_images_of_a_thousand_classes_are_divided_in_seconds():
    catalog = catalog_of_labels(np.arange(100_000) % 1000, contents=np.arange(100_000) // 1.01 // 1)
    start = time.process_time()
    splits = make_splits(catalog, DEFAULT, 0)
    assert find_leaks(catalog, splits) == []
    make_folds(catalog, np.flatnonzero(splits == "train"), 5, 0)
    assert time.process_time() - start < 20


# ── the table itself ──


def test_the_digest_of_a_catalog_is_equal_exactly_when_its_data_is():
    one = catalog_of_labels([0, 1])
    assert one.digest == catalog_of_labels([0, 1]).digest
    others = [
        catalog_of_labels([0, 1], contents="xy"),
        catalog_of_labels([1, 0]),
        catalog_of_labels([0, 1], paths=["a", "b"]),
    ]
    others += [
        dataclasses.replace(one, classes=("cat", "dog")),
        catalog_of_labels([0, 1], statuses=["ok", "empty"]),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 6


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
    catalog = scan(read_source(photos), max_pixels=10**8)
    splits = make_splits(catalog, DEFAULT, 0)
    assert len(set(splits[np.char.startswith(catalog.paths.astype(str), "leaf/copy")])) == 1
