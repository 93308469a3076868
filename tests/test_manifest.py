"""A table of images: path and label, optionally split and group; CSV, TSV, JSON Lines or
Parquet.
"""

import json
import os

import polars
import pytest

from helpers.images import write_image, write_names
from tellapart.catalog.files import Folder
from tellapart.catalog.names import unescape
from tellapart.catalog.scan import scan
from tellapart.decoders.rules import DecodeRules
from tellapart.errors import UserError
from tellapart.sources.reading import AS_IT_LIES, Reading
from tellapart.sources.source import read_source
from tellapart.sources.tables.manifest import ManifestRow, Origin, read_rows
from tellapart.sources.tables.sheets import read_sheet

ROWS = [
    ManifestRow(1, "a.jpg", "cat", "train", "g1"),
    ManifestRow(2, "in/b, c.jpg", "dog", "test", ""),
]


@pytest.fixture
def table(tmp_path):
    """A function that writes a table beside some files and returns its path."""

    write_names(tmp_path, ["a.jpg", "b.jpg", "c.jpg", "2.jpg", "a/1.jpg", "b/2.jpg"])

    def write(content, name="photos.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read_manifest(path, reading=AS_IT_LIES):
    sheet = read_sheet(Folder(path.parent), path.name, str(path))
    return read_rows(Origin(str(path), path.parent), sheet, reading, lambda cells: 0).rows


def as_json_lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


# ── what is read ──


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", 'path,label,split,group\na.jpg,cat,train,g1\n"in/b, c.jpg",dog,test,\n'),
        ("t.CSV", 'path,label,split,group\r\na.jpg,cat,train,g1\r\n"in/b, c.jpg",dog,test\r\n'),
        ("bom.csv", '\ufeffpath,label,split,group\na.jpg,cat,train,g1\n"in/b, c.jpg",dog,test,\n'),
        ("semicolons.csv", "path;label;split;group\na.jpg;cat;train;g1\nin/b, c.jpg;dog;test;\n"),
        ("t.tsv", "path\tlabel\tsplit\tgroup\na.jpg\tcat\ttrain\tg1\nin/b, c.jpg\tdog\ttest\t\n"),
        (
            "names.csv",
            'Group_ID,Image_Path, CLASS ,subset\ng1,a.jpg,cat,train\n,"in/b, c.jpg",dog,test\n',
        ),
        (
            "spaces.csv",
            'path,label,split,group\na.jpg, cat ,train , g1\n\n"in/b, c.jpg",dog\t,test, \n',
        ),
    ],
)
def test_a_text_table_gives_its_rows(table, name, content):
    assert read_manifest(table(content, name)) == ROWS


