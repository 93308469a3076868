"""Data frames of pandas and polars as sources, with the columns of a table file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars
import pytest

from tellapart.catalog.scan import scan
from tellapart.decoders.rules import DecodeRules
from tellapart.errors import UserError
from tellapart.sources.reading import Reading
from tellapart.sources.source import name_of, read_source

COLUMNS = {
    "File": ["b/2.jpg", "a/1.jpg", "a/3.jpg"],
    "class": ["dog", "cat", "cat"],
    "subset": ["train", "training", "test"],
    "group": ["g", None, ""],
    "often": [1.0, 0.5, 2.0],
    "anything": [{"x": 1}, None, {"x": 2}],
}


def pandas_frame(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


@pytest.fixture(params=[polars.DataFrame, pandas_frame], ids=["polars", "pandas"])
def frame_of(request):
    """A function that makes a frame of one library from its columns."""
    return request.param


def test_a_frame_has_the_columns_of_a_table(frame_of):
    catalog = read_source(frame_of(COLUMNS), Reading(weight_column="often"))
    assert list(catalog.paths) == ["a/1.jpg", "a/3.jpg", "b/2.jpg"]
    assert [catalog.classes[label] for label in catalog.labels] == ["cat", "cat", "dog"]
    assert list(catalog.given_splits) == ["train", "test", "train"]
    assert list(catalog.groups) == ["", "", "g"]
    assert list(catalog.weights) == [0.5, 2.0, 1.0]
    assert catalog.source == "a data frame of 3 images with split and group"


def test_paths_of_a_frame_are_relative_to_the_current_folder(frame_of, photos, monkeypatch):
    monkeypatch.chdir(photos)
    columns = {"path": ["sky/000.jpg", str(photos / "leaf" / "001.jpg")], "label": ["a", "b"]}
    assert list(
        scan(read_source(frame_of(columns)), rules=DecodeRules(max_pixels=10**8)).statuses
    ) == ["ok", "ok"]


def test_a_column_that_is_named_is_the_group_of_a_frame(frame_of):
    frame = frame_of({"path": ["a", "b"], "label": ["x", "y"], "patient": [7, 8]})
    assert list(read_source(frame, Reading(group_column="patient")).groups) == ["7", "8"]
    assert list(read_source(frame, Reading(group_column="label")).groups) == ["x", "y"]


def test_whole_numbers_of_a_frame_are_classes_in_their_own_order(frame_of):
    frame = frame_of({"path": ["a", "b", "c"], "label": [10, 9, 2]})
    assert read_source(frame).classes == ("2", "9", "10")


def test_paths_of_a_frame_may_be_path_objects():
    frame = pandas_frame({"path": [Path("a.jpg")], "label": ["x"]})
    assert list(read_source(frame).paths) == ["a.jpg"]


def test_pandas_own_missing_value_is_an_empty_cell():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"path": ["a", "b"], "label": ["x", "y"], "group": ["g", pandas.NA]})
    assert list(read_source(frame).groups) == ["g", ""]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"path": [], "label": []}, "The data frame holds no rows"),
        ({"path": ["a"], "price": ["x"]}, "The data frame has no column for label; .*price"),
        ({"path": ["a"], "file": ["a"], "label": ["x"]}, "has 2 columns for path: path .*file"),
        ({"path": ["a", "b"], "label": ["x", None]}, r"row 1 \(counted from 0\): label is missing"),
        ({"path": ["a", ""], "label": ["x", "y"]}, "row 1 .*: path is missing"),
        ({"path": [b"a", b"b"], "label": ["x", "y"]}, "row 0 .*path is not text.*in memory as a"),
        ({"path": ["a"], "label": [["x", "y"]]}, "row 0 .*label is not text"),
        (
            {"path": ["a", "b"], "label": ["x", "y"], "split": ["all", "train"]},
            "row 0 .*split 'all' is unknown",
        ),
        ({"path": ["a", "./a"], "label": ["x", "y"]}, "The data frame gives 1 image more than one"),
    ],
)
def test_a_frame_that_cannot_be_used_is_refused_with_where_and_why(frame_of, columns, words):
    with pytest.raises(UserError, match=words) as refused:
        read_source(frame_of(columns))
    assert refused.value.hint


def test_a_frame_of_another_kind_is_refused_with_what_is_taken():
    with pytest.raises(UserError, match=r"type LazyFrame is no source of images.*data frame"):
        read_source(polars.LazyFrame(COLUMNS))  # type: ignore[arg-type]


def test_a_frame_is_called_data(frame_of):
    assert name_of(frame_of({"path": ["a"], "label": ["x"]})) == "data"


def test_a_list_is_read_without_any_library_for_frames():
    code = (
        "import sys; from tellapart.sources.source import read_source; "
        "read_source([('a.jpg', 'a')]); print({'pandas', 'polars'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"
