"""Which images belong together: by column, folder, name or burst; and which bursts are proposed."""

import re
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.catalogs import catalog_of_labels
from tellapart.catalog.groups import BURST_GAP_SECONDS, NUMBERED_BURST, find_bursts, group
from tellapart.catalog.names import escape
from tellapart.catalog.splits import make_splits
from tellapart.catalog.table import text_column
from tellapart.errors import UserError
from tellapart.options import SplitOptions

NIKON = "|NIKON D90 1234"


def photos(*paths, **columns):
    """A catalog of these paths; the class is the first folder of each, and may be given as in
    catalog_of_labels.
    """
    names = sorted({path.split("/")[0] for path in paths})
    labels = columns.pop("labels", [names.index(path.split("/")[0]) for path in paths])
    changed = {name: columns.pop(name) for name in ("taken", "widths") if name in columns}
    catalog = catalog_of_labels(labels, paths=list(paths), **columns)
    return catalog.replace(
        classes=tuple(names), **{name: np.array(values) for name, values in changed.items()}
    )


def timed(*moments, camera=NIKON, **columns):
    """Images taken at these times."""
    taken = [moment and f"2026-05-04T{moment}{camera}" for moment in moments]
    return photos(*(f"cat/{number:03}.jpg" for number in range(len(moments))), **columns).replace(
        taken=text_column(taken)
    )


def named(*names, **columns):
    """Images of one folder, without capture times, all of one size."""
    return photos(*(f"cat/{name}" for name in names), **columns)


def grouped(form, *paths, **columns):
    return group(photos(*paths, **columns), form).groups.tolist()


# ── the forms ──


def test_nothing_asked_changes_nothing():
    catalog = photos("cat/a.jpg", "dog/b.jpg", groups=["g", ""])
    assert group(catalog, None) is catalog


def test_a_folder_below_the_class_is_one_group_across_the_classes():
    paths = ["cat/p1/1.jpg", "dog/p1/1.jpg", "dog/p2/1.jpg", "dog/2.jpg"]
    assert grouped("folder", *paths) == ["p1", "p1", "p2", ""]


def test_the_folder_is_the_one_that_the_image_lies_in():
    assert grouped("folder", "cat/2025/p1/1.jpg", "cat/2026/p2/1.jpg") == ["p1", "p2"]


def test_the_folder_of_the_class_is_no_group_below_a_split_folder_either():
    catalog = photos("train/cat/1.jpg", "train/cat/p1/1.jpg", "test/dog/p2/2.jpg", labels=[0, 0, 1])
    assert group(catalog.replace(classes=("cat", "dog")), "folder").groups.tolist() == [
        "",
        "p1",
        "p2",
    ]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("folder:1", ["a", "a", "b", ""]),
        ("folder:2", ["p1", "p2", "p1", ""]),
        ("folder:03", ["x", "", "", ""]),
    ],
)
def test_the_nth_folder_is_counted_from_the_top(form, expected):
    catalog = photos("a/p1/x/1.jpg", "a/p2/1.jpg", "b/p1/1.jpg", "1.jpg", labels=[0, 1, 0, 1])
    assert group(catalog.replace(classes=("cat", "dog")), form).groups.tolist() == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("^p[0-9]+", ["p1", "p1", "p22", ""]),
        ("^p([0-9]+)_(.)", ["1", "1", "22", ""]),
        ("^(p)(?P<group>[0-9]+)", ["1", "1", "22", ""]),
        ("_(x)?", ["", "x", "", ""]),
        (r"(?i)^P1_|\.PNG$", ["p1_", "p1_", "", ".png"]),
    ],
)
def test_an_expression_is_searched_in_the_name_of_the_file(expression, expected):
    paths = ["cat/p1_a.jpg", "dog/p1_x.jpg", "cat/p22_a.jpg", "p9_/other.png"]
    assert grouped(f"name:{expression}", *paths) == expected


def test_an_expression_sees_the_name_as_it_is_and_its_group_can_be_written():
    strange = [escape(name) for name in ("a\\1.jpg", "a\\2.jpg", "\udce9b\udce9-1.jpg")]
    found = grouped(r"name:^(.*?)\W?\d", *(f"cat/{name}" for name in strange))
    assert found == ["a", "a", escape("\udce9b\udce9")]


def test_a_column_was_read_with_the_table():
    catalog = photos("cat/1.jpg", "dog/2.jpg", "dog/3.jpg", groups=["p1", "p1", ""])
    after = group(catalog, "column:patient")
    assert after.groups.tolist() == ["p1", "p1", ""]
    assert after.remarks == (
        (
            "Grouped by column:patient: 2 images in 1 group, the largest, 'p1', of 2; 1 of more"
            " than one class; 1 image without a group."
        ),
    )


def test_bursts_that_are_proposed_can_be_taken_as_groups():
    catalog = timed("10:00:00", "10:00:01", "11:00:00", "12:00:00", "12:00:02")
    burst, other = "burst of cat/000.jpg", "burst of cat/003.jpg"
    assert group(catalog, "burst").groups.tolist() == [burst, burst, "", other, other]


