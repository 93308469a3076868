"""Parquet files: their columns, and where their row groups begin.

polars reads the columns. Only the footer is read here, which says how many rows each group has:
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart.catalog.files import AGAIN, Store, open_store
from tellapart.errors import UserError, needs_extra, reason_of
from tellapart.sources.containers.columnar import ColumnFile, class_names_in
from tellapart.sources.containers.polars_errors import polars_errors

if TYPE_CHECKING:
    import polars

_MAX_FOOTER = 2**26
MAX_GROUP_BYTES = 2**32
_MAX_NESTING = 32
_ROWS_AT_ONCE = 1000  # where the footer does not say how many a group has
# Fields of the footer, by their numbers.
_ROW_GROUPS, _TOTAL_BYTES, _NUM_ROWS = 4, 2, 3


def open_parquet(path: Path, name: str) -> ColumnFile:
    """The columns of a Parquet file. Nothing but its footer is read.

    Args:
        path: on disk.
        name: what messages call it.

    Raises:
        UserError: it cannot be read, or holds more in one row group than fits.
    """
    try:
        import polars
    except ImportError:
        raise needs_extra("polars", "train") from None
    try:
        schema = polars.read_parquet_schema(path)
        metadata = polars.read_parquet_metadata(path)
        rows = int(polars.scan_parquet(path, glob=False).select(polars.len()).collect().item())
        groups = _row_groups(open_store(path))
    except OSError as error:
        raise UserError(f"{name} cannot be read ({reason_of(error)}).", AGAIN) from None
    except polars_errors():
        raise UserError(
            f"{name} is not a Parquet file that can be read.", "Write it again."
        ) from None
    largest = max((size for _, size in groups), default=0)
    if largest > MAX_GROUP_BYTES:
        raise UserError(
            f"{name} holds a row group of {largest / 2**30:.1f} GiB, which would have to be in"
            " memory at once.",
            "Write it again with smaller row groups, for example of 1,000 rows.",
        )
    starts = [0, *itertools.accumulate(count for count, _ in groups)]
    if starts[-1] != rows:
        starts = [*range(0, rows, _ROWS_AT_ONCE), rows]

    def load(columns: Sequence[str], at: int, count: int) -> polars.DataFrame:
        lazy = polars.scan_parquet(path, glob=False).select(columns)
        return lazy.slice(at, count).collect()

    return ColumnFile(name, schema, class_names_in(metadata.get("huggingface")), starts, load)


def _row_groups(store: Store) -> list[tuple[int, int]]:
    """Rows and unpacked bytes of each row group, or nothing where the footer is not understood."""
    tail = store.read(store.size - 8, 8)
    if len(tail) < 8 or tail[4:] != b"PAR1":
        return []
    size = int.from_bytes(tail[:4], "little")
    if not 0 < size <= min(_MAX_FOOTER, store.size - 8):
        return []
    try:
        footer = _Compact(store.read(store.size - 8 - size, size)).struct(0)
        groups = footer[_ROW_GROUPS]
        return [(int(group[_NUM_ROWS]), int(group[_TOTAL_BYTES])) for group in groups]
    except (LookupError, TypeError, ValueError, struct.error):
        return []


class _Compact:
    """Reads Thrift's compact protocol into dicts of field number → value."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self, depth: int) -> dict[int, Any]:
        if depth > _MAX_NESTING:
            raise ValueError("nested too deeply")
        found, number = {}, 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            number = number + step if step else self._signed()
            found[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):  # in a list, a truth value has a byte of its own
            return self._byte() == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 7:
            self._at += 8
            return None
        if kind == 8:
            size = self._varint()
            self._at += size
            return self._data[self._at - size : self._at]
        if kind in (9, 10):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._varint()
            return [self._value(head & 15, depth + 1) for _ in range(min(count, len(self._data)))]
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(f"type {kind}")

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise ValueError("a number that is too long")
        return value | byte << shift

    def _signed(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
