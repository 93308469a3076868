"""Train, val and test: whole clusters only, test by key, val by class, and what new data moves."""

import numpy as np
import pytest

from helpers.catalogs import catalog_of_labels, counts, homes
from tellapart.catalog.duplicates import Copies, clusters, find_copies
from tellapart.catalog.scan import scan
from tellapart.catalog.split_findings import find_leaks
from tellapart.catalog.splits import make_folds, make_splits
from tellapart.catalog.table import text_column
from tellapart.decoders.rules import DecodeRules
from tellapart.errors import UserError
from tellapart.keyed import keyed_numbers
from tellapart.options import SplitOptions
from tellapart.sources.source import read_source

DEFAULT = SplitOptions(val=0.15)


def moved(before, after):
    """How many of the images in both have another split; both are content → split."""
    return sum(before[name] != after[name] for name in before.keys() & after.keys())


def by_content(catalog, splits):
    return dict(zip(catalog.digests, splits, strict=True))


# ── shares ──


def test_test_has_nearly_its_share_and_val_its_share_of_the_rest():
    catalog = catalog_of_labels([0] * 4000 + [1] * 1000)
    train, val, test = counts(catalog, make_splits(catalog, DEFAULT, 0)).T
    # Four standard deviations of independent draws.
    assert np.abs(test - [600, 150]).max() <= 4 * np.sqrt(0.15 * 0.85 * 4000)
    assert abs(test[1] - 150) <= 4 * np.sqrt(0.15 * 0.85 * 1000)
    assert np.abs(val / (train + val) - 0.15 / 0.85).max() < 0.001


def test_other_shares_are_kept_too():
    catalog = catalog_of_labels([0] * 4000)
    train, val, test = counts(catalog, make_splits(catalog, SplitOptions(val=0.1, test=0.3), 0))[0]
    assert abs(test - 1200) <= 4 * np.sqrt(0.3 * 0.7 * 4000)
    assert abs(val / (train + val) - 0.1 / 0.7) < 0.001


def test_without_a_val_share_there_is_no_val_and_test_is_the_same():
    catalog = catalog_of_labels([0] * 20 + [1] * 20)
    splits = make_splits(catalog, SplitOptions(val=0), 0)
    assert set(splits) == {"train", "test"}
    assert ((splits == "test") == (make_splits(catalog, DEFAULT, 0) == "test")).all()


def test_a_larger_test_share_keeps_the_images_of_the_smaller():
    catalog = catalog_of_labels([0] * 200)
    smaller, larger = (
        make_splits(catalog, SplitOptions(test=share), 0) == "test" for share in (0.15, 0.3)
    )
    assert (smaller <= larger).all()
    assert smaller.sum() < larger.sum()


@pytest.mark.parametrize(
    ("each", "expected"),
    [(1, [1, 0, 0]), (2, [1, 0, 1]), (3, [1, 1, 1])],
)
def test_small_classes_go_to_train_first_then_test_then_val(each, expected):
    catalog = catalog_of_labels([label for label in range(50) for _ in range(each)])
    assert counts(catalog, make_splits(catalog, DEFAULT, 0)).tolist() == [expected] * 50


@pytest.mark.parametrize("each", [4, 5, 10, 20])
def test_a_class_has_images_in_each_split_and_at_most_half_of_them_in_test(each):
    catalog = catalog_of_labels([label for label in range(200) for _ in range(each)])
    found = counts(catalog, make_splits(catalog, DEFAULT, 0))
    assert found.min() >= 1
    assert found[:, 2].max() <= each / 2


def test_an_imbalance_of_one_to_a_hundred_is_kept_in_every_split():
    catalog = catalog_of_labels([0] * 20_000 + [1] * 200)
    found = counts(catalog, make_splits(catalog, DEFAULT, 0))
    assert (np.abs(found[1] / found[0] - 0.01) < 0.005).all()


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
    labels, contents = np.repeat([0, 1, 2], 30), np.arange(90) % 80
    groups = text_column(f"g{number // 3}" for number in range(90))
    before = catalog_of_labels(labels, contents=contents, groups=[*groups])
    after = catalog_of_labels(
        labels[order],
        contents=contents[order],
        groups=[*groups[order]],
        paths=[f"new {place}.jpg" for place in range(90)],
    )
    assert (make_splits(before, DEFAULT, 0)[order] == make_splits(after, DEFAULT, 0)).all()


