"""Tables whose cells are the grey values of small square images, as many sets on Kaggle are.

    label, pixel1, ..., pixel784         Fashion-MNIST, the digit recognizer, sign language
    label, 1x1, 1x2, ..., 28x28          MNIST as CSV, also without a header
    emotion, pixels, Usage               FER-2013, with the values in one cell

Each row becomes an image, fashion-mnist_train.csv/00017.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.files import AGAIN, Tree
from tellapart.decoding import Decoded
from tellapart.errors import UserError, needs_extra, reason_of
from tellapart.phrases import listed
from tellapart.sources.containers.arrays import to_bmp
from tellapart.sources.containers.polars_errors import polars_errors
from tellapart.sources.containers.shards import Label, Shard
from tellapart.sources.containers.spool import Spool
from tellapart.sources.folder_names import split_named
from tellapart.sources.reading import Reading
from tellapart.sources.tables.column_names import (
    LABEL_NAMES,
    SPLIT_COLUMNS,
    WEAK_LABEL_NAMES,
    plain,
)

if TYPE_CHECKING:
    import polars

_HEAD_BYTES = 2**18
_MOST_BYTES = 2**30
_FEWEST = 64  # values of an image: a table of fewer numbers is of measurements
_PIXEL_NAME = re.compile(r"(pixel|px|pix|p|x|v|column)?[ _-]?\d+|\d+x\d+", re.IGNORECASE)
# FER-2013 calls its splits so.
_OWN_SPLITS = {"publictest": "val", "privatetest": "test"}


class _Form(NamedTuple):
    """Which columns of a table are what."""

    has_header: bool
    pixels: Sequence[str]  # one column with all values, or one column a value
    label: str  # "" where there is none
    split: str
    side: int


def read_pixel_table(tree: Tree, path: str, reading: Reading, spool: Spool) -> Shard | None:
    """The images in the rows of a table. None means that its cells are no pixels.

    Args:
        tree: where it is.
        path: its catalog path.
        reading: which column is the label, where the user says so.
        spool: keeps the images.

    Raises:
        UserError: it holds pixels, but cannot be used.
    """
    name, stamp = f"{path} of {tree.name}", tree.stamp(path)
    try:
        store = tree.open(path)
        form = _form(store.read(0, _HEAD_BYTES), reading)
        if form is None:
            return None
        if store.size > _MOST_BYTES:
            raise UserError(
                f"{name} holds more than {_MOST_BYTES:,} bytes of pixels as text.",
                "Save them as a NumPy array, x_train and y_train in an .npz file, and give that.",
            )
        frame = _frame(store.read(0, store.size), form, name)
    except OSError as error:
        raise UserError(f"{name} cannot be read ({reason_of(error)}).", AGAIN) from None
    places = [spool.add(values.tobytes()) for values in _values(frame, form, name)]

    def image(number: int) -> bytes | Decoded:
        values = np.frombuffer(spool.read(*places[number]), np.uint8)
        return to_bmp(values.reshape(form.side, form.side, 1))

    return Shard(
        path,
        stamp,
        _labels(frame, form.label),
        image,
        splits=[_split(value) for value in frame[form.split].to_list()] if form.split else (),
    )


def _form(head: bytes, reading: Reading) -> _Form | None:
    """What the first rows of a table say of its columns. None means that they are no pixels."""
    lines = head.decode("utf-8-sig", "replace").split("\n")
    try:
        rows = list(csv.reader(lines[:2]))
    except csv.Error:  # a cell of more than 128 KiB, or lines that end in another way
        return None
    if len(rows) < 2 or not rows[0]:
        return None
    names, first = [cell.strip() for cell in rows[0]], rows[1]
    if all(map(_is_number, names)) and math.isqrt(len(names) - 1) ** 2 == len(names) - 1:
        # MNIST without a header: the label, then the values.
        columns = [f"column_{place + 1}" for place in range(len(names))]
        return _checked(_Form(False, columns[1:], columns[0], "", 0), len(names) - 1)
    others = [name for name in names if not _PIXEL_NAME.fullmatch(name)]
    label = reading.columns.get("label") or _label(others)
    split = next((name for name in others if plain(name) in SPLIT_COLUMNS), "")
    in_one = [name for name in others if plain(name) in ("pixels", "pixel")]
    if in_one and len(first) == len(names):
        values = first[names.index(in_one[0])].split()
        return _checked(_Form(True, in_one, label, split, 0), len(values))
    pixels = [name for name in names if _PIXEL_NAME.fullmatch(name)]
    return _checked(_Form(True, pixels, label, split, 0), len(pixels))


def _checked(form: _Form, count: int) -> _Form | None:
    side = math.isqrt(count)
    return form._replace(side=side) if count >= _FEWEST and side**2 == count else None


def _label(names: Sequence[str]) -> str:
    usual = [name for name in names if plain(name) in LABEL_NAMES]
    weak = [name for name in names if plain(name) in {*WEAK_LABEL_NAMES, "digit"}]
    return next(iter((*usual, *weak)), "")


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch("[0-9]{1,9}", cell))


def _frame(data: bytes, form: _Form, name: str) -> polars.DataFrame:
    try:
        import polars
    except ImportError:
        raise needs_extra("polars", "train") from None
    types = dict.fromkeys(form.pixels, polars.UInt8) if len(form.pixels) > 1 else {}
    wanted = [*form.pixels, *(column for column in (form.label, form.split) if column)]
    try:
        if not form.has_header:
            schema = {form.label: polars.Int64, **types}
            return polars.read_csv(data, has_header=False, schema=schema)
        return polars.read_csv(data, columns=wanted, schema_overrides=types)
    except polars_errors():
        raise UserError(
            f"{name} holds pixels in its cells, but not only whole numbers from 0 to 255.",
            "Save them so, or as a NumPy array, x_train and y_train in an .npz file.",
        ) from None


def _values(frame: polars.DataFrame, form: _Form, name: str) -> Sequence[NDArray[np.uint8]]:
    """The grey values of each row."""
    if len(form.pixels) > 1:
        table = frame.select(form.pixels).fill_null(0).to_numpy()
        return list(np.ascontiguousarray(table, np.uint8))
    found = []
    for number, cell in enumerate(frame[form.pixels[0]].to_list()):
        try:
            values = np.array(str(cell).split(), np.uint8)
        except (ValueError, OverflowError):
            values = np.zeros(0, np.uint8)
        if len(values) != form.side**2:
            raise UserError(
                f"{name}, row {number} (counted from 0) has no {form.side**2} grey values.",
                "Mend the row, or take it out.",
            )
        found.append(values)
    return found


def _labels(frame: polars.DataFrame, column: str) -> list[Label]:
    if not column:
        return [None] * len(frame)
    kind = frame[column].dtype
    if kind.is_float():
        raise UserError(
            f"The column {column!r} holds no names or whole numbers, but {kind}.",
            f"Its columns are {listed(frame.columns[-3:])}. Name one with --columns label=NAME.",
        )
    return frame[column].to_list()


def _split(value: object) -> str:
    return _OWN_SPLITS.get(plain(value)) or split_named(str(value))
