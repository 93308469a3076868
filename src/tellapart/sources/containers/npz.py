"""NumPy's files: .npy, and .npz, which is a zip of them.

    pathmnist.npz: train_images, train_labels, …   ──▶   pathmnist.npz/train_images/00017
    images.npy, labels.npy                         ──▶   images.npy/00017

Only the header is read by NumPy. Arrays of Python objects, which are pickles, are never opened.
"""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from tellapart.catalog.files import AGAIN, Store
from tellapart.errors import UserError
from tellapart.sources.containers.archives import ArchiveFiles
from tellapart.sources.containers.arrays import refuse_pickles
from tellapart.sources.containers.named_arrays import NamedArray

_HEADER_BYTES = 2**16
_MOST_BYTES = 2**31  # of labels, which are read whole
MAGIC = b"\x93NUMPY"


def arrays_of_npz(archive: ArchiveFiles, path: str) -> list[NamedArray]:
    """All arrays of an .npz file.

    Args:
        archive: opened.
        path: its catalog path.

    Raises:
        UserError: one is damaged, or holds pickles.
    """
    names = [item.name for item in archive.list("") if item.name.endswith(".npy")]
    return [
        array_of_npy(
            archive.open(name),
            f"{path}/{name.removesuffix('.npy')}",
            archive.stamp(""),
            f"{name} of {archive.name}",
        )
        for name in names
    ]


def array_of_npy(store: Store, path: str, stamp: tuple[str, float], name: str) -> NamedArray:
    """One .npy file.

    Args:
        store: its bytes.
        path: its catalog path.
        stamp: the stamp of its file.
        name: what messages call it.

    Raises:
        UserError: it is damaged, or holds pickles.
    """
    file = io.BytesIO(store.read(0, _HEADER_BYTES))
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, by_columns, dtype = read(file)
    except (ValueError, SyntaxError, EOFError, RecursionError, MemoryError):
        raise UserError(f"{name} is no array of NumPy that can be read.", AGAIN) from None
    if dtype.hasobject:
        refuse_pickles(f"{name} holds Python pickles")
    first, count = file.tell(), math.prod(shape)
    if store.size < first + count * dtype.itemsize:
        raise UserError(f"{name} is cut short.", AGAIN)
    if by_columns and len(shape) > 1:
        raise UserError(
            f"{name} is stored column by column.", "Save numpy.ascontiguousarray of it instead."
        )
    stride = math.prod(shape[1:]) * dtype.itemsize

    def row(number: int) -> NDArray[np.generic]:
        data = store.read(first + number * stride, stride)
        return np.frombuffer(data, dtype).reshape(shape[1:])

    def whole() -> NDArray[np.generic]:
        if count * dtype.itemsize > _MOST_BYTES:
            raise ValueError("more labels than fit")
        data = store.read(first, count * dtype.itemsize)
        return np.frombuffer(data, dtype).reshape(shape)

    return NamedArray(path, stamp, shape, dtype, row, whole)
