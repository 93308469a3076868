"""The patch of decisions: what its lines come to, and what they do to a catalog."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tellapart.catalog.decisions import DROPPED, Fix, judge
from tellapart.catalog.fixes import Fixes, disagreements, merge, read_fixes
from tellapart.catalog.table import Catalog, text_column
from tellapart.errors import UserError
from tellapart.sources.source import read_source


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def line(name: str, action: str, was: str | None, now: str | None = None, **more: Any) -> Fix:
    """What ann decided on an image, in the minute that `minute` says."""
    minute = more.pop("minute", 0)
    return Fix(
        when=f"2026-11-30T20:{minute:02}:00Z",
        digest=digest(name),
        path=name,
        action=action,
        was=was,
        now=now,
        why="",
        who=more.pop("who", "ann"),
        **more,
    )


def catalog_of(*pairs: tuple[str, str]) -> Catalog:
    """A scanned catalog of images whose content is their name."""
    catalog = read_source(list(pairs))
    digests = text_column(digest(str(path)) for path in catalog.paths)
    return catalog.replace(digests=digests, statuses=text_column(["ok"] * len(catalog)))


PETS = (("1.jpg", "cat"), ("2.jpg", "dog"), ("3.jpg", "cat"), ("4.jpg", "dog"))


def labels(catalog: Catalog) -> dict[str, str]:
    names = (catalog.classes[label] for label in catalog.labels)
    return dict(zip(catalog.paths.tolist(), names, strict=True))


def test_labels_change_and_images_are_left_out():
    fixes = Fixes((line("1.jpg", "relabel", "cat", "dog"), line("2.jpg", "drop", "dog")))
    fixed, told = fixes.apply(catalog_of(*PETS))
    assert labels(fixed) == {"1.jpg": "dog", "3.jpg": "cat", "4.jpg": "dog"}
    assert (told.relabelled, told.dropped, told.stale) == (("1.jpg",), ("2.jpg",), ())
    assert fixed.fixes is told and told.text in fixed.remarks


def test_the_newest_line_of_a_person_counts():
    lines = (line("1.jpg", "relabel", "cat", "dog", minute=1), line("1.jpg", "keep", "cat"))
    assert judge(merge([Fixes(lines)]).lines, "cat").label == "dog"


@pytest.mark.parametrize("action", ["undo", "later"])
def test_a_decision_is_taken_back(action: str):
    lines = (line("1.jpg", "drop", "cat"), line("1.jpg", action, "cat", minute=1))
    assert judge(lines, "cat").by_person == {}


def test_a_stale_line_is_told_and_not_applied():
    fixes = Fixes((line("1.jpg", "relabel", "cow", "dog"), line("gone.jpg", "drop", "cat")))
    fixed, told = fixes.apply(catalog_of(*PETS))
    assert labels(fixed) == dict(PETS)
    assert {fix.path for fix in told.stale} == {"1.jpg", "gone.jpg"}
    assert "2 lines are stale" in told.text


def test_a_patch_that_is_applied_twice_changes_nothing_more():
    fixes = Fixes((line("1.jpg", "relabel", "cat", "dog"),))
    again, told = fixes.apply(fixes.apply(catalog_of(*PETS))[0])
    assert labels(again)["1.jpg"] == "dog"
    assert (told.relabelled, told.stale) == ((), ())


def test_a_review_of_fixed_data_goes_on_from_the_fixed_labels():
    first = line("1.jpg", "relabel", "cat", "dog")
    second = line("1.jpg", "relabel", "dog", "cow", minute=1)
    assert judge((first, second), "cat").label == "cow"
    assert judge((second,), "cat").stale == (second,)


def test_copies_under_two_labels_get_one():
    fixes = Fixes((line("1.jpg", "relabel", "cat", "dog"), line("1.jpg", "keep", "dog", minute=1)))
    catalog = catalog_of(*PETS)
    catalog.digests[1] = catalog.digests[0]
    assert labels(fixes.apply(catalog)[0])["1.jpg"] == labels(fixes.apply(catalog)[0])["2.jpg"]


def test_a_label_that_is_no_class_is_refused():
    fixes = Fixes((line("1.jpg", "relabel", "cat", "cow", number=7),), "fixes.jsonl")
    with pytest.raises(UserError, match=r"fixes.jsonl, line 7: 'cow' is no class"):
        fixes.apply(catalog_of(*PETS))


def test_a_new_class_is_made_on_purpose():
    fixes = Fixes((line("2.jpg", "relabel", "dog", "cow", new=True),))
    fixed, _ = fixes.apply(catalog_of(*PETS))
    assert fixed.classes == ("cat", "cow", "dog")
    assert labels(fixed) == {**dict(PETS), "2.jpg": "cow"}


def test_an_image_without_a_label_gets_one():
    catalog = catalog_of(*PETS)
    unlabelled = catalog.replace(labels=np.array([-1, 1, 0, 1]))
    fixed, _ = Fixes((line("1.jpg", "relabel", None, "dog"),)).apply(unlabelled)
    assert labels(fixed)["1.jpg"] == "dog"


def test_people_who_disagree_change_nothing_until_somebody_settles_it():
    ann, bob = line("1.jpg", "relabel", "cat", "dog"), line("1.jpg", "drop", "cat", who="bob")
    open_, told = Fixes((ann, bob)).apply(catalog_of(*PETS))
    assert labels(open_) == dict(PETS) and told.disputed == ("1.jpg",)
    assert disagreements(Fixes((ann, bob)))[digest("1.jpg")].labels == {"dog", DROPPED}
    settled = line("1.jpg", "keep", "cat", who="cy", minute=1, settles=True)
    assert Fixes((ann, bob, settled)).apply(catalog_of(*PETS))[1].disputed == ()


def test_a_merge_is_the_union_in_any_order(tmp_path: Path):
    ann = Fixes((line("1.jpg", "keep", "cat"), line("2.jpg", "drop", "dog")))
    bob = Fixes((line("1.jpg", "keep", "cat"), line("3.jpg", "drop", "cat", who="bob")))
    (tmp_path / "one.jsonl").write_text(merge([ann, bob]).text)
    (tmp_path / "two.jsonl").write_text("".join(reversed(merge([bob, ann]).text.splitlines(True))))
    one, two = read_fixes(tmp_path / "one.jsonl"), read_fixes(tmp_path / "two.jsonl")
    assert len(one.lines) == 3 and one.lines == two.lines and one.digest == two.digest


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("<<<<<<< ours", "no JSON"),
        ("[1]", "no JSON object"),
        ('{"digest": "ab"}', "'action' must be text"),
        (line("1.jpg", "keep", "cat").text.replace('"keep"', '"move"'), "'action' must be one of"),
        (line("1.jpg", "relabel", "cat").text, "needs the new label"),
        (line("1.jpg", "keep", "cat").text.replace("20:00", "25:00"), "'when' must be a time"),
        (line("1.jpg", "keep", "cat").text.replace(digest("1.jpg"), "abc"), "64 hex digits"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, bad: str, reason: str):
    file = tmp_path / "fixes.jsonl"
    file.write_text(f"{line('2.jpg', 'keep', 'dog').text}\n{bad}\n")
    with pytest.raises(UserError, match=rf"line 2: .*{reason}"):
        read_fixes(file)


def test_a_missing_patch_is_one_clear_line(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read"):
        read_fixes(tmp_path / "none.jsonl")
