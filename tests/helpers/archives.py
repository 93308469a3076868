"""Archives made from names and contents."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

from tellapart.errors import UserError
from tellapart.sources.source import read_source

KINDS = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]
ONE = b"BM" + bytes(12) + b"\x28" + bytes(40)  # starts like a BMP; nothing is decoded in most tests
TWO_CLASSES = {"cat/1.bmp": ONE, "dog/1.bmp": ONE}
UNSAFE = [
    "../cat/2.bmp",
    "cat/../../2.bmp",
    "/cat/2.bmp",
    "C:/cat/2.bmp",
    "c:cat.bmp",
    "cat\\2.bmp",
    "\\\\host\\2.bmp",
]


def make_zip(members, *, method=zipfile.ZIP_DEFLATED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, content in dict(members).items():
            archive.writestr(name, content)
    return data.getvalue()


def make_tar(members, *, form=tarfile.PAX_FORMAT):
    data = io.BytesIO()
    with tarfile.open(
        fileobj=data, mode="w", format=form, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for name, content in dict(members).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def make_archive(kind, members):
    packs = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    return make_zip(members) if kind == "zip" else packs.get(kind[4:], bytes)(make_tar(members))


def read_or_refuse(path):
    """What must hold for any bytes at all: a catalog of which each file can be asked for, or an
    error of one line.
    """
    try:
        catalog = read_source(path)
    except UserError as error:
        return str(error)
    for name in catalog.paths:
        catalog.files.read(name)
    return ""
