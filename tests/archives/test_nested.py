"""Archives in a folder or in an archive are folders of their names."""

import zipfile
from io import BytesIO

import pytest

from helpers.archives import ONE, TWO_CLASSES, make_archive, make_tar, make_zip, read_or_refuse
from tellapart.errors import UserError
from tellapart.sources.containers import nested
from tellapart.sources.source import read_source

SPLITS = {"train": ["1.bmp", "2.bmp"], "test": ["3.bmp"]}


def of_split(split):
    return {f"{split}/{kind}/{name}": ONE for kind in ("cat", "dog") for name in SPLITS[split]}


def old_windows_zip(*names, system=0):
    data = BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            info = zipfile.ZipInfo("x")
            info.filename, info.create_system = name, system
            archive.writestr(info, ONE)
    return data.getvalue()


# ── backslashes ──


def test_folders_that_backslashes_separate_are_seen(pack):
    catalog = read_source(pack(old_windows_zip("photos\\cat\\1.bmp", "photos\\dog\\1.bmp")))
    assert catalog.source == "a zip archive (in photos/) of 2 class folders"
    assert catalog.files.read("cat/1.bmp") == ONE


@pytest.mark.parametrize("name", ["..\\cat\\2.bmp", "C:\\cat\\2.bmp", "\\\\host\\2.bmp"])
def test_backslashes_do_not_lead_out_of_the_archive(pack, name):
    catalog = read_source(pack(old_windows_zip("cat\\1.bmp", "dog\\1.bmp", name)))
    assert list(catalog.paths) == list(TWO_CLASSES)
    assert catalog.ignored == {"archive entries whose names lead out of the archive": 1}


@pytest.mark.parametrize(("name", "system"), [("cat\\2.bmp", 3), ("cat/in\\2.bmp", 0)])
def test_a_backslash_where_no_system_separates_by_it_is_refused(pack, name, system):
    catalog = read_source(pack(old_windows_zip("cat/1.bmp", "dog/1.bmp", name, system=system)))
    assert list(catalog.paths) == list(TWO_CLASSES)


# ── archives within archives and in folders ──


def test_a_download_of_two_archives_is_read_as_two_split_folders(pack, kind):
    members = {f"{split}.zip": make_zip(of_split(split)) for split in SPLITS}
    catalog = read_source(pack(make_archive(kind, members | {"sample_submission.csv": b"id\n"})))
    assert list(catalog.given_splits) == ["test"] * 2 + ["train"] * 4
    assert catalog.paths[0] == "test/cat/3.bmp"
    assert catalog.files.read("test/cat/3.bmp") == ONE
    assert catalog.source.startswith("archives, each as a folder: split folders train/, test/")


def test_a_folder_of_archives_is_read_as_a_folder_of_folders(tmp_path):
    (tmp_path / "cat.tar").write_bytes(make_tar({"cat/1.bmp": ONE}))
    (tmp_path / "dog.zip").write_bytes(make_zip({"1.bmp": ONE}))
    catalog = read_source(tmp_path)
    assert list(catalog.paths) == list(TWO_CLASSES)
    assert catalog.files.stamp("cat/1.bmp") != catalog.files.stamp("dog/1.bmp")
    assert catalog.files.place == str(tmp_path.resolve())


def test_one_archive_alone_in_a_folder_is_read_as_if_it_was_given(tmp_path):
    (tmp_path / "photos.zip").write_bytes(make_zip(TWO_CLASSES))
    assert read_source(tmp_path).source == "a zip archive of 2 class folders"


def test_an_archive_beside_class_folders_is_left_alone(tmp_path):
    for name in TWO_CLASSES:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(ONE)
    (tmp_path / "backup.zip").write_bytes(b"PK\x03\x04 cut")
    assert list(read_source(tmp_path).paths) == list(TWO_CLASSES)


def test_archives_within_archives_within_archives_are_refused_by_name(pack):
    deep = make_zip({"inner.zip": make_zip({"in.zip": make_zip({"i.zip": make_zip(TWO_CLASSES)})})})
    with pytest.raises(
        UserError, match=r"holds 1 archive, i.zip for one, which is too many, or too deep"
    ):
        read_source(pack(deep))


def test_a_damaged_inner_archive_is_named(pack):
    outer = make_zip({"train.zip": make_zip(TWO_CLASSES)[:-9], "test.zip": make_zip(TWO_CLASSES)})
    with pytest.raises(UserError, match=r"^train\.zip of .* is damaged"):
        read_source(pack(outer))


def test_what_is_only_named_like_an_archive_is_refused(tmp_path):
    (tmp_path / "train.zip").write_bytes(b"no archive")
    assert "train.zip of" in read_or_refuse(tmp_path)


def test_more_archives_than_the_limit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(nested, "MAX_INNER", 1)
    for name in ("a.zip", "b.zip"):
        (tmp_path / name).write_bytes(make_zip(TWO_CLASSES))
    assert "holds 2 archives" in read_or_refuse(tmp_path)
