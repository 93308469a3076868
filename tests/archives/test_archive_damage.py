"""Damaged archives: refused in a line, or read as far as they are whole."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.archives import (
    KINDS,
    ONE,
    TWO_CLASSES,
    make_archive,
    make_tar,
    make_zip,
    read_or_refuse,
)
from tellapart.errors import UserError
from tellapart.sources.source import read_source


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
