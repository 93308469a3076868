"""Archives are read like folders, and nothing is written."""

import gzip
import os
import random
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from helpers.archives import ONE, TWO_CLASSES, UNSAFE, make_archive, make_tar, make_zip
from helpers.images import write_classes
from tellapart.catalog import files
from tellapart.catalog.scan import scan
from tellapart.decoders.rules import DecodeRules
from tellapart.errors import UserError
from tellapart.sources.containers import packed
from tellapart.sources.source import read_source


def tree_members(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# ── what a folder can be, an archive can be ──


def test_an_archive_of_class_folders_has_the_rows_and_contents_of_the_folder(photos, pack, kind):
    from_folder = scan(read_source(photos), rules=DecodeRules(max_pixels=10**8))
    from_archive = scan(
        read_source(pack(make_archive(kind, tree_members(photos)))),
        rules=DecodeRules(max_pixels=10**8),
    )
    assert from_archive.digest == from_folder.digest
    assert from_archive.source == f"a {kind} archive of 3 class folders"


def test_an_archive_of_split_folders_is_read_as_such(split_photos, pack, kind):
    catalog = read_source(pack(make_archive(kind, tree_members(split_photos))))
    assert (catalog.given_splits == "test").sum() == 12
    assert "archive of split folders train/, test/; test/ is the test set" in catalog.source


def test_tiny_imagenet_is_read_from_an_archive_with_its_lists(pack, kind):
    members = {
        "tiny/train/n01/images/a.JPEG": ONE,
        "tiny/train/n02/images/b.JPEG": ONE,
        "tiny/val/images/v0.JPEG": ONE,
        "tiny/val/val_annotations.txt": b"v0.JPEG\tn01\t0\t0\t9\t9\n",
        "tiny/words.txt": b"n01\tgoldfish\nn02\tcrane\n",
    }
    catalog = read_source(pack(make_archive(kind, members)))
    assert catalog.classes == ("crane", "goldfish")
    assert list(catalog.given_splits) == ["train", "train", "test"]
    assert catalog.source.startswith(f"a {kind} archive (in tiny/) of the Tiny ImageNet layout")


@pytest.mark.parametrize("above", ["a", "a/b", "a/b/c"])
def test_a_single_folder_is_entered_and_named(pack, kind, above):
    members = {f"{above}/{name}": data for name, data in TWO_CLASSES.items()} | {
        "__MACOSX/x": b"",
        "readme.txt": b"",
    }
    catalog = read_source(pack(make_archive(kind, members)))
    assert list(catalog.paths) == ["cat/1.bmp", "dog/1.bmp"]
    assert catalog.source == f"a {kind} archive (in {above}/) of 2 class folders"
    assert catalog.ignored == {
        "files in the top folder, beside the class folders": 1,
        "junk folders": 1,
    }


def test_a_single_train_folder_is_not_entered(pack, kind):
    catalog = read_source(pack(make_archive(kind, {f"train/{name}": ONE for name in TWO_CLASSES})))
    assert "split folders train/; val and test are cut from it" in catalog.source


def test_an_archive_made_from_a_dot_has_no_folder_of_that_name(pack):
    assert list(
        read_source(pack(make_tar({f"./{name}": ONE for name in TWO_CLASSES}))).paths
    ) == list(TWO_CLASSES)


def test_junk_is_passed_over_as_in_folders(pack, kind):
    junk = dict.fromkeys(["cat/.DS_Store", "cat/._1.bmp", "__MACOSX/cat/._1.bmp", "Thumbs.db"], b"")
    catalog = read_source(pack(make_archive(kind, TWO_CLASSES | junk)))
    assert len(catalog) == 2
    assert catalog.ignored == {"junk files": 3, "junk folders": 1}


def test_a_table_in_an_archive_labels_the_images_beside_it(pack, kind):
    content = {
        "x/images/1.bmp": ONE,
        "x/images/2.bmp": ONE,
        "x/labels.csv": b"id,label\n1,a\n2,b\n",
    }
    catalog = read_source(pack(make_archive(kind, content)))
    assert list(catalog.paths) == ["images/1.bmp", "images/2.bmp"]
    assert (catalog.classes, list(catalog.labels)) == (("a", "b"), [0, 1])


def test_an_archive_without_images_is_refused(pack, kind):
    with pytest.raises(UserError, match="holds no folder with images"):
        read_source(pack(make_archive(kind, {"readme.txt": b"x"})))


def test_many_threads_read_the_right_bytes(pack, kind):
    members = {
        f"{name}/{n}.bin": random.Random(n).randbytes(n * 50)
        for n in range(1, 100)
        for name in ("a", "b")
    }
    catalog = read_source(pack(make_archive(kind, members)))
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(catalog.files.read, list(catalog.paths) * 3))
    assert found == [members[path] for path in catalog.paths] * 3


