"""Images stored as arrays: IDX files of the MNIST family and the binary files of CIFAR, each record
a BMP file.

    train-images-idx3-ubyte.gz   + train-labels-idx1-ubyte.gz   ──▶  train-images-idx3-ubyte.gz/00017
    data_batch_1.bin, test_batch.bin, or train.bin, test.bin    ──▶  data_batch_1.bin/0017

A record is read as the bytes of an uncompressed BMP, so that all that handles files handles it too.
EMNIST stores its images lying on their side, and they are left so: a model takes no harm from that.
"""

from __future__ import annotations

import math
import re
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.files import AGAIN, READ_IT, Store, Tree
from tellapart.decoding import MAX_FILE_BYTES, Decoded
from tellapart.errors import UserError, reason_of
from tellapart.sources.containers.packed import packing, unpack

MAX_RECORDS = 10_000_000
_LIST_BYTES = 2**24  # the most that is read of a list of class names


@dataclass(frozen=True, eq=False)
class RecordFile:
    """Images of one size, one after another in one file."""

    path: str  # the file's, as a catalog path
    part: str  # its part in the whole, by its name: "train", "t10k", "emnist-letters-train"
    stamp: tuple[str, float]
    store: Store
    first: int  # byte at which the first image begins
    stride: int  # bytes from one image to the next
    height: int
    width: int
    channels: int  # 1 or 3
    planar: bool  # all red values first, as CIFAR has them
    labels: NDArray[np.int64]  # (N,)

    def record_path(self, number: int) -> str:
        """The catalog path of one image. The paths sort as the numbers do."""
        return f"{self.path}/{number:0{len(str(len(self.labels) - 1))}}"

    def image(self, number: int) -> bytes | Decoded:
        """One image as a BMP file."""
        count = self.height * self.width * self.channels
        data = self.store.read(self.first + number * self.stride, count)
        if len(data) < count:
            return Decoded("truncated", detail="The file of arrays has become shorter.")
        values = np.frombuffer(data, np.uint8)
        if self.planar:
            pixels = values.reshape(self.channels, self.height, self.width).transpose(1, 2, 0)
        else:
            pixels = values.reshape(self.height, self.width, self.channels)
        return to_bmp(pixels)


class Arrays(NamedTuple):
    """All record files of one source."""

    kind: str  # for the user
    files: tuple[RecordFile, ...]
    class_names: tuple[str, ...]  # label → name; empty where nothing says
    used: frozenset[str]  # names of the files that were used


class ArrayFiles:
    """The records of a tree's record files as files; any thread may read."""

    def __init__(self, tree: Tree, files: Sequence[RecordFile]) -> None:
        self._place = tree.place
        self._files: Mapping[str, RecordFile] = {file.path: file for file in files}

    @property
    def place(self) -> str:
        """Where the record files are."""
        return self._place

    def read(self, path: str) -> bytes | Decoded:
        """One record as a BMP file."""
        container, _, number = path.rpartition("/")
        file = self._files.get(container)
        is_number = re.fullmatch("[0-9]{1,9}", number)
        if file is None or not is_number or int(number) >= len(file.labels):
            return Decoded("missing", detail="There is no such record.")
        try:
            return file.image(int(number))
        except MemoryError:
            return Decoded("too_large", detail="It does not fit into memory.")
        except OSError:
            return Decoded("unreadable", detail="Reading it failed in the operating system.")

    def stamp(self, path: str) -> tuple[str, float]:
        """The record file's stamp when it was opened. It is read as it was then, whatever takes its
        name later.
        """
        file = self._files.get(path.rpartition("/")[0])
        return file.stamp if file else ("", 0.0)


