"""From the paths that a table states to files that are there."""

import unicodedata
import zipfile

import pytest

from helpers.images import write_names
from tellapart.catalog.files import Folder
from tellapart.errors import UserError
from tellapart.sources.containers.archives import open_archive
from tellapart.sources.source import read_source
from tellapart.sources.tables.listing import Listing, Place
from tellapart.sources.tables.resolving import resolve
from tellapart.sources.tables.table_file import read_table


@pytest.fixture
def find(tmp_path):
    """A function that looks for paths among files: what they become, and the remarks."""

    def find(files, names):
        resolved = resolve(Place(Listing(Folder(write_names(tmp_path, files)))), names)
        return resolved.paths, resolved.remarks

    return find


@pytest.mark.parametrize(
    ("files", "names", "words"),
    [
        (["a.jpg", "b.jpg"], ["a", "b"], "with an ending: 'a' is 'a.jpg'"),
        (["in/a.jpg", "in/b.jpg"], ["a", "b"], "with an ending, in in/: 'a' is 'in/a.jpg'"),
        (["in/a.jpg", "in/b.png"], ["a", "b"], "with an ending, in in/"),
        (["a.jpg", "b.jpg"], ["a.png", "b.png"], "with another ending: 'a.png' is 'a.jpg'"),
        (["x/c/a.jpg", "x/d/a.jpg"], ["c/a.jpg", "d/a.jpg"], "in other folders: 'c/a.jpg' is"),
        (["p1/a.jpg", "p2/b.jpg"], ["a.jpg", "b.jpg"], "in other folders: 'a.jpg' is 'p1/a.jpg'"),
        (["c/a.jpg", "d/a.jpg"], ["c\\a.jpg", "d\\a.jpg"], r"with / for \: "),
        (["c/a.jpg", "d/a.jpg"], ["D:\\x\\c\\a.jpg", "D:\\x\\d\\a.jpg"], "folders that they begin"),
        (["c/a.jpg", "d/a.jpg"], ["/home/x/c/a.jpg", "/home/x/d/a.jpg"], "folders that they begin"),
        (["a.jpg", "b.jpg"], [" a.jpg", "b.jpg "], "without blanks around them: ' a.jpg' is"),
        (["a b.jpg", "c.jpg"], ["https://h/u/a%20b.jpg?x=1", "https://h/u/c.jpg"], "them URLs"),
        (
            ["c/a.jpg", "b.jpg"],
            ["/data/local-files/?d=u/c/a.jpg", "/data/local-files/?d=u/b.jpg"],
            "",
        ),
        (["a.jpg", "b.jpg"], ["u/1/0badcafe-a.jpg", "u/1/1badcafe-b.jpg"], "prefix of an upload"),
        (["x/007.jpg", "x/012.jpg"], ["7", "12"], "with zeros before their numbers, in x/: '7' is"),
        (["a.JPG", "b.JPG"], ["A.jpg", "B.jpg"], "whatever their case"),
        (
            [unicodedata.normalize("NFD", "é.jpg"), "b.jpg"],
            ["x/é.jpg", "x/b.jpg"],
            "encoding of accents",
        ),
    ],
)
def test_paths_that_do_not_exist_are_found_in_another_way_which_is_told(find, files, names, words):
    paths, remarks = find(files, names)
    assert paths == files
    assert remarks[0].startswith("None of 2 paths exists as written. They are found ")
    assert words in remarks[0]


def test_paths_that_exist_are_left_alone(find):
    assert find(["a.jpg", "x/a.jpg", "b.jpg"], ["x/../a.jpg", "b.jpg"]) == (["a.jpg", "b.jpg"], [])


def test_where_most_paths_exist_the_others_are_not_looked_for_elsewhere(find):
    paths, remarks = find(["a.jpg", "b.jpg", "x/c.jpg"], ["a.jpg", "b.jpg", "c.jpg"])
    assert (paths, remarks) == (["a.jpg", "b.jpg", "c.jpg"], [])


def test_where_most_paths_exist_another_spelling_of_the_others_is_found(find):
    paths, remarks = find(["a.jpg", "b.jpg", "C.jpg"], ["a.jpg", "b.jpg", "c.JPG"])
    assert paths == ["a.jpg", "b.jpg", "C.jpg"]
    assert remarks[0].startswith("1 of 3 paths do not exist as written.")


