"""The licences of pretrained weights: what a model file says of them, and which forbid commerce."""

from __future__ import annotations

import re
from importlib import resources

# Licences that ask for a copy of their text with the weights → our file of that text. They are those
# of the networks that `pick` measures by default.
_TEXTS = {"apache-2.0": "Apache-2.0.txt"}
# Licences that ask for the same, whose texts name their authors and so differ → where to read it.
_PAGES = {
    "mit": "https://spdx.org/licenses/MIT.html",
    "bsd-3-clause": "https://spdx.org/licenses/BSD-3-Clause.html",
    "cc-by-4.0": "https://creativecommons.org/licenses/by/4.0/legalcode",
    "cc-by-nc-4.0": "https://creativecommons.org/licenses/by-nc/4.0/legalcode",
}
_RESEARCH_ONLY = ("apple-amlr", "seer-license")
NON_COMMERCIAL = "NON-COMMERCIAL USE ONLY"


def is_non_commercial(licence: str) -> bool:
    """Whether a licence forbids commercial use, by its name.

    >>> is_non_commercial("cc-by-nc-4.0"), is_non_commercial("Apache-2.0"), is_non_commercial("")
    (True, False, False)
    """
    name = licence.lower()
    return (
        "noncommercial" in name.replace("-", "")
        or "nc" in re.split("[^a-z]+", name)
        or name in _RESEARCH_ONLY
    )


def warning(licence: str) -> str | None:
    """What must be said of weights that forbid commercial use; None for all others."""
    if not is_non_commercial(licence):
        return None
    return f"The weights in this model file are for {NON_COMMERCIAL} ({licence})."


def in_words(licence: str) -> str:
    """A licence for a person who chooses weights.

    >>> in_words("cc-by-nc-4.0"), in_words("mit"), in_words("")
    ('cc-by-nc-4.0, NON-COMMERCIAL USE ONLY', 'mit', 'none')
    """
    return f"{licence}, {NON_COMMERCIAL}" if is_non_commercial(licence) else licence or "none"


def licence_facts(licence: str, source: str) -> dict[str, str]:
    """What the card of a model file says of the licence of its weights.

    A licence that asks for its text to go with the weights is there in full, or with its address.

    Args:
        licence: as the publisher states it.
        source: where the weights come from.

    >>> sorted(licence_facts("Apache-2.0", "package x"))
    ['weights', 'weights licence text', 'weights source']
    >>> licence_facts("cc-by-nc-4.0", "hub y")["weights use"]
    'NON-COMMERCIAL USE ONLY'
    """
    facts = {"weights": licence, "weights source": source}
    name = licence.lower()
    if name in _TEXTS:
        file = resources.files("tellapart").joinpath("licences", _TEXTS[name])
        facts["weights licence text"] = file.read_text(encoding="utf-8")
    elif name in _PAGES:
        facts["weights licence text"] = _PAGES[name]
    if is_non_commercial(licence):
        facts["weights use"] = NON_COMMERCIAL
    return facts
