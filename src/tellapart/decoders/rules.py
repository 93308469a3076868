"""The settings of the decode contract, as one value: what a scan, a training and a model file share.

    recipe ─▶ DecodeRules ─▶ scan ─▶ Catalog.rules ─▶ training, gate ─▶ card of the model file ─▶ predict

Two images that were decoded by equal rules are comparable. So the rules are part of the key under
which scans are remembered, and the model file holds those of its training.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from tellapart.decoders.levels import KINDS, Kind, Levels, range_of_set

if TYPE_CHECKING:
    from tellapart.options import DecodingOptions

# The version of the pixels. Raise it when the same bytes may decode to others: what was computed
# from them is then computed anew.
CONTRACT = 3
# What only model files of an earlier tellapart ask for: profiles are left alone, transparency lies
# on white, and 16 bits are scaled by their full range.
OLD_CONTRACT = 2

DEFAULT_MAX_PIXELS = 89_478_485

FULL_RANGE = (0.0, 65535.0)  # of 16 bits

Colour = Literal["srgb", "ignore"]
Range = tuple[Kind, float, float]


@dataclass(frozen=True, kw_only=True)
class DecodeRules:
    """The settings of the decode contract.

    Args:
        max_pixels: width times height above which an image is not decoded. A JPEG is then decoded
            at a reduced scale.
        colour: what becomes of a colour profile: "srgb" converts the colours, "ignore" leaves them.
        ranges: for each kind of values of more than 8 bits, what becomes black and white. A kind
            that is missing had no image: 16 bits are then scaled by their full range, and the
            others are refused. None means that a scan is to take the ranges from the data.
        contract: OLD_CONTRACT for model files of an earlier tellapart.
        decoders: the extra decoders that images of the training needed, with their versions. They
            are told, and change nothing.

    >>> DecodeRules(max_pixels=100) == DecodeRules.from_json(DecodeRules(max_pixels=100).as_json())
    True
    """

    max_pixels: int = DEFAULT_MAX_PIXELS
    colour: Colour = "srgb"
    ranges: tuple[Range, ...] | None = ()
    contract: int = CONTRACT
    decoders: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """A text that is equal exactly for equal rules."""
        return json.dumps(self.as_json(), sort_keys=True)

    @property
    def base(self) -> DecodeRules:
        """The rules without what a scan adds to them."""
        return replace(self, ranges=(), decoders=())

    def range_of(self, kind: Kind) -> tuple[float, float] | None:
        """What becomes black and white in values of a kind; None where that is not known."""
        default = FULL_RANGE if kind == "16-bit" else None
        return {name: (low, high) for name, low, high in self.ranges or ()}.get(kind, default)

    def settled(self, levels: Iterable[Levels], decoders: Iterable[str] = ()) -> DecodeRules:
        """The rules with the ranges of a data set, unless they have ranges already.

        Args:
            levels: of its images of more than 8 bits.
            decoders: as `Decoded.decoded_by` names the extra ones.
        """
        found = list(levels)
        rules = replace(self, decoders=tuple(sorted({*self.decoders, *decoders})))
        if self.ranges is not None:
            return rules
        groups = {kind: [image for image in found if image.kind == kind] for kind in KINDS}
        ranges = tuple((kind, *range_of_set(group)) for kind, group in groups.items() if group)
        return replace(rules, ranges=ranges)

    def as_json(self) -> dict[str, Any]:
        """The rules as JSON values, for the card of a model file and for other processes."""
        return {
            "max_pixels": self.max_pixels,
            "colour": self.colour,
            "ranges": None if self.ranges is None else [list(entry) for entry in self.ranges],
            "contract": self.contract,
            "decoders": list(self.decoders),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DecodeRules:
        """The rules whose `as_json` gave these values, or those of an old model file.

        Raises:
            KeyError, TypeError, ValueError: they are others.
        """
        limit = int(values["max_pixels"])
        if "contract" not in values:
            return cls(max_pixels=limit, colour="ignore", ranges=(), contract=OLD_CONTRACT)
        if values["colour"] not in ("srgb", "ignore"):
            raise ValueError("colour must be srgb or ignore")
        ranges = values["ranges"]
        return cls(
            max_pixels=limit,
            colour=cast("Colour", values["colour"]),
            ranges=None if ranges is None else tuple(_range(*entry) for entry in ranges),
            contract=int(values["contract"]),
            decoders=tuple(map(str, values["decoders"])),
        )


def rules_of(options: DecodingOptions) -> DecodeRules:
    """The rules that a recipe asks for."""
    given = options.value_range
    ranges = None if given is None else tuple((kind, given[0], given[1]) for kind in KINDS)
    return DecodeRules(max_pixels=options.max_pixels, colour=options.colour, ranges=ranges)


def _range(kind: str, low: float, high: float) -> Range:
    known: dict[str, Kind] = {name: name for name in KINDS}
    return known[kind], float(low), float(high)


DEFAULT_RULES = DecodeRules()