def test_two_paths_never_become_one_file(find):
    paths, _ = find(["x/1.jpg", "x/2.jpg"], ["c/1.jpg", "d/1.jpg", "c/2.jpg"])
    assert paths == ["c/1.jpg", "d/1.jpg", "x/2.jpg"]


def test_of_two_folders_with_the_same_names_neither_is_guessed(find):
    paths, _ = find(["x/1.jpg", "x/2.jpg", "y/1.jpg", "y/2.jpg"], ["1.jpg", "2.jpg"])
    assert paths == ["1.jpg", "2.jpg"]


def test_of_two_folders_the_one_that_has_all_names_is_used(find):
    paths, _ = find(["x/1.jpg", "y/1.jpg", "y/2.jpg"], ["1.jpg", "2.jpg"])
    assert paths == ["y/1.jpg", "y/2.jpg"]


def test_of_the_folders_of_two_splits_the_one_of_the_table_is_used(tmp_path):
    files = ["train/1.jpg", "train/2.jpg", "test/1.jpg", "test/2.jpg"]
    listing = Listing(Folder(write_names(tmp_path, files)))
    assert resolve(Place(listing), ["1", "2"]).paths == ["train/1.jpg", "train/2.jpg"]
    assert resolve(Place(listing, split="test"), ["1", "2"]).paths == ["test/1.jpg", "test/2.jpg"]


def test_of_images_and_masks_the_images_are_used(find):
    files = ["images/1.png", "images/2.png", "masks/1.png", "masks/2.png"]
    assert find(files, ["1", "2"])[0] == ["images/1.png", "images/2.png"]


def test_annotations_with_the_names_of_images_are_not_taken(find):
    paths, _ = find(["x/1.jpg", "x/1.json", "x/1.txt", "x/2.jpg"], ["1", "2"])
    assert paths == ["x/1.jpg", "x/2.jpg"]


def test_a_few_names_that_happen_to_agree_are_no_way(find):
    paths, remarks = find(["x/1.jpg", *(f"{n}.png" for n in range(50, 99))], ["1.jpg", "c", "d"])
    assert (paths, remarks) == (["1.jpg", "c", "d"], [])


def test_part_of_the_images_of_a_table_may_be_there(find):
    paths, remarks = find(["x/1.jpg", "x/2.jpg"], [f"{n}.jpg" for n in range(1, 9)])
    assert paths[:3] == ["x/1.jpg", "x/2.jpg", "3.jpg"]
    assert "2 of them are found in x/" in remarks[0]


@pytest.fixture
def table(tmp_path):
    """A function that writes a table of two paths into a folder with two images, and reads it."""

    def read(*names):
        write_names(tmp_path / "data", ["x/1.jpg", "x/2.jpg"])
        (tmp_path / "data" / "t.csv").write_text(f"path,label\n{names[0]},a\n{names[1]},b\n")
        return read_source(tmp_path / "data" / "t.csv")

    return read


def test_where_no_image_is_there_one_path_is_shown_and_what_is_there(table, tmp_path):
    with pytest.raises(UserError, match=r"None of the 2 images of .* is there") as refused:
        table("y/8.jpg", "y/9.jpg")
    assert f"'y/8.jpg', was looked for as {tmp_path}/data/y/8.jpg" in refused.value.message
    assert "there are 2 images: 'x/1.jpg', 'x/2.jpg'" in refused.value.message


def test_where_paths_start_above_the_table_that_folder_is_named(table, tmp_path):
    write_names(tmp_path, ["elsewhere/8.jpg"])
    with pytest.raises(UserError, match="None of the 2 images") as refused:
        table("elsewhere/8.jpg", "elsewhere/9.jpg")
    assert refused.value.hint == (
        f"The paths start in {tmp_path}: put the table there, or give that folder."
    )


def test_a_table_in_an_archive_names_images_of_the_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("labels/t.csv", "image_id,label\na,x\nb,y\n")
        archive.writestr("images/a.jpg", b"a")
        archive.writestr("images/b.jpg", b"b")
    catalog = read_table(open_archive(tmp_path / "t.zip"), "labels/t.csv")
    assert list(catalog.paths) == ["images/a.jpg", "images/b.jpg"]
    assert catalog.files.read("images/b.jpg") == b"b"
