"""Two people: how far they agree, and their patches as one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import tellapart
from helpers.commands import run_command
from helpers.reviewing import fix_of, write_fixes
from tellapart import UserError
from tellapart.catalog.fixes import read_fixes
from tellapart.evaluation.agreement import agreement

NAMES = ("ann", "bob")


def test_kappa_is_that_of_the_textbook():
    # Cohen 1960: 50 proposals, both yes 20, both no 15.
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    found = agreement(first, second, NAMES)
    assert found.kappa == pytest.approx(0.4)
    assert found.low < 0.4 < found.high


def test_the_interval_stays_open_where_few_images_agree():
    found = agreement(["cat", "dog", "cat"], ["cat", "dog", "cat"], NAMES)
    assert found.kappa == found.high == 1.0
    assert found.low < 0.2


def test_kappa_is_not_known_without_two_answers():
    assert math.isnan(agreement(["cat"] * 5, ["cat"] * 5, NAMES).kappa)
    assert math.isnan(agreement([], [], NAMES).kappa)


@pytest.fixture
def patches(shown: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two people agree on two images and disagree on a third."""
    same = [("sky/000.jpg", "relabel", "sky", "leaf"), ("leaf/001.jpg", "keep", "leaf")]
    ann = [fix_of(shown, *words) for words in [*same, ("sky/002.jpg", "keep", "sky")]]
    bob = [fix_of(shown, *words, who="bob") for words in [*same, ("sky/002.jpg", "drop", "sky")]]
    return write_fixes(tmp_path / "a.jsonl", *ann), write_fixes(tmp_path / "b.jsonl", *bob)


def test_two_patches_merge_and_their_disagreements_are_listed(
    patches: tuple[Path, Path], tmp_path: Path
):
    merged = tellapart.merge_fixes(*patches, out=tmp_path / "c.jsonl")
    assert merged.disagreements == {"sky/002.jpg": {"ann": "sky", "bob": "(dropped)"}}
    assert (merged.agreements[0].same, merged.agreements[0].count) == (2, 3)
    assert len(read_fixes(merged.path).lines) == merged.lines == 6


def test_the_command_prints_agreement_and_disagreements(patches: tuple[Path, Path], tmp_path: Path):
    words = ("review", "--merge", *map(str, patches), "--out", str(tmp_path / "c.jsonl"))
    assert "ann and bob agree on 2 of 3 images" in run_command(*words).out
    assert run_command(*words, "--json").json["agreement"][0]["count"] == 3


def test_two_patches_of_one_person_are_refused(patches: tuple[Path, Path], tmp_path: Path):
    with pytest.raises(UserError, match="Both files are by 'ann'"):
        tellapart.merge_fixes(patches[0], patches[0], out=tmp_path / "c.jsonl")
