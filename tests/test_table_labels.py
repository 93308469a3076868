"""Which labels of a table can be classes."""

import polars
import pytest

from helpers.images import write_names
from tellapart.errors import UserError
from tellapart.sources.reading import Reading
from tellapart.sources.source import read_source


@pytest.fixture
def read(tmp_path):
    """A function that reads a table of images with these labels."""
    write_names(tmp_path, [f"{number}.jpg" for number in range(40)])

    def read(labels):
        rows = "".join(f'{number}.jpg,"{label}"\n' for number, label in enumerate(labels))
        (tmp_path / "t.csv").write_text(f"path,label\n{rows}")
        return read_source(tmp_path / "t.csv")

    return read


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["1.0", "0.0", "1.0"], ("0", "1")),
        (["10", "9", "2"], ("2", "9", "10")),
        (["True", "False", "True"], ("False", "True")),
        (["007", "7", "12"], ("007", "7", "12")),
        (["1.5", "1.0", "1.5"], ("1.0", "1.5")),
        (["10", "9", "b"], ("10", "9", "b")),
    ],
)
def test_labels_may_be_numbers_and_keep_their_order(read, labels, classes):
    assert read(labels).classes == classes


def test_whole_numbers_of_a_typed_table_are_classes_without_a_point(tmp_path):
    write_names(tmp_path, ["a.jpg", "b.jpg"])
    columns = {"path": ["a.jpg", "b.jpg"], "label": [1.0, 0.0]}
    polars.DataFrame(columns).write_parquet(tmp_path / "t.parquet")
    assert read_source(tmp_path / "t.parquet").classes == ("0", "1")


@pytest.mark.parametrize("nothing", ["", " ", "nan", "NaN", "null", "<NA>"])
def test_a_few_rows_without_a_label_are_left_out_and_told(read, nothing):
    catalog = read(["a", "b"] * 10 + [nothing])
    assert (len(catalog), catalog.classes) == (20, ("a", "b"))
    assert "1 row of" in catalog.remarks[0]
    assert "without a label is left out" in catalog.remarks[0]
    assert "row 21" in catalog.remarks[0]


def test_the_text_that_counts_as_no_label_is_told(read):
    assert "('nan' counts as none)" in read(["a", "b"] * 10 + ["nan"]).remarks[0]


def test_many_rows_without_a_label_are_refused_with_their_number(read):
    with pytest.raises(UserError, match=r"row 3: label is missing, .*in 2 of 4 rows"):
        read(["a", "b", "", "nan"])


def test_a_class_that_may_mean_nothing_is_told_with_its_count(read):
    catalog = read(["a", "b", "NA", "a"])
    assert "NA" in catalog.classes
    assert "The class 'NA' has 1 image. If it means that the label is missing" in catalog.remarks[0]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([f"{20 + 0.37 * n:.2f}" for n in range(40)], "a measurement, .*40 images have 40 differ"),
        ([f"{n % 12 / 10}" for n in range(40)], "a measurement, .*40 images have 12 different"),
        ([f"case {n}" for n in range(40)], "an identifier, .*40 images have 40 different labels"),
        ([str(n) for n in range(40)], "a measurement, .*such as '0', '1'.*into ranges"),
    ],
)
def test_what_is_no_label_is_refused_with_counts(read, labels, words):
    with pytest.raises(UserError, match=words):
        read(labels)


def test_labels_that_a_rule_finds_are_said_to_be_in_no_column(tmp_path):
    names = [f"{number}.jpg" for number in range(40)]
    write_names(tmp_path, names)
    (tmp_path / "t.csv").write_text("\n".join(["path", *names]))
    with pytest.raises(UserError, match=r"^[^']*t\.csv looks like a measurement"):
        read_source(tmp_path / "t.csv", Reading(label_by="name:([0-9]+)"))


@pytest.mark.parametrize("combined", ["scab rust", "scab|rust", "scab,rust", "scab; rust"])
def test_combined_labels_are_told_with_counts(read, combined):
    catalog = read(["scab", "rust", combined] * 3)
    assert len(catalog.classes) == 3
    assert "Column 'label' of " in catalog.remarks[0]
    assert (
        f"has 3 labels, 1 of which combines others, such as {combined!r}, on 3 images"
        in catalog.remarks[0]
    )


def test_labels_most_of_which_are_combined_are_refused(read):
    with pytest.raises(
        UserError, match=r"3 of which combine others, such as 'a\|b', on 6 images of"
    ):
        read(["a|b", "b|c", "a|c"] * 2 + ["a"])


def test_a_list_of_numbers_for_regression_is_refused():
    pairs = [(f"{number}.jpg", number) for number in range(40)]
    with pytest.raises(UserError, match="The list looks like a measurement, not like classes"):
        read_source(pairs)


def test_a_label_may_be_the_only_one_of_a_list(tmp_path):
    write_names(tmp_path, ["a.jpg", "b.jpg"])
    (tmp_path / "t.jsonl").write_text(
        '{"path": "a.jpg", "label": ["x"]}\n{"path": "b.jpg", "label": ["y"]}\n'
    )
    assert read_source(tmp_path / "t.jsonl").classes == ("x", "y")


@pytest.mark.parametrize("names", [["New York", "New Delhi"], ["tench, Tinca", "goldfish, Carp"]])
def test_names_of_several_words_are_no_combinations(read, names):
    assert read(names * 3).remarks == ()
