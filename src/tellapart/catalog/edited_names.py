"""Names that share a stem, as a tool gives them that saves edited copies beside the images.

    x.jpg   x_flip.jpg   x_rot90.jpg   x-aug2.jpg   x_jpg.rf.3f5c….jpg

Names are weak evidence: the images decide what is a copy. So these are proposals for the user to
accept, and they come with the pattern for --group-by that unites them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from tellapart.catalog.duplicates import clusters
from tellapart.catalog.names import unescape
from tellapart.catalog.table import Catalog

FEWEST = 3  # stems with edited copies: one or two may be chance

_WORDS = (
    "aug(?:ment(?:ed|ation)?)?|[hv]?flip(?:ped)?(?:[_-]?(?:horizontal|vertical|lr|ud|[hvxy]))?"
    "|mirror(?:ed)?|rot(?:ated?|ation)?|crop(?:ped)?|zoom(?:ed)?|shear(?:ed)?|shift(?:ed)?"
    "|transl(?:ated?|ation)|bright(?:er|ness)?|dark(?:er|ened)?|contrast|gamma|hue|saturation"
    "|jitter|gr[ae]y(?:scale)?|noisy?|blur(?:red)?|inverted"
)
# What may follow a word: a number, an angle.
_AMOUNT = "[-+_.0-9]*(?:deg)?"
# Roboflow writes the old ending into the name, and then a hash.
_EXPORTED = r"(?:_[A-Za-z]+)?\.rf\.[0-9A-Za-z]+"
_ENDING = r"\.\w+$"


@dataclass(frozen=True)
class EditedNames:
    """Images that look like edited copies of others by their names.

    Args:
        sets: rows of each set of two or more whose names share a stem.
        pattern: for `--group-by name:`, that puts each set into one group.
    """

    sets: list[tuple[int, ...]]
    pattern: str


def find_edited_names(catalog: Catalog) -> EditedNames | None:
    """The sets of one folder that are not known to be copies. None if there are fewer than FEWEST.

    Args:
        catalog: scanned, with copies linked.
    """
    suffix = f"[ _.-]+(?:{_WORDS}){_AMOUNT}|{_EXPORTED}"
    edited = re.compile(f"^(.+?)((?:{suffix})*){_ENDING}", re.IGNORECASE | re.DOTALL)
    families = defaultdict(list)
    suffix_of = {}
    for row in np.flatnonzero(catalog.ok).tolist():
        folder, _, name = catalog.paths[row].rpartition("/")
        if found := edited.search(unescape(name)):
            families[folder, found[1]].append(row)
            suffix_of[row] = found[2]
    cluster_of = clusters(catalog)
    sets = [
        tuple(rows)
        for rows in families.values()
        if len(set(cluster_of[rows].tolist())) > 1 and len({suffix_of[row] for row in rows}) > 1
    ]
    if len(sets) < FEWEST:
        return None
    suffixes = {suffix_of[row] for rows in sets for row in rows}
    return EditedNames(sorted(sets), f"^(.+?)(?:{'|'.join(_seen(suffixes))})*{_ENDING}")


def _seen(suffixes: set[str]) -> list[str]:
    """Expressions for no more than the suffixes that are there, so that they stay short."""
    texts = "\n".join(sorted(suffixes))
    exported = re.compile(_EXPORTED)
    others = exported.sub("", texts)
    words = {
        found[1]
        for found in re.finditer(f"[ _.-]({_WORDS})(?={_AMOUNT}(?:[ _.-]|$))", others, re.I | re.M)
    }
    alternatives = sorted(words, key=lambda word: (-len(word), word))
    named = [f"[ _.-]+(?:{'|'.join(alternatives)}){_AMOUNT}"] if alternatives else []
    return [*named, *([_EXPORTED] if exported.search(texts) else [])]
