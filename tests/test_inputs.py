"""What the user names to be predicted: files, folders, patterns, or a list on standard input."""

import io
import os
from pathlib import Path

import pytest

from tellapart.sources import inputs
from tellapart.sources.inputs import Uncountable, expand_inputs, listed_inputs

NOTHING = io.BytesIO()


def expanded(arguments, standard_input):
    return list(expand_inputs(arguments, standard_input))


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """b.jpg, a.jpg, sub/c.jpg, sub/deeper/d.jpg, and junk; the current folder is the one above."""
    monkeypatch.chdir(tmp_path)
    Path("tree/sub/deeper").mkdir(parents=True)
    Path("tree/.git").mkdir()
    for name in [
        "b.jpg",
        "a.jpg",
        "sub/c.jpg",
        "sub/deeper/d.jpg",
        ".DS_Store",
        "Thumbs.db",
        ".git/e.jpg",
    ]:
        Path("tree", name).touch()
    return Path("tree")


ALL = [
    Path("tree/a.jpg"),
    Path("tree/b.jpg"),
    Path("tree/sub/c.jpg"),
    Path("tree/sub/deeper/d.jpg"),
]


def test_a_folder_stands_for_all_files_below_it_sorted_and_without_junk(tree):
    assert expanded(["tree"], NOTHING) == ALL


def test_files_keep_the_order_of_the_arguments(tree):
    names = ["tree/b.jpg", "tree/sub/c.jpg", "tree/a.jpg"]
    assert expanded(names, NOTHING) == [Path(name) for name in names]


def test_a_file_named_twice_gets_two_rows(tree):
    assert expanded(["tree/a.jpg", "tree/a.jpg"], NOTHING) == [Path("tree/a.jpg")] * 2


def test_a_file_that_does_not_exist_is_kept(tree):
    assert expanded(["nowhere.jpg"], NOTHING) == [Path("nowhere.jpg")]


def test_a_pattern_stands_for_the_files_that_match_it(tree):
    assert expanded(["tree/[ab].jp?"], NOTHING) == ALL[:2]


def test_a_pattern_that_matches_a_folder_stands_for_what_is_in_it(tree):
    assert expanded(["tree/*"], NOTHING) == ALL


def test_a_recursive_pattern_names_each_file_once(tree):
    assert expanded(["tree/**"], NOTHING) == ALL


def test_a_pattern_that_matches_nothing_is_kept_as_a_missing_file(tree):
    assert expanded(["tree/*.png"], NOTHING) == [Path("tree/*.png")]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tree):
    Path("tree/a[1].jpg").touch()
    assert expanded(["tree/a[1].jpg"], NOTHING) == [Path("tree/a[1].jpg")]


def test_a_dash_stands_for_a_list_of_lines(tree):
    assert expanded(["-"], io.BytesIO(b"x.jpg\r\n\nwith space.jpg\n")) == [
        Path("x.jpg"),
        Path("with space.jpg"),
    ]


def test_a_list_ended_by_zero_bytes_may_hold_any_name(tree):
    names = [b"new\nline.jpg", b"caf\xe9.jpg", b"ends with\r", b"-"]
    assert [
        os.fsencode(path) for path in expanded(["-"], io.BytesIO(b"\0".join(names) + b"\0"))
    ] == names


def test_standard_input_is_read_only_when_asked_for(tree):
    assert expanded(["tree/a.jpg"], None) == [Path("tree/a.jpg")]


def test_odd_names_in_a_folder_come_back_exactly(tmp_path):
    names = sorted([b"back\\slash.jpg", b"caf\xe9.jpg", b"new\nline.jpg"])
    for name in names:
        (tmp_path / os.fsdecode(name)).touch()
    assert sorted(os.fsencode(path.name) for path in expanded([str(tmp_path)], NOTHING)) == names


def test_a_link_that_leads_back_up_brings_no_file_in_twice(tree):
    (tree / "sub" / "loop").symlink_to(tree.absolute())
    assert expanded(["tree"], NOTHING) == ALL


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_read_gets_a_row_of_its_own(tree):
    (tree / "sub").chmod(0)
    assert expanded(["tree"], NOTHING) == [*ALL[:2], tree / "sub"]


def test_a_list_is_read_piece_by_piece(tree, monkeypatch):
    monkeypatch.setattr(inputs, "PIECE_BYTES", 12)
    names = [Path(f"photo {number}.jpg") for number in range(30)]
    listed = io.BytesIO("\n".join(map(str, names)).encode())
    images = expand_inputs(["-"], listed)
    assert next(images) == names[0]
    assert listed.tell() < 40
    assert list(images) == names[1:]


def test_a_list_may_end_in_the_middle_of_a_piece_or_at_its_end(tree, monkeypatch):
    monkeypatch.setattr(inputs, "PIECE_BYTES", 4)
    assert expanded(["-"], io.BytesIO(b"abc\nefg\n")) == [Path("abc"), Path("efg")]
    assert expanded(["-"], io.BytesIO(b"abc\0ef\0g\0")) == [Path("abc"), Path("ef"), Path("g")]


def test_folders_are_counted_without_reading_anything(tree):
    assert len(list(listed_inputs(["tree", "tree/*.jpg", Path("tree/a.jpg")]))) == 7


def test_what_would_be_read_twice_is_not_counted(tree):
    Path("table.csv").write_text("path\ntree/a.jpg\n")
    with pytest.raises(Uncountable):
        list(listed_inputs(["tree", "table.csv"]))
