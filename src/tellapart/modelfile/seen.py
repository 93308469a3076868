"""Which images a model was trained or chosen on, as the model file remembers them.

The file holds eight bytes of each image's SHA-256, and a print of 16 bytes that survives saving
anew. Neither gives an image back. Both tell somebody who has an image whether it was used.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.prints import PRINT_BYTES, copies_of

USES = ("train", "val")  # what an image was used for: fitted on, or chosen with
# Of each use. In base64 they are 2.1 MB and 1.1 MB of the model file at most.
MOST_DIGESTS = 200_000
MOST_PRINTS = 50_000

DIGEST_BYTES = 8
_DIGEST_TYPE = np.dtype("<u8")


@dataclass(frozen=True)
class UsedImages:
    """The images that a model was trained on, or those that it was chosen with.

    Args:
        count: how many there are.
        digests: eight bytes of the SHA-256 of each content, of MOST_DIGESTS at most.
        prints: 16 bytes of each image that has a print, of MOST_PRINTS at most. No two are near.
    """

    count: int = 0
    digests: bytes = b""
    prints: bytes = b""

    def __post_init__(self) -> None:
        if len(self.digests) % DIGEST_BYTES or len(self.prints) % PRINT_BYTES:
            raise ValueError("digests are eight bytes each, and prints sixteen")

    def as_json(self) -> dict[str, Any]:
        """The JSON object that the card holds."""
        digests, prints = (base64.b64encode(data).decode() for data in (self.digests, self.prints))
        return {"count": self.count, "digests": digests, "prints": prints}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> UsedImages:
        """The images whose `as_json` gave this object.

        Raises:
            ValueError, KeyError, TypeError: it has another form.
        """
        texts = value["digests"], value["prints"]
        digests, prints = (base64.b64decode(text, validate=True) for text in texts)
        return cls(int(value["count"]), digests, prints)

    def hold(self, digests: Sequence[str]) -> NDArray[np.bool_]:
        """(N,) which contents are among them."""
        own = np.frombuffer(self.digests, _DIGEST_TYPE)
        return np.isin(np.frombuffer(short_digests(digests), _DIGEST_TYPE), own)

    @property
    def print_rows(self) -> NDArray[np.uint8]:
        """(K, 16) the prints."""
        return np.frombuffer(self.prints, np.uint8).reshape(-1, PRINT_BYTES)


@dataclass(frozen=True)
class Recognised:
    """What images were to a model.

    Args:
        uses: (N,) str, "train", "val", or "" for an image that it has not seen.
        alike: (N,) whether the content differs from that of the image it is a copy of.
    """

    uses: NDArray[np.object_]
    alike: NDArray[np.bool_]


@dataclass(frozen=True)
class SeenImages:
    """The images that a model has seen. An image of the test split is none of them.

    Args:
        train: what it was fitted on.
        val: what it was chosen, calibrated or stopped with.
        partial: whether images were left out because there are too many.
    """

    train: UsedImages
    val: UsedImages
    partial: bool = False

    def as_json(self) -> dict[str, Any]:
        """The JSON object that the card holds."""
        uses = {"train": self.train.as_json(), "val": self.val.as_json()}
        return {**uses, "partial": self.partial}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SeenImages:
        """The images whose `as_json` gave this object.

        Raises:
            ValueError, KeyError, TypeError: it has another form.
        """
        train, val = (UsedImages.from_json(value[use]) for use in USES)
        return cls(train, val, bool(value["partial"]))

    def recognise(
        self, digests: Sequence[str], prints: NDArray[np.uint8], new: frozenset[str] = frozenset()
    ) -> Recognised:
        """Which images are among those seen: by content, else by their prints.

        Args:
            digests: (N,) the SHA-256 of each content.
            prints: (N, 16) the prints.
            new: contents that are known to be no such image.
        """
        train, val = self.train.print_rows, self.val.print_rows
        copies = copies_of(prints, np.concatenate([train, val]))
        copies[[digest in new for digest in digests]] = -1
        alike = copies >= 0
        uses = np.where(alike, np.where(copies < len(train), "train", "val"), "").astype(object)
        for use, images in (("val", self.val), ("train", self.train)):
            same = images.hold(digests)
            uses[same], alike[same] = use, False
        return Recognised(uses, alike)


def seen_by_content(splits: Mapping[str, str], card: SeenImages | None) -> SeenImages:
    """The images of a run, by all of its contents and by the prints that its model file holds.

    Args:
        splits: content hash → split.
        card: what the model file says, if it says anything.
    """
    images = {}
    for use in USES:
        digests = sorted({digest for digest, split in splits.items() if split == use})
        prints = getattr(card, use, UsedImages()).prints
        images[use] = UsedImages(len(digests), short_digests(digests), prints)
    return SeenImages(images["train"], images["val"], card.partial if card else False)


def short_digests(digests: Iterable[str]) -> bytes:
    """The first eight bytes of each hash, one after the other.

    >>> short_digests(["00" * 32, "01" * 32]).hex()
    '00000000000000000101010101010101'
    """
    return b"".join(bytes.fromhex(digest[: 2 * DIGEST_BYTES]) for digest in digests)
