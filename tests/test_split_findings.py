"""What is said of splits: classes that one lacks, and groups that keep a class from being divided."""

import numpy as np
import pytest

from helpers.catalogs import catalog_of_labels
from tellapart.catalog.split_findings import missed_shares, small_classes
from tellapart.catalog.splits import make_splits
from tellapart.catalog.table import text_column
from tellapart.errors import UserError
from tellapart.options import SplitOptions

DEFAULT = SplitOptions(val=0.15)


# ── classes that a split lacks ──


def test_a_class_that_is_not_in_test_is_named_with_what_to_do():
    catalog = catalog_of_labels([0] * 10 + [1])
    texts = small_classes(catalog.with_splits(make_splits(catalog, DEFAULT, 0)))
    assert [text.partition(": ")[0] for text in texts] == [
        f"1 of 2 classes has no image in {s}" for s in ("val", "test")
    ]
    assert "'c0001' (1 image). Add images of them. A class needs three at least" in texts[1]


def test_of_many_classes_that_lack_images_five_are_named():
    catalog = catalog_of_labels(range(30), given=["train"] * 29 + ["test"])
    assert "and 24 more" in small_classes(catalog.with_splits(catalog.given_splits))[0]


def test_where_no_class_lacks_a_image_nothing_is_said():
    catalog = catalog_of_labels([0, 1] * 10)
    assert small_classes(catalog.with_splits(make_splits(catalog, DEFAULT, 0))) == []


def test_a_split_that_is_not_there_at_all_is_no_matter_of_small_classes():
    splits = text_column(["train", "train"])
    assert small_classes(catalog_of_labels([0, 1]).with_splits(splits)) == []


def findings_of(catalog, options=DEFAULT):
    """What is said of the splits that are made, in one text."""
    splits = make_splits(catalog, options, 0)
    return " ".join(
        [
            *small_classes(catalog.with_splits(splits)),
            *missed_shares(catalog.with_splits(splits), options),
        ]
    )


# ── what groups keep from being divided ──


def test_a_class_in_two_groups_is_explained_with_their_sizes():
    catalog = catalog_of_labels(
        [0] * 40 + [1] * 100, groups=["p017"] * 38 + ["p3"] * 2 + [""] * 100
    )
    (text,) = small_classes(catalog.with_splits(make_splits(catalog, DEFAULT, 0)))
    assert (
        text
        == "1 of 2 classes has no image in val: 'c0000' (40 images in 2 groups; 38 are of group"
        " 'p017'). Groups and copies stay whole, so a class needs three of its own: add images"
        " of other groups, or group more finely."
    )


def test_a_class_in_one_group_lacks_both():
    catalog = catalog_of_labels([0] * 40 + [1] * 100, groups=["p017"] * 40 + [""] * 100)
    texts = small_classes(catalog.with_splits(make_splits(catalog, DEFAULT, 0)))
    assert len(texts) == 2
    assert "'c0000' (40 images, all of group 'p017')" in texts[1]


def test_where_no_val_is_cut_two_groups_are_enough():
    catalog = catalog_of_labels([0] * 40 + [1] * 100, groups=["p"] * 40 + [""] * 100)
    assert "a class needs two of its own" in findings_of(catalog, SplitOptions(val=0))


def test_a_class_that_is_one_copied_image_is_explained_as_such():
    catalog = catalog_of_labels([0] * 4 + [1] * 100, contents=[0] * 4 + list(range(1, 101)))
    assert "'c0000' (4 images, all copies of '000000.jpg')" in findings_of(catalog)
    assert "add images that differ." in findings_of(catalog)


def test_a_class_of_two_images_many_times_over_is_explained_as_such():
    catalog = catalog_of_labels([0] * 5 + [1] * 100, contents=[0] * 4 + list(range(1, 102)))
    assert "'c0000' (5 images, 2 of them different; 4 are copies of '000000.jpg')" in findings_of(
        catalog
    )


