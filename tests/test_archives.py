"""Archives are read like folders; nothing that they claim is believed, and nothing is written."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import random
import stat
import struct
import tarfile
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.archives import make_archive, make_tar, make_zip, read_or_refuse
from helpers.images import write_classes
from tellapart.catalog import archives, files
from tellapart.catalog.scan import scan
from tellapart.catalog.sources import read_source
from tellapart.errors import UserError

KINDS = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]
ONE = b"BM" + bytes(12) + b"\x28" + bytes(40)  # starts like a BMP; nothing is decoded in most tests
TWO_CLASSES = {"cat/1.bmp": ONE, "dog/1.bmp": ONE}


@pytest.fixture
def pack(tmp_path):
    """A function that writes bytes under a name that says nothing, for the content decides."""

    def write(data):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / "data.bin").write_bytes(data)
        return tmp_path / "in" / "data.bin"

    return write


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def tree_members(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# ── what a folder can be, an archive can be ──


def test_an_archive_of_class_folders_has_the_rows_and_contents_of_the_folder(photos, pack, kind):
    from_folder = scan(read_source(photos), max_pixels=10**8)
    from_archive = scan(
        read_source(pack(make_archive(kind, tree_members(photos)))), max_pixels=10**8
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


def test_a_table_in_an_archive_is_refused_with_the_way_out(pack, kind):
    with pytest.raises(
        UserError, match=r"holds a table, 'labels.csv'. Unpack the archive and give the table"
    ):
        read_source(
            pack(make_archive(kind, {"x/images/1.bmp": ONE, "x/labels.csv": b"path,label\n"}))
        )


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
    monkeypatch.setattr(files, "IN_MEMORY_BYTES", 10_000)
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


# ── names and kinds that may do harm ──

UNSAFE = [
    "../cat/2.bmp",
    "cat/../../2.bmp",
    "/cat/2.bmp",
    "C:/cat/2.bmp",
    "c:cat.bmp",
    "cat\\2.bmp",
    "\\\\host\\2.bmp",
]


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


# ── bombs ──


@pytest.fixture
def spent():
    """A context that ends within ten seconds, or fails."""

    @contextlib.contextmanager
    def watch():
        begun = time.monotonic()
        yield
        assert time.monotonic() - begun < 10

    return watch


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
    monkeypatch.setattr(files, "IN_MEMORY_BYTES", 2**20)
    bomb = pack_it(make_tar({"cat/1.bmp": bytes(2**24)}))
    with spent(), pytest.raises(UserError, match="unpacks to more than 200 times its size"):
        read_source(pack(bomb))


def test_a_packed_tar_beyond_the_limit_is_refused(pack, monkeypatch):
    monkeypatch.setattr(files, "MAX_UNPACKED_BYTES", 2**20)
    with pytest.raises(UserError, match=r"unpacks to more than 0\.0 GiB"):
        read_source(pack(gzip.compress(make_tar({"cat/1.bmp": random.Random(0).randbytes(2**21)}))))


def test_a_full_temporary_folder_is_refused_in_one_line(pack, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "IN_MEMORY_BYTES", 10)
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
    monkeypatch.setattr(archives, "MAX_ENTRIES", 100)
    with pytest.raises(UserError, match="holds more than 100 files"):
        read_source(pack(make_archive(kind, {f"cat/{n}": b"" for n in range(101)})))


@pytest.mark.parametrize("limits", [{"MAX_ENTRIES": 100}, {"_MAX_ZIP_DIRECTORY": 5000}])
def test_a_directory_of_a_zip_beyond_the_limits_is_refused_before_it_is_read(
    pack, monkeypatch, limits
):
    for name, limit in limits.items():
        monkeypatch.setattr(archives, name, limit)
    many = make_zip({f"cat/{n}": b"" for n in range(101)})
    monkeypatch.setattr(zipfile.ZipInfo, "__init__", None)
    with pytest.raises(
        UserError, match=r"holds more than [0-9,]+ files .* Unpack it and give the folder"
    ):
        read_source(pack(many))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_more_folders_than_the_limit_are_refused(pack, kind, monkeypatch):
    monkeypatch.setattr(archives, "_MAX_FOLDERS", 100)
    with pytest.raises(UserError, match="or 100 folders"):
        read_source(pack(make_archive(kind, {f"cat/{n}/{n}": b"" for n in range(101)})))


def test_a_tar_whose_long_name_is_a_gigabyte_is_refused(pack):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**30
    with pytest.raises(UserError, match="is damaged"):
        read_source(pack(info.tobuf() + make_tar(TWO_CLASSES)))


# ── damage ──


def test_an_encrypted_member_is_unreadable_and_says_what_to_do(pack):
    data = bytearray(make_zip(TWO_CLASSES))
    at = data.rfind(b"PK\x01\x02")
    data[at + 8] |= 1
    verdict = read_source(pack(bytes(data))).files.read("dog/1.bmp")
    assert (verdict.status, "encrypted" in verdict.detail) == ("unreadable", True)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_rare_way_of_packing_is_unreadable(pack, method):
    verdict = read_source(pack(make_zip(TWO_CLASSES, method=method))).files.read("dog/1.bmp")
    assert verdict.status == "unreadable"


def test_a_member_whose_sum_differs_is_corrupt_and_the_others_are_read(pack):
    data = bytearray(make_zip({**TWO_CLASSES, "dog/2.bmp": b"abcdefgh"}, method=zipfile.ZIP_STORED))
    data[data.find(b"abcdefgh")] ^= 1
    catalog = read_source(pack(bytes(data)))
    assert catalog.files.read("dog/2.bmp").status == "corrupt"
    assert catalog.files.read("dog/1.bmp") == ONE


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_cut_archive_is_refused_in_one_line(pack, kind, share):
    data = make_archive(
        kind,
        {
            f"{name}/{n}.bin": random.Random(n).randbytes(2000)
            for n in range(9)
            for name in ("a", "b")
        },
    )
    cut = data[: int(len(data.rstrip(b"\0")) * share)]
    with pytest.raises(
        UserError, match=r"data.bin is (cut short|damaged). Copy or download it again"
    ) as refused:
        read_source(pack(cut))
    assert "\n" not in str(refused.value)


def test_a_tar_without_its_end_mark_is_read(pack):
    assert len(read_source(pack(make_tar(TWO_CLASSES)[:2048]))) == 2


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_tar_is_never_silently_shorter(pack, form):
    data = make_tar({**TWO_CLASSES, "cat/" + "é" * 60: ONE, "dog/2.bmp": ONE}, form=form)
    headers = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
    assert len(headers) >= 5
    for at in headers:
        for byte in (at + 1, at + 130, at + 150):
            damaged = bytearray(data)
            damaged[byte] ^= 1
            with pytest.raises(UserError):
                read_source(pack(bytes(damaged)))
        with pytest.raises(UserError):
            read_source(pack(data[: at + 300]))


@pytest.mark.parametrize(
    "size", [b"\xff" * 10 + b"\xfe\0", b"\x80" + b"\x7f" * 11, b"77777777777\0"]
)
@pytest.mark.parametrize("type_", [b"0", b"x", b"L", b"S", b"g", b"Q"])
def test_a_tar_of_impossible_sizes_is_refused(pack, spent, size, type_):
    header = bytearray(make_tar({"cat/2.bmp": ONE})[:512])
    header[124:136], header[148:156], header[156:157] = size, b" " * 8, type_
    header[148:156] = b"%06o\0 " % sum(header)
    with spent(), pytest.raises(UserError, match=r"is (damaged|cut short)"):
        read_source(pack(make_tar(TWO_CLASSES)[:2048] + bytes(header) + make_tar(TWO_CLASSES)))


# What takes the tarfile of older versions of Python quadratic time or memory.
@pytest.mark.parametrize(
    "body", [b"2 " * 2**19 + b"x=", b"1" * 2**20, b"9" * 5000 + b" x=1\n", b"8 x=yz\n" * 2**18]
)
@pytest.mark.parametrize("type_", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_attributes_made_to_take_for_ever_are_refused(pack, spent, body, type_):
    info = tarfile.TarInfo("cat/1.bmp")
    info.type, info.size = type_, len(body)
    data = info.tobuf() + body + bytes(-len(body) % 512) + make_tar(TWO_CLASSES)
    with spent(), pytest.raises(UserError, match="is damaged"):
        read_source(pack(data))


def test_an_archive_of_ten_thousand_small_files_is_read_in_seconds(pack, kind, spent):
    data = make_archive(kind, {f"c{n % 100}/{n}.bmp": ONE for n in range(10_000)})
    with spent():
        assert len(read_source(pack(data))) == 10_000


def test_a_zip_with_large_numbers_is_read(pack):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in TWO_CLASSES:
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(ONE)
    assert read_source(pack(data.getvalue())).files.read("cat/1.bmp") == ONE


def test_a_tar_packed_in_several_streams_is_read(pack):
    data = make_tar(TWO_CLASSES)
    for compress in (gzip.compress, bz2.compress, lzma.compress):
        assert len(read_source(pack(compress(data[:700]) + compress(data[700:])))) == 2


def test_a_packed_file_that_is_no_tar_is_no_source(pack):
    with pytest.raises(UserError, match="neither a folder nor a table"):
        read_source(pack(gzip.compress(b"hello" * 1000)))


SAMPLES = {
    kind: make_archive(kind, {f"{n}/{i}.bmp": ONE * (i + 1) for n in ("a", "b") for i in range(4)})
    for kind in KINDS
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_flipped_and_cut_archives_never_raise_anything_but_a_user_error(kind, data):
    sample = bytearray(SAMPLES[kind])
    for at in data.draw(st.lists(st.integers(0, len(sample) - 1), max_size=8)):
        sample[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(sample)) | st.just(len(sample)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.bin")
        path.write_bytes(sample[:cut])
        assert "\n" not in read_or_refuse(path)


# ── nothing is written ──


def test_nothing_is_created_anywhere_near(photos, pack, kind, tmp_path, monkeypatch):
    hostile = dict.fromkeys(UNSAFE, ONE) | tree_members(write_classes(tmp_path / "more", 1))
    path = pack(make_archive(kind, tree_members(photos) | hostile))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(files, "IN_MEMORY_BYTES", 1000)
    monkeypatch.chdir(tmp_path)
    before = {name: (name.lstat().st_mode, name.lstat().st_size) for name in tmp_path.rglob("*")}
    scan(read_source(path), max_pixels=10**8)
    assert {
        name: (name.lstat().st_mode, name.lstat().st_size) for name in tmp_path.rglob("*")
    } == before


def test_images_of_an_archive_have_the_pixels_that_were_packed(photos, pack):
    catalog = scan(read_source(pack(make_zip(tree_members(photos)))), max_pixels=10**8)
    assert np.unique(catalog.widths).tolist() == [64]