def test_an_archive_larger_than_the_memory_set_aside_is_read_from_disk(pack, monkeypatch):
    monkeypatch.setattr(packed, "IN_MEMORY_BYTES", 10_000)
    members = {f"{name}/1.bin": random.Random(name).randbytes(9_000) for name in "ab"}
    catalog = read_source(pack(gzip.compress(make_tar(members))))
    assert {path: catalog.files.read(path) for path in catalog.paths} == members


def test_the_stamp_is_that_of_the_archive_when_it_was_opened(pack, kind):
    path = pack(make_archive(kind, TWO_CLASSES))
    stamp = files.file_stamp(str(path))
    catalog = read_source(path)
    other = path.with_name("other")
    other.write_bytes(make_archive(kind, {"cat/1.bmp": b"other", "dog/1.bmp": b"other"}))
    os.replace(other, path)
    assert catalog.files.stamp("cat/1.bmp") == stamp
    assert catalog.files.read("cat/1.bmp") == ONE
    assert catalog.files.place == os.path.realpath(path)


@pytest.mark.parametrize(
    ("path", "status"),
    [("cat", "not_a_file"), ("cow/1.bmp", "missing"), ("cat/empty.bmp", "empty")],
)
def test_what_is_no_member_gets_its_status(pack, kind, path, status):
    catalog = read_source(pack(make_archive(kind, TWO_CLASSES | {"cat/empty.bmp": b""})))
    assert catalog.files.read(path).status == status


# ── nothing is written ──


def test_nothing_is_created_anywhere_near(photos, pack, kind, tmp_path, monkeypatch):
    hostile = dict.fromkeys(UNSAFE, ONE) | tree_members(write_classes(tmp_path / "more", 1))
    path = pack(make_archive(kind, tree_members(photos) | hostile))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(packed, "IN_MEMORY_BYTES", 1000)
    monkeypatch.chdir(tmp_path)
    before = {name: (name.lstat().st_mode, name.lstat().st_size) for name in tmp_path.rglob("*")}
    scan(read_source(path), rules=DecodeRules(max_pixels=10**8))
    assert {
        name: (name.lstat().st_mode, name.lstat().st_size) for name in tmp_path.rglob("*")
    } == before


def test_images_of_an_archive_have_the_pixels_that_were_packed(photos, pack):
    catalog = scan(
        read_source(pack(make_zip(tree_members(photos)))), rules=DecodeRules(max_pixels=10**8)
    )
    assert np.unique(catalog.widths).tolist() == [64]


# ── names of other programs ──


@pytest.mark.parametrize(
    ("written", "read"), [("Käse".encode(), "Käse"), ("Käse".encode("cp437"), "Käse")]
)
def test_a_name_without_the_mark_of_utf8_is_utf8_all_the_same(pack, written, read):
    plain = b"x" * len(written)
    data = make_zip({f"{plain.decode()}/1.bmp": ONE, "dog/1.bmp": ONE})
    assert set(read_source(pack(data.replace(plain, written))).classes) == {read, "dog"}
