"""What a prediction is given, in any form → its images as a stream, which needs no memory for them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import chain, filterfalse, islice
from os import PathLike
from pathlib import Path
from threading import Event
from typing import Any, TypeAlias

from tellapart.catalog.table import Catalog
from tellapart.errors import UserError
from tellapart.image_input import FORMS, Image, is_image
from tellapart.sources.inputs import Uncountable, expand_inputs, listed_inputs
from tellapart.sources.reading import Reading

# So many are found before the first is read. Most predictions are of fewer: their number is known
# at once, and what cannot be used is refused before the work.
FIRST = 1000


@dataclass(frozen=True)
class Shard:
    """Every `count`-th image, so that several processes share the images without a word.

    Args:
        number: of this share, from 1.
        count: how many shares there are.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that a text such as 3/8 means.

        Raises:
            UserError: it means none.

        >>> Shard.parse("3/8")
        Shard(number=3, count=8)
        """
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise UserError(
                f"A shard is a number of a count, as 3/8, got {text!r}.",
                "The numbers go from 1 to the count.",
            )
        return cls(int(number), int(count))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def size(self, total: int) -> int:
        """How many of `total` images it has.

        >>> [Shard(number, 3).size(7) for number in (1, 2, 3)]
        [3, 2, 2]
        """
        return len(range(self.number - 1, total, self.count))

    def row(self, place: int) -> int:
        """The number of its `place`-th image among all images. Both are from 0.

        >>> [Shard(2, 3).row(place) for place in range(3)]
        [1, 4, 7]
        """
        return self.number - 1 + place * self.count


LeftOut: TypeAlias = Callable[[Image], bool]


def all_stay(_: Image) -> bool:
    """Leave out nothing."""
    return False


@dataclass(frozen=True)
class ImageStream:
    """Images one after the other, in an order that is the same each time.

    Args:
        images: an iterator, which is used once.
        total: how many there are; None where that is not known yet.
        words: what they come from, where that can be counted by listing folders.
        shard: which of them are taken.
        is_left_out: which of what the words mean are not among the images.
    """

    images: Iterator[Image]
    total: int | None = None
    words: Sequence[str | Path] = ()
    shard: Shard | None = None
    is_left_out: LeftOut = all_stay

    def of_shard(self, shard: Shard) -> ImageStream:
        """The images of a shard alone. Those of the others are named and not read."""
        return replace(
            self,
            images=islice(self.images, shard.number - 1, None, shard.count),
            total=None if self.total is None else shard.size(self.total),
            shard=shard,
        )

    def count(self, stop: Event) -> int | None:
        """Count the images by listing them once more, in the time that a listing takes. None means
        that they cannot be counted so, or that `stop` was set.
        """
        if not self.words:
            return None
        count = 0
        try:
            for image in listed_inputs(self.words):
                count += not self.is_left_out(image)
                if stop.is_set():
                    return None
        except (Uncountable, UserError, OSError):
            return None
        return self.shard.size(count) if self.shard else count


def stream_images(images: object, reading: Reading, is_left_out: LeftOut = all_stay) -> ImageStream:
    """The images one by one; folders, patterns, archives, tables and catalogs expanded.

    Args:
        images: in any form that `predict` takes.
        reading: what the user says of the columns of tables.
        is_left_out: which files are not meant, though they lie among the others.

    Raises:
        UserError: an object is neither an image nor a list of images, or there are no images.
    """
    stream = _stream(images, reading, is_left_out)
    first = next(stream.images, None)
    if first is None:
        raise UserError(
            "There is nothing to predict.", "Name images, folders or patterns, or - for a list."
        )
    return replace(stream, images=chain([first], stream.images))


def _stream(images: object, reading: Reading, is_left_out: LeftOut) -> ImageStream:
    rows = _in_rows(images, reading)
    if rows is not None:
        return ImageStream(iter(rows), len(rows))
    if is_image(images) or hasattr(images, "shape"):
        images = [images]
    if isinstance(images, Mapping | Set) or not isinstance(images, Iterable):
        raise UserError(f"Images cannot be of type {type(images).__name__}.", FORMS)
    if isinstance(images, Sequence):
        found = _expanded(images, reading, alone=len(images) == 1)
        expanded = filterfalse(is_left_out, found)
        first = list(islice(expanded, FIRST + 1))
        if len(first) <= FIRST:
            return ImageStream(iter(first), len(first))
        named = [isinstance(_unlabelled(image), str | PathLike) for image in images]
        if not any(named):
            return ImageStream(chain(first, expanded), len(images))
        words = list(map(_unlabelled, images)) if all(named) else []
        return ImageStream(chain(first, expanded), None, words, is_left_out=is_left_out)
    # What an iterator gives may be large, so no more than two are held to see whether one is alone.
    several = iter(images)
    head = list(islice(several, 2))
    found = _expanded(chain(head, several), reading, alone=len(head) == 1)
    return ImageStream(filterfalse(is_left_out, found))


def _expanded(images: Iterable[Any], reading: Reading, *, alone: bool) -> Iterator[Image]:
    for image in images:
        image = _unlabelled(image)
        if isinstance(image, str | PathLike):
            named = image if isinstance(image, str) else Path(image)
            yield from expand_inputs([named], io.BytesIO(), reading, alone=alone)
        else:
            yield image


def _unlabelled(image: Any) -> Any:
    """An image without its label, which is not needed."""
    return image[0] if isinstance(image, tuple) and len(image) == 2 else image


def _in_rows(images: object, reading: Reading) -> Sequence[Image] | None:
    """The images of a catalog or a data frame. None means that it is something else."""
    # The reading of tables takes a third of a second to import, and most predictions are of files.
    if isinstance(images, Catalog):
        from tellapart.sources.held_images import images_of

        return images_of(images)
    if hasattr(images, "columns"):
        from tellapart.sources.held_images import images_of_frame
        from tellapart.sources.tables.table_file import is_frame

        return images_of_frame(images, reading) if is_frame(images) else None
    return None
