"""File names pass one reversible escape; names that systems leave behind are junk."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellapart.catalog.names import escape, is_junk, unescape
from tellapart.sources.source import read_source

ODD_NAMES = [
    b"a" * 251 + b".jpg",
    b"two  spaces .jpg",
    b" leading.jpg",
    b"new\nline.jpg",
    b"carriage\rreturn.jpg",
    b"tab\t.jpg",
    b"quote'\"`.jpg",
    b"%s %d {0}.jpg",
    b"semi;colon,comma.jpg",
    b"-rf.jpg",
    b"=1+1.jpg",
    b"back\\slash.jpg",
    b"\\x80.jpg",
    b"\xff\xfe\x80.jpg",
    b"caf\xe9.jpg",
    "שלום.jpg".encode(),
    "\u202egpj.exe.jpg".encode(),
    "🐈.jpg".encode(),
    "é.jpg".encode(),
    "e\u0301.jpg".encode(),
]


@pytest.fixture(params=ODD_NAMES, ids=repr)
def odd_name(request):
    return request.param


def test_an_odd_name_comes_back_exactly(odd_name):
    assert os.fsencode(unescape(escape(os.fsdecode(odd_name)))) == odd_name


def test_an_escaped_name_is_text_that_json_holds_as_utf_8(odd_name):
    escaped = escape(os.fsdecode(odd_name))
    assert json.loads(json.dumps(escaped, ensure_ascii=False).encode()) == escaped


def test_a_file_of_an_odd_name_is_found_in_its_class(tmp_path, odd_name):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / os.fsdecode(odd_name)).touch()
    catalog = read_source(tmp_path)
    assert [os.fsencode(unescape(path)) for path in catalog.paths] == [b"cat/" + odd_name]
    assert (catalog.files.root / unescape(catalog.paths[0])).exists()


@given(st.binary(max_size=40))
def test_escaping_is_reversible_for_any_bytes(name):
    assert os.fsencode(unescape(escape(os.fsdecode(name)))) == name


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_two_names_never_escape_to_the_same_text(first, second):
    assert (escape(os.fsdecode(first)) == escape(os.fsdecode(second))) == (first == second)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\")))
def test_ordinary_text_is_left_as_it_is(name):
    assert escape(name) == name


@pytest.mark.parametrize(
    "name", ["._x.jpg", ".DS_Store", "Thumbs.db", "THUMBS.DB", "desktop.ini", "Icon\r"]
)
def test_what_systems_leave_behind_is_a_junk_file(name):
    assert is_junk(name, folder=False)


@pytest.mark.parametrize(
    "name",
    [
        "__MACOSX",
        ".ipynb_checkpoints",
        "@eaDir",
        ".git",
        "lost+found",
        "$RECYCLE.BIN",
        ".Trash-1000",
    ],
)
def test_what_systems_leave_behind_is_a_junk_folder(name):
    assert is_junk(name, folder=True)


@pytest.mark.parametrize("name", ["cat", "cat.jpg", "thumbs", "desktop", "_x.jpg", "a.ini"])
def test_an_ordinary_name_is_no_junk(name):
    assert not is_junk(name, folder=False)
    assert not is_junk(name, folder=True)


def test_a_class_may_have_the_name_of_a_junk_file(tmp_path):
    assert not is_junk("thumbs.db", folder=True)


def test_classes_that_differ_in_case_space_or_accents_stay_apart_and_are_remarked(tmp_path):
    names = ["Cat", "cat", "cat ", "é", "e\u0301", "dog"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").touch()
    catalog = read_source(tmp_path)
    assert set(catalog.classes) == set(names)
    assert [
        remark
        for remark in catalog.remarks
        if "'Cat', 'cat', 'cat '" in remark and "one folder" in remark
    ]
    assert len(catalog.remarks) == 2


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "tr_TR.UTF-8"])
def test_classes_are_in_the_order_of_their_code_points_in_every_locale(tmp_path, locale):
    for name in ["zebra", "Zebra", "I", "i", "İ", "ı", "ä", "a"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").touch()
    code = (
        "import sys, pathlib, json; from tellapart.sources.source import read_source;"
        "print(json.dumps(read_source(pathlib.Path(sys.argv[1])).classes))"
    )
    environment = {**os.environ, "LC_ALL": locale}
    answer = subprocess.check_output(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, text=True
    )
    assert json.loads(answer) == ["I", "Zebra", "a", "i", "zebra", "ä", "İ", "ı"]


@pytest.fixture
def deep(tmp_path):
    """A function that puts x.jpg into folders within folders, deeper than pathlib and shutil can
    go.
    """
    made = []
    (tmp_path / "a class").mkdir()

    def make(names):
        for depth in range(1, len(names) + 1):
            made.append(os.path.join(tmp_path, *names[:depth]))
            os.mkdir(made[-1])
        Path(made[-1], "x.jpg").touch()

    yield make
    Path(made[-1], "x.jpg").unlink()
    for folder in reversed(made):
        os.rmdir(folder)


def test_a_path_of_3900_bytes_works(tmp_path, deep):
    names = ["cat", *["d" * 199] * ((3900 - len(str(tmp_path))) // 200)]
    deep(names)
    assert list(read_source(tmp_path).paths) == ["/".join([*names, "x.jpg"])]


def test_folders_deeper_than_pythons_stack_are_read(tmp_path, deep):
    names = ["cat", *"d" * 1100]
    deep(names)
    assert list(read_source(tmp_path).paths) == ["/".join([*names, "x.jpg"])]
