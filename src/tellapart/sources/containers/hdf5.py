"""HDF5 files: arrays by their names, or PCam's pairs of files. Needs the extra `hdf5`.

    train.h5: images, labels   ──▶   train.h5/images/00017

What leads out of the file is not followed: links to other files, and arrays that lie elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.files import AGAIN
from tellapart.errors import UserError, needs_extra
from tellapart.sources.containers.named_arrays import NamedArray

if TYPE_CHECKING:
    import h5py

_MAX_DEPTH = 4
_MAX_ARRAYS = 1000
_MOST_LABELS = 10_000_000
_CACHE_BYTES = 2**26  # of unpacked chunks of one array, so that neighbours cost no new unpacking
MAGIC = b"\x89HDF\r\n\x1a\n"


def arrays_of_hdf5(place: Path, path: str, stamp: tuple[str, float]) -> list[NamedArray]:
    """All arrays of an HDF5 file. The file stays open for as long as they are used.

    Args:
        place: on disk.
        path: its catalog path.
        stamp: its stamp.

    Raises:
        UserError: h5py is not installed, or the file cannot be read.
    """
    try:
        import h5py
    except ImportError:
        raise needs_extra("h5py", "hdf5") from None
    try:
        file = h5py.File(place, "r", rdcc_nbytes=_CACHE_BYTES)
        found = list(_datasets(file, ""))
        return [_array(dataset, f"{path}/{name}", stamp) for name, dataset in found]
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):
        raise UserError(f"{path} is no HDF5 file that can be read.", AGAIN) from None


def _datasets(group: h5py.Group, above: str) -> Iterator[tuple[str, h5py.Dataset]]:
    """The arrays below a group: name with those of the groups above → array."""
    import h5py

    found = 0
    for key in group:
        name = f"{above}{key}"
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            continue
        item = group[key]
        if isinstance(item, h5py.Group) and name.count("/") < _MAX_DEPTH:
            yield from _datasets(item, f"{name}/")
        elif isinstance(item, h5py.Dataset) and not item.is_virtual and item.external is None:
            found += 1
            if found > _MAX_ARRAYS:
                return
            yield name, item


def _array(dataset: h5py.Dataset, path: str, stamp: tuple[str, float]) -> NamedArray:
    def row(number: int) -> NDArray[np.generic]:
        return np.asarray(dataset[number])

    def whole() -> NDArray[np.generic]:
        if dataset.size > _MOST_LABELS:
            raise ValueError("more labels than fit")
        return np.asarray(dataset[()])

    return NamedArray(path, stamp, tuple(dataset.shape or ()), dataset.dtype, row, whole)