def test_renaming_the_classes_moves_nobody():
    groups = [f"g{number // 4}" for number in range(60)]
    labels = np.arange(60) % 3
    before = catalog_of_labels(labels, groups=groups)
    after = catalog_of_labels(2 - labels, groups=groups)
    assert (
        (make_splits(before, DEFAULT, 0) == "test") == (make_splits(after, DEFAULT, 0) == "test")
    ).all()


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
    single = scan(read_source(photos), rules=DecodeRules(max_pixels=10**8))
    monkeypatch.setattr("tellapart.threads.usable_cores", lambda: 7)
    seven = scan(read_source(photos), rules=DecodeRules(max_pixels=10**8))
    assert single.digest == seven.digest
    assert (make_splits(single, DEFAULT, 0) == make_splits(seven, DEFAULT, 0)).all()


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
    assert find_leaks(catalog.with_splits(splits)) == []


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
    found = counts(catalog, make_splits(catalog, DEFAULT, 0))
    # Test is a draw of 5 images a time, of which 40 groups give each class 6 on average.
    assert np.abs(found[:, 2] - 30).max() <= 4 * 5 * np.sqrt(0.15 * 0.85 * 40)
    assert np.abs(found[:, 1] - 0.15 / 0.85 * (200 - found[:, 2])).max() <= 5


@pytest.mark.parametrize(
    ("num_groups", "expected"), [(1, [30, 0, 0]), (2, [15, 0, 15]), (3, [10, 10, 10])]
)
def test_a_class_of_few_groups_has_one_in_train_then_one_in_test_then_one_in_val(
    num_groups, expected
):
    groups = [f"g{number % num_groups}" for number in range(30)] + [""] * 30
    catalog = catalog_of_labels([0] * 30 + [1] * 30, groups=groups)
    assert counts(catalog, make_splits(catalog, DEFAULT, 0))[0].tolist() == expected


@pytest.mark.parametrize("seed", range(20))
def test_a_cluster_with_more_than_half_of_a_class_is_trained_on(seed):
    catalog = catalog_of_labels([0] * 100, contents=[0] * 60 + list(range(40)))
    splits = make_splits(catalog, DEFAULT, seed)
    assert set(splits[:61]) == {"train"}
    assert set(splits) == {"train", "val", "test"}


def test_copies_under_one_label_are_reported_as_copies_and_under_two_as_conflict():
    same, conflict = find_copies(catalog_of_labels([0, 0, 0, 1, 1, 1], contents="aabbcd"))
    assert (same.rows, same.exact, same.conflict) == ((0, 1), True, False)
    assert (conflict.rows, conflict.exact, conflict.conflict) == ((2, 3), True, True)


def test_near_duplicates_and_identical_files_make_one_image_together():
    catalog = catalog_of_labels([0, 0, 0, 1], contents="aabc").replace(
        copies=np.array([0, 1, 1, 3])
    )
    assert find_copies(catalog) == [Copies((0, 1, 2), exact=False, conflict=False)]


def test_identical_files_that_are_no_copies_are_divided_like_any_others():
    catalog = catalog_of_labels([0] * 120, contents=[0] * 120).replace(identical_apart=True)
    splits = make_splits(catalog, DEFAULT, 0)
    assert set(splits) == {"train", "val", "test"}
    assert find_copies(catalog) == find_leaks(catalog.with_splits(splits)) == []


def test_identical_files_of_one_group_stay_together_even_if_they_are_no_copies():
    catalog = catalog_of_labels([0] * 3, contents="aaa", groups=["g", "g", ""])
    first, second, alone = clusters(catalog.replace(identical_apart=True)).tolist()
    assert first == second != alone


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
    found = counts(catalog, make_splits(catalog, DEFAULT, 0))
    assert found[:, 1].tolist() == [10, 10]
    assert (found[:, 2] >= 1).all()
    assert (found[:, 2] < found[:, 0]).all()


def test_with_only_train_stated_both_are_cut_from_it():
    catalog = catalog_of_labels([0, 1] * 50, given=["train"] * 100)
    free = catalog_of_labels([0, 1] * 50)
    assert (make_splits(catalog, DEFAULT, 0) == make_splits(free, DEFAULT, 0)).all()


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
    leaks = [(leak.splits, leak.rows) for leak in find_leaks(catalog.with_splits(splits))]
    assert leaks == [(("train", "val", "test"), (0, 1, 2)), (("train", "test"), (4, 5))]


def test_a_class_whose_images_all_follow_copies_in_test_is_refused():
    catalog = catalog_of_labels([0, 0, 1, 1], contents="abcb", given=["train", "test", "test", ""])
    words = (
        r"'c0001' has no image left to train on: of its 2, 1 are in val or test .*, and 1 are"
        r" copies.*Add training"
    )
    with pytest.raises(UserError, match=words):
        make_splits(catalog, DEFAULT, 0)
