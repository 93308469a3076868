"""How the user wants a source to be read, and the ways in which it can be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tellapart.decoders.rules import DEFAULT_RULES, DecodeRules
from tellapart.errors import UserError

if TYPE_CHECKING:
    from tellapart.catalog.table import Catalog


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the user says of the form of the data. By default everything is recognised by looking.

    Args:
        group_column: the column of a table whose equal cells keep images together. None means the
            usual names.
        weight_column: the column of a table that says how often each image is drawn. None means
            each as often.
        columns: "path", "label", "split" or "group" → the column of a table that holds it.
        label_by: "folder", or "name:" and a regular expression that finds the label in the name of
            a file. None means by looking.
        crops: whether each box of a detection set becomes an image.
        rules: the settings of the decode contract. Images are decoded here only to cut boxes out.
    """

    group_column: str | None = None
    weight_column: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    label_by: str | None = None
    crops: bool = False
    rules: DecodeRules = DEFAULT_RULES

    @property
    def names_columns(self) -> bool:
        """Whether a column is named, which only a table has."""
        named = (self.group_column, self.weight_column, *self.columns.values())
        return any(name is not None for name in named)


AS_IT_LIES = Reading()


def refuse_columns(name: str, reading: Reading) -> None:
    """Refuse the name of a column where there are no columns.

    Raises:
        UserError: a column is named.
    """
    if reading.weight_column is not None:
        raise UserError(
            f"{name} is no table, and so has no column {reading.weight_column!r} of weights.",
            "Give a table with that column, or leave training.weight_column out.",
        )
    if reading.group_column is not None:
        raise UserError(
            f"{name} is no table, and so has no column {reading.group_column!r} to group by.",
            "Give a table with that column, or group by folder, folder:N, name:REGEX or burst.",
        )
    for want, column in reading.columns.items():
        raise UserError(
            f"{name} is no table, and so has no column {column!r} for {want}.",
            "Give a table with that column, or leave --columns out.",
        )


@dataclass(frozen=True)
class Candidate:
    """One way to read what lies in a folder or an archive.

    Args:
        what: names it in the middle of a sentence: "a table, labels.csv, with labels of 40 images".
        labelled: how many of the images that lie there get a label by it.
        command: what the user writes after "tellapart train" to get this reading.
        read: gives the catalog. It raises a UserError with the way out where this kind is known,
            but cannot be read.
    """

    what: str
    labelled: int
    command: str
    read: Callable[[], Catalog]
