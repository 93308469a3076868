"""What an archive claims or unpacks to beyond the limits is refused."""

import bz2
import gzip
import lzma
import random
import struct
import tarfile
import tempfile
import zipfile

import pytest

from helpers.archives import ONE, TWO_CLASSES, make_archive, make_tar, make_zip
from tellapart.errors import UserError
from tellapart.sources.containers import archive_index, packed
from tellapart.sources.source import read_source


def test_a_member_that_unpacks_to_a_thousand_times_its_size_is_not_unpacked(pack, spent):
    bomb = make_zip({**TWO_CLASSES, "cat/bomb.bmp": ONE + bytes(2**27)})
    with spent():
        assert read_source(pack(bomb)).files.read("cat/bomb.bmp").status == "too_large"


def test_a_member_that_unpacks_to_more_than_it_states_is_corrupt(pack):
    data = bytearray(make_zip({**TWO_CLASSES, "cat/2.bmp": ONE * 1000}))
    at = data.rfind(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, 100)
    assert read_source(pack(bytes(data))).files.read("cat/2.bmp").status == "corrupt"


@pytest.mark.parametrize("pack_it", [gzip.compress, lzma.compress, bz2.compress])
def test_a_packed_tar_that_unpacks_to_a_thousand_times_its_size_is_refused(
    pack, pack_it, monkeypatch, spent
):
    monkeypatch.setattr(packed, "IN_MEMORY_BYTES", 2**20)
    bomb = pack_it(make_tar({"cat/1.bmp": bytes(2**24)}))
    with spent(), pytest.raises(UserError, match="unpacks to more than 200 times its size"):
        read_source(pack(bomb))


def test_a_packed_tar_beyond_the_limit_is_refused(pack, monkeypatch):
    monkeypatch.setattr(packed, "MAX_UNPACKED_BYTES", 2**20)
    with pytest.raises(UserError, match=r"unpacks to more than 0\.0 GiB"):
        read_source(pack(gzip.compress(make_tar({"cat/1.bmp": random.Random(0).randbytes(2**21)}))))


def test_a_full_temporary_folder_is_refused_in_one_line(pack, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packed, "IN_MEMORY_BYTES", 10)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(
        UserError, match=r"could not be unpacked \(no space left on device\). Make room"
    ):
        read_source(pack(gzip.compress(make_tar(TWO_CLASSES))))


def test_overlapping_entries_are_refused(pack):
    data = bytearray(make_zip({**TWO_CLASSES, "cat/2.bmp": ONE}))
    end = data.rfind(b"PK\x05\x06")
    directory = struct.unpack_from("<I", data, end + 16)[0]
    second = data.find(b"PK\x01\x02", directory + 4)
    struct.pack_into("<I", data, second + 42, 0)  # both entries begin at the first file
    with pytest.raises(UserError, match="is damaged"):
        read_source(pack(bytes(data)))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_more_entries_than_the_limit_are_refused(pack, kind, monkeypatch):
    monkeypatch.setattr(archive_index, "MAX_ENTRIES", 100)
    with pytest.raises(UserError, match="holds more than 100 files"):
        read_source(pack(make_archive(kind, {f"cat/{n}": b"" for n in range(101)})))


@pytest.mark.parametrize("limits", [{"MAX_ENTRIES": 100}, {"MAX_ZIP_DIRECTORY": 5000}])
def test_a_directory_of_a_zip_beyond_the_limits_is_refused_before_it_is_read(
    pack, monkeypatch, limits
):
    for name, limit in limits.items():
        monkeypatch.setattr(archive_index, name, limit)
    many = make_zip({f"cat/{n}": b"" for n in range(101)})
    monkeypatch.setattr(zipfile.ZipInfo, "__init__", None)
    with pytest.raises(
        UserError, match=r"holds more than [0-9,]+ files .* Unpack it and give the folder"
    ):
        read_source(pack(many))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_more_folders_than_the_limit_are_refused(pack, kind, monkeypatch):
    monkeypatch.setattr(archive_index, "MAX_FOLDERS", 100)
    with pytest.raises(UserError, match="or 100 folders"):
        read_source(pack(make_archive(kind, {f"cat/{n}/{n}": b"" for n in range(101)})))


def test_a_tar_whose_long_name_is_a_gigabyte_is_refused(pack):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**30
    with pytest.raises(UserError, match="is damaged"):
        read_source(pack(info.tobuf() + make_tar(TWO_CLASSES)))