@pytest.mark.parametrize("name", ["t.jsonl", "t.ndjson"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n"])
def test_json_lines_give_the_same_rows(table, name, start):
    records = [
        {"path": "a.jpg", "label": "cat", "split": "train", "group": "g1"},
        {"path": "in/b, c.jpg", "label": "dog", "split": "test", "group": None},
    ]
    assert read_manifest(table(start + as_json_lines(records), name)) == ROWS


def test_a_key_that_only_later_json_lines_have_is_a_column_too(table):
    records = [
        {"path": "a.jpg", "label": "cat"},
        {"path": "b.jpg", "label": "cat", "split": "test"},
    ]
    assert [row.split for row in read_manifest(table(as_json_lines(records), "t.jsonl"))] == [
        "",
        "test",
    ]


def test_a_json_line_may_hold_unicode_line_separators(table):
    line = '{"path": "a\u2028b.jpg", "label": "cat"}'
    assert [row.path for row in read_manifest(table(line, "t.jsonl"))] == ["a\u2028b.jpg"]


def test_parquet_gives_the_same_rows(tmp_path):
    rows = [row._asdict() for row in ROWS]
    polars.DataFrame(rows).drop("number", "weight", "extra").write_parquet(tmp_path / "t.parquet")
    assert read_manifest(tmp_path / "t.parquet") == ROWS


def test_labels_may_be_numbers_and_missing_numbers_are_empty_cells(tmp_path):
    columns = {"file": ["a.jpg", "b.jpg"], "target": [7, 11], "group": [1.0, float("nan")]}
    polars.DataFrame(columns).write_parquet(tmp_path / "t.parquet")
    rows = read_manifest(tmp_path / "t.parquet")
    assert [(row.label, row.group) for row in rows] == [("7", "1.0"), ("11", "")]


def test_columns_of_other_names_are_left_alone(table):
    assert read_manifest(table("id,path,label,price\n1,a.jpg,cat,3\n")) == [
        ManifestRow(1, "a.jpg", "cat", extra=("3",))
    ]


@pytest.mark.parametrize("wanted", ["patient", "PATIENT", " Patient "])
def test_a_column_that_is_named_is_the_group(table, wanted):
    path = table("path,label,group,Patient\na.jpg,cat,g, p1\nb.jpg,dog,g,\n")
    assert [row.group for row in read_manifest(path, Reading(group_column=wanted))] == ["p1", ""]
    assert [row.group for row in read_manifest(path)] == ["g", "g"]


def test_of_two_columns_that_differ_in_case_the_one_as_written_is_the_group(table):
    path = table("path,label,camera,Camera\na.jpg,cat,1,2\n")
    assert [
        read_manifest(path, Reading(group_column=name))[0].group for name in ("camera", "Camera")
    ] == ["1", "2"]
    with pytest.raises(UserError, match="2 columns for CAMERA: camera, Camera"):
        read_manifest(path, Reading(group_column="CAMERA"))


def test_a_named_column_settles_which_of_two_is_the_group(table):
    path = table("path,label,group,group_id\na.jpg,cat,1,2\n")
    assert read_manifest(path, Reading(group_column="group_id"))[0].group == "2"
    with pytest.raises(UserError, match="2 columns for group"):
        read_manifest(path)


@pytest.mark.parametrize("wanted", ["patients", "", "group"])
def test_a_named_column_that_is_not_there_is_refused_with_those_that_are(table, wanted):
    with pytest.raises(
        UserError, match=f"no column '{wanted}' to group by; its columns are path, label, patient"
    ):
        read_manifest(table("path,label,patient\na.jpg,cat,p\n"), Reading(group_column=wanted))


@pytest.mark.parametrize("wanted", ["often", "OFTEN", " Often "])
def test_a_column_that_is_named_is_the_weights(table, wanted):
    path = table("path,label,Often\na.jpg,cat, 2.5 \nb.jpg,dog,0\n")
    assert [row.weight for row in read_manifest(path, Reading(weight_column=wanted))] == [2.5, 0.0]
    assert [row.weight for row in read_manifest(path)] == [1.0, 1.0]


def test_weights_may_be_numbers_of_a_typed_table(tmp_path):
    polars.DataFrame({"path": ["a.jpg"], "label": ["cat"], "often": [3]}).write_parquet(
        tmp_path / "t.parquet"
    )
    assert read_manifest(tmp_path / "t.parquet", Reading(weight_column="often"))[0].weight == 3.0


def test_a_column_of_weights_that_is_not_there_is_refused_with_those_that_are(table):
    with pytest.raises(
        UserError, match="no column 'oft' of weights; its columns are path, label, often"
    ) as refused:
        read_manifest(table("path,label,often\na.jpg,cat,1\n"), Reading(weight_column="oft"))
    assert "--set training.weight_column=NAME" in refused.value.hint


@pytest.mark.parametrize("cell", ["-1", "many", "", "inf", "nan", "1,5", "1e999"])
def test_a_weight_that_is_no_number_from_0_is_refused_with_its_row(table, cell):
    path = table(f'path,label,often\na.jpg,cat,1\nb.jpg,cat,"{cell}"\n')
    with pytest.raises(UserError, match=f"row 2: the weight '{cell}' is no number from 0"):
        read_manifest(path, Reading(weight_column="often"))


# ── what is refused, and how that is said ──


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", "", "holds no rows"),
        ("t.csv", "path,label\n", "holds no rows"),
        ("t.jsonl", "\n", "holds no rows"),
        (
            "t.csv",
            "path,price\na.jpg,3\n",
            r"no column for label; its columns are path \('a.jpg'\), price \('3'\).*--columns label=NAME",
        ),
        ("t.csv", "label,where\ncat,a7\n", "no column for path.*--columns path=NAME,label=NAME"),
        (
            "t.csv",
            "path,label,class\na.jpg,cat,x\nb.jpg,dog,x\n",
            "2 columns for label: label .*class .*--columns label=label",
        ),
        ("t.csv", "path,label\na.jpg,cat\n,dog\n", "row 2: path is missing"),
        ("t.csv", "path,label\na.jpg,\n", "row 1: label is missing"),
        ("t.csv", "path,label\na.jpg, \n", "row 1: label is missing"),
        ("t.csv", "path,label\na.jpg\n", "row 1: label is missing"),
        ("t.csv", b"\xff\xfep\0a", "cannot be read as a table.*UTF-8"),
        ("t.csv", b"PK\x03\x04", "is a workbook, as Excel writes it.*save the sheet as CSV"),
        ("t.csv", "path,label\na.jpg," + "x" * 200_000, "cannot be read as a table.*field limit"),
        (
            "t.jsonl",
            '{"path": "a.jpg", "label": "cat"}\n{"path": "b.jpg",\n',
            "line 2 is not a JSON object",
        ),
        ("t.jsonl", '["a.jpg", "cat"]\n', "line 1 is not a JSON object"),
        ("t.jsonl", "[" * 100_000, "line 1 is not a JSON object"),
        ("t.jsonl", '{"path": "a.jpg", "label": ["cat", "dog"]}\n', "row 1: label is not text"),
        ("t.jsonl", '{"path": "a.jpg", "label": "\\ud800"}\n', "row 1: label is not text"),
        ("t.jsonl", '{"path": "\\ud800.jpg", "label": "cat"}\n', "row 1: path is not text"),
        ("t.parquet", "PAR1", "not a Parquet table"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_where_and_why(table, name, content, words):
    with pytest.raises(UserError, match=words) as refused:
        read_manifest(table(content, name))
    assert refused.value.hint


def test_an_unknown_split_is_refused_with_its_row(table):
    with pytest.raises(
        UserError, match=r"row 2: split 'elsewhere' is unknown. Use train, val or test"
    ):
        read_source(table("path,label,split\na.jpg,cat,train\nb.jpg,cat,elsewhere\n"))


@pytest.mark.parametrize("again", ["a.jpg", "./a.jpg", "in/../a.jpg"])
def test_an_image_named_twice_is_counted_once_and_told(table, again):
    catalog = read_source(table(f"path,label\na.jpg,cat\n{again},cat\n"))
    assert list(catalog.paths) == ["a.jpg"]
    assert "1 row of" in catalog.remarks[0]
    assert "repeats an image with the same label, and is counted once" in catalog.remarks[0]


@pytest.mark.parametrize("again", ["a.jpg", "./a.jpg", "in/../a.jpg"])
def test_an_image_with_two_labels_is_refused_with_both(table, again):
    with pytest.raises(
        UserError, match=r"gives 1 image more than one label, for example 'a.jpg': 'cat', 'dog'"
    ):
        read_source(table(f"path,label\na.jpg,cat\n{again},dog\n"))


def test_an_image_in_two_splits_is_refused(table):
    with pytest.raises(UserError, match=r"names 'a.jpg' more than once, with different splits"):
        read_source(table("path,label,split\na.jpg,cat,train\na.jpg,cat,test\n"))


def test_a_table_of_another_kind_is_refused_with_the_kinds_there_are(table):
    with pytest.raises(UserError, match=r"neither a folder nor a table.*\.csv, \.jsonl"):
        read_source(table("a.jpg cat", "photos.cfg"))


# ── from rows to a catalog ──


def test_paths_are_relative_to_the_table(table, tmp_path):
    catalog = read_source(table("path,label\nb/2.jpg,dog\na/1.jpg,cat\n"))
    assert catalog.files.root == tmp_path
    assert list(catalog.paths) == ["a/1.jpg", "b/2.jpg"]
    assert [catalog.classes[label] for label in catalog.labels] == ["cat", "dog"]


def test_absolute_paths_elsewhere_are_taken_from_their_common_folder(table, tmp_path):
    (tmp_path / "tables").mkdir()
    write_names(tmp_path / "photos", ["a/1.jpg", "b/2.jpg"])
    rows = f"path,label\n{tmp_path}/photos/a/1.jpg,cat\n../photos/b/2.jpg,dog\n"
    catalog = read_source(table(rows, "tables/t.csv"))
    assert catalog.files.root == tmp_path / "photos"
    assert list(catalog.paths) == ["a/1.jpg", "b/2.jpg"]


def test_absolute_paths_below_the_table_are_as_good_as_relative_ones(table, tmp_path):
    catalog = read_source(table(f"path,label\n{tmp_path}/a/1.jpg,cat\n2.jpg,dog\n"))
    assert catalog.files.root == tmp_path
    assert list(catalog.paths) == ["2.jpg", "a/1.jpg"]


def test_splits_and_groups_are_kept_and_named_in_the_source_sentence(table):
    catalog = read_source(
        table(
            "path,label,split,group\na.jpg,cat,Training,g\nb.jpg,cat,validation,\nc.jpg,cat,TEST,\n"
        )
    )
    assert list(catalog.given_splits) == ["train", "val", "test"]
    assert list(catalog.groups) == ["g", "", ""]
    assert catalog.source == "a table of 3 images with split and group"


def test_weights_go_with_their_images_into_the_catalog(table):
    path = table("path,label,often\nb.jpg,dog,3\na.jpg,cat,0.5\n")
    catalog = read_source(path, Reading(weight_column="often"))
    assert (list(catalog.paths), list(catalog.weights)) == (["a.jpg", "b.jpg"], [0.5, 3.0])
    assert list(catalog.rows(catalog.labels == 1).weights) == [3.0]
    assert list(read_source(path).weights) == [1.0, 1.0]


def test_a_table_with_train_and_val_only_reports_on_val_as_test(table):
    catalog = read_source(table("path,label,split\na.jpg,cat,train\nb.jpg,cat,val\n"))
    assert list(catalog.given_splits) == ["train", "test"]
    assert catalog.source.endswith("its val is the test set, any val is cut from train")


def test_a_image_that_is_not_there_gets_the_status_missing(table, tmp_path):
    write_image(tmp_path / "a.jpg")
    catalog = scan(
        read_source(table("path,label\na.jpg,cat\ngone.jpg,dog\nzero\0byte.jpg,dog\n")),
        rules=DecodeRules(max_pixels=10**8),
    )
    assert list(catalog.statuses) == ["ok", "missing", "missing"]


def test_a_name_that_is_not_utf_8_can_be_written_as_python_writes_it_into_json(table, tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    write_image(tmp_path / "plain.jpg").rename(tmp_path / name)
    catalog = scan(
        read_source(table(as_json_lines([{"path": name, "label": "cat"}]), "t.jsonl")),
        rules=DecodeRules(max_pixels=10**8),
    )
    assert (unescape(catalog.paths[0]), catalog.statuses[0]) == (name, "ok")


def test_a_hundred_thousand_rows_are_read_in_seconds(table, tmp_path):
    write_names(tmp_path, ["c0/0.jpg"])
    rows = "".join(f"c{i % 1000}/{i}.jpg,c{i % 1000}\n" for i in range(100_000))
    catalog = read_source(table("path,label\n" + rows))
    assert (len(catalog), len(catalog.classes)) == (100_000, 1000)
