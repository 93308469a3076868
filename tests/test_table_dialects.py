"""Text tables as spreadsheets and other systems write them."""

import gzip
import json

import pytest

from helpers.images import write_names
from tellapart.errors import UserError
from tellapart.sources.source import read_source

ROWS = [("in/a, b.jpg", "ring"), ("in/c.jpg", "bars"), ("in/d.jpg", "ring"), ("e.jpg", "bars")]
PLAIN = [("in/a.jpg", "ring"), ("in/c.jpg", "bars"), ("in/d.jpg", "ring"), ("e.jpg", "bars")]
SPACED = [("my photos/a 1.jpg", "0"), ("b 2.jpg", "1"), ("c 3.jpg", "0"), ("d.jpg", "1")]


@pytest.fixture
def read(tmp_path):
    """A function that writes a table and reads it: its paths with their classes, and remarks."""
    write_names(tmp_path, [path for path, _ in ROWS + PLAIN + SPACED])
    write_names(tmp_path, ["é.jpg", "b.jpg"])

    def read(content, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        catalog = read_source(path)
        names = [catalog.classes[label] for label in catalog.labels]
        return list(zip(catalog.paths, names, strict=True)), catalog.remarks

    return read


def lines(form, rows=PLAIN, end="\n"):
    return "".join(form.format(path=path, label=label) + end for path, label in rows)


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\npath;label\n" + lines("{path};{label}"),
        '"sep=|"\r\npath|label\r\n' + lines("{path}|{label}", end="\r\n"),
        "sep=\t\npath\tlabel\n" + lines("{path}\t{label}"),
        "path|label\n" + lines("{path}|{label}"),
        "label, path\n" + lines("{label}, {path}"),
        "path,label,,\n" + lines("{path},{label},,"),
        "path,label\n" + lines("{path},{label}") + ",\n , \n\n",
        ",path,label\n" + lines("7,{path},{label}"),
        "path,label\n" + lines("{path},{label}") + "path,label\n",
        "'path','label'\n" + lines("'{path}','{label}'"),
        '"path","label"\r' + lines('"{path}","{label}"', end="\r"),
    ],
)
def test_a_spreadsheets_table_gives_its_rows(read, text):
    assert read(text) == (sorted(PLAIN), ())


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_cells_in_quotes_may_hold_the_separator(read, separator):
    form = f'"{{path}}"{separator} {{label}}'
    assert read(f"path{separator}label\n" + lines(form, ROWS))[0] == sorted(ROWS)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_encoding_of_unicode_is_read(read, encoding):
    text = "path,label\n" + lines("{path},Käse {label}")
    rows, remarks = read(text.encode(encoding))
    assert rows == [(path, f"Käse {label}") for path, label in sorted(PLAIN)]
    assert remarks == ()


def test_a_table_in_windows_encoding_is_read_and_told(read):
    rows, remarks = read("path,label\né.jpg,Käse\nb.jpg,Brot\n".encode("cp1252"))
    assert rows == [("b.jpg", "Brot"), ("é.jpg", "Käse")]
    assert "not in UTF-8 and was read as Windows-1252" in remarks[0]


def test_a_packed_table_is_unpacked(read):
    packed = gzip.compress(("path,label\n" + lines("{path},{label}")).encode())
    assert read(packed, "t.csv.gz")[0] == sorted(PLAIN)


def test_a_table_without_a_header_is_read_by_its_cells(read):
    rows, remarks = read(lines("{path},{label}"))
    assert rows == sorted(PLAIN)
    assert "has no header. Its column 2 is taken as that of the labels, with 2 cl" in remarks[0]


def test_the_title_of_a_sheet_is_no_header(read):
    assert read("My photos,,\npath,label,\n" + lines("{path},{label},")) == (sorted(PLAIN), ())


def test_notes_at_the_beginning_of_a_list_are_no_rows(read):
    text = "# path label\n#\n" + lines("{path} {label}")
    assert read(text, "list.txt")[0] == sorted(PLAIN)


@pytest.mark.parametrize(
    "content",
    [
        [{"file": path, "label": label} for path, label in PLAIN],
        {"images": [{"file": path, "label": label} for path, label in PLAIN]},
        dict(PLAIN),
        {path: {"label": label} for path, label in PLAIN},
        {"file": [path for path, _ in PLAIN], "label": [label for _, label in PLAIN]},
        {
            "file": {str(row): path for row, (path, _) in enumerate(PLAIN)},
            "label": {str(row): label for row, (_, label) in enumerate(PLAIN)},
        },
    ],
)
def test_every_usual_form_of_a_table_in_json_is_read(read, content):
    assert read(json.dumps(content), "labels.json") == (sorted(PLAIN), ())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bytes(range(256)) * 9, "cannot be read as a table: it is no text"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS.*git lfs pull"),
    ],
)
def test_what_only_stands_for_a_table_is_named(read, content, words):
    with pytest.raises(UserError, match=words):
        read(content)


@pytest.mark.parametrize("text", ["{", "[]", "[1, 2]", '{"a": [1], "b": 2}', "7"])
def test_other_json_is_refused_with_the_forms_there_are(read, text):
    with pytest.raises(
        UserError, match=r"holds no table that is known here|holds no rows"
    ) as refused:
        read(text, "labels.json")
    assert refused.value.hint


@pytest.mark.parametrize("form", ["{path} {label}", "{label}  {path}", "{path}\t{label}"])
@pytest.mark.parametrize("name", ["train.txt", "list.lst", "t.csv"])
def test_a_list_of_paths_and_labels_is_read(read, form, name):
    assert read(lines(form), name)[0] == sorted(PLAIN)


def test_the_paths_of_a_list_may_hold_spaces(read):
    assert read(lines("{path} {label}", SPACED), "train.txt")[0] == sorted(SPACED)
