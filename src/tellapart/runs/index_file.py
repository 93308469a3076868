"""The file of a run's index: an uncompressed .npz, written piece by piece and mapped when it is read."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from tellapart.writing import write_whole_by

FILE = "neighbours.npz"
MOST_BYTES = 2**29  # of embeddings: 209,715 images at 1,280 numbers each
ROWS = 4096  # embeddings that are in float32 at a time
_LEAST = 1e-9  # a length below which a direction means nothing


class Embeddings(Protocol):
    """(N, D) embeddings, of which some are read at a time."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, part: slice, /) -> NDArray[np.float32]:
        """The embeddings of these images."""


class Digests(Sequence[str]):
    """SHA-256 digests, given in hexadecimal.

    Args:
        digests: (N, 32) their bytes.

    >>> Digests.of(["00" * 32, "ff" * 32]).rows_of("ff" * 32).tolist()
    [1]
    """

    def __init__(self, digests: NDArray[np.uint8]) -> None:
        self._digests = digests

    @classmethod
    def of(cls, digests: Sequence[str]) -> Digests:
        """The digests that are written so in hexadecimal."""
        return cls(np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, 32))

    @property
    def rows(self) -> NDArray[np.uint8]:
        """(N, 32) their bytes."""
        return self._digests

    def __len__(self) -> int:
        return len(self._digests)

    def __getitem__(self, row: Any, /) -> Any:
        return self._digests[row].tobytes().hex()

    def rows_of(self, digest: str) -> NDArray[np.int64]:
        """The rows that have a digest; none for what is no digest."""
        try:
            wanted = np.frombuffer(bytes.fromhex(digest), np.uint8)
        except ValueError:
            wanted = np.zeros(0, np.uint8)
        if len(wanted) != self._digests.shape[1]:
            return np.zeros(0, np.int64)
        return np.flatnonzero((self._digests == wanted).all(axis=1))


@dataclass(frozen=True)
class Indexed:
    """What the index holds beside the embeddings.

    Args:
        paths: N catalog paths.
        labels: (N,) positions in `classes`.
        digests: of the N files.
        classes: the names of the classes.
        of: how many training images there are. The index may hold fewer.
        data: from the run folder to the data, as run.json has it; None where there is no path.
        split: of all these images.
    """

    paths: Sequence[str]
    labels: NDArray[np.int64]
    digests: Digests
    classes: tuple[str, ...]
    of: int
    data: str | None = None
    split: str = "train"


def write_index(run: Path, embeddings: Embeddings, indexed: Indexed) -> Path:
    """Write the index of a run; returns its path.

    The embeddings are read twice, some at a time: for their mean, and to write them.

    Args:
        run: the run folder.
        embeddings: (N, D) of the images.
        indexed: what is known of them.

    Raises:
        Refused: the disk is full.
        UserError: the folder cannot be written to.
    """
    mean = _mean_direction(embeddings)
    about = {
        "classes": list(indexed.classes),
        "of": indexed.of,
        "data": indexed.data,
        "split": indexed.split,
    }
    paths = [path.encode() for path in indexed.paths]
    arrays: dict[str, NDArray[Any]] = {
        "mean": mean,
        "labels": np.asarray(indexed.labels, np.int32),
        "digests": indexed.digests.rows,
        "paths": np.frombuffer(b"".join(paths), np.uint8),
        "path_ends": np.cumsum([len(path) for path in paths], dtype=np.int64),
        "about": np.frombuffer(json.dumps(about, ensure_ascii=False).encode(), np.uint8),
    }
    shape = (len(embeddings), len(mean))

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                with _member(archive, name) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
            with _member(archive, "embeddings") as member:
                header = {"descr": "<f2", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
                for part in _parts(embeddings):
                    member.write(directions(part, mean).astype("<f2").tobytes())

    path = run / FILE
    size = 2 * shape[0] * shape[1] + sum(array.nbytes for array in arrays.values())
    write_whole_by(path, write, size)
    return path


def most_rows(width: int) -> int:
    """How many images an index holds at most, where an embedding has `width` numbers.

    >>> most_rows(1280)
    209715
    """
    return MOST_BYTES // (2 * max(1, width))


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    # A fixed date, so that equal trainings give equal files.
    return archive.open(
        zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), "w", force_zip64=True
    )


def _parts(embeddings: Embeddings) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(embeddings), ROWS):
        yield embeddings[start : start + ROWS]


def _mean_direction(embeddings: Embeddings) -> NDArray[np.float32]:
    """(D,) the mean of the directions of all embeddings."""
    total: NDArray[np.float64] | None = None
    for part in _parts(embeddings):
        sums = directions(part).sum(axis=0, dtype=np.float64)
        total = sums if total is None else total + sums
    if total is None:
        return np.zeros(embeddings[0:0].shape[1], np.float32)
    return np.asarray(total / len(embeddings), np.float32)


def directions(
    embeddings: NDArray[np.floating[Any]], mean: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """(N, D) of length 1. Embeddings share one large part, which the mean takes away: then images
    that have nothing in common have a cosine of about 0, and not of a third.
    """
    unit = _unit(embeddings.astype(np.float32))
    return unit if mean is None else _unit(unit - mean)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, _LEAST), np.float32)


class _Paths(Sequence[str]):
    """Paths that are decoded when they are asked for."""

    def __init__(self, text: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self._text, self._ends = text, ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row: Any, /) -> Any:
        start = int(self._ends[row - 1]) if row else 0
        return self._text[start : int(self._ends[row])].tobytes().decode()


def read_index(file: Path) -> tuple[NDArray[np.float16], NDArray[np.float32], Indexed]:
    """The embeddings, which stay on the disk, their mean, and what is known of the images.

    Raises:
        OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile: the file is damaged.
    """
    with file.open("rb") as whole, np.load(whole, allow_pickle=False) as arrays:
        about = json.loads(arrays["about"].tobytes())
        indexed = Indexed(
            paths=_Paths(arrays["paths"], arrays["path_ends"]),
            labels=arrays["labels"].astype(np.int64),
            digests=Digests(arrays["digests"]),
            classes=tuple(about["classes"]),
            of=int(about["of"]),
            data=about["data"],
            split=str(about["split"]),
        )
        mean = arrays["mean"]
    embeddings = _mapped(file, "embeddings.npy")
    if embeddings.shape != (len(indexed.paths), len(mean)):
        raise ValueError("the arrays are of different lengths")
    return embeddings, mean, indexed


def _mapped(file: Path, name: str) -> NDArray[Any]:
    """An array of an uncompressed .npz, mapped from the disk: NumPy reads such arrays whole."""
    with zipfile.ZipFile(file) as archive, archive.open(name) as member:
        if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
            raise ValueError("the embeddings are compressed")
        np.lib.format.read_magic(member)
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        inside = member.tell()
        start = _data_start(file, archive.getinfo(name))
    if 0 in shape:  # nothing can be mapped
        return np.zeros(shape, dtype)
    return np.memmap(file, dtype, "r", start + inside, shape)


def _data_start(file: Path, member: zipfile.ZipInfo) -> int:
    """Where the content of a member begins. Its local header may be longer than the central one."""
    with file.open("rb") as whole:
        whole.seek(member.header_offset + 26)
        name, extra = np.frombuffer(whole.read(4), "<u2").tolist()
    return member.header_offset + 30 + int(name) + int(extra)