def to_bmp(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, 1) grey or (H, W, 3) RGB → an uncompressed BMP of 8 or 24 bits a pixel. The same
    pixels always give the same bytes.

    >>> to_bmp(np.zeros((2, 2, 3), np.uint8))[:6]
    b'BMF\\x00\\x00\\x00'
    """
    height, width, channels = pixels.shape
    palette = _GREYS if channels == 1 else b""
    stride = -(-width * channels // 4) * 4
    rows = np.zeros((height, stride), np.uint8)
    # BMP stores its rows upwards, and blue first.
    rows[:, : width * channels] = pixels[::-1, :, ::-1].reshape(height, width * channels)
    begin = 54 + len(palette)
    size = begin + height * stride
    colours = len(palette) // 4
    header = struct.pack(
        "<2sIIIIiiHHIIiiII",
        b"BM",
        size,
        0,
        begin,
        40,
        width,
        height,
        1,
        8 * channels,
        0,
        size - begin,
        0,
        0,
        colours,
        0,
    )
    return header + palette + rows.tobytes()


_GREYS = b"".join(bytes((value, value, value, 0)) for value in range(256))


# ── which files there are ──

_IDX_IMAGES = re.compile(r"(?P<part>.*?)[-_.]?images[-.]idx[34]-ubyte(\.gz)?", re.IGNORECASE)
_IDX_LABELS = re.compile(r"(?P<part>.*?)[-_.]?labels[-.]idx1-ubyte(\.gz)?", re.IGNORECASE)
_CIFAR_SIDE = 32
_CIFAR_BYTES = 3 * _CIFAR_SIDE**2
_CIFAR_10 = re.compile(r"data_batch_[0-9]+\.bin|test_batch\.bin")
_CIFAR_100 = re.compile(r"(train|test)\.bin")
_CIFAR_PICKLED = re.compile(r"data_batch_[0-9]+|test_batch|batches\.meta")


def find_arrays(tree: Tree, names: Sequence[str], only: str = "") -> Arrays | None:
    """The record files in the top folder, with their headers checked. None means that there are
    none.

    Args:
        tree: where they are.
        names: all names of files in its top folder.
        only: one IDX file of images, to be used alone, with its labels.

    Raises:
        UserError: they are there, but cannot be used.
    """
    if any(map(_IDX_IMAGES.fullmatch, [only] if only else names)):
        return _find_idx(tree, names, only)
    if any(map(_CIFAR_10.fullmatch, names)):
        files = [name for name in names if _CIFAR_10.fullmatch(name)]
        return _find_cifar(tree, files, names, fine=False)
    if "train.bin" in names and ("fine_label_names.txt" in names or _fits(tree, "train.bin")):
        files = [name for name in names if _CIFAR_100.fullmatch(name)]
        return _find_cifar(tree, files, names, fine=True)
    if _are_pickles(names):
        refuse_pickles(f"{tree.name} holds CIFAR as Python pickles")
    return None


def is_named_like_arrays(names: Sequence[str]) -> bool:
    """Whether `find_arrays` may find, or refuse, files of these names."""
    patterns = (_IDX_IMAGES, _CIFAR_10, _CIFAR_100)
    return _are_pickles(names) or any(
        pattern.fullmatch(name) for pattern in patterns for name in names
    )


def _are_pickles(names: Sequence[str]) -> bool:
    return any(map(_CIFAR_PICKLED.fullmatch, names)) or {"meta", "train", "test"} <= set(names)


def refuse_pickles(what: str) -> NoReturn:
    """Refuse pickles, which are never opened.

    Raises:
        UserError: always, with the way out.
    """
    raise UserError(
        f"{what}, which can run any program when they are opened.",
        "For CIFAR, download the binary version (cifar-10-binary.tar.gz, cifar-100-binary.tar.gz)"
        " and give that; save anything else as images, one folder a class.",
    )


def is_idx(head: bytes) -> bool:
    """Whether a file starts as IDX files do, with any type of number and up to four dimensions."""
    types = (b"\x08", b"\x09", b"\x0b", b"\x0c", b"\x0d", b"\x0e")
    return head[:2] == b"\0\0" and head[2:3] in types and head[3:4] in (b"\1", b"\2", b"\3", b"\4")


# ── IDX: http://yann.lecun.com/exdb/mnist/ ──


def _find_idx(tree: Tree, names: Sequence[str], only: str) -> Arrays:
    images = _by_part(_IDX_IMAGES, [only] if only else names)
    labels = _by_part(_IDX_LABELS, names)
    class_names = _class_names(tree, names, "classes.txt", "labels.txt")
    files = []
    for part, name in images.items():
        if part not in labels:
            wanted = re.sub("idx[34]", "idx1", name.replace("images", "labels"))
            raise UserError(
                f"{tree.name} holds {name}, but not its labels.", f"Put {wanted} beside it."
            )
        files.append(_idx_file(tree, part, name, labels[part]))
    return Arrays(
        "IDX arrays", tuple(files), class_names, frozenset((*images.values(), *labels.values()))
    )


def _by_part(pattern: re.Pattern[str], names: Sequence[str]) -> dict[str, str]:
    """Part → the name of its file. The unpacked one wins over the packed one."""
    found = [(match["part"], name) for name in names if (match := pattern.fullmatch(name))]
    return dict(sorted(found, key=lambda pair: (pair[0], not pair[1].lower().endswith(".gz"))))


def _idx_file(tree: Tree, part: str, images: str, labels: str) -> RecordFile:
    stamp = tree.stamp(images)
    store, shape, first = _open_idx(tree, images, (3, 4))
    count, height, width, channels = (*shape, 1)[:4]
    if channels not in (1, 3):
        raise UserError(
            f"{_full(tree, images)} has {channels} values a pixel.",
            "Give an array with 1 (grey) or 3 (RGB).",
        )
    label_store, (label_count,), labels_first = _open_idx(tree, labels, (1,))
    if label_count != count:
        raise UserError(
            f"{_full(tree, images)} holds {count:,} images, but {labels} holds {label_count:,}"
            " labels.",
            "Take both from one download.",
        )
    stride = height * width * channels
    numbers = np.frombuffer(label_store.read(labels_first, count), np.uint8).astype(np.int64)
    return RecordFile(
        images, part, stamp, store, first, stride, height, width, channels, False, numbers
    )


def _open_idx(
    tree: Tree, name: str, dimensions: tuple[int, ...]
) -> tuple[Store, tuple[int, ...], int]:
    """The file, unpacked, its shape, and where its values begin."""
    full, store = _full(tree, name), _open(tree, name)
    head = store.read(0, 4 + 4 * max(dimensions))
    if not is_idx(head):
        raise UserError(f"{full} is no IDX file, whatever its name says.", AGAIN)
    if head[2] != 8:
        raise UserError(
            f"{full} holds numbers that are not of 8 bits.",
            "Write it again with values from 0 to 255.",
        )
    if head[3] not in dimensions:
        what = "labels" if dimensions == (1,) else "images"
        raise UserError(
            f"{full} has {head[3]} dimensions, which {what} do not have.",
            "Were two files mixed up?",
        )
    first = 4 + 4 * head[3]
    if len(head) < first:
        raise UserError(f"{full} is cut short.", AGAIN)
    shape = struct.unpack_from(f">{head[3]}I", head, 4)
    _check_bounds(full, shape[0], math.prod(shape[1:]))
    expected = first + math.prod(shape)
    if store.size != expected:
        fault = "is cut short" if store.size < expected else "is longer than it says"
        raise UserError(
            f"{full} {fault}: {store.size:,} bytes, where its header means {expected:,}.", AGAIN
        )
    return store, shape, first


# ── CIFAR: https://www.cs.toronto.edu/~kriz/cifar.html ──


def _find_cifar(tree: Tree, wanted: Sequence[str], names: Sequence[str], *, fine: bool) -> Arrays:
    if not any(name.startswith(("data_", "train")) for name in wanted):
        raise UserError(
            f"{tree.name} holds {', '.join(wanted)} of CIFAR, but nothing to train on.", AGAIN
        )
    limits = (20, 100) if fine else (10,)
    files = tuple(_cifar_file(tree, name, limits) for name in wanted)
    class_names = _class_names(tree, names, "fine_label_names.txt" if fine else "batches.meta.txt")
    kind = "CIFAR-100 binary files with their fine labels" if fine else "CIFAR-10 binary files"
    return Arrays(kind, files, class_names, frozenset(wanted))


def _fits(tree: Tree, name: str) -> bool:
    size = _open(tree, name).size
    return size > 0 and size % (2 + _CIFAR_BYTES) == 0


def _cifar_file(tree: Tree, name: str, limits: tuple[int, ...]) -> RecordFile:
    stamp, full, store = tree.stamp(name), _full(tree, name), _open(tree, name)
    stride = len(limits) + _CIFAR_BYTES
    if not store.size or store.size % stride:
        hint = f"{AGAIN} Is it really CIFAR?"
        raise UserError(
            f"{full} is cut short: its {store.size:,} bytes are not records of {stride:,}.", hint
        )
    count = store.size // stride
    _check_bounds(full, count, _CIFAR_BYTES)
    at_once = 1000  # records, so that the images are never all in memory
    pieces = (store.read(at * stride, at_once * stride) for at in range(0, count, at_once))
    records = (np.frombuffer(piece, np.uint8).reshape(-1, stride) for piece in pieces)
    labels = np.concatenate([record[:, : len(limits)].copy() for record in records])
    if (labels >= limits).any():
        raise UserError(
            f"{full} holds labels that CIFAR does not have.", f"{AGAIN} Is it really CIFAR?"
        )
    part = "test" if name.startswith("test") else "train"
    numbers = labels[:, -1].astype(np.int64)
    return RecordFile(
        name, part, stamp, store, len(limits), stride, _CIFAR_SIDE, _CIFAR_SIDE, 3, True, numbers
    )


# ── both ──


def _full(tree: Tree, name: str) -> str:
    return f"{name} of {tree.name}"


def _open(tree: Tree, name: str) -> Store:
    full = _full(tree, name)
    try:
        store = tree.open(name)
        kind = packing(store)
    except OSError as error:
        raise UserError(f"{full} cannot be read ({reason_of(error)}).", READ_IT) from None
    return unpack(store, kind, full) if kind else store


def _check_bounds(full: str, count: int, image_bytes: int) -> None:
    if not count or not image_bytes:
        raise UserError(f"{full} holds no images: its header says {count:,}.", AGAIN)
    if count > MAX_RECORDS or image_bytes > MAX_FILE_BYTES:
        raise UserError(
            f"{full} holds {count:,} records of {image_bytes:,} bytes by its header, which is"
            " beyond the limits.",
            f"At most {MAX_RECORDS:,} of {MAX_FILE_BYTES:,} bytes are read.",
        )


def _class_names(tree: Tree, names: Sequence[str], *lists: str) -> tuple[str, ...]:
    """The lines of the first of these lists that is there, or nothing."""
    beside = [name for name in lists if name in names]
    if not beside:
        return ()
    store = _open(tree, beside[0])
    text = store.read(0, _LIST_BYTES).decode("utf-8-sig", "replace")
    found = tuple(line.strip() for line in text.split("\n") if line.strip())
    doubled = [name for name, count in Counter(found).items() if count > 1]
    if doubled:
        raise UserError(
            f"{_full(tree, beside[0])} names {doubled[0]!r} twice.",
            "Give each class a name of its own.",
        )
    return found
