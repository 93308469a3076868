"""Arrow files: streams of record batches, as the `datasets` library saves them, and Feather files.

A stream is a schema, then batches one after another. polars reads a stream whole, so each batch is
given to it as a stream of its own, with the schema before it:
https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
"""

from __future__ import annotations

import io
import itertools
import json
import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tellapart.catalog.files import AGAIN, Store, open_store
from tellapart.errors import UserError, needs_extra, reason_of
from tellapart.sources.containers.columnar import ColumnFile
from tellapart.sources.containers.polars_errors import polars_errors

if TYPE_CHECKING:
    import polars

_CONTINUES = b"\xff\xff\xff\xff"
_END = _CONTINUES + bytes(4)
_MAX_HEADER = 2**26
_MAX_BATCH = 2**32
_MAX_ROWS = 2**31
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
# Fields of a message and of a batch, by their numbers in the tables of the format.
_HEADER_KIND, _HEADER, _BODY_BYTES = 1, 2, 3
_BATCH_ROWS, _NODES, _BUFFERS, _COMPRESSION = 0, 1, 2, 3
FEATHER = b"ARROW1"


class _Message(NamedTuple):
    kind: int
    at: int
    size: int  # with its body
    rows: int


def open_arrow(path: Path, name: str, class_names: Mapping[str, Sequence[str]]) -> ColumnFile:
    """The columns of a file of Arrow. The batches are only counted.

    Args:
        path: on disk.
        name: what messages call it.
        class_names: column → class names, as `dataset_info.json` beside it has them.

    Raises:
        UserError: it is cut, damaged, or of a form that is not read here.
    """
    try:
        import polars
    except ImportError:
        raise needs_extra("polars", "train") from None
    try:
        store = open_store(path)
        if store.read(0, len(FEATHER)) == FEATHER:
            return _open_feather(path, name, class_names)
        messages = list(_messages(store))
        schema = _schema(store, messages)
        columns = polars.read_ipc_stream(io.BytesIO(schema + _END)).schema
    except OSError as error:
        raise UserError(f"{name} cannot be read ({reason_of(error)}).", AGAIN) from None
    except polars_errors():
        raise UserError(f"{name} is cut short, damaged, or no Arrow stream.", AGAIN) from None
    batches = [message for message in messages if message.kind == _BATCH]
    starts = [0, *itertools.accumulate(batch.rows for batch in batches)]

    def load(wanted: Sequence[str], at: int, count: int) -> polars.DataFrame:
        frames = [polars.DataFrame(schema=columns).select(wanted)]
        for number in range(bisect_right(starts, at) - 1, len(batches)):
            if starts[number] >= at + count:
                break
            batch = batches[number]
            stream = schema + store.read(batch.at, batch.size) + _END
            frames.append(polars.read_ipc_stream(io.BytesIO(stream), columns=list(wanted)))
        return polars.concat(frames).slice(at - starts[bisect_right(starts, at) - 1], count)

    return ColumnFile(name, columns, class_names, starts, load)


def _open_feather(path: Path, name: str, class_names: Mapping[str, Sequence[str]]) -> ColumnFile:
    import polars

    lazy = polars.scan_ipc(path, glob=False)
    rows = int(lazy.select(polars.len()).collect().item())
    starts = [*range(0, rows, 1000), rows]

    def load(wanted: Sequence[str], at: int, count: int) -> polars.DataFrame:
        return lazy.select(wanted).slice(at, count).collect()

    return ColumnFile(name, lazy.collect_schema(), class_names, starts, load)


def _messages(store: Store) -> Iterator[_Message]:
    """The messages of a stream.

    Raises:
        ValueError, LookupError, struct.error: it is no stream, or is cut.
    """
    at = 0
    while at < store.size:
        head = store.read(at, 8)
        if head == _END:
            return
        size = int.from_bytes(head[4:], "little")
        if head[:4] != _CONTINUES or not 0 < size <= _MAX_HEADER:
            raise ValueError("no message")
        table = _Table.root(store.read(at + 8, size))
        body = table.integer(_BODY_BYTES, "<q")
        total = 8 + size + body
        if not 0 <= body <= _MAX_BATCH or at + total > store.size:
            raise ValueError("a body that is cut short, or too large")
        kind = table.integer(_HEADER_KIND, "<B")
        rows = 0
        if kind == _BATCH:
            rows = _checked_rows(store.part(at + 8 + size, body), table.table(_HEADER))
        yield _Message(kind, at, total, rows)
        at += total


def _checked_rows(body: Store, batch: _Table) -> int:
    """The number of rows of a batch whose sizes fit its body.

    polars takes them as they are, and a damaged one ends the whole process: it asks for as much
    memory as that says.
    """
    rows = batch.integer(_BATCH_ROWS, "<q")
    fits = 0 <= rows <= _MAX_ROWS
    for length, nulls in batch.pairs(_NODES):
        fits &= 0 <= nulls <= length <= max(rows, 8 * body.size)
    is_packed = batch.has(_COMPRESSION)
    for at, size in batch.pairs(_BUFFERS):
        fits &= 0 <= at <= at + size <= body.size and size >= 0
        if is_packed and fits and size:
            unpacked = int.from_bytes(body.read(at, 8), "little", signed=True)
            fits &= -1 <= unpacked <= max(_MAX_BATCH // 4, 8 * size)
    if not fits:
        raise ValueError("sizes that the body cannot have")
    return rows


def _schema(store: Store, messages: Sequence[_Message]) -> bytes:
    if not messages or messages[0].kind != _SCHEMA:
        raise ValueError("no schema")
    if any(message.kind == _DICTIONARY for message in messages):
        # They belong to all batches, and may be replaced between them.
        raise ValueError("dictionaries")
    return store.read(messages[0].at, messages[0].size)


class _Table(NamedTuple):
    """A table of a FlatBuffer: https://flatbuffers.dev/internals/"""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, int(struct.unpack_from("<I", data)[0]))

    def _field(self, number: int) -> int:
        """Where a field's value is, or -1 where it has its default."""
        fields = self.at - int(struct.unpack_from("<i", self.data, self.at)[0])
        if fields < 0:
            raise ValueError("a table that begins before the data")
        size = int(struct.unpack_from("<H", self.data, fields)[0])
        if 4 + 2 * number >= size:
            return -1
        offset = int(struct.unpack_from("<H", self.data, fields + 4 + 2 * number)[0])
        return self.at + offset if offset else -1

    def integer(self, number: int, form: str) -> int:
        at = self._field(number)
        return 0 if at < 0 else int(struct.unpack_from(form, self.data, at)[0])

    def has(self, number: int) -> bool:
        return self._field(number) >= 0

    def pairs(self, number: int) -> list[tuple[int, int]]:
        """A vector of pairs of 64-bit numbers."""
        at = self._field(number)
        if at < 0:
            return []
        at += int(struct.unpack_from("<I", self.data, at)[0])
        count = int(struct.unpack_from("<I", self.data, at)[0])
        if at + 4 + 16 * count > len(self.data):
            raise ValueError("a vector that ends after the data")
        values = struct.unpack_from(f"<{2 * count}q", self.data, at + 4)
        return list(zip(values[::2], values[1::2], strict=True))

    def table(self, number: int) -> _Table:
        at = self._field(number)
        if at < 0:
            raise ValueError("a header is missing")
        return _Table(self.data, at + int(struct.unpack_from("<I", self.data, at)[0]))


def saved_info(text: bytes) -> Mapping[str, object]:
    """A JSON file that the `datasets` library saves beside its data, or {} where it is damaged."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