# ── what is said, and what is refused ──


def test_the_numbers_are_of_images_that_can_be_used():
    catalog = photos(
        "cat/a/1.jpg",
        "cat/a/2.jpg",
        "cat/b/1.jpg",
        "cat/a/3.jpg",
        statuses=["ok", "ok", "ok", "empty"],
    )
    assert group(catalog, "folder").remarks == (
        "Grouped by folder: 3 images in 2 groups, the largest, 'a', of 2.",
    )


def test_groups_of_one_image_each_are_told_to_keep_nothing_together():
    (remark,) = group(named("1.jpg", "2.jpg"), "name:.*").remarks
    assert (
        remark
        == "Grouped by name:.*: 2 images in 2 groups, each alone, so nothing is kept together."
    )


def test_what_the_source_states_gives_way_with_a_remark():
    catalog = photos("cat/a/1.jpg", "cat/b/2.jpg", "cat/b/3.jpg", groups=["g", "h", ""])
    after = group(catalog.replace(remarks=("Before.",)), "folder")
    assert after.groups.tolist() == ["a", "b", "b"]
    assert after.remarks[:2] == (
        "Before.",
        "The source states 2 groups too; --group-by folder is used instead.",
    )


@pytest.mark.parametrize("form", ["folder", "folder:1", "folder:3", "name:^x", "column:patient"])
def test_where_no_image_gets_a_group_it_is_refused_with_an_example(form):
    words = (
        rf"--group-by {re.escape(form)} gives none of 2 images a group, for example 'cat/1.jpg'\."
    )
    with pytest.raises(UserError, match=words) as refused:
        group(photos("cat/1.jpg", "dog/1.jpg"), form)
    assert refused.value.hint


@pytest.mark.parametrize("form", ["folder", "name:jpg", "column:site"])
def test_one_group_of_all_images_is_refused(form):
    catalog = photos("cat/images/1.jpg", "dog/images/1.jpg", groups=["images", "images"])
    with pytest.raises(
        UserError, match=r"puts all 2 images into one group, .*nothing could be divided"
    ):
        group(catalog, form)


def test_without_bursts_it_is_said_how_many_images_have_a_time():
    (remark,) = group(timed("10:00:00", "", "11:00:00"), "burst").remarks
    assert remark == "No capture bursts were found: 2 of 3 images say when they were taken."


def test_where_no_image_can_be_used_nothing_is_said_of_groups():
    assert group(photos("cat/1.jpg", statuses=["empty"]), "folder").remarks == ()


# ── bursts by time ──


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        (["10:00:00", "10:00:00"], [(0, 1)]),
        (["10:00:00", "10:00:03", "10:00:06"], [(0, 1, 2)]),
        (["10:00:00", "10:00:04"], []),
        (["10:00:00.100", "10:00:03.100", "10:00:06.101"], [(0, 1)]),
        (["10:00:05", "09:00:00", "10:00:04", "09:00:01"], [(0, 2), (1, 3)]),
        (["10:00:00", "", "10:00:01"], [(0, 2)]),
        (["00:00:00", "00:00:00"], []),
        (["00:00:00.250", "00:00:00.500"], [(0, 1)]),
        (["23:59:59"], []),
    ],
)
def test_a_burst_goes_on_as_long_as_each_follows_within_seconds(moments, expected):
    assert BURST_GAP_SECONDS == 3
    assert find_bursts(timed(*moments)) == expected


def test_two_cameras_at_one_moment_are_no_burst():
    catalog = timed("10:00:00", "10:00:01", "10:00:02")
    catalog.taken[1] = "2026-05-04T10:00:01|NIKON D90 5678"
    assert find_bursts(catalog) == [(0, 2)]


def test_a_burst_may_cross_folders_classes_and_sizes():
    catalog = photos("cat/1.jpg", "dog/2.jpg", widths=[64, 640]).replace(
        taken=text_column([f"2026-05-04T10:00:00{NIKON}"] * 2)
    )
    assert find_bursts(catalog) == [(0, 1)]


def test_images_that_cannot_be_used_are_in_no_burst():
    assert find_bursts(timed(*["10:00:00"] * 3, statuses=["ok", "truncated", "ok"])) == [(0, 2)]
    assert find_bursts(timed(*["10:00:00"] * 2, statuses=["ok", "truncated"])) == []


@pytest.mark.parametrize(
    ("contents", "copies", "expected"),
    [
        ("aa", [0, 1], []),
        ("ab", [0, 0], []),
        ("aab", [0, 1, 0], []),
        ("aab", [0, 1, 2], [(0, 1, 2)]),
    ],
)
def test_copies_of_one_image_are_no_burst(contents, copies, expected):
    assert (
        find_bursts(timed(*["10:00:00"] * len(contents), contents=contents, copies=copies))
        == expected
    )


# ── bursts by number ──


