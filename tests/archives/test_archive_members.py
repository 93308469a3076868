"""Names and kinds of members that may do harm are no rows, and are counted."""

import io
import os
import stat
import tarfile
import zipfile

import pytest

from helpers.archives import ONE, TWO_CLASSES, UNSAFE, make_archive, make_tar, make_zip
from tellapart.sources.source import read_source


@pytest.mark.parametrize("name", UNSAFE)
def test_a_name_that_leads_out_is_no_row_and_is_counted(pack, kind, name):
    catalog = read_source(pack(make_archive(kind, {**TWO_CLASSES, name: ONE})))
    assert list(catalog.paths) == list(TWO_CLASSES)
    assert catalog.ignored == {"archive entries whose names lead out of the archive": 1}


@pytest.mark.parametrize("name", ["cat/" + "x" * 5000, "cat/" + "d/" * 200 + "x"])
def test_a_name_that_is_too_long_is_no_row_and_is_counted(pack, kind, name):
    catalog = read_source(pack(make_archive(kind, {**TWO_CLASSES, name: ONE})))
    assert len(catalog) == 2
    assert catalog.ignored == {"archive entries whose names are too long": 1}


SPECIAL = {
    "symbolic link": (tarfile.SYMTYPE, 0o777, "links in the archive"),
    "hard link": (tarfile.LNKTYPE, 0o644, "links in the archive"),
    "device": (tarfile.CHRTYPE, 0o644, "devices, pipes and other special files in the archive"),
    "disk": (tarfile.BLKTYPE, 0o644, "devices, pipes and other special files in the archive"),
    "pipe": (tarfile.FIFOTYPE, 0o644, "devices, pipes and other special files in the archive"),
    "sparse": (
        tarfile.GNUTYPE_SPARSE,
        0o644,
        "devices, pipes and other special files in the archive",
    ),
}


@pytest.mark.parametrize("what", SPECIAL)
def test_what_is_no_ordinary_file_in_a_tar_is_no_row_and_is_counted(pack, what):
    info = tarfile.TarInfo("cat/2.bmp")
    info.type, info.mode, reason = SPECIAL[what]
    info.linkname = "/etc/passwd"
    data = info.tobuf(tarfile.USTAR_FORMAT) + make_tar(TWO_CLASSES)
    catalog = read_source(pack(data))
    assert (len(catalog), catalog.ignored) == (2, {reason: 1})


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (stat.S_IFLNK | 0o777, "links in the archive"),
        (stat.S_IFIFO | 0o644, "devices, pipes and other special files in the archive"),
    ],
)
def test_what_is_no_ordinary_file_in_a_zip_is_no_row_and_is_counted(pack, mode, reason):
    odd = zipfile.ZipInfo("cat/2.bmp")
    odd.external_attr = mode << 16
    data = io.BytesIO(make_zip(TWO_CLASSES))
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr(odd, "/etc/passwd")
    catalog = read_source(pack(data.getvalue()))
    assert (len(catalog), catalog.ignored) == (2, {reason: 1})


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_of_two_members_of_one_name_the_last_is_used_and_it_is_counted(pack, kind):
    data = io.BytesIO(make_archive(kind, TWO_CLASSES))
    if kind == "zip":
        with zipfile.ZipFile(data, "a") as archive:
            archive.writestr("cat/1.bmp", b"last")
    else:
        with tarfile.open(fileobj=data, mode="a") as archive:
            info = tarfile.TarInfo("cat/1.bmp")
            info.size = 4
            archive.addfile(info, io.BytesIO(b"last"))
    catalog = read_source(pack(data.getvalue()))
    assert catalog.files.read("cat/1.bmp") == b"last"
    assert catalog.ignored == {"archive entries of the same name, all but the last": 1}


def test_names_that_differ_in_case_only_are_two_rows(pack, kind):
    assert (
        len(
            read_source(
                pack(make_archive(kind, {**TWO_CLASSES, "cat/A.bmp": ONE, "cat/a.bmp": ONE}))
            )
        )
        == 4
    )


@pytest.mark.parametrize("first", ["cat", "cat/1.bmp/x"])
def test_a_name_that_is_both_file_and_folder_is_counted(pack, kind, first):
    catalog = read_source(pack(make_archive(kind, {first: ONE, **TWO_CLASSES, "cow/1.bmp": ONE})))
    assert sum(catalog.ignored.values()) == 1


def test_a_name_that_is_not_utf_8_is_escaped(pack):
    catalog = read_source(
        pack(
            make_tar(
                {**TWO_CLASSES, os.fsdecode(b"cat/caf\xe9.bmp"): b"e"}, form=tarfile.GNU_FORMAT
            )
        )
    )
    assert catalog.files.read("cat/caf\\xe9.bmp") == b"e"


def test_a_name_of_a_zip_that_is_not_utf_8_is_that_which_zipfile_shows(pack):
    data = make_zip({**TWO_CLASSES, "cat/cafe.bmp": b"e"}).replace(b"cafe", b"caf\x82")
    assert "cat/café.bmp" in zipfile.ZipFile(io.BytesIO(data)).namelist()
    assert read_source(pack(data)).files.read("cat/café.bmp") == b"e"


def test_a_name_of_a_zip_with_a_zero_byte_is_no_row(pack):
    catalog = read_source(
        pack(make_zip({**TWO_CLASSES, "cat/2.bmp~": ONE}).replace(b".bmp~", b".bmp\0"))
    )
    assert (len(catalog), sum(catalog.ignored.values())) == (2, 1)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("name", ["é" * 40 + ".bmp", "d" * 90 + "/" + "n" * 90 + ".bmp"])
def test_long_and_foreign_names_are_read_in_every_form_of_tar(pack, form, name):
    catalog = read_source(pack(make_tar({**TWO_CLASSES, f"cat/{name}": b"here"}, form=form)))
    assert catalog.files.read(f"cat/{name}") == b"here"
