"""Kinds of file that hold images or labels and are known, but are not read: what each is called, and
the way out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from tellapart.errors import UserError
from tellapart.phrases import count_of
from tellapart.sources.containers.arrays import refuse_pickles

HEAD_BYTES = 512
_AS_FOLDERS = "Save its images as PNG or JPEG files, one folder a class, and give that folder."
_PICKLES = "Python pickles"


class Unread(NamedTuple):
    """One kind.

    Args:
        what: several files of it, in the middle of a sentence.
        endings: a pattern that fits the whole name of a file, in lower case.
        magic: where its bytes tell it, and how; none for a kind that has no such bytes.
        way_out: what to do instead.
    """

    what: str
    endings: str
    magic: tuple[tuple[int, bytes], ...]
    way_out: str


_KINDS = (
    Unread(
        "TensorFlow records",
        r".*\.tfrecords?(\.gz)?|.*\.tfrecords?-\d+-of-\d+|.*-tfrecords?-\d+-of-\d+",
        (),
        "With TensorFlow, write the bytes of each image into a file, one folder a class, and give"
        " that folder.",
    ),
    Unread(
        "an LMDB database",
        r"(data|lock)\.mdb|.*\.lmdb",
        ((16, b"\xde\xc0\xef\xbe"),),
        "Read it with the program that wrote it, and save its images one folder a class.",
    ),
    Unread(
        "Excel or other office documents",
        r".*\.(xlsx|xls|xlsm|xlsb|ods|numbers)",
        ((0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),),
        "Save the sheet with the paths and labels as CSV, and give that file.",
    ),
    Unread(
        "archives of another kind",
        r".*\.(7z|rar|zst|lz4|cab|ace|arj|z|lzma)|.*\.(zip|7z|z)\.?\d{1,3}|.*\.part\d+\.rar",
        (
            (0, b"Rar!"),
            (0, b"7z\xbc\xaf\x27\x1c"),
            (0, b"\x28\xb5\x2f\xfd"),
            (0, b"\x04\x22\x4d\x18"),
        ),
        "Unpack it and give the folder.",
    ),
    Unread(
        "MATLAB files", r".*\.mat", ((0, b"MATLAB 5.0 MAT"), (0, b"MATLAB 7.3 MAT")), _AS_FOLDERS
    ),
    Unread(
        _PICKLES,
        r".*\.(pkl|pickle|pt|pth|joblib|p)",
        tuple((0, bytes([0x80, version])) for version in (2, 3, 4, 5)),
        "",
    ),
    Unread("MXNet records", r".*\.rec", (), _AS_FOLDERS),
    Unread("FFCV data sets", r".*\.beton", (), _AS_FOLDERS),
    Unread("MosaicML shards", r".*\.mds(\.zstd)?", (), _AS_FOLDERS),
    Unread(
        "SQLite databases", r".*\.(db|sqlite|sqlite3)", ((0, b"SQLite format 3\0"),), _AS_FOLDERS
    ),
    Unread("R data files", r".*\.(rds|rdata|rda)", (), _AS_FOLDERS),
    Unread("Avro or ORC tables", r".*\.(avro|orc)", ((0, b"Obj\x01"), (0, b"ORC")), _AS_FOLDERS),
    Unread(
        "videos",
        r".*\.(mp4|avi|mov|mkv|webm|mpe?g|wmv|m4v)",
        ((0, b"\x1aE\xdf\xa3"), (8, b"AVI ")),
        "Save the frames to learn from as images, one folder a class, and group them by video.",
    ),
    Unread("PDF documents", r".*\.pdf", ((0, b"%PDF-"),), _AS_FOLDERS),
)


def unread_kind(name: str, head: bytes = b"") -> Unread | None:
    """The kind of a file, by its name or by its first HEAD_BYTES bytes. None means another.

    >>> unread_kind("train-00000-of-00002.tfrecord").what
    'TensorFlow records'
    """
    for kind in _KINDS:
        if any(head.startswith(magic, at) for at, magic in kind.magic):
            return kind
        if re.fullmatch(kind.endings, name.lower()):
            return kind
    return None


def refuse_unread(place: str, kind: Unread, names: Sequence[str] = ()) -> NoReturn:
    """Refuse files of a kind.

    Args:
        place: the file, or the folder that holds them.
        kind: their kind.
        names: those that a folder holds.

    Raises:
        UserError: always, with the way out.
    """
    files = f" ({count_of(len(names), 'file')}, for example {names[0]})" if names else ""
    what = f"{place} holds {kind.what}{files}"
    if kind.what == _PICKLES:
        refuse_pickles(what)
    raise UserError(f"{what}. This kind of file is not read here.", kind.way_out)
