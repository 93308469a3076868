"""Files of columns, one of which holds images: Parquet and Arrow, as hubs write them.

The images of one row group are unpacked together when the first of them is asked for, so memory
holds one row group a thread at most.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from tellapart.decoding import Decoded
from tellapart.errors import UserError
from tellapart.phrases import listed
from tellapart.sources.containers.polars_errors import polars_errors
from tellapart.sources.containers.shards import Chunks, Label, Shard
from tellapart.sources.containers.spool import Spool
from tellapart.sources.folder_names import split_named
from tellapart.sources.reading import Reading
from tellapart.sources.tables.column_names import (
    GROUP_NAMES,
    LABEL_NAMES,
    SPLIT_COLUMNS,
    WEAK_LABEL_NAMES,
    plain,
)

if TYPE_CHECKING:
    import polars

_IMAGE_NAMES = ("image", "img", "images", "jpg", "jpeg", "png", "picture", "photo", "pixel_values")
_LABEL_NAMES_OF_SETS = frozenset({"finelabel"})  # CIFAR-100 has a coarse label too
MAX_CLASSES = 1_000_000
_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class ColumnFile:
    """One file of columns.

    Args:
        name: what messages call it.
        schema: column → its type.
        class_names: column → the names that its numbers stand for.
        starts: the first row of each chunk, and after the last the number of rows.
        load: columns, first row and number of rows → a frame. It raises what polars raises.
    """

    name: str
    schema: Mapping[str, polars.DataType]
    class_names: Mapping[str, Sequence[str]]
    starts: Sequence[int]
    load: Callable[[Sequence[str], int, int], polars.DataFrame]


def image_columns(schema: Mapping[str, polars.DataType]) -> list[str]:
    """The columns that may hold images: bytes, or a struct of bytes and a path."""
    return [name for name, kind in schema.items() if _holds_bytes(kind)]


def _holds_bytes(kind: Any) -> bool:
    import polars

    if isinstance(kind, polars.Struct):
        return any(field.name == "bytes" and field.dtype == polars.Binary for field in kind.fields)
    return bool(kind == polars.Binary)


def class_names_in(text: str | bytes | None) -> dict[str, tuple[str, ...]]:
    """Column → class names, by the JSON that the `datasets` library leaves in a file.

    >>> class_names_in('{"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a"]}}}}')
    {'label': ('a',)}
    """
    try:
        info = json.loads(text or "{}")
        features = info.get("info", info).get("features") or {}
        found = {column: _names(feature) for column, feature in features.items()}
    except (ValueError, RecursionError, AttributeError, TypeError):
        return {}
    return {column: names for column, names in found.items() if names}


def _names(feature: object) -> tuple[str, ...]:
    names = feature.get("names") if isinstance(feature, dict) else None
    if isinstance(names, dict):  # {"0": "cat", ...}
        names = [names[key] for key in sorted(names, key=int)]
    if not isinstance(names, list) or len(names) > MAX_CLASSES:
        return ()
    return tuple(map(str, names))


def shard_of(
    file: ColumnFile,
    path: str,
    stamp: tuple[str, float],
    reading: Reading,
    spool: Spool,
    *,
    labelled: bool,
) -> Shard:
    """The images of a file of columns, with their labels.

    Args:
        file: opened, and known to hold images.
        path: its catalog path.
        stamp: its stamp.
        reading: which columns to use, where the user says so.
        spool: keeps the images that were unpacked. All files of a source share one.
        labelled: whether labels are wanted.

    Raises:
        UserError: a column is missing, or cannot be what it is for.
    """
    image = _image_column(file, reading)
    chunks = Chunks(file.starts, lambda at, count: _images(file, image, at, count), spool)
    if not labelled:
        return Shard(path, stamp, [None] * file.starts[-1], chunks.image)
    label = _label_column(file, reading)
    split = _column(file, reading, "split", SPLIT_COLUMNS)
    group = reading.group_column or _column(file, reading, "group", GROUP_NAMES)
    weight = reading.weight_column or ""
    wanted = [name for name in dict.fromkeys((label, split, group, weight)) if name]
    for name in wanted:
        _check_there(file, name)
    try:
        frame = file.load(wanted, 0, file.starts[-1])
    except polars_errors() as error:
        raise _unreadable(file.name, error) from None
    return Shard(
        path,
        stamp,
        _labels(file, frame[label], label),
        chunks.image,
        class_names=file.class_names.get(label, ()) if frame[label].dtype.is_integer() else (),
        splits=_splits(file, frame[split], chosen="split" in reading.columns) if split else (),
        groups=[_text(value) for value in frame[group]] if group else (),
        weights=_weights(file, frame[weight]) if weight else (),
    )


def _images(file: ColumnFile, column: str, at: int, count: int) -> Iterator[bytes | None] | Decoded:
    import polars

    try:
        series = file.load([column], at, count)[column]
        if isinstance(series.dtype, polars.Struct):
            series = series.struct.field("bytes")
    except polars_errors():
        return Decoded("corrupt", detail="The row group that holds it cannot be unpacked.")
    if len(series) != count:
        return Decoded("truncated", detail="Its rows are missing.")
    # A few at a time, so that a row group is not in memory twice.
    slices = (series.slice(first, _AT_ONCE).to_list() for first in range(0, count, _AT_ONCE))
    return chain.from_iterable(slices)


def _image_column(file: ColumnFile, reading: Reading) -> str:
    found = image_columns(file.schema)
    chosen = reading.columns.get("path")
    if chosen:
        _check_there(file, chosen)
        if chosen not in found:
            raise UserError(
                f"The column {chosen!r} of {file.name} holds no images.",
                f"Those that may hold images are {listed(found)}.",
            )
        return chosen
    usual = [name for name in found if name.lower() in _IMAGE_NAMES]
    best = usual or found
    if len(best) > 1:
        raise UserError(
            f"{file.name} has {len(best)} columns of images: {listed(best)}.",
            f"Name one of them, for example --columns path={best[0]}.",
        )
    return best[0]


def _label_column(file: ColumnFile, reading: Reading) -> str:
    """The column that the user names, or the best of those with a usual name or with class names."""
    if "label" in reading.columns:
        return reading.columns["label"]
    for names in (LABEL_NAMES, _LABEL_NAMES_OF_SETS, WEAK_LABEL_NAMES):
        usual = [name for name in file.schema if plain(name) in names]
        if usual:
            return min(
                usual, key=lambda name: (name not in file.class_names, plain(name) != "label")
            )
    named = [name for name in file.class_names if name in file.schema]
    if len(named) == 1:
        return named[0]
    hint = f"for example --columns label={named[0]}" if named else "with --columns label=NAME"
    raise UserError(
        f"{file.name} has no column for label; its columns are {listed(list(file.schema), 12)}.",
        f"Name one of them, {hint}.",
    )


def _column(file: ColumnFile, reading: Reading, want: str, usual: Collection[str]) -> str:
    """The column that the user names for a purpose, or the one of a usual name, or ""."""
    if want in reading.columns:
        return reading.columns[want]
    found = [name for name in file.schema if plain(name) in usual]
    return found[0] if len(found) == 1 else ""


def _check_there(file: ColumnFile, name: str) -> None:
    if name not in file.schema:
        raise UserError(
            f"{file.name} has no column {name!r}.",
            f"Its columns are {listed(list(file.schema), 12)}.",
        )


def _labels(file: ColumnFile, series: polars.Series, column: str) -> list[Label]:
    kind = series.dtype
    names = file.class_names.get(column, ())
    if kind.is_integer():
        largest = series.max()
        if names and isinstance(largest, int) and largest >= len(names):
            raise UserError(
                f"{file.name} has {len(names)} class names, but images with label {largest},"
                " counted from 0.",
                "Take all of it from one download.",
            )
        return series.to_list()
    if kind.is_nested() or kind.is_float() or kind.is_temporal():
        raise UserError(
            f"The column {column!r} of {file.name} holds no names or whole numbers, but {kind}.",
            "Name a column with one class an image: --columns label=NAME.",
        )
    return [None if value is None or not _text(value) else _text(value) for value in series]


def _splits(file: ColumnFile, series: polars.Series, *, chosen: bool) -> list[str]:
    """The split of each row. A column that the user did not choose may be of something else, and is
    then not used.
    """
    names = {value: split_named(_text(value)) for value in series.unique().to_list()}
    unknown = [value for value, split in names.items() if _text(value) and not split]
    if unknown and chosen:
        raise UserError(
            f"{file.name}: split {_text(unknown[0])!r} is unknown.", "Use train, val or test."
        )
    return [] if unknown else [names[value] for value in series.to_list()]


def _weights(file: ColumnFile, series: polars.Series) -> list[float]:
    found = []
    for number, value in enumerate(series):
        weight = float(value) if isinstance(value, int | float) else math.nan
        if not 0 <= weight < math.inf:
            raise UserError(
                f"{file.name}, row {number} (counted from 0): the weight {value!r} is no number"
                " from 0.",
                "Write one like 2 or 0.5.",
            )
        found.append(weight)
    return found


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _unreadable(name: str, error: BaseException) -> UserError:
    return UserError(f"{name} cannot be read.", "Copy or download it again.")
