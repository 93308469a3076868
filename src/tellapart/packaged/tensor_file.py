"""The tensors of a .pth file, without torch, and without running anything that the file asks for.

A .pth file is a pickle, which may name any function of any module to be called. This reader knows
the five names that a table of plain tensors needs, and refuses a file that asks for another one.
Both layouts are read: the archive of torch 1.6 and newer, and the older row of pickles.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from tellapart.errors import UserError, reason_of

# Each kind of storage is only ever used by its name: no class of torch's is built.
KINDS: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}
LEGACY_HEADER = 3  # pickles before the table: a magic number, a version, facts on the machine
COUNT_BYTES = 8  # before the numbers of a storage, in the older layout


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Name → array, as the file has them.

    Raises:
        UserError: the file cannot be read, or it is not a table of plain tensors.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({reason_of(error)}).", "Install its package anew."
        ) from None
    try:
        return _from_archive(data) if zipfile.is_zipfile(BytesIO(data)) else _from_pickles(data)
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise UserError(
            f"{path} is not a table of plain tensors ({error}).", "Install its package anew."
        ) from error


@dataclass(frozen=True)
class _Storage:
    """The numbers of one or more tensors, by name."""

    kind: np.dtype[Any]
    key: str


@dataclass(frozen=True)
class _Tensor:
    """A part of a storage. Offset and strides count numbers, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """A copy of the part."""
        last = sum((size - 1) * step for size, step in zip(self.shape, self.strides, strict=True))
        inside = min(self.shape, default=1) > 0 and min(self.strides, default=0) >= 0
        if self.offset < 0 or not inside or self.offset + last >= len(numbers):
            raise pickle.UnpicklingError("a tensor reaches beyond its storage")
        steps = [step * numbers.itemsize for step in self.strides]
        return as_strided(numbers[self.offset :], self.shape, steps).copy()


def _tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    **{("torch", name): name for name in KINDS},
}


class _Reader(pickle.Unpickler):
    """Builds dictionaries, numbers and `_Tensor`, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """What the file may call."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage, which lies outside the pickle."""
        _, kind, key, *_ = pid
        return _Storage(KINDS[kind], str(key))


def _from_archive(data: bytes) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        tensors = _table(_Reader(archive.open(pickled)).load())
        storages = {tensor.storage for tensor in tensors.values()}
        numbers = {
            storage: np.frombuffer(archive.read(f"{folder}data/{storage.key}"), storage.kind)
            for storage in storages
        }
    return {name: tensor.of(numbers[tensor.storage]) for name, tensor in tensors.items()}


def _from_pickles(data: bytes) -> dict[str, NDArray[Any]]:
    file = BytesIO(data)
    for _ in range(LEGACY_HEADER):
        _Reader(file).load()
    tensors = _table(_Reader(file).load())
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    numbers = {}
    for key in _Reader(file).load():
        storage = storages[str(key)]
        count = int.from_bytes(file.read(COUNT_BYTES), "little")
        numbers[storage] = np.frombuffer(file.read(count * storage.kind.itemsize), storage.kind)
    return {name: tensor.of(numbers[tensor.storage]) for name, tensor in tensors.items()}


def _table(value: object) -> Mapping[str, _Tensor]:
    if not isinstance(value, dict) or not all(
        isinstance(tensor, _Tensor) for tensor in value.values()
    ):
        raise pickle.UnpicklingError("it holds other things than tensors")
    return value