def test_a_short_run_of_camera_names_between_gaps_is_proposed():
    names = [
        "IMG_0012.JPG",
        "IMG_0013.JPG",
        "IMG_0014.JPG",
        "IMG_0200.JPG",
        "IMG_0500.JPG",
        "IMG_0501.JPG",
    ]
    assert find_bursts(named(*names, "IMG_0502.JPG")) == [(0, 1, 2), (4, 5, 6)]


@pytest.mark.parametrize(
    "names",
    [
        [f"cat.{number}.jpg" for number in range(3)],  # a data set's own numbers
        [f"{number:08}.jpg" for number in range(3)],
        [f"img_{number:04}.jpg" for number in range(3)],
        [f"FROG{number:04}.jpg" for number in range(100)],
        [f"IMG_{number:04}.jpg" for number in range(2)],
        [f"IMG_{number:04}.jpg" for number in (0, 1, 2, 12, 13, 14)],  # not clearly apart
        [f"IMG_{number:04}.jpg" for number in (0, 2, 4)],
        ["IMG_0001.jpg", "IMG_0002.png", "IMG_0003.gif"],
        ["a/IMG_0001.jpg", "b/IMG_0002.jpg", "c/IMG_0003.jpg"],
        ["IMG_0001.jpg", "DSC_0002.jpg", "SAM_0003.jpg"],
    ],
)
def test_numbers_that_may_mean_nothing_are_not_proposed(names):
    assert find_bursts(named(*names)) == []


def test_a_run_of_two_sizes_is_not_proposed():
    names = [f"IMG_{number:04}.jpg" for number in range(3)]
    assert find_bursts(named(*names, widths=[640, 640, 480])) == []


def test_a_run_longer_than_a_burst_is_not_proposed():
    fewest, most = NUMBERED_BURST
    sizes = {
        count: find_bursts(named(*(f"DSC0{n:04}.JPG" for n in range(9_999, 9_999 - count, -1))))
        for count in (2, 3)
    }
    longest = [
        find_bursts(named(*(f"P101{n:04}.JPG" for n in range(count)))) for count in (most, most + 1)
    ]
    assert (fewest, sizes) == (3, {2: [], 3: [(0, 1, 2)]})
    assert longest == [[tuple(range(most))], []]


def test_a_random_choice_from_a_numbered_data_set_is_no_matter_of_bursts():
    chosen = np.sort(np.random.default_rng(0).choice(1000, 400, replace=False))
    assert (np.diff(chosen) == 1).sum() > 100
    assert find_bursts(named(*(f"cat.{number}.jpg" for number in chosen))) == []


def test_a_run_with_times_is_judged_by_its_times():
    names = [f"IMG_{number:04}.jpg" for number in range(3)]
    taken = text_column(f"2026-05-04T1{hour}:00:00{NIKON}" for hour in range(3))
    assert find_bursts(named(*names).replace(taken=taken)) == []


# ── whatever the structure ──

SECONDS = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["|a", "|b", "|"])), max_size=30)


@given(SECONDS)
def test_bursts_are_what_a_plain_reading_of_the_rule_gives(shots):
    catalog = timed(*["10:00:00"] * len(shots))
    catalog = catalog.replace(
        taken=text_column(f"2026-05-04T10:00:{s:02}{camera}" for s, camera in shots)
    )
    bursts = find_bursts(catalog)
    found = {row: number for number, rows in enumerate(bursts) for row in rows}
    for row, (second, camera) in enumerate(shots):
        near = [
            o for o, (s, c) in enumerate(shots) if o != row and c == camera and abs(s - second) <= 3
        ]
        assert all(found.get(row, -1) == found.get(other, -2) for other in near)
        assert (row in found) == bool(near)
    assert bursts == sorted(bursts)


@given(
    st.lists(st.tuples(st.sampled_from(["cat", "dog"]), st.integers(0, 6)), min_size=8, max_size=40)
)
def test_no_group_crosses_whatever_the_folders(places):
    singles = [f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(3)]
    paths = [f"{name}/p{folder}/{row}.jpg" for row, (name, folder) in enumerate(places)]
    catalog = group(photos(*singles, *paths), "folder")
    splits = make_splits(catalog, SplitOptions(), 0)
    homes = {(name, split) for name, split in zip(catalog.groups, splits, strict=True) if name}
    assert len(homes) == len({name for name, _ in homes})


# ── size ──


def test_a_hundred_thousand_images_are_grouped_in_seconds():
    count = 100_000
    catalog = photos(
        *(
            f"c{number % 100}/p{number // 30}/IMG_{number % 10_000:04}.jpg"
            for number in range(count)
        )
    )
    moments = np.datetime64("2026-05-04") + np.arange(count) // 2 * 5
    taken = text_column(
        f"{moment}T10:00:0{number % 7}{NIKON}" for number, moment in enumerate(moments)
    )
    start = time.process_time()
    for form in ("folder", "folder:2", "name:IMG_(..)"):
        group(catalog, form)
    assert len(find_bursts(catalog.replace(taken=taken))) > 10_000
    find_bursts(catalog)
    assert time.process_time() - start < 20
