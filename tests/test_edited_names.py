"""Names that look like edited copies are proposed, with the pattern that unites them."""

import numpy as np
import pytest

from helpers.catalogs import catalog_of_labels
from tellapart.catalog.edited_names import find_edited_names
from tellapart.catalog.groups import group
from tellapart.options import SplitOptions
from tellapart.pipeline.findings import find_all

STEMS = ("ant", "bee 7", "IMG_0012", "fly.2")
EXPORTED = ("_jpg.rf.3f5c0a9b7e", "_jpg.rf.00aa11bb22", "_jpg.rf.Zk3Pq9xA41")


def photos(*names, **columns):
    return catalog_of_labels([0] * len(names), paths=[f"c/{name}" for name in names], **columns)


def families(*suffixes, ending=".jpg"):
    return photos(*(f"{stem}{suffix}{ending}" for stem in STEMS for suffix in suffixes))


SUFFIXES = {
    "a flip": ("", "_flip"),
    "turns": ("", "_rot90", "_rot180", "_rotated-12"),
    "numbers": ("", "-aug1", "-aug2", "_aug_3"),
    "several edits": ("", "_flip_h", "_flip_h_rot90", " blurred"),
    "no original": ("_hflip", "_brightness1.2"),
    "capitals": ("", "_FLIP", "_Rot90"),
    "angles": ("", "_rot15deg", "_rot-15deg"),
    "an export": EXPORTED,
    "an export of edited images": (*EXPORTED, "_flip_jpg.rf.77cc", "_flip"),
}


@pytest.mark.parametrize("suffixes", SUFFIXES.values(), ids=SUFFIXES)
def test_the_proposed_pattern_unites_what_is_proposed_and_nothing_else(suffixes):
    catalog = families(*suffixes)
    found = find_edited_names(catalog)
    grouped = group(catalog, SplitOptions(group_by=f"name:{found.pattern}").group_by)
    assert [set(grouped.groups[list(rows)]) for rows in found.sets] == [{s} for s in STEMS]
    assert sum(map(len, found.sets)) == len(catalog)


OTHERS = {
    "numbers alone": ("_1", "_2", "_3"),
    "numbers in brackets": (" (1)", " (2)"),
    "sides": ("_left", "_right"),
    "words that only begin alike": ("", "_rotor", "_cropland", "_flipper"),
}


@pytest.mark.parametrize("suffixes", OTHERS.values(), ids=OTHERS)
def test_other_names_are_no_edited_copies(suffixes):
    assert find_edited_names(families(*suffixes)) is None


def test_two_stems_may_be_chance():
    assert find_edited_names(photos("a.jpg", "a_flip.jpg", "b.jpg", "b_flip.jpg", "c.jpg")) is None


def test_each_alone_is_no_copy():
    assert find_edited_names(photos(*(f"{stem}_flip.jpg" for stem in STEMS))) is None


def test_what_is_known_to_be_a_copy_is_not_proposed():
    catalog = families("", "_flip")
    assert find_edited_names(catalog.replace(copies=np.arange(8) // 2 * 2)) is None


def test_the_finding_says_how_many_and_what_to_do():
    (finding,) = find_all(families("", "_flip", "_rot90"), None)
    assert (finding.kind, len(finding.sets)) == ("edited_name", 4)
    assert finding.text.startswith("12 images look like edited copies of each other by their names")
    assert "--group-by 'name:^(.+?)(?:[ _.-]+(?:flip|rot)" in finding.text


def test_nothing_is_proposed_where_there_are_groups():
    assert find_all(families("", "_flip").replace(groups=np.array(["g"] * 8, object)), None) == ()