def test_near_duplicates_that_tie_groups_together_are_named_as_the_reason():
    groups = ["a"] * 10 + ["b"] * 10 + ["c"] * 2 + [""] * 100
    catalog = catalog_of_labels(
        [0] * 22 + [1] * 100, groups=groups, copies=[*range(10), 0, *range(11, 122)]
    )
    assert (
        "(22 images in 2 groups; 20 are of group 'a' and 1 more that share copies with it)"
        in findings_of(catalog)
    )


def test_groups_that_a_class_shares_with_another_are_counted():
    catalog = catalog_of_labels(
        [0] * 90 + [1] * 3, groups=[f"g{number % 3}" for number in range(93)]
    )
    text, _ = small_classes(catalog.with_splits(text_column(["test", "val", *["train"] * 91])))
    assert "'c0001' (3 images in 3 groups; 3 groups shared with other classes)" in text


def test_of_a_split_that_the_user_made_no_groups_are_blamed():
    catalog = catalog_of_labels(
        [0] * 10 + [1] * 10, groups=["g"] * 20, given=["train"] * 19 + ["test"]
    )
    (text,) = small_classes(catalog.with_splits(catalog.given_splits))
    assert "'c0000' (10 images). Add images of them" in text


def test_only_what_is_divided_counts_where_the_user_made_a_test_set():
    given, groups = ["train"] * 40 + ["test"] * 20, ["a"] * 20 + ["b"] * 20 + ["c", "d"] * 10
    catalog = catalog_of_labels([0] * 20 + [1] * 20 + [0, 1] * 10, given=given, groups=groups)
    assert (
        findings_of(catalog)
        == "Groups and copies stay whole, so the splits miss their wanted sizes: "
        "val has 0 images instead of 6. 2 of 2 classes cannot be in each of them: "
        "'c0000' (20 images, all of group 'a'), 'c0001' (20 images, all of group 'b'); "
        "add images of other groups, or group more finely."
    )


def test_the_classes_with_most_images_are_named_first_and_both_reasons_given():
    labels = [0] + [1] * 9 + [2] * 40
    catalog = catalog_of_labels(labels, groups=[""] + ["g"] * 9 + [""] * 40)
    texts = small_classes(catalog.with_splits(make_splits(catalog, DEFAULT, 0)))
    assert "'c0001' (9 images, all of group 'g'), 'c0000' (1 image). Add images" in texts[0]
    assert "a class needs three of its own" in texts[0]


def test_a_group_too_large_for_the_shares_is_told_with_what_was_reached():
    catalog = catalog_of_labels(
        [0, 1] * 100, groups=["big"] * 190 + [f"{number}" for number in range(10)]
    )
    splits = make_splits(catalog, DEFAULT, 0)
    got = {split: int((splits == split).sum()) for split in ("val", "test")}
    assert missed_shares(catalog.with_splits(splits), DEFAULT) == [
        "Groups and copies stay whole, so the splits miss their wanted sizes: "
        f"val has {got['val']} images instead of 30, test has {got['test']} images instead of 30. "
        "190 of 200 images are of group 'big'."
    ]


def test_a_split_that_groups_leave_empty_is_told_however_small_the_data():
    catalog = catalog_of_labels([0] * 3 + [1] * 3, groups=["a"] * 3 + ["b"] * 3)
    assert (
        findings_of(catalog)
        == "Groups and copies stay whole, so the splits miss their wanted sizes: val has 0"
        " images instead of 2, test has 0 images instead of 2. 2 of 2 classes cannot be in each"
        " of them: 'c0000' (3 images, all of group 'a'), 'c0001' (3 images, all of group 'b');"
        " add images of other groups, or group more finely."
    )


def test_where_all_is_near_the_shares_nothing_is_told():
    catalog = catalog_of_labels([0, 1] * 200, groups=[f"g{number // 5}" for number in range(400)])
    assert findings_of(catalog) == ""
    assert findings_of(catalog_of_labels(np.arange(20) // 2)).count("wanted sizes") == 0


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
