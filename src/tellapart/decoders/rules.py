"""The settings of the decode contract, as one value: what a scan, a training and a model file share.

    recipe ─▶ DecodeRules ─▶ scan ─▶ Catalog.rules ─▶ training, gate ─▶ card of the model file ─▶ predict

Two images that were decoded by equal rules are comparable. So the rules are part of the key under
which scans are remembered, and the model file holds those of its training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tellapart.options import DecodingOptions

# Above twice this number Pillow refuses to open a file, which `decoding` replaces by a check of its
# own.
DEFAULT_MAX_PIXELS = 89_478_485


@dataclass(frozen=True, kw_only=True)
class DecodeRules:
    """The settings of the decode contract.

    Args:
        max_pixels: width times height above which an image is not decoded.

    >>> DecodeRules(max_pixels=100) == DecodeRules.from_json(DecodeRules(max_pixels=100).as_json())
    True
    """

    max_pixels: int = DEFAULT_MAX_PIXELS

    @property
    def key(self) -> str:
        """A text that is equal exactly for equal rules."""
        return json.dumps(self.as_json(), sort_keys=True)

    def as_json(self) -> dict[str, Any]:
        """The rules as JSON values, for the card of a model file and for other processes."""
        return {"max_pixels": self.max_pixels}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DecodeRules:
        """The rules whose `as_json` gave these values.

        Raises:
            KeyError, TypeError, ValueError: they are others.
        """
        return cls(max_pixels=int(values["max_pixels"]))


def rules_of(options: DecodingOptions) -> DecodeRules:
    """The rules that a recipe asks for."""
    return DecodeRules(max_pixels=options.max_pixels)


DEFAULT_RULES = DecodeRules()
